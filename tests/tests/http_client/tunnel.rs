//! A proxy that tunnels, whatever it is asked for, to one server.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) struct Tunnel {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// A proxy whose tunnels all end at `backend`; without one it answers 407.
    pub(super) async fn start(backend: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket, backend, Arc::clone(&noted)));
            }
        });
        Self { address, asked, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Method and target of the requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: TcpStream, backend: Option<SocketAddr>, asked: Arc<Mutex<Vec<String>>>) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let status = if backend.is_some() { 200 } else { 407 };
        if let Some(backend) = backend {
            tokio::spawn(async move {
                let client = hyper::upgrade::on(request).await.unwrap();
                let mut server = TcpStream::connect(backend).await.unwrap();
                // It ends with whoever closes first.
                let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
            });
        }
        async move { Ok::<_, Infallible>(Response::builder().status(status).body(Body::empty()).unwrap()) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    // An error here is the client's leaving.
    let _ = connection.with_upgrades().await;
}
