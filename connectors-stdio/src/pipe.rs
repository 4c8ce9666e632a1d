//! One JSON-RPC conversation over a reader and a writer, whatever is behind them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use connectors_core::multiplex::Multiplexer;
use connectors_core::transport::{IncomingStream, OutgoingRequest, ReplyStream};
use connectors_core::{Limits, TransportError};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{mpsc, oneshot, watch};

use crate::lines::{Line, LineBuffer};
use crate::size;

/// Messages that may wait for the writer; who sends more waits.
const OUTBOX: usize = 64;
/// What the writer collects of small messages before it writes.
const WRITE_BUFFER: usize = 16 << 10;

/// A message for the writer.
#[derive(Debug)]
struct Outgoing {
    body: Bytes,
    /// Told when the message is written. Closed if the sender has given up, in which case it is not begun.
    written: oneshot::Sender<()>,
}

/// The conversation's shared state: what is asked, what has come in.
#[derive(Debug)]
pub(crate) struct Pipe {
    messages: Multiplexer,
    outbox: mpsc::Sender<Outgoing>,
    has_ended: watch::Sender<bool>,
    line_limit: usize,
    has_spoken: AtomicBool,
}

/// What [`write`] works on.
#[derive(Debug)]
pub(crate) struct Outbox(mpsc::Receiver<Outgoing>);

impl Pipe {
    /// A conversation; [`read`] and [`write`] have to be run for it.
    pub(crate) fn new(limits: &Limits) -> (Arc<Self>, Outbox) {
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let pipe = Self {
            messages: Multiplexer::new(limits.event_bytes),
            outbox,
            has_ended: watch::Sender::new(false),
            line_limit: limits.event_bytes,
            has_spoken: AtomicBool::new(false),
        };
        (Arc::new(pipe), Outbox(waiting))
    }

    /// Sends a request; returns when it is written.
    pub(crate) async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        let reply = self.messages.open(request.id)?;
        self.send(request.body).await?;
        Ok(reply.boxed())
    }

    /// Sends a message; returns when it is written. A message that is being written when the future is dropped is
    /// written to its end, one that waits is left out.
    pub(crate) async fn send(&self, body: Bytes) -> Result<(), TransportError> {
        if memchr::memchr2(b'\n', b'\r', &body).is_some() {
            return Err(TransportError::Refused(
                "a message with a line break cannot be sent over stdio".to_owned(),
            ));
        }
        if let Some(ended) = self.messages.ended() {
            return Err(ended);
        }
        let (written, done) = oneshot::channel();
        let sent = self.outbox.send(Outgoing { body, written }).await;
        if sent.is_err() || done.await.is_err() {
            // The writer is gone; why is known once the process has been looked at.
            let _ = self.has_ended.subscribe().wait_for(|ended| *ended).await;
            let gone = || TransportError::Closed { reason: "the connection is closed".to_owned() };
            return Err(self.messages.ended().unwrap_or_else(gone));
        }
        Ok(())
    }

    /// What the server sends on its own.
    pub(crate) fn incoming(&self) -> IncomingStream {
        self.messages.incoming()
    }

    /// Ends every exchange and the incoming stream with `reason`; the first one stays.
    pub(crate) fn end(&self, reason: &str) {
        self.messages.end(reason);
        self.has_ended.send_replace(true);
    }

    /// True once the server has sent a message.
    pub(crate) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Ordering::Relaxed)
    }

    fn receive(&self, line: Line) {
        match line {
            Line::Whole(text) => {
                if self.messages.receive(&text) {
                    self.has_spoken.store(true, Ordering::Relaxed);
                }
            }
            Line::TooLong { head, tail } => self.messages.skip(&head, &tail, || {
                let max = size::display(self.line_limit);
                TransportError::LimitExceeded { limit: "the server's answer", max }
            }),
        }
    }
}

/// Reads messages until the stream ends. Must not be run twice for one conversation.
pub(crate) async fn read(pipe: Arc<Pipe>, mut reader: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut lines = LineBuffer::new(pipe.line_limit);
    while reader.read_buf(lines.space()).await? > 0 {
        while let Some(line) = lines.next_line() {
            pipe.receive(line);
        }
    }
    if let Some(line) = lines.finish() {
        pipe.receive(line);
    }
    Ok(())
}

/// Writes messages whole and in order until `stop` resolves and the queue is empty, then closes the stream; or until it
/// fails.
pub(crate) async fn write(
    mut outbox: Outbox,
    writer: impl AsyncWrite + Unpin,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
    let mut stop = std::pin::pin!(stop);
    let mut is_stopped = false;
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stop, if !is_stopped => {
                is_stopped = true;
                outbox.0.close();
            }
            count = outbox.0.recv_many(&mut batch, OUTBOX) => {
                if count == 0 {
                    return writer.shutdown().await;
                }
                write_batch(&mut writer, &mut batch).await?;
            }
        }
    }
}

async fn write_batch(writer: &mut (impl AsyncWrite + Unpin), batch: &mut Vec<Outgoing>) -> io::Result<()> {
    for message in batch.iter() {
        if !message.written.is_closed() {
            writer.write_all(&message.body).await?;
            writer.write_all(b"\n").await?;
        }
    }
    writer.flush().await?;
    for message in batch.drain(..) {
        // The sender may have given up while the message was written.
        let _ = message.written.send(());
    }
    Ok(())
}
