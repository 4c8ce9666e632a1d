//! A listening daemon: from the port to the last farewell.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Token;
use crate::callback;
use crate::connection::Connections;
use crate::dispatch::Dispatcher;
use crate::router::router;

/// How long connectors are given to close.
const CONNECTORS: Duration = Duration::from_secs(15);

/// A daemon's port on loopback, bound but not yet served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `port` of 127.0.0.1; 0 picks a free one.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves until `stop` is done, then ends in order: no new connections, every connector closed (which answers the
    /// calls that are open), the open connections closed, what is recorded kept. Every step is bounded in time.
    ///
    /// Without a `token`, clients need none. Must be run where nobody but the user reaches loopback, or with one.
    pub async fn serve(
        self,
        dispatcher: Dispatcher,
        token: Option<Arc<Token>>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let accepting = CancellationToken::new();
        let dispatcher = dispatcher.with_callback(&callback::address(self.port()));
        let connections = Connections::new(dispatcher.clone(), token);
        let router = router(self.port(), connections.clone());
        let served = axum::serve(self.listener, router)
            .with_graceful_shutdown(accepting.clone().cancelled_owned())
            .into_future();
        let mut served = std::pin::pin!(served);
        tokio::select! {
            // Fails only for what no later attempt would mend.
            outcome = &mut served => return outcome,
            () = stop => accepting.cancel(),
        }
        let connectors = dispatcher.manager().shutdown();
        let connectors = tokio::time::timeout(CONNECTORS, connectors);
        let (closed, ()) = tokio::join!(connectors, async {
            // Polled meanwhile, so that requests on their way are still answered; it may end first.
            let _ = tokio::time::timeout(CONNECTORS, &mut served).await;
        });
        if closed.is_err() {
            tracing::warn!("some connectors did not close in time");
        }
        connections.close().await;
        dispatcher.end_records().await;
        Ok(())
    }
}
