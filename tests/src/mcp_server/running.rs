//! A server at work: its thread, its connections, and the handle that a test holds.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::faults::{Fault, Stage};
use super::http::Http;
use super::port::Port;
use super::record::{Record, Seen, SeenRequest};
use super::script::Script;
use super::tool::Tool;

/// A running server. Dropping it stops it; that panics if it had died before.
#[derive(Debug)]
pub struct McpServer {
    port: Port,
    http: Arc<Http>,
    cut_all: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Script {
    /// Starts a server that follows this script, on a port of its own.
    pub fn start(self) -> McpServer {
        self.start_on(&Port::reserve())
    }

    /// Starts a server on a port that was reserved for it, or that another had before.
    pub fn start_on(self, port: &Port) -> McpServer {
        let http = Arc::new(Http::new(Engine::new(self), Record::default()));
        let (stop, cut_all) = (CancellationToken::new(), Arc::<Mutex<CancellationToken>>::default());
        let (listens, listening) = mpsc::channel();
        let socket = port.again().into_socket();
        let (http_of_thread, cut_of_thread, stop_of_thread) =
            (Arc::clone(&http), Arc::clone(&cut_all), stop.clone());
        let serve = async move {
            let listener = socket.listen(1024).expect("a reserved port");
            listens.send(()).expect("the starter waits");
            serve(listener, http_of_thread, cut_of_thread, stop_of_thread).await;
        };
        let thread = std::thread::Builder::new()
            .name("mcp-server".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(serve);
            })
            .expect("a thread");
        listening.recv().expect("the server listens");
        McpServer { port: port.again(), http, cut_all, stop, thread: Some(thread) }
    }
}

impl McpServer {
    /// The URL of its MCP endpoint.
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// What it has seen.
    pub fn record(&self) -> &Record {
        &self.http.record
    }

    /// A copy of what it has seen so far.
    pub fn seen(&self) -> Seen {
        self.record().look(Clone::clone)
    }

    /// The `tools/call` requests so far.
    pub fn calls(&self) -> Vec<SeenRequest> {
        self.record().look(|seen| seen.of("tools/call"))
    }

    /// Waits until it has seen a request of `method`.
    pub async fn request_seen(&self, method: &str) -> SeenRequest {
        let what = format!("a {method} request");
        self.record().wait_for(&what, |seen| seen.of(method).into_iter().next()).await
    }

    /// Replaces its tools, and tells whoever listens.
    pub fn set_tools(&self, tools: impl IntoIterator<Item = Tool>) {
        self.http.engine.set_tools(tools.into_iter().collect());
    }

    /// From now on does wrong at `stage`, before any other fault.
    pub fn break_at(&self, stage: Stage, fault: Fault) {
        self.http.faults.lock().expect("no panic with the lock").insert(0, (stage, fault));
    }

    /// From now on does nothing wrong.
    pub fn repair(&self) {
        self.http.faults.lock().expect("no panic with the lock").clear();
    }

    /// Forgets every session, as if it had been restarted.
    pub fn forget_sessions(&self) {
        self.http.forget_sessions();
    }

    /// Cuts every open connection.
    pub fn cut_connections(&self) {
        std::mem::take(&mut *self.cut_all.lock().expect("no panic with the lock")).cancel();
    }

    /// Stops it: connections are cut, and its port refuses new ones, until another server is started on it.
    pub fn stop(mut self) -> Port {
        self.end();
        self.port.again()
    }

    fn end(&mut self) {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return };
        let outcome = thread.join();
        // A second panic on top of a failing test's would abort the whole run.
        if outcome.is_err() && !std::thread::panicking() {
            panic!("the MCP server at {} has died; its panic is above", self.url());
        }
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    http: Arc<Http>,
    cut_all: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                stream.set_nodelay(true).expect("a TCP option");
                let cut = cut_all.lock().expect("no panic with the lock").child_token();
                connections.spawn(connection(TokioIo::new(stream), Arc::clone(&http), cut));
            }
        }
    }
}

/// Serves one connection until either side ends it.
async fn connection(io: TokioIo<tokio::net::TcpStream>, http: Arc<Http>, cut: CancellationToken) {
    http.record.note(|seen| {
        seen.connections += 1;
        seen.open_connections += 1;
    });
    let closed = Closed(http.record.clone());
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let answer = Arc::clone(&http).handle(request.map(Body::new), cut.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    tokio::select! {
        () = cut.cancelled() => {}
        // An error here is the client's leaving in the middle of something.
        _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service) => {}
    }
    drop(closed);
}

/// Counts a connection down, however it ends.
struct Closed(Record);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.note(|seen| seen.open_connections -= 1);
    }
}
