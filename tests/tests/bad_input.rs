//! What wrong parameters, wrong messages and a wrong manifest get.

use connectors_tests::{Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, call, daemon, start};

#[tokio::test]
async fn invalid_parameters_are_refused_by_the_name_of_the_field_and_change_nothing() {
    let (home, _daemon, session) = start().await;
    let url = "http://127.0.0.1:9/mcp";
    let header = |name: &str, value: &str| json!({"name": "N", "url": url, "headers": {name: value}});
    let table = [
        ("connectors.add", json!({"url": url}), "name"),
        ("connectors.add", json!({"name": "N"}), "url"),
        ("connectors.add", json!({"name": "", "url": url}), "name"),
        ("connectors.add", json!({"name": 7, "url": url}), "name"),
        ("connectors.add", json!({"name": "N", "url": "not a url"}), "url"),
        ("connectors.add", json!({"name": "N", "url": ""}), "url"),
        ("connectors.add", json!({"name": "N", "url": "ftp://host/mcp"}), "url"),
        ("connectors.add", json!({"name": "N", "url": "javascript:alert(1)"}), "url"),
        ("connectors.add", json!({"name": "N", "url": "http://"}), "url"),
        ("connectors.add", json!({"name": "N", "url": url, "headers": []}), "headers"),
        ("connectors.add", json!({"name": "N", "url": url, "headers": {"X": 1}}), "headers"),
        ("connectors.add", header("bad name", "v"), "headers"),
        ("connectors.add", header("X-Key", "line\nbreak"), "headers"),
        ("connectors.add", header("Host", "elsewhere"), "headers"),
        ("connectors.add", header("Mcp-Session-Id", "mine"), "headers"),
        ("connectors.add_stdio", json!({"name": "N"}), "command"),
        ("connectors.add_stdio", json!({"name": "N", "command": ""}), "command"),
        ("connectors.add_stdio", json!({"name": "N", "command": "a\u{0}b"}), "command"),
        ("connectors.add_stdio", json!({"name": "N", "command": "c", "args": "x"}), "args"),
        ("connectors.add_stdio", json!({"name": "N", "command": "c", "args": [1]}), "args"),
        ("connectors.add_stdio", json!({"name": "N", "command": "c", "args": ["a\u{0}"]}), "args"),
        ("connectors.add_stdio", json!({"name": "N", "command": "c", "env": ["A"]}), "env"),
        ("connectors.add_stdio", json!({"name": "N", "command": "c", "env": {"A=B": "c"}}), "env"),
        ("connectors.tools", json!({}), "slug"),
        ("connectors.enable_tools", json!({"slug": "s"}), "tools"),
        ("connectors.enable_tools", json!({"slug": "s", "tools": "t"}), "tools"),
        ("connectors.disable_tools", json!({"slug": "s", "tools": [1]}), "tools"),
        ("connectors.refresh", json!({"slug": null}), "slug"),
        ("connectors.remove", json!({}), "slug"),
        ("connectors.call_tool", json!({"slug": "s"}), "tool"),
        ("connectors.call_tool", json!({"slug": "s", "tool": "t", "timeout_ms": -1}), "timeout_ms"),
        ("connectors.call_tool", json!({"slug": "s", "tool": "t", "timeout_ms": "soon"}), "timeout_ms"),
        ("connectors.cancel", json!({}), "call_id"),
        ("connectors.update", json!({"name": "N"}), "slug"),
        ("policy.register", json!({"target": "s", "name": "n"}), "rule"),
        ("policy.register", json!({"rule": "allow_all", "target": "s", "name": "n"}), "rule"),
        ("policy.register", json!({"rule": "deny_connector", "name": "n"}), "target"),
        ("session.auth", json!({}), "token"),
        ("server.handshake", json!({}), "protocol_version"),
    ];
    for (method, params, field) in table {
        let error = session.must_fail(method, params.clone()).await;
        assert_eq!(error.code, -32602, "{method} {params}: {error:?}");
        assert!(error.message.contains(field), "{method} {params} does not name {field}: {error:?}");
    }
    assert_eq!(session.list().await, Vec::<Value>::new());
    assert_eq!(home.manifest(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_slug_that_does_not_exist_is_not_found_by_any_method() {
    let (_home, _daemon, session) = start().await;
    for (method, params) in [
        ("connectors.tools", json!({"slug": "ghost"})),
        ("connectors.enable_tools", json!({"slug": "ghost", "tools": ["t"]})),
        ("connectors.disable_tools", json!({"slug": "ghost", "tools": ["t"]})),
        ("connectors.refresh", json!({"slug": "ghost"})),
        ("connectors.remove", json!({"slug": "ghost"})),
        ("connectors.reconnect", json!({"slug": "ghost"})),
        ("connectors.update", json!({"slug": "ghost", "name": "New"})),
        ("connectors.call_tool", call("ghost", "t", json!({}))),
    ] {
        let error = session.must_fail(method, params).await;
        assert_eq!((error.code, error.data_code()), (-32040, "connector_not_found"), "{method}: {error:?}");
        assert_eq!(error.data["slug"], "ghost", "{method}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_json_rpc_gets_the_code_for_it_and_the_connection_goes_on() {
    let (_home, _daemon, session) = start().await;
    for (text, code) in [
        ("{", -32700),
        ("not json", -32700),
        ("42", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"connectors.list"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":"x","method":5}"#, -32600),
    ] {
        session.send_text(text);
        assert_eq!(session.stray().await["error"]["code"], code, "{text}");
    }
    let error = session.must_fail("connectors.no_such_method", json!({})).await;
    assert_eq!(error.code, -32601);
    let error = session.must_fail("connectors.tools", json!(["positional"])).await;
    assert_eq!(error.code, -32602);
    session.send_text(r#"{"jsonrpc":"2.0","id":"a string","method":"connectors.list"}"#);
    let answer = session.stray().await;
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": "a string", "result": {"connectors": []}}));
    assert_eq!(session.list().await, Vec::<Value>::new());
}

#[tokio::test]
async fn arguments_that_do_not_satisfy_the_schema_are_not_sent() {
    let server = Script::modern().with_tools([Tool::add()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("sums", &server, &["add"]).await;
    for (arguments, path) in [
        (json!({"a": 1, "b": "two"}), "/b"),
        (json!({"a": 1}), "b"),
        (json!([1, 2]), ""),
        (json!("1 + 2"), ""),
    ] {
        let error = session.must_fail("connectors.call_tool", call(&slug, "add", arguments.clone())).await;
        assert!([-32050, -32602].contains(&error.code), "{arguments}: {error:?}");
        if arguments.is_object() {
            assert_eq!((error.code, error.data_code()), (-32050, "invalid_arguments"), "{arguments}");
            assert!(error.message.contains(path), "{arguments} does not name {path}: {error:?}");
        }
    }
    assert_eq!(server.calls(), []);
}

#[tokio::test]
async fn a_manifest_that_does_not_parse_is_reported_with_its_place_and_never_overwritten() {
    let home = TempHome::new();
    let broken = "{\"connectors\":[\n  {\"slug\":\"a\",\"name\":\"A\",\"url\":\"http://127.0.0.1:9/mcp\"},\n  oops\n]}\n";
    home.write_manifest(broken);
    let daemon = daemon().start(&home).await;
    let session = Session::open(&daemon).await;
    assert_eq!(session.list().await, Vec::<Value>::new());
    let add = json!({"name": "New", "url": "http://127.0.0.1:9/mcp"});
    let error = session.must_fail("connectors.add", add).await;
    assert_eq!((error.code, error.data_code()), (-32049, "storage"));
    assert!(error.message.contains("line 3") && error.message.contains("column 3"), "{error:?}");
    assert!(error.data["remedy"].is_string(), "{error:?}");
    assert_eq!(session.list().await, Vec::<Value>::new());
    assert_eq!(home.manifest_text(), broken);
    drop(session);
    let output = daemon.stop().await;
    assert!(output.contains("line 3"), "the daemon's output says nothing of it: {output:?}");
    assert_eq!(home.manifest_text(), broken);

    home.write_manifest("{\"connectors\":[]}");
    let daemon = crate::session::daemon().start(&home).await;
    let session = Session::open(&daemon).await;
    session.must("connectors.add", json!({"name": "New", "url": "http://127.0.0.1:9/mcp"})).await;
    assert_eq!(home.manifest().len(), 1);
}

#[tokio::test]
async fn fields_of_the_manifest_that_nobody_knows_survive_a_change() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let home = TempHome::new();
    let manifest = json!({
        "future": {"a": [1, 2.50]},
        "connectors": [
            {"slug": "kept", "name": "Kept", "url": server.url(), "secret_headers": [], "colour": "blue", "enabled_tools": []},
            {"slug": "other", "name": "Other", "url": "http://127.0.0.1:9/mcp", "unknown": null},
        ],
    });
    home.write_manifest(&manifest.to_string());
    let daemon = daemon().start(&home).await;
    let session = Session::open(&daemon).await;
    session.ready("kept").await;
    session.enable("kept", &["echo"]).await;
    let after: Value = serde_json::from_str(&home.manifest_text()).expect("JSON");
    assert_eq!(after["future"], manifest["future"]);
    assert_eq!(after["connectors"][0]["colour"], "blue");
    assert_eq!(after["connectors"][0]["enabled_tools"], json!(["echo"]));
    assert_eq!(after["connectors"][1], manifest["connectors"][1]);
}
