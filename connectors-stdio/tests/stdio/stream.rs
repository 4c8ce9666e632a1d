//! What a misbehaving server can do to a conversation.

use std::sync::Arc;

use connectors_core::protocol::Incoming;
use connectors_core::{Limits, Transport, TransportError};
use connectors_stdio::StdioTransport;
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

use crate::support::{note, request, result};

/// A transport and the server's end of it.
fn connect(buffer: usize, limits: &Limits) -> (Arc<StdioTransport>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let (reader, writer) = tokio::io::split(ours);
    (Arc::new(StdioTransport::over(reader, writer, limits)), theirs)
}

#[tokio::test]
async fn banners_and_broken_lines_are_skipped() {
    let (wire, mut server) = connect(4096, &Limits::default());
    let noise =
        b"Listening on port 80\n\xff\xfe\n{\"half\":\n{}\n[]\nnull\n\r\n{\"id\":1,\"result\":\"yes\"}\r\n";
    server.write_all(noise).await.unwrap();
    // The answer comes before the question, and so belongs to nobody.
    let mut reply = wire.exchange(request(1, "ask")).await.unwrap();
    server.write_all(b"noise {\"id\":1,\"result\":\"no\"}\n{\"id\":1,\"result\":\"yes\"}\n").await.unwrap();
    let Some(Ok(Incoming::Response { outcome: Ok(result), .. })) = reply.next().await else { panic!() };
    assert_eq!(result.get(), r#""yes""#);
}

#[tokio::test]
async fn an_unreadable_answer_fails_its_exchange_and_no_other() {
    let (wire, mut server) = connect(4096, &Limits::default());
    let mut first = wire.exchange(request(1, "ask")).await.unwrap();
    let mut second = wire.exchange(request(2, "ask")).await.unwrap();
    server.write_all(b"{\"result\":{\"n\":NaN},\"jsonrpc\":\"2.0\",\"id\":1}\n").await.unwrap();
    let Some(Err(TransportError::Malformed(problem))) = first.next().await else { panic!() };
    assert_eq!(problem, "the server's answer is not JSON (line 1, column 16)");
    server.write_all(b"{\"id\":2,\"result\":{}}\n").await.unwrap();
    assert!(matches!(second.next().await, Some(Ok(_))));
}

#[tokio::test]
async fn a_batch_is_taken_apart() {
    let (wire, mut server) = connect(4096, &Limits::default());
    let mut incoming = wire.incoming();
    let mut reply = wire.exchange(request(1, "ask")).await.unwrap();
    server.write_all(b"[{\"method\":\"changed\"},{\"id\":1,\"result\":{}}]\n").await.unwrap();
    assert!(matches!(reply.next().await, Some(Ok(Incoming::Response { .. }))));
    assert!(matches!(incoming.next().await, Some(Ok(Incoming::Notification { .. }))));
}

#[tokio::test]
async fn a_flood_of_notifications_holds_up_no_answer() {
    let (wire, mut server) = connect(4096, &Limits::default());
    let mut incoming = wire.incoming();
    let mut reply = wire.exchange(request(1, "ask")).await.unwrap();
    for _ in 0..100 {
        server.write_all(&b"{\"method\":\"notifications/message\"}\n".repeat(100)).await.unwrap();
    }
    server.write_all(b"{\"method\":\"changed\"}\n{\"id\":1,\"result\":{}}\n").await.unwrap();
    assert!(matches!(reply.next().await, Some(Ok(Incoming::Response { .. }))));
    let kept: Vec<_> = std::iter::from_fn(|| incoming.next().now_or_never()).flatten().collect();
    assert_eq!(kept.len(), 1024);
    assert!(matches!(kept.last(), Some(Ok(Incoming::Notification { method, .. })) if method == "changed"));
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_up_only_who_writes() {
    let (wire, mut server) = connect(256, &Limits::default());
    let mut reply = wire.exchange(request(1, "ask")).await.unwrap();
    let mut stuck = wire.notify(note(100_000));
    assert!((&mut stuck).now_or_never().is_none());
    let mut waiting = wire.exchange(request(2, "ask"));
    assert!((&mut waiting).now_or_never().is_none());
    server.write_all(b"{\"id\":1,\"result\":{}}\n").await.unwrap();
    assert!(matches!(reply.next().await, Some(Ok(_))));

    // What was begun is finished though nobody waits for it; what was not is left out.
    drop(stuck);
    drop(waiting);
    let mut lines = BufReader::new(server).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains(r#""id":1"#));
    assert!(lines.next_line().await.unwrap().unwrap().len() > 100_000);
    let third = wire.exchange(request(3, "ask"));
    let (third, line) = tokio::join!(third, lines.next_line());
    assert!(third.is_ok() && line.unwrap().unwrap().contains(r#""id":3"#));
}

#[tokio::test(start_paused = true)]
async fn closing_a_server_that_neither_reads_nor_closes_is_bounded() {
    let (wire, _server) = connect(256, &Limits::default());
    let stuck = tokio::spawn({
        let wire = Arc::clone(&wire);
        async move { wire.notify(note(10_000)).await }
    });
    tokio::task::yield_now().await;
    let before = tokio::time::Instant::now();
    tokio::join!(wire.close(), wire.close());
    assert!(before.elapsed() < std::time::Duration::from_secs(4));
    assert_eq!(stuck.await.unwrap().unwrap_err().to_string(), "the connection was closed");
}

#[tokio::test]
async fn what_was_sent_before_the_close_is_written_and_then_the_input_ends() {
    let (wire, mut server) = connect(64 << 10, &Limits::default());
    wire.notify(note(1000)).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut all = String::new();
        server.read_to_string(&mut all).await.map(|_| all)
    });
    wire.close().await;
    assert!(reading.await.unwrap().unwrap().ends_with("x\"}}\n"));
}

#[tokio::test]
async fn dropping_the_transport_ends_its_streams() {
    let (wire, _server) = connect(4096, &Limits::default());
    let (mut incoming, mut reply) = (wire.incoming(), wire.exchange(request(1, "ask")).await.unwrap());
    drop(wire);
    assert!(matches!(reply.next().await, Some(Err(TransportError::Closed { .. }))));
    assert!(matches!(incoming.next().await, Some(Err(TransportError::Closed { .. }))));
    assert!(incoming.next().await.is_none());
}

#[tokio::test]
async fn a_message_with_a_line_break_is_refused() {
    let (wire, _server) = connect(4096, &Limits::default());
    let broken = connectors_core::transport::OutgoingRequest { body: "{\n}".into(), ..request(1, "ask") };
    assert!(matches!(result(&*wire, broken).await, Err(TransportError::Refused(_))));
}
