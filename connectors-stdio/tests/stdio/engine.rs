//! The engine's server type as a transport: what of the core's suite it can do, and its own end.
//!
//! It moves tool calls alone. So the suite's requests go to it as calls of tools of their names, with the parameters as arguments,
//! and the results come back as texts. One call at a time, no notifications and no codes of errors: for that the cases that
//! are not run here want too much.

use std::io::{BufRead, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use connectors_core::contract::transport::{self, PeerAction, ScriptedPeer, TransportFixture, method};
use connectors_core::protocol::Incoming;
use connectors_core::transport::{
    DialTarget, IncomingStream, OutgoingNotification, OutgoingRequest, ReplyStream, Traits,
};
use connectors_core::{
    ConnectorDefinition, Dialer, Limits, SecretVariable, StaticHeaders, Trace, Transport, TransportError,
};
use connectors_stdio::EngineDialer;
use futures_util::StreamExt;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::support::{self, PART, request};

/// Requests as calls of tools.
struct AsTools(Arc<dyn Transport>);

#[async_trait]
impl Transport for AsTools {
    fn traits(&self) -> Traits {
        self.0.traits()
    }

    async fn exchange(&self, mut request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        let message: Value = serde_json::from_slice(&request.body).unwrap();
        let params = json!({"name": message["method"], "arguments": message["params"]});
        let call = json!({"jsonrpc": "2.0", "id": message["id"], "method": "tools/call", "params": params});
        request.method = "tools/call".into();
        request.body = Bytes::from(call.to_string());
        let unwrapped = |message: Result<Incoming, TransportError>| match message? {
            Incoming::Response { id, outcome: Ok(result) } => {
                let result: Value = serde_json::from_str(result.get()).unwrap();
                let text: Value =
                    serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
                Ok(Incoming::Response { id, outcome: Ok(to_raw_value(&text).unwrap()) })
            }
            other => Ok(other),
        };
        Ok(self.0.exchange(request).await?.map(unwrapped).boxed())
    }

    async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError> {
        self.0.notify(note).await
    }

    fn incoming(&self) -> IncomingStream {
        self.0.incoming()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// The tool that fails with the text that it is given.
const FAIL: &str = "fail";

async fn dialled(
    mut definition: ConnectorDefinition,
    limits: Limits,
    secret: &[(&str, &str)],
) -> Arc<dyn Transport> {
    definition.engine = true;
    assert!(EngineDialer::new().serves(&definition));
    let authorizer = Arc::new(StaticHeaders::default());
    let target = DialTarget::new(Arc::new(definition), authorizer, Arc::new(limits), Trace::default());
    let secret = secret.iter().map(|(name, value)| SecretVariable::new(*name, *value)).collect();
    EngineDialer::new().dial(target.with_environment(secret)).await.unwrap()
}

/// A server that is connected, and past `initialize`.
async fn connected(limits: Limits) -> Arc<dyn Transport> {
    let definition = support::myself("engine::tools_of_the_scripted_peer", "peer of the engine");
    let wire = dialled(definition, limits, &[]).await;
    support::result(&*wire, request(0, "initialize")).await.unwrap();
    wire
}

struct OverEngine;

#[async_trait]
impl TransportFixture for OverEngine {
    async fn connect(&self, limits: Limits) -> Arc<dyn Transport> {
        Arc::new(AsTools(connected(limits).await))
    }
}

/// The process that [`connected`] starts: an MCP server whose tools are the scripted peer's methods. Nothing when the tests are run.
#[test]
fn tools_of_the_scripted_peer() {
    if std::env::var_os(PART).is_none_or(|part| part != "peer of the engine") {
        return;
    }
    let mut peer = ScriptedPeer::default();
    let mut out = std::io::stdout().lock();
    // The test harness has begun a line.
    out.write_all(b"\n").unwrap();
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (id, params) = (&message["id"], &message["params"]);
        let mut answers = Vec::new();
        match message["method"].as_str().unwrap() {
            "initialize" => {
                let result = json!({"protocolVersion": params["protocolVersion"], "capabilities": {}});
                answers.push(json!({"jsonrpc": "2.0", "id": id, "result": result}));
            }
            "tools/call" if params["name"] == FAIL => {
                let result = json!({"content": [{"type": "text", "text": params["arguments"]["text"]}], "isError": true});
                answers.push(json!({"jsonrpc": "2.0", "id": id, "result": result}));
            }
            "tools/call" => {
                let request = json!({"jsonrpc": "2.0", "id": id, "method": params["name"], "params": params["arguments"]});
                for action in peer.receive(request.to_string().as_bytes()) {
                    let PeerAction::Send { message, .. } = action else { std::process::exit(3) };
                    let mut message: Value = serde_json::from_str(&message).unwrap();
                    let text = message["result"].to_string();
                    message["result"] = json!({"content": [{"type": "text", "text": text}]});
                    answers.push(message);
                }
            }
            _ => {}
        }
        for answer in answers {
            out.write_all(format!("{answer}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }
    std::process::exit(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_as_far_as_the_engine_goes() {
    transport::an_answer_is_matched_by_id(&OverEngine).await;
    transport::large_messages_of_concurrent_callers_arrive_whole(&OverEngine).await;
    transport::an_unmatched_id_is_never_taken_for_an_answer(&OverEngine).await;
    transport::an_answer_over_the_limit_ends_only_its_exchange(&OverEngine).await;
}

fn calling(id: i64, method: &'static str, params: Value) -> OutgoingRequest {
    let mut request = request(id, method);
    let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    request.body = Bytes::from(message.to_string());
    request
}

async fn ends_with_closed(wire: &dyn Transport) {
    let last = wire.incoming().next().await;
    assert!(matches!(last, Some(Err(TransportError::Closed { .. }))), "incoming ends with {last:?}");
    let later = wire.exchange(calling(9, method::ECHO, json!({}))).await;
    assert!(matches!(later, Err(TransportError::Closed { .. })), "something is carried by what is closed");
    wire.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_ends_the_call_and_the_connection_and_is_not_started_again_behind_it() {
    let wire = AsTools(connected(Limits::default()).await);
    let Err(error) = wire.exchange(calling(1, method::DIE, json!({"held": 0}))).await else {
        panic!("a dead server has answered");
    };
    assert!(matches!(error, TransportError::Closed { .. }), "{error:?}");
    ends_with_closed(&wire).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_a_call_that_is_open_and_those_that_wait_for_it() {
    let wire = Arc::new(AsTools(connected(Limits::default()).await));
    let hanging = |id| {
        let wire = Arc::clone(&wire);
        async move { wire.exchange(calling(id, method::NEVER, json!({}))).await.map(drop) }
    };
    let (one, other, ()) = tokio::join!(hanging(1), hanging(2), wire.close());
    for outcome in [one, other] {
        assert!(matches!(outcome, Err(TransportError::Closed { .. })), "{outcome:?}");
    }
    ends_with_closed(&*wire).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_fails_in_the_engines_words_is_a_tool_that_fails() {
    let wire = connected(Limits::default()).await;
    let words = [
        "flush: no water",
        "write to MCP server: no ink",
        "MCP request 'tools/call' timed out",
        "MCP session 'local' is dead and reconnect failed: no way",
    ];
    for (id, text) in (1..).zip(words) {
        let params = json!({"name": FAIL, "arguments": {"text": text}});
        let outcome = support::result(&*wire, calling(id, "tools/call", params)).await.unwrap();
        let expected = json!({"content": [{"type": "text", "text": text}], "isError": true});
        assert_eq!(serde_json::from_str::<Value>(&outcome).unwrap(), expected);
    }
    wire.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_out_of_time_names_the_limit_that_it_had() {
    let limit = std::time::Duration::from_millis(200);
    let mut limits = Limits::default();
    limits.call_total = limit;
    let wire = AsTools(connected(limits).await);
    let Err(error) = wire.exchange(calling(1, method::NEVER, json!({}))).await else {
        panic!("an answer that was never sent");
    };
    assert!(matches!(error, TransportError::TimedOut { limit: told, .. } if told == limit), "{error:?}");
    wire.close().await;
}

/// Two lines, of which a server says both.
const KEY: &str = "MIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n";

/// A shell script as a server of the engine's, with [`KEY`] as a secret and a variable of its own.
async fn sh(script: &str) -> Arc<dyn Transport> {
    let definition = support::definition("sh", &["-c", script], &[("OWN", "canary-4711")]);
    dialled(definition, Limits::default(), &[("KEY", KEY)]).await
}

/// Of one that exits at once.
async fn end(script: &str) -> String {
    let wire = sh(script).await;
    let mut incoming = wire.incoming();
    let error = support::result(&*wire, request(0, "initialize")).await.unwrap_err().to_string();
    assert_eq!(incoming.next().await.unwrap().unwrap_err().to_string(), error);
    wire.close().await;
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_exits_at_once_says_why_without_its_secrets() {
    let script = r#"printf '\033[31mbad key\n%s%s' "$KEY" "$OWN" >&2; exit 1"#;
    let expected = "the server's process has ended; its last words: [31mbad key [redacted]";
    assert_eq!(end(script).await, expected);
    assert_eq!(end("exit 0").await, "the server's process has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_server_has_started_is_killed_and_does_not_keep_its_last_words() {
    let before = std::time::Instant::now();
    let expected = "the server's process has ended; its last words: no [redacted]";
    assert_eq!(end(r#"sleep 1000 & echo "no $OWN" >&2; exit 1"#).await, expected);
    assert!(before.elapsed() < std::time::Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_of_a_call_says_why_without_its_secrets() {
    let wire = sh(r#"
        read -r _; echo '{"jsonrpc":"2.0","id":1,"result":{}}'
        read -r _; read -r _; printf 'no more\n%s' "$KEY" >&2; exit 1
    "#)
    .await;
    support::result(&*wire, request(0, "initialize")).await.unwrap();
    let call = calling(1, "tools/call", json!({"name": "ask", "arguments": {}}));
    let expected = "the server's process has ended; its last words: no more [redacted]";
    assert_eq!(support::result(&*wire, call).await.unwrap_err().to_string(), expected);
    let later = calling(2, "tools/call", json!({"name": "ask", "arguments": {}}));
    assert_eq!(support::result(&*wire, later).await.unwrap_err().to_string(), expected);
    wire.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_standard_error_stops_no_server_of_the_engines() {
    let wire = sh(r#"
        head -c 3000000 /dev/zero | tr '\0' 'x' >&2; yes | head -n 200000 >&2
        read -r _; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; read -r _; read -r _
    "#)
    .await;
    support::result(&*wire, request(0, "initialize")).await.unwrap();
    wire.close().await;
}
