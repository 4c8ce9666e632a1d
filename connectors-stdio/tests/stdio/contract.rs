//! The suite of the core crate, over streams and over a process.

use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::contract::transport::{self, TransportFixture};
use connectors_core::{Limits, Transport};
use connectors_stdio::StdioTransport;

use crate::support::{self, PART};

struct OverStreams {
    buffer: usize,
}

#[async_trait]
impl TransportFixture for OverStreams {
    async fn connect(&self, limits: Limits) -> Arc<dyn Transport> {
        let (ours, theirs) = tokio::io::duplex(self.buffer);
        let (reader, writer) = tokio::io::split(theirs);
        tokio::spawn(support::play(reader, writer));
        let (reader, writer) = tokio::io::split(ours);
        Arc::new(StdioTransport::over(reader, writer, &limits))
    }
}

struct OverProcess;

#[async_trait]
impl TransportFixture for OverProcess {
    async fn connect(&self, limits: Limits) -> Arc<dyn Transport> {
        let peer = support::myself("contract::scripted_peer", "scripted peer");
        support::dial(peer, limits).await.unwrap()
    }
}

/// The process that [`OverProcess`] starts; nothing when the tests are run.
#[test]
fn scripted_peer() {
    if std::env::var_os(PART).is_some_and(|part| part == "scripted peer") {
        support::play_as_process();
    }
}

#[tokio::test]
async fn the_contract_holds_over_streams() {
    transport::all(&OverStreams { buffer: 64 << 10 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_streams_with_a_tiny_buffer() {
    transport::all(&OverStreams { buffer: 700 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_a_process() {
    transport::all(&OverProcess).await;
}
