use serde_json::json;

use super::*;
use crate::fixture::Fixture;

#[tokio::test]
async fn a_connector_goes_from_its_url_to_a_call_and_away_again() {
    let fixture = Fixture::new().await;
    let status = fixture.must("connectors.add", json!({"name": "One", "url": "http://one"})).await;
    assert_eq!(
        (&status["slug"], &status["connected"], &status["tool_count"], &status["enabled_count"]),
        (&json!("one"), &json!(true), &json!(3), &json!(0))
    );
    let list = fixture.must("connectors.list", json!({})).await;
    assert_eq!(list["connectors"][0]["slug"], "one");
    assert_eq!(list.as_object().unwrap().len(), 1);
    let call = json!({"slug": "one", "tool": "echo", "arguments": {"text": "hi"}, "call_id": "c"});
    assert_eq!(fixture.must_fail("connectors.call_tool", call.clone()).await.0, -32041);
    let enable = json!({"slug": "one", "tools": ["echo", "wait", "no such tool"]});
    assert_eq!(fixture.must("connectors.enable_tools", enable.clone()).await, json!({"enabled": 2}));
    assert_eq!(fixture.must("connectors.enable_tools", enable).await, json!({"enabled": 0}));
    let mut result = fixture.must("connectors.call_tool", call.clone()).await;
    assert!(result["duration_ms"].take().is_u64());
    assert_eq!(
        result,
        json!({"content": [{"type": "text", "text": "hi"}], "extra": [1.0], "isError": false,
            "call_id": "c", "duration_ms": null})
    );
    let wrong = json!({"slug": "one", "tool": "echo", "arguments": {}});
    assert_eq!(fixture.must_fail("connectors.call_tool", wrong).await.0, -32050);
    let disable = json!({"slug": "one", "tools": ["echo"]});
    assert_eq!(fixture.must("connectors.disable_tools", disable).await, json!({"disabled": 1}));
    assert_eq!(fixture.must_fail("connectors.call_tool", call).await.0, -32041);
    let refreshed = fixture.must("connectors.refresh", json!({"slug": "one"})).await;
    assert_eq!(refreshed, fixture.must("connectors.tools", json!({"slug": "one"})).await);
    assert_eq!(refreshed[0]["canonical"], "mcp_one_echo");
    assert_eq!(fixture.must("connectors.remove", json!({"slug": "one"})).await, json!({"removed": "one"}));
    assert_eq!(fixture.must("connectors.list", json!({})).await, json!({"connectors": []}));
}

#[tokio::test]
async fn a_connector_that_cannot_be_reached_is_added_and_says_why() {
    let fixture = Fixture::new().await;
    let status = fixture.must("connectors.add", json!({"name": "Off", "url": "http://nowhere"})).await;
    assert_eq!((&status["connected"], &status["state"]), (&json!(false), &json!("backoff")));
    assert!(status["last_error"].as_str().unwrap().contains("nobody listens"), "{status}");
}

#[tokio::test]
async fn an_update_keeps_the_slug_and_the_selection() {
    let fixture = Fixture::with_tools().await;
    let update = json!({"slug": "one", "name": "Two", "url": "http://two", "headers": {"X-Key": "hunter2"}});
    let status = fixture.must("connectors.update", update).await;
    assert_eq!(
        (&status["slug"], &status["name"], &status["enabled_count"], &status["secret_headers"]),
        (&json!("one"), &json!("Two"), &json!(3), &json!(["X-Key"]))
    );
    assert!(!status.to_string().contains("hunter2"));
    let off = fixture.must("connectors.update", json!({"slug": "one", "disabled": true})).await;
    assert_eq!(off["state"], "disabled");
    assert_eq!(
        fixture.must_fail("connectors.update", json!({"slug": "one", "args": []})).await,
        (-32602, "invalid params: `args`: this is a HTTP connector".to_owned())
    );
}

#[tokio::test]
async fn a_denied_connector_has_no_tools_for_anyone() {
    let fixture = Fixture::with_tools().await;
    let rule = json!({"rule": "deny_connector", "target": "one", "name": "no one"});
    assert_eq!(fixture.must("policy.register", rule).await, json!({"registered": "no one"}));
    let call = json!({"slug": "one", "tool": "echo", "arguments": {"text": "hi"}});
    assert_eq!(fixture.must_fail("connectors.call_tool", call).await.0, -32041);
    let list = fixture.must("connectors.list", json!({})).await;
    assert_eq!(list["connectors"][0]["enabled_count"], 0);

    let rule = json!({"name": "no one"});
    assert_eq!(fixture.must("policy.unregister", rule.clone()).await, json!({"unregistered": true}));
    assert_eq!(fixture.must("policy.unregister", rule).await, json!({"unregistered": false}));
    let list = fixture.must("connectors.list", json!({})).await;
    assert_eq!(list["connectors"][0]["enabled_count"], 3);
}

