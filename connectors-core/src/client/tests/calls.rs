use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;

use super::*;
use crate::connector::{Connector, Progress, ToolCall};
use crate::contract::scripted::{HTTP_LIKE, STDIO_LIKE, notification};
use crate::error::{ConnectorError, TransportError};
use crate::host::{InputHandler, InputRequest};
use crate::limits::Limits;
use crate::protocol::{Incoming, RequestId, RpcError};
use crate::tool::ToolDefinition;
use crate::transport::Traits;

fn tool() -> Arc<ToolDefinition> {
    let raw = r#"{"name":"t","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"R"}}}}"#;
    Arc::new(
        ToolDefinition::read(&RawValue::from_string(raw.to_owned()).unwrap(), &Limits::default(), true)
            .unwrap(),
    )
}

fn call() -> ToolCall {
    ToolCall::new(tool(), json!({"r": "x"}))
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn progress(params: &Value, progress: f64) -> Incoming {
    notification(
        "notifications/progress",
        json!({"progressToken": params["_meta"]["progressToken"], "progress": progress}),
    )
}

#[tokio::test(start_paused = true)]
async fn the_result_comes_back_as_the_server_wrote_it() {
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(|_, _| {
            Reply::Result(
                json!({"content": [{"type": "text", "text": "hi"}], "isError": true, "x": 1, "resultType": "complete"}),
            )
        }),
    );
    let (client, _signals) = connect(&server).await;
    let outcome = client.call_tool(call()).await.unwrap();
    assert!(outcome.is_error());
    assert_eq!(outcome.text(), "hi");
    assert!(outcome.raw().get().contains(r#""x":1"#));
    let seen = server.wait_for("tools/call").await;
    assert_eq!((&seen.params["name"], &seen.params["arguments"]), (&json!("t"), &json!({"r": "x"})));
}

#[tokio::test(start_paused = true)]
async fn a_response_with_another_id_is_never_taken_for_the_answer() {
    let foreign = || Incoming::Response {
        id: Some(RequestId::Number(999)),
        outcome: Ok(RawValue::from_string(text("foreign").to_string()).unwrap()),
    };
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(move |_, _| Reply::After(vec![foreign()], Box::new(Reply::Result(text("own"))))),
    );
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.call_tool(call()).await.unwrap().text(), "own");
}

#[tokio::test(start_paused = true)]
async fn a_silent_call_ends_after_the_idle_limit() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    let started = tokio::time::Instant::now();
    let error = client.call_tool(call()).await.unwrap_err();
    assert_eq!(error.to_string(), "`s`: tools/call without progress took longer than 60s");
    assert_eq!(started.elapsed(), Duration::from_secs(60));
}

/// A call that is answered after this long.
fn slow(duration: Duration) -> Reply {
    Reply::Later(Box::pin(async move {
        tokio::time::sleep(duration).await;
        text("done")
    }))
}

