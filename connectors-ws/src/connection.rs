//! One WebSocket connection: frames in, replies and events out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, close_code};
use futures_util::future::FutureExt;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Token;
use crate::dispatch::Dispatcher;
use crate::error::{ErrorObject, code};
use crate::events::Notifications;
use crate::handshake::{self, Door, Passage};
use crate::protocol::{self, BadRequest, Id, Request};
use crate::session::{InFlight, MAX_IN_FLIGHT, Session};

/// How long a connection that is being closed is given to take what was already written for it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a socket that cannot be read to its end stays open after the last words.
const LINGER: Duration = Duration::from_secs(2);

/// How long requests that are running are given when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The connections of one server, and what they all need. Clones are the same connections.
#[derive(Debug, Clone)]
pub struct Connections {
    dispatcher: Dispatcher,
    token: Option<Arc<Token>>,
    closing: CancellationToken,
    open: TaskTracker,
}

/// A frame to send.
struct Outgoing {
    text: String,
    /// Ends as the frame is written: until then its request is in flight, and counts against memory.
    in_flight: Option<InFlight>,
}

/// Why a connection ends.
enum Ending {
    /// The other side has gone.
    Gone,
    /// We close it, with this code and reason.
    Close(u16, &'static str),
}

impl Connections {
    /// Connections to the methods of `dispatcher`. Without a `token`, nobody has to authenticate.
    pub fn new(dispatcher: Dispatcher, token: Option<Arc<Token>>) -> Self {
        Self { dispatcher, token, closing: CancellationToken::new(), open: TaskTracker::new() }
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The token that connections have to show.
    #[cfg(feature = "panel")]
    pub(crate) fn token(&self) -> Option<Arc<Token>> {
        self.token.clone()
    }

    /// Closes every connection and waits until they have ended; bounded in time. Those that are opened later are
    /// closed at once.
    pub async fn close(&self) {
        self.closing.cancel();
        self.open.close();
        self.open.wait().await;
    }

    /// Serves one connection until it ends or [`close`](Self::close) is called.
    pub(crate) fn accept<S, E>(self, socket: S) -> impl Future<Output = ()> + Send
    where
        S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Send,
        E: std::fmt::Display + Send,
    {
        let open = self.open.clone();
        open.track_future(self.serve(socket))
    }

    /// Serves one connection until it ends. Its calls of tools are cancelled with it; changes are finished.
    ///
    /// Reading, running and writing do not wait for each other: a request that takes long delays no other, and one
    /// who does not read fills a bounded queue and is then not read from either.
    async fn serve<S, E>(self, socket: S)
    where
        S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Send,
        E: std::fmt::Display + Send,
    {
        let (sink, mut stream) = socket.split();
        let (session, notifications) = Session::open();
        let (replies, queue) = mpsc::channel(MAX_IN_FLIGHT);
        let mut reader = Reader {
            dispatcher: self.dispatcher,
            door: Door::new(self.token),
            session,
            replies,
            running: JoinSet::new(),
        };
        let mut writer = std::pin::pin!(write(sink, queue, notifications));
        let reading = async {
            tokio::select! {
                ending = reader.run(&mut stream) => return ending,
                () = self.closing.cancelled() => {}
            }
            // Those who are waiting for an answer get one, if it comes soon.
            let _ = tokio::time::timeout(LAST_ANSWERS, reader.finish()).await;
            Ending::Close(close_code::AWAY, "the daemon is shutting down")
        };
        let ending = tokio::select! {
            ending = reading => ending,
            // The other side takes nothing any more.
            _ = &mut writer => Ending::Gone,
        };
        // Cancels what is running; the writer ends when it has written what is left.
        drop(reader);
        let Ending::Close(code, reason) = ending else { return };
        let farewell = async {
            let mut sink = writer.await?;
            sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
            // A socket that is closed while there is something to read may lose what was written. The rest of a frame
            // that is too large cannot be read: that socket stays open until the other side has surely read.
            while stream.next().await.is_some_and(|frame| frame.is_ok()) {}
            if code == close_code::SIZE {
                tokio::time::sleep(LINGER).await;
            }
            Ok::<_, E>(())
        };
        // Whoever has gone, or takes nothing, needs no farewell.
        let _ = tokio::time::timeout(LAST_WORDS, farewell).await;
    }
}

struct Reader {
    dispatcher: Dispatcher,
    door: Door,
    session: Session,
    replies: mpsc::Sender<Outgoing>,
    running: JoinSet<()>,
}

impl Reader {
    async fn run<S, E>(&mut self, stream: &mut S) -> Ending
    where
        S: Stream<Item = Result<Message, E>> + Unpin,
        E: std::fmt::Display,
    {
        while let Some(frame) = stream.next().await {
            let ending = match frame {
                Ok(Message::Text(text)) => self.receive(&text).await,
                Ok(Message::Binary(_)) => {
                    let error =
                        ErrorObject::plain(code::INVALID_REQUEST, "invalid request: a frame has to be text");
                    self.refuse(Id::null(), error).await
                }
                // Pings are answered beneath; after a close frame the stream ends by itself.
                Ok(_) => None,
                Err(error) => Some(self.unreadable(&error.to_string()).await),
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
        Ending::Gone
    }

    /// Waits until everything that is running has been answered.
    async fn finish(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// Handles one frame; returns early, the work goes on beside.
    async fn receive(&mut self, text: &str) -> Option<Ending> {
        let Request { id, method, params } = match protocol::read_request(text) {
            Ok(request) => request,
            Err(BadRequest { id, error }) => return self.refuse(id, error).await,
        };
        match self.door.pass(&method, params.as_deref()) {
            Passage::Answered(outcome) => {
                if let Some(id) = id {
                    self.send(protocol::reply(&id, &outcome)).await;
                }
                return None;
            }
            Passage::TurnedAway(error) => {
                return self.turn_away(id.unwrap_or_else(Id::null), error).await;
            }
            Passage::Through => {}
        }
        let in_flight = match self.session.admit() {
            Ok(in_flight) => in_flight,
            Err(error) => {
                if let Some(id) = id {
                    self.send(protocol::reply(&id, &Err(error))).await;
                }
                return None;
            }
        };
        // Frees what has ended.
        while self.running.try_join_next().is_some() {}
        let (dispatcher, session, replies) =
            (self.dispatcher.clone(), self.session.clone(), self.replies.clone());
        self.running.spawn(async move {
            let running = dispatcher.dispatch(&session, &method, params.as_deref());
            // A reply that never comes would keep the caller waiting: even a defect of ours is answered.
            let outcome = AssertUnwindSafe(running)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(ErrorObject::internal(format!("`{method}` failed unexpectedly"))));
            if let Some(id) = id {
                let text = protocol::reply(&id, &outcome);
                drop(outcome);
                // Fails only if the connection has ended.
                let _ = replies.send(Outgoing { text, in_flight: Some(in_flight) }).await;
            }
        });
        None
    }

    /// Answers what is no request; at a closed door that is the end.
    async fn refuse(&mut self, id: Id, error: ErrorObject) -> Option<Ending> {
        if !self.door.is_open() {
            return self.turn_away(id, error).await;
        }
        self.send(protocol::reply(&id, &Err(error))).await;
        None
    }

    async fn turn_away(&mut self, id: Id, error: ErrorObject) -> Option<Ending> {
        tracing::warn!("a connection that did not authenticate was closed");
        self.send(protocol::reply(&id, &Err(error))).await;
        Some(Ending::Close(close_code::POLICY, "auth required"))
    }

    /// A frame that cannot be read ends the connection: where the next one begins is not known.
    async fn unreadable(&mut self, error: &str) -> Ending {
        tracing::debug!(error, "a connection could not be read any further");
        // The library tells the reason in words only; anything else means that nobody is there to be told.
        if !error.contains("too long") {
            return Ending::Gone;
        }
        let error = match self.door.is_open() {
            true => ErrorObject::limit_exceeded("the frame", "32 MiB", "send less at once"),
            false => handshake::auth_required(),
        };
        self.send(protocol::reply(&Id::null(), &Err(error))).await;
        Ending::Close(close_code::SIZE, "a frame is at most 32 MiB")
    }

    async fn send(&self, text: String) {
        // Fails only if the writer has ended, which ends the connection.
        let _ = self.replies.send(Outgoing { text, in_flight: None }).await;
    }
}

/// Writes replies as they come, and events in between. What happened before a reply is told before it.
async fn write<S: Sink<Message> + Unpin>(
    mut sink: S,
    mut queue: mpsc::Receiver<Outgoing>,
    mut notifications: Notifications,
) -> Result<S, S::Error> {
    loop {
        tokio::select! {
            reply = queue.recv() => {
                let Some(Outgoing { text, in_flight }) = reply else { return Ok(sink) };
                for event in notifications.waiting() {
                    sink.feed(Message::Text(event.into())).await?;
                }
                // Before it is sent: whoever has the reply may send the next request.
                drop(in_flight);
                sink.send(Message::Text(text.into())).await?;
            }
            event = notifications.next() => sink.send(Message::Text(event.into())).await?,
        }
    }
}

#[cfg(test)]
mod tests;
