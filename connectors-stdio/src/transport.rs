//! The transport: a conversation, and the supervisor of what is behind it.

use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::transport::{
    IncomingStream, OutgoingNotification, OutgoingRequest, ReplyStream, Traits,
};
use connectors_core::{Limits, Transport, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tracing::Instrument;

use crate::pipe::{self, Pipe};
use crate::process::{Pipes, Process, Program};
use crate::redact::Redactor;
use crate::stderr::{self, LastLines};
use crate::supervisor::{Peer, Supervisor};

/// JSON-RPC messages as lines over a pair of byte streams: the pipes of a server's process, or anything alike
/// (2026-07-28, transports, stdio).
///
/// Requests and notifications are written whole, in the order in which their futures were first polled; an exchange
/// begins as soon as its request is written. What is no response goes to [`incoming`](Transport::incoming), which keeps
/// a bounded number of messages and never holds up a response; progress is found there as well, since the wire does not
/// say what a notification belongs to. A line that is no message is skipped; if it can be seen to answer an exchange,
/// that exchange fails, and no other.
///
/// When the server exits, everything that is open ends with [`TransportError::Closed`], which says how it exited and
/// what it last wrote to its standard error. [`close`](Transport::close) closes the server's standard input, waits,
/// asks it to terminate, waits, and kills what is left, in about five seconds at most. Dropping the transport kills
/// at once. Either way all that the server has started goes with it, unless that has left its process group.
#[derive(Debug)]
pub struct StdioTransport {
    pipe: Arc<Pipe>,
    /// Set to true to close; dropped to kill.
    close: watch::Sender<bool>,
    is_gone: watch::Receiver<bool>,
}

impl StdioTransport {
    /// Speaks over any pair of streams: a Unix socket, an in-process server. Closing it closes `writer` and waits up to
    /// two seconds for the end of `reader`.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        limits: &Limits,
    ) -> Self {
        Self::start(reader, writer, limits, Peer::Stream)
    }

    /// Starts a program and speaks over its pipes.
    pub(crate) fn spawn(
        program: &Program,
        redactor: Redactor,
        limits: &Limits,
    ) -> Result<Self, std::io::Error> {
        let mut process = Process::spawn(program)?;
        let Some(Pipes { stdin, stdout, stderr }) = process.pipes() else {
            return Err(std::io::Error::other("the process has no pipes"));
        };
        let last_lines = LastLines::default();
        let drain = tokio::spawn(stderr::drain(stderr, redactor, last_lines.clone()).in_current_span());
        tracing::debug!(pid = process.id(), "the server's process was started");
        Ok(Self::start(
            stdout,
            stdin,
            limits,
            Peer::Process { process: Box::new(process), drain, last_lines },
        ))
    }

    fn start(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        limits: &Limits,
        peer: Peer,
    ) -> Self {
        let (pipe, outbox) = Pipe::new(limits);
        let (close, closing) = watch::channel(false);
        let (gone, is_gone) = watch::channel(false);
        let mut stop = closing.clone();
        let stop = async move {
            // An error is a dropped transport: that is an end as well.
            let _ = stop.wait_for(|close| *close).await;
        };
        let supervisor = Supervisor {
            reader: tokio::spawn(pipe::read(Arc::clone(&pipe), reader).in_current_span()),
            writer: tokio::spawn(pipe::write(outbox, writer, stop).in_current_span()),
            pipe: Arc::clone(&pipe),
            peer,
            gone,
        };
        tokio::spawn(supervisor.run(closing).in_current_span());
        Self { pipe, close, is_gone }
    }
}

#[async_trait]
impl Transport for StdioTransport {
    fn traits(&self) -> Traits {
        Traits { drop_cancels: false, mirrors_headers: false, is_process: true }
    }

    async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        self.pipe.exchange(request).await
    }

    async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError> {
        self.pipe.send(note.body).await
    }

    fn incoming(&self) -> IncomingStream {
        self.pipe.incoming()
    }

    async fn close(&self) {
        self.close.send_replace(true);
        // An error is a supervisor that is gone, too.
        let _ = self.is_gone.clone().wait_for(|gone| *gone).await;
    }
}
