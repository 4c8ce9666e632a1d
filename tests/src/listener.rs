//! HTTP servers at work: each has a thread of its own, so that no test can starve it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::port::Port;

/// What answers.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one request; `connection` cuts the connection that it came on.
    fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        connection: CancellationToken,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// A connection was accepted.
    fn opened(&self) {}

    /// A connection has ended.
    fn closed(&self) {}
}

/// A service on a port. Dropping it stops it; that panics if it had died before.
#[derive(Debug)]
pub(crate) struct Listener {
    name: &'static str,
    port: Port,
    cut_all: Arc<Mutex<CancellationToken>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts `service` on a port that was reserved for it, or that another had before; `name` is for its thread.
    pub(crate) fn start<S: Service>(name: &'static str, service: Arc<S>, port: &Port) -> Self {
        let (stop, cut_all) = (CancellationToken::new(), Arc::<Mutex<CancellationToken>>::default());
        let (listens, listening) = mpsc::channel();
        let socket = port.again().into_socket();
        let (cut_of_thread, stop_of_thread) = (Arc::clone(&cut_all), stop.clone());
        let serve = async move {
            let listener = socket.listen(1024).expect("a reserved port");
            listens.send(()).expect("the starter waits");
            serve(listener, service, cut_of_thread, stop_of_thread).await;
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(serve);
            })
            .expect("a thread");
        listening.recv().expect("the server listens");
        Self { name, port: port.again(), cut_all, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> &Port {
        &self.port
    }

    /// Cuts every open connection.
    pub(crate) fn cut_connections(&self) {
        std::mem::take(&mut *self.cut_all.lock().expect("no panic with the lock")).cancel();
    }

    /// Stops it: connections are cut, and its port refuses new ones, until another server is started on it.
    pub(crate) fn stop(mut self) -> Port {
        self.end();
        self.port.again()
    }

    fn end(&mut self) {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return };
        let outcome = thread.join();
        // A second panic on top of a failing test's would abort the whole run.
        if outcome.is_err() && !std::thread::panicking() {
            panic!("the {} at {} has died; its panic is above", self.name, self.port.origin());
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve<S: Service>(
    listener: tokio::net::TcpListener,
    service: Arc<S>,
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
                connections.spawn(connection(TokioIo::new(stream), Arc::clone(&service), cut));
            }
        }
    }
}

/// Serves one connection until either side ends it.
async fn connection<S: Service>(io: TokioIo<tokio::net::TcpStream>, service: Arc<S>, cut: CancellationToken) {
    service.opened();
    let closed = Closed(Arc::clone(&service));
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let answer = Arc::clone(&service).handle(request.map(Body::new), cut.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    tokio::select! {
        () = cut.cancelled() => {}
        // An error here is the client's leaving in the middle of something.
        _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service) => {}
    }
    drop(closed);
}

/// Tells of a connection's end, however it ends.
struct Closed<S: Service>(Arc<S>);

impl<S: Service> Drop for Closed<S> {
    fn drop(&mut self) {
        self.0.closed();
    }
}
