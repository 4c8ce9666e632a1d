//! Ports that stay reserved while nobody listens on them.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback port that refuses connections until a server is started on it, and that nobody else is given meanwhile.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// A free one.
    pub fn reserve() -> Self {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same port, once more.
    pub(crate) fn again(&self) -> Self {
        Self::bind(self.address)
    }

    fn bind(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Lets the server's socket and the reservation have the port at the same time.
        #[cfg(unix)]
        socket.set_reuseport(true).expect("a socket option");
        #[cfg(not(unix))]
        socket.set_reuseaddr(true).expect("a socket option");
        socket.bind(address).expect("a free loopback port");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { socket, address }
    }

    pub(crate) fn into_socket(self) -> TcpSocket {
        self.socket
    }

    /// The origin of whatever is here, or will be.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of the MCP endpoint that is here, or will be.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.origin())
    }
}
