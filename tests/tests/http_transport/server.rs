//! An HTTP server that is a closure: for what the scripted MCP server is too well-behaved for.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response};
use connectors_tests::deadline::soon;
use futures_util::stream;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As it stands in the request: a path and query, or for a proxy a whole URL.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

impl Call {
    /// The JSON of the body; `null` if there was none.
    pub(crate) fn body(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).expect("JSON") }
    }

    /// The JSON-RPC method; for a GET or DELETE, that.
    pub(crate) fn what(&self) -> String {
        self.body()["method"].as_str().map_or_else(|| self.method.to_string(), ToOwned::to_owned)
    }

    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Debug, Default, Clone)]
struct Seen {
    calls: Vec<Call>,
    connections: usize,
    open: usize,
}

/// A server at work. Dropping it cuts its connections; that panics if it has died before.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<()>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// A server that answers each request with what `answer` makes of it.
    pub(crate) async fn start<F, Fut>(answer: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_with(None, answer).await
    }

    /// The same over TLS. A connection whose handshake fails is counted, and brings no request.
    pub(crate) async fn start_tls<F, Fut>(tls: TlsAcceptor, answer: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_with(Some(tls), answer).await
    }

    async fn start_with<F, Fut>(tls: Option<TlsAcceptor>, answer: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
        let changed = watch::Sender::new(());
        let notes = Notes { seen: Arc::clone(&seen), changed: changed.clone() };
        let task = tokio::spawn(serve(listener, tls.clone(), Arc::new(answer), notes, stop.clone()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self { address, scheme, seen, changed, stop, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.look(|seen| seen.calls.clone())
    }

    /// What was asked so far, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.calls().iter().map(Call::what).collect()
    }

    /// The connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.look(|seen| seen.connections)
    }

    /// The requests, once there are `count` of `what`.
    pub(crate) async fn seen(&self, what: &str, count: usize) -> Vec<Call> {
        self.until(&format!("{count} times {what}"), |seen| {
            let found: Vec<Call> = seen.calls.iter().filter(|call| call.what() == what).cloned().collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }

    /// Waits until `count` connections are open.
    pub(crate) async fn open_connections(&self, count: usize) {
        let what = format!("{count} open connections");
        self.until(&what, |seen| (seen.open == count).then_some(())).await;
    }

    /// Cuts all connections and refuses new ones.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    fn look<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.lock().expect("nobody panics with the lock"))
    }

    async fn until<T>(&self, what: &str, probe: impl Fn(&Seen) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        soon(what, async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = self.look(&probe) {
                    return found;
                }
                changed.changed().await.expect("the sender is borrowed");
            }
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let has_died = self.task.is_finished() && !self.stop.is_cancelled();
        self.stop.cancel();
        if has_died && !std::thread::panicking() {
            panic!("the server at {} has died; its panic is above", self.address);
        }
    }
}

#[derive(Clone)]
struct Notes {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<()>,
}

impl Notes {
    fn take(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().expect("nobody panics with the lock"));
        self.changed.send_replace(());
    }
}

async fn serve<F, Fut>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    answer: Arc<F>,
    notes: Notes,
    stop: CancellationToken,
) where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    // Dropped, and thereby cut, with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = connections.join_next() => ended.expect("a connection does not panic"),
            accepted = listener.accept() => {
                let (socket, _) = accepted.expect("a connection");
                socket.set_nodelay(true).expect("a TCP option");
                notes.take(|seen| { seen.connections += 1; seen.open += 1; });
                connections.spawn(connection(socket, tls.clone(), Arc::clone(&answer), notes.clone()));
            }
        }
    }
}

async fn connection<F, Fut>(socket: TcpStream, tls: Option<TlsAcceptor>, answer: Arc<F>, notes: Notes)
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    match tls {
        None => requests(socket, answer, &notes).await,
        Some(tls) => {
            // An error here is a client that trusts the server no more than it should.
            if let Ok(stream) = tls.accept(socket).await {
                requests(stream, answer, &notes).await;
            }
        }
    }
    notes.take(|seen| seen.open -= 1);
}

async fn requests<F, Fut>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: Arc<F>,
    notes: &Notes,
) where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (answer, notes) = (Arc::clone(&answer), notes.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.expect("a whole request");
            let call = Call {
                method: parts.method,
                target: parts.uri.to_string(),
                headers: parts.headers,
                text: String::from_utf8(body.to_vec()).expect("UTF-8"),
                at: Instant::now(),
            };
            notes.take(|seen| seen.calls.push(call.clone()));
            Ok::<_, Infallible>(answer(call).await)
        }
    });
    // An error here is the client's leaving in the middle of something.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An empty answer.
pub(crate) fn status(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).expect("a valid response")
}

pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Response<Body> {
    let builder = Response::builder().status(status).header("content-type", content_type);
    builder.body(body.into()).expect("a valid response")
}

pub(crate) fn json(body: &Value) -> Response<Body> {
    answer(200, "application/json", body.to_string())
}

/// A stream of events that ends after `text`.
pub(crate) fn events(text: impl Into<Body>) -> Response<Body> {
    answer(200, "text/event-stream", text)
}

/// A stream of events that goes on while the sender lives.
pub(crate) fn open_events() -> (mpsc::UnboundedSender<String>, Response<Body>) {
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    let body = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|text| (Ok::<_, Infallible>(text), receiver))
    });
    (sender, events(Body::from_stream(body)))
}

/// A response with an extra header.
pub(crate) fn with(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().insert(name, value.parse().expect("a header value"));
    response
}
