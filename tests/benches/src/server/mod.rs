//! A fast MCP server: hyper on one thread, every answer made ahead but for its id.
//!
//! What a URL's query says decides how its tools answer (see [`plan::Plan`]), so that no contender needs other code for
//! another row.

mod plan;
mod reply;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use self::plan::Plan;
use self::reply::Reply;
use crate::Era;

/// Serves until its standard input ends, and prints the port that it listens on.
///
/// With several `hosts` it listens on as many loopback addresses, all with the same port: to clients these are different
/// servers, which share no pooled connection.
pub(crate) fn run(era: Era, hosts: usize) -> Result<()> {
    let listeners = listen(hosts)?;
    let port = listeners[0].local_addr()?.port();
    println!("{port}");
    std::thread::spawn(|| {
        // Ends with the harness, however that ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let server = Arc::new(Server { era, plans: Mutex::default() });
        let mut accepting = Vec::new();
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.push(tokio::spawn(accept(listener, Arc::clone(&server))));
        }
        for listener in accepting {
            listener.await?;
        }
        Ok(())
    })
}

/// The address of one of the hosts.
pub(crate) fn host(index: usize) -> Ipv4Addr {
    let [low, high] = [index % 250 + 1, index / 250].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
    Ipv4Addr::new(127, 0, high, low)
}

fn listen(hosts: usize) -> Result<Vec<TcpListener>> {
    let mut port = 0;
    let mut listeners = Vec::with_capacity(hosts);
    for index in 0..hosts {
        let listener = TcpListener::bind(SocketAddr::from((host(index), port)))
            .with_context(|| format!("cannot listen on {}", host(index)))?;
        listener.set_nonblocking(true)?;
        port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn accept(listener: tokio::net::TcpListener, server: Arc<Server>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without it the loopback would be fast or 40 ms late, depending on how a client writes.
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            // A client that goes away in the middle of an answer is part of a row.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Server {
    era: Era,
    plans: Mutex<HashMap<String, Arc<Plan>>>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        if request.method() != Method::POST {
            return reply::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let plan = self.plan(request.uri().query().unwrap_or_default());
        let Ok(body) = request.into_body().collect().await else {
            return reply::empty(StatusCode::BAD_REQUEST);
        };
        plan.answer(&body.to_bytes(), self.era)
    }

    fn plan(&self, query: &str) -> Arc<Plan> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(query) {
            return Arc::clone(plan);
        }
        let plan = Arc::new(Plan::new(query));
        plans.insert(query.to_owned(), Arc::clone(&plan));
        plan
    }
}
