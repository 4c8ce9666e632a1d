//! Subscriptions to resources: in the modern era a part of the one subscription of the client.

use std::time::Duration;

use futures_util::StreamExt;

use super::*;
use crate::connector::Connector;
use crate::contract::scripted::{HTTP_LIKE, STDIO_LIKE, notification};
use crate::error::{ConnectorError, TransportError};
use crate::protocol::Incoming;

/// The id of the first subscription, after that of the probe.
const FIRST: i64 = 2;

/// What the server agrees to announce on the subscription with this id.
fn acknowledged(id: impl Into<Value>, resources: &[&str]) -> Incoming {
    let params = json!({
        "_meta": {"io.modelcontextprotocol/subscriptionId": id.into()},
        "notifications": {"resourceSubscriptions": resources}
    });
    notification("notifications/subscriptions/acknowledged", params)
}

fn upstream_code(outcome: Result<(), ConnectorError>) -> i64 {
    match outcome {
        Err(ConnectorError::Upstream { error, .. }) => error.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_subscribed_to_when_the_server_has_acknowledged_it() {
    let server = ScriptedServer::new(STDIO_LIKE, modern(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    let mut subscribing = client.subscribe_resource("note:a");
    tokio::select! {
        biased;
        outcome = &mut subscribing => panic!("before the acknowledgement: {outcome:?}"),
        asked = server.wait_for("subscriptions/listen") => {
            assert_eq!(asked.params["notifications"], json!({"resourceSubscriptions": ["note:a"]}));
        }
    }
    // That of another subscription says nothing of this one.
    server.send(Ok(acknowledged(77, &["note:a"])));
    let early = tokio::time::timeout(Duration::from_secs(1), &mut subscribing).await;
    assert!(early.is_err(), "{early:?}");
    server.send(Ok(acknowledged(FIRST, &["note:a"])));
    subscribing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_the_server_leaves_out_of_its_acknowledgement_is_not_subscribed_to() {
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(|_, _| Reply::After(vec![acknowledged(FIRST, &[])], Box::new(Reply::Never))),
    );
    let (client, _signals) = connect(&server).await;
    assert_eq!(upstream_code(client.subscribe_resource("note:a").await), -32601);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(server.methods(), ["server/discover", "subscriptions/listen"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_subscriptions_refuses_those_to_resources() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Error(-32601, "Method not found")));
    let (client, _signals) = connect(&server).await;
    for uri in ["note:a", "note:b"] {
        assert_eq!(upstream_code(client.subscribe_resource(uri).await), -32601);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_never_acknowledged_fails_in_time() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    let outcome = client.subscribe_resource("note:a").await;
    assert!(matches!(outcome, Err(ConnectorError::TimedOut { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_another_takes_the_place_of_is_cancelled_where_closing_it_does_not_say_so() {
    for (wire, cancelled) in [(STDIO_LIKE, 1), (HTTP_LIKE, 0)] {
        let mut id = 1;
        let server = ScriptedServer::new(
            wire,
            modern(move |_, params| {
                id += 1;
                let resources = &params["notifications"]["resourceSubscriptions"];
                let resources: Vec<&str> =
                    resources.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                Reply::After(vec![acknowledged(id, &resources)], Box::new(Reply::Never))
            }),
        );
        let (client, _signals) = connect(&server).await;
        client.subscribe_resource("note:a").await.unwrap();
        client.subscribe_resource("note:b").await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let told: Vec<Value> = server
            .seen()
            .into_iter()
            .filter(|seen| seen.method == "notifications/cancelled")
            .map(|seen| seen.params["requestId"].clone())
            .collect();
        assert_eq!(told, vec![json!(FIRST); cancelled]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_until_the_one_in_its_place_is_acknowledged() {
    let (announce, announced) = tokio::sync::oneshot::channel::<()>();
    let mut announced = Some(announced);
    let mut id = 1;
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(move |_, _| {
            id += 1;
            match announced.take() {
                Some(announced) => Reply::After(
                    vec![acknowledged(id, &["note:a"])],
                    Box::new(Reply::Streams(
                        futures_util::stream::once(async move {
                            announced.await.unwrap();
                            notification("notifications/resources/updated", json!({"uri": "note:a"}))
                        })
                        .chain(futures_util::stream::pending())
                        .boxed(),
                    )),
                ),
                None => Reply::Never,
            }
        }),
    );
    let (client, mut signals) = connect(&server).await;
    client.subscribe_resource("note:a").await.unwrap();
    let mut subscribing = client.subscribe_resource("note:b");
    let early = tokio::time::timeout(Duration::from_secs(1), &mut subscribing).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(server.methods(), ["server/discover", "subscriptions/listen", "subscriptions/listen"]);
    announce.send(()).unwrap();
    assert_eq!(signals.recv().await, Some(ClientSignal::ResourceUpdated { uri: "note:a".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn a_new_session_of_the_legacy_era_has_the_subscriptions_of_the_one_before() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(|_, _| Reply::Result(json!({}))));
    let (client, mut signals) = connect(&server).await;
    client.subscribe_resource("note:a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    server.send(Err(TransportError::SessionExpired));
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
    assert_eq!(signals.recv().await, Some(ClientSignal::ResourceUpdated { uri: "note:a".to_owned() }));
    let subscribed: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "resources/subscribe")
        .map(|seen| seen.params)
        .collect();
    assert_eq!(subscribed, vec![json!({"uri": "note:a"}); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_call_has_opened_again_is_a_gap_too() {
    let mut calls = 0;
    let server = ScriptedServer::new(
        HTTP_LIKE,
        legacy(move |_, _| {
            calls += 1;
            if calls == 1 {
                Reply::Wire(TransportError::SessionExpired)
            } else {
                Reply::Result(json!({"resources": []}))
            }
        }),
    );
    let (client, mut signals) = connect(&server).await;
    assert_eq!(client.list_resources().await.unwrap(), []);
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
}

/// The resources that each subscription asked for, in order.
fn wanted(server: &ScriptedServer) -> Vec<Value> {
    server
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "subscriptions/listen")
        .map(|seen| seen.params["notifications"]["resourceSubscriptions"].clone())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_given_up_is_wanted_no_more() {
    let mut id = 1;
    let server = ScriptedServer::new(
        STDIO_LIKE,
        modern(move |_, params| {
            id += 1;
            match &params["notifications"]["resourceSubscriptions"] {
                one if *one == json!(["note:a"]) => {
                    Reply::After(vec![acknowledged(id, &["note:a"])], Box::new(Reply::Never))
                }
                _ => Reply::Never,
            }
        }),
    );
    let (client, _signals) = connect(&server).await;
    client.subscribe_resource("note:a").await.unwrap();
    let given_up = client.subscribe_resource("note:b");
    assert!(tokio::time::timeout(Duration::from_secs(1), given_up).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(wanted(&server), [json!(["note:a"]), json!(["note:a", "note:b"]), json!(["note:a"])]);
    // Asked for again, it is not taken for granted.
    let again = client.subscribe_resource("note:b");
    assert!(tokio::time::timeout(Duration::from_secs(1), again).await.is_err());
    // Nor is what was agreed to before it was ended.
    client.unsubscribe_resource("note:a").await.unwrap();
    client.subscribe_resource("note:a").await.unwrap();
    assert_eq!(wanted(&server).last(), Some(&json!(["note:a"])));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_two_wait_for_outlives_the_one_who_gives_up() {
    let server = ScriptedServer::new(STDIO_LIKE, modern(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    let mut patient = client.subscribe_resource("note:a");
    let hasty = tokio::time::timeout(Duration::from_secs(1), client.subscribe_resource("note:a"));
    tokio::select! {
        biased;
        outcome = &mut patient => panic!("before the acknowledgement: {outcome:?}"),
        given_up = hasty => assert!(given_up.is_err()),
    }
    server.send(Ok(acknowledged(FIRST, &["note:a"])));
    patient.await.unwrap();
    // Neither opened anew nor cancelled.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.methods(), ["server/discover", "subscriptions/listen"]);
}

/// A server that announces changes of tools and prompts, but not of resources.
fn announcing() -> Arc<ScriptedServer> {
    ScriptedServer::new(STDIO_LIKE, |method, _| match method {
        "server/discover" => {
            let mut result = discover_result();
            let announced = json!({"listChanged": true});
            result["capabilities"] = json!({"tools": announced, "prompts": announced, "resources": {}});
            Reply::Result(result)
        }
        "tools/list" => Reply::Result(one_tool()),
        "prompts/list" => Reply::Result(json!({"prompts": []})),
        "resources/list" => Reply::Result(json!({"resources": []})),
        _ => Reply::Never,
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_first_acknowledgement_may_have_changed_and_is_said_to_once() {
    let server = announcing();
    let (client, mut signals) = connect(&server).await;
    let asked = server.wait_for("subscriptions/listen").await;
    assert_eq!(asked.params["notifications"], json!({"toolsListChanged": true, "promptsListChanged": true}));
    client.list_tools().await.unwrap();
    client.list_resources().await.unwrap();
    server.send(Ok(acknowledged(77, &[])));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(signals.try_recv().is_err());
    server.send(Ok(acknowledged(FIRST, &[])));
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
    // What is read from now on is announced when it changes.
    client.list_tools().await.unwrap();
    client.list_prompts().await.unwrap();
    server.send(Ok(acknowledged(FIRST, &[])));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(signals.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_while_one_subscription_takes_the_place_of_another_is_not_read_again() {
    let server = announcing();
    let (client, mut signals) = connect(&server).await;
    server.wait_for("subscriptions/listen").await;
    server.send(Ok(acknowledged(FIRST, &[])));
    // Lets the listening task take it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let subscribing = client.subscribe_resource("note:a");
    let during = async {
        while wanted(&server).len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        client.list_tools().await.unwrap();
        server.send(Ok(acknowledged(FIRST + 1, &["note:a"])));
    };
    let (outcome, ()) = tokio::join!(subscribing, during);
    outcome.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(signals.try_recv().is_err());
}