#[tokio::test]
async fn a_call_can_be_cancelled_by_its_id() {
    let mut fixture = Fixture::with_tools().await;
    let call = json!({"slug": "one", "tool": "wait", "call_id": "c"});
    let (dispatcher, session) = (fixture.dispatcher.clone(), fixture.session.clone());
    let running = tokio::spawn(async move {
        let params = serde_json::value::to_raw_value(&call).unwrap();
        dispatcher.dispatch(&session, "connectors.call_tool", Some(&params)).await
    });
    let mut answer = fixture.waiting.recv().await.unwrap();
    assert_eq!(fixture.must("connectors.cancel", json!({"call_id": "c"})).await, json!({"cancelled": true}));
    assert_eq!(running.await.unwrap().unwrap_err().code, -32051);
    answer.closed().await;
    assert_eq!(fixture.must("connectors.cancel", json!({"call_id": "c"})).await, json!({"cancelled": false}));
}

#[tokio::test]
async fn a_question_that_nobody_asked_cannot_be_answered() {
    let fixture = Fixture::new().await;
    let answer = json!({"request_id": "input-9", "action": "accept", "content": {"a": 1}});
    assert_eq!(fixture.must("connectors.answer", answer).await, json!({"answered": false}));
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let fixture = Fixture::new().await;
    for method in ["tools", "refresh", "remove", "reconnect", "update", "sign_in", "sign_out", "explain"] {
        let error = fixture.must_fail(&format!("connectors.{method}"), json!({"slug": "x"})).await;
        assert_eq!(error, (-32040, "there is no connector `x`".to_owned()), "{method}");
    }
    for method in ["enable_tools", "disable_tools", "accept_changes"] {
        let params = json!({"slug": "x", "tools": []});
        assert_eq!(fixture.must_fail(&format!("connectors.{method}"), params).await.0, -32040, "{method}");
    }
    assert_eq!(
        fixture.must_fail("connectors.fly", json!({})).await,
        (-32601, "there is no method `connectors.fly`; `rpc.discover` lists those that there are".to_owned())
    );
    let (code, message) = fixture
        .must_fail("connectors.complete_authentication", json!({"state": "x", "code": "hunter2"}))
        .await;
    assert_eq!(
        (code, message.contains("`state`"), message.contains("hunter2")),
        (-32602, true, false),
        "{message}"
    );
}

#[tokio::test]
async fn a_parameter_that_is_missing_or_wrong_is_named() {
    let fixture = Fixture::new().await;
    for (method, params, problem) in [
        ("connectors.add", json!({"url": "http://one"}), "`name`: is missing"),
        ("connectors.add", json!({"name": "", "url": "http://one"}), "`name`: must not be empty"),
        ("connectors.add", json!({"name": "One"}), "`url`: is missing"),
        (
            "connectors.add",
            json!({"name": "One", "url": "http://one", "oauth": {"client_secret": "hunter2"}}),
            "`client_id`: is missing; `client_secret` and `issuer` go with it",
        ),
        ("connectors.authenticate", json!({"url": "http://one"}), "`name`: is missing"),
        ("connectors.complete_authentication", json!({"code": "hunter2"}), "`state`: is missing"),
        ("connectors.complete_authentication", json!({"state": "x"}), "`code`: is missing"),
        (
            "connectors.complete_authentication",
            json!({"callback_url": "http://127.0.0.1/?code=hunter2"}),
            "`callback_url`: is not the address that a sign-in ended at",
        ),
        (
            "connectors.add",
            json!({"name": "One", "url": "http://one", "headers": {"K": ["hunter2"]}}),
            "`headers.K`: has to be a string",
        ),
        ("connectors.add_stdio", json!({"name": "One"}), "`command`: is missing"),
        (
            "connectors.add_stdio",
            json!({"name": "One", "command": "x", "env": {"A": 1}}),
            "`env.A`: has to be a string",
        ),
        ("connectors.tools", json!({}), "`slug`: is missing"),
        ("connectors.tools", json!({"slug": 5}), "`slug`: has to be a string"),
        ("connectors.enable_tools", json!({"slug": "one"}), "`tools`: is missing"),
        ("connectors.enable_tools", json!({"slug": "one", "tools": "echo"}), "`tools`: has to be an array"),
        ("connectors.call_tool", json!({"slug": "one"}), "`tool`: is missing"),
        (
            "connectors.call_tool",
            json!({"slug": "one", "tool": "echo", "arguments": [1]}),
            "`arguments`: has to be an object",
        ),
        (
            "connectors.call_tool",
            json!({"slug": "one", "tool": "echo", "timeout_ms": 0}),
            "`timeout_ms`: has to be a positive whole number of milliseconds",
        ),
        ("connectors.cancel", json!({}), "`call_id`: is missing"),
        (
            "connectors.answer",
            json!({"request_id": "input-1", "action": "shrug"}),
            "`action`: has to be one of `accept`, `decline`, `cancel`",
        ),
        (
            "policy.register",
            json!({"rule": "allow_all", "target": "one", "name": "r"}),
            "`rule`: has to be `deny_connector`",
        ),
        ("policy.register", json!({"rule": "deny_connector", "name": "r"}), "`target`: is missing"),
    ] {
        let error = fixture.must_fail(method, params).await;
        assert_eq!(error, (-32602, format!("invalid params: {problem}")), "{method}");
    }
}