#[tokio::test(start_paused = true)]
async fn progress_extends_the_idle_limit_whichever_way_it_arrives() {
    for traits in [HTTP_LIKE, STDIO_LIKE] {
        let server = ScriptedServer::new(traits, legacy(|_, _| slow(Duration::from_secs(200))));
        let (client, _signals) = connect(&server).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let call = call().with_progress(Arc::new(move |p: Progress| sink.lock().unwrap().push(p.progress)));
        let ticker = async {
            let params = server.wait_for("tools/call").await.params;
            for n in 1..4 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                server.send(Ok(progress(&params, f64::from(n))));
            }
        };
        let (outcome, ()) = tokio::join!(client.call_tool(call), ticker);
        assert_eq!(outcome.unwrap().text(), "done");
        assert_eq!(*seen.lock().unwrap(), [1.0, 2.0, 3.0]);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_does_not_extend_the_total_limit() {
    let server = ScriptedServer::new(STDIO_LIKE, legacy(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    let ticker = async {
        let params = server.wait_for("tools/call").await.params;
        loop {
            tokio::time::sleep(Duration::from_secs(30)).await;
            server.send(Ok(progress(&params, 1.0)));
        }
    };
    let started = tokio::time::Instant::now();
    let outcome = tokio::select! {
        outcome = client.call_tool(call()) => outcome,
        () = ticker => unreachable!(),
    };
    assert_eq!(outcome.unwrap_err().code(), "timeout");
    assert_eq!(started.elapsed(), Duration::from_secs(30 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_cancelled_at_the_server_where_a_closed_stream_does_not_say_it() {
    let cases: [(Traits, bool, bool); 4] = [
        (HTTP_LIKE, true, false),
        (HTTP_LIKE, false, true),
        (STDIO_LIKE, true, true),
        (STDIO_LIKE, false, true),
    ];
    for (traits, is_modern, told) in cases {
        let server = if is_modern {
            ScriptedServer::new(traits, modern(|_, _| Reply::Never))
        } else {
            ScriptedServer::new(traits, legacy(|_, _| Reply::Never))
        };
        let (client, _signals) = connect(&server).await;
        tokio::select! {
            _ = client.call_tool(call()) => unreachable!(),
            _ = server.wait_for("tools/call") => {}
        }
        // The notification is sent by a task; idle time shows that there is none.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let cancelled = server.seen().into_iter().find(|seen| seen.method == "notifications/cancelled");
        assert_eq!(cancelled.is_some(), told, "{traits:?} modern: {is_modern}");
        if let Some(cancelled) = cancelled {
            let token = &server.wait_for("tools/call").await.params["_meta"]["progressToken"];
            assert_eq!(&cancelled.params["requestId"], token);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answered_call_is_not_cancelled() {
    let server = ScriptedServer::new(STDIO_LIKE, legacy(|_, _| Reply::Result(text("x"))));
    let (client, _signals) = connect(&server).await;
    client.call_tool(call()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!server.methods().contains(&"notifications/cancelled".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_is_opened_again_once_for_all_its_calls() {
    let fresh = Arc::new(AtomicUsize::new(0));
    let sessions = Arc::clone(&fresh);
    let server = ScriptedServer::new(HTTP_LIKE, move |method, _| match method {
        "server/discover" => Reply::Error(-32601, "?"),
        "initialize" => {
            sessions.fetch_add(1, Ordering::SeqCst);
            Reply::Result(initialize_result())
        }
        _ if sessions.load(Ordering::SeqCst) < 2 => Reply::Wire(TransportError::SessionExpired),
        _ => Reply::Result(text("again")),
    });
    let (client, _signals) = connect(&server).await;
    let outcomes = futures_util::future::join_all((0..8).map(|_| client.call_tool(call()))).await;
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().text(), "again");
    }
    assert_eq!(fresh.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_keeps_expiring_is_an_error() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(|_, _| Reply::Wire(TransportError::SessionExpired)));
    let (client, _signals) = connect(&server).await;
    assert!(client.call_tool(call()).await.is_err());
    assert_eq!(server.methods().iter().filter(|m| *m == "tools/call").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_json_rpc_error_is_the_servers() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Error(-32602, "no such tool")));
    let (client, _signals) = connect(&server).await;
    let ConnectorError::Upstream { error, .. } = client.call_tool(call()).await.unwrap_err() else {
        panic!()
    };
    assert_eq!((error.code, error.message.as_str()), (-32602, "no such tool"));
}

struct Accepts;

#[async_trait]
impl InputHandler for Accepts {
    fn capabilities(&self) -> Value {
        json!({"elicitation": {}})
    }

    async fn answer(&self, _: &Slug, request: InputRequest) -> Result<Value, RpcError> {
        assert_eq!(request.method, "elicitation/create");
        Ok(json!({"action": "accept", "content": {"asked": request.params.unwrap().get().len() > 2}}))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_input_is_answered_in_a_new_request_with_the_state_untouched() {
    let round = AtomicUsize::new(0);
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(move |_, params| match round.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Result(json!({
                "resultType": "input_required",
                "inputRequests": {"k": {"method": "elicitation/create", "params": {"message": "?"}}},
                "requestState": "opaque \u{e9}"
            })),
            1 => {
                assert_eq!(
                    params["inputResponses"],
                    json!({"k": {"action": "accept", "content": {"asked": true}}})
                );
                assert_eq!(params["requestState"], "opaque \u{e9}");
                Reply::Result(json!({"resultType": "input_required", "requestState": "second"}))
            }
            _ => {
                assert_eq!(params.get("inputResponses"), None);
                assert_eq!(params["requestState"], "second");
                Reply::Result(text("done"))
            }
        }),
    );
    let (client, _signals) = try_connect(&server, options().with_input(Arc::new(Accepts))).await.unwrap();
    assert_eq!(client.call_tool(call()).await.unwrap().text(), "done");
    let tokens: Vec<_> = server
        .seen()
        .iter()
        .filter(|s| s.method == "tools/call")
        .map(|s| s.params["_meta"]["progressToken"].clone())
        .collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_input_for_ever_is_stopped() {
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(|_, _| Reply::Result(json!({"resultType": "input_required", "requestState": "x"}))),
    );
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.call_tool(call()).await.unwrap_err().code(), "limit_exceeded");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_result_type_is_a_broken_protocol() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Result(json!({"resultType": "task"}))));
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.call_tool(call()).await.unwrap_err().code(), "upstream_protocol");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_an_answer_is_an_error() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Ends));
    let (client, _signals) = connect(&server).await;
    assert_eq!(
        client.call_tool(call()).await.unwrap_err().to_string(),
        "`s`: the server ended the stream before it answered"
    );
}
