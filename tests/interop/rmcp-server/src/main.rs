//! A server on rmcp, with what every server of the interop tests offers (see `interop/README.md`).
//!
//! `rmcp-server legacy|modern [PORT]`: over stdio, or with a port over Streamable HTTP at `/mcp`.

mod changes;
mod surface;

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rmcp::ServiceExt;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use surface::Surface;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (era, port) = match &arguments[..] {
        [era] => (era, None),
        [era, port] => (era, Some(port.parse()?)),
        _ => return Err("usage: rmcp-server legacy|modern [PORT]".into()),
    };
    let version = match era.as_str() {
        "legacy" => ProtocolVersion::V_2025_11_25,
        "modern" => ProtocolVersion::V_2026_07_28,
        _ => return Err("the era is legacy or modern".into()),
    };
    let surface = Surface::new(version);
    match port {
        None => {
            surface.serve(rmcp::transport::stdio()).await?.waiting().await?;
            Ok(())
        }
        Some(port) => listen(surface, port).await,
    }
}

async fn listen(surface: Surface, port: u16) -> Result<(), Box<dyn Error>> {
    let service = StreamableHttpService::new(
        move || Ok(surface.clone()),
        Arc::<LocalSessionManager>::default(),
        StreamableHttpServerConfig::default(),
    );
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // An error here is the client's leaving in the middle of something.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