/// The document's schema of a method's result.
fn result_schema(document: &Value, method: &str) -> Value {
    let methods = document["methods"].as_array().unwrap();
    let described = methods.iter().find(|described| described["name"] == method).unwrap();
    let mut schema = described["result"]["schema"].clone();
    schema["components"] = document["components"].clone();
    schema
}

#[tokio::test]
async fn results_are_what_the_document_says() {
    let fixture = Fixture::with_tools().await;
    fixture.must("connectors.add", json!({"name": "Off", "url": "http://nowhere"})).await;
    let document = fixture.must("rpc.discover", json!({})).await;
    for (method, params) in [
        ("connectors.add", json!({"name": "Two", "url": "http://two"})),
        ("connectors.list", json!({})),
        ("connectors.tools", json!({"slug": "one"})),
        ("connectors.refresh", json!({"slug": "one"})),
        ("connectors.reconnect", json!({"slug": "one"})),
        ("connectors.call_tool", json!({"slug": "one", "tool": "echo", "arguments": {"text": "hi"}})),
        ("connectors.subscribe", json!({})),
        ("connectors.unsubscribe", json!({})),
        ("connectors.remove", json!({"slug": "off"})),
    ] {
        let schema = jsonschema::validator_for(&result_schema(&document, method)).unwrap();
        let result = fixture.must(method, params).await;
        let problems: Vec<_> = schema.iter_errors(&result).map(|error| error.to_string()).collect();
        assert_eq!(problems, Vec::<String>::new(), "{method}");
        let described = document["components"]["schemas"].as_object().unwrap();
        if method == "connectors.list" {
            let known = described["ConnectorStatus"]["properties"].as_object().unwrap();
            for member in result["connectors"][0].as_object().unwrap().keys() {
                assert!(known.contains_key(member), "{member} is not described");
            }
        }
    }
}

#[tokio::test]
async fn a_host_that_keeps_the_secrets_itself_says_so_and_nothing_is_moved() {
    let fixture = Fixture::new().await;
    let status = json!({"kind": "memory", "warning": false, "locked": false, "can_move_to": [],
        "notice": "Secrets are kept where the host of these connectors keeps them."});
    assert_eq!(fixture.must("connectors.secrets", json!({})).await, status);
    let problem = "has no effect: the host of these connectors keeps their secrets";
    for (method, params, field) in [
        ("connectors.move_secrets", json!({"to": "vault"}), "to"),
        ("connectors.unlock_secrets", json!({"passphrase": "hunter2"}), "passphrase"),
        ("connectors.set_vault_passphrase", json!({}), "passphrase"),
    ] {
        let expected = (-32602, format!("invalid params: `{field}`: {problem}"));
        assert_eq!(fixture.must_fail(method, params).await, expected, "{method}");
    }
    for (method, params, problem) in [
        ("connectors.move_secrets", json!({}), "`to`: is missing"),
        ("connectors.move_secrets", json!({"to": "mattress"}), "`to`: has to be `keychain` or `vault`"),
        ("connectors.unlock_secrets", json!({}), "`passphrase`: is missing"),
        ("connectors.unlock_secrets", json!({"passphrase": 7}), "`passphrase`: has to be a string"),
    ] {
        let error = fixture.must_fail(method, params).await;
        assert_eq!(error, (-32602, format!("invalid params: {problem}")), "{method}");
    }
}
