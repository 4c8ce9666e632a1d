//! How a connector came to its state.

use super::*;
use crate::contract::scripted::STDIO_LIKE;
use crate::definition::StdioCommand;
use crate::trace::{Step, StepOutcome};

/// The steps of a connector, as `step outcome code: seen`.
fn steps(manager: &ConnectorManager, slug: &Slug) -> Vec<String> {
    let step = |step: crate::TraceStep| {
        assert_eq!(step.remedy.is_some(), step.outcome == StepOutcome::Failed, "{step:?}");
        format!("{:?} {:?} {}: {}", step.step, step.outcome, step.code, step.seen)
    };
    manager.explain(slug).unwrap().into_iter().map(step).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dial_tells_what_was_agreed_and_how_many_tools_there_are() {
    let (manager, _tools, _host, slug) = with_tools(&["a", "b"]).await;
    let expected = [
        "Handshake Passed version_agreed: version 2026-07-28 (modern era)",
        "Catalogue Passed tools_listed: 2 tools",
    ];
    assert_eq!(steps(&manager, &slug), expected);
    manager.reconnect(&slug).await.unwrap();
    assert_eq!(steps(&manager, &slug), expected);
}

#[tokio::test(start_paused = true)]
async fn a_local_server_begins_with_its_process() {
    let server = ScriptedServer::new(STDIO_LIKE, |method, _| match method {
        "server/discover" => Reply::Error(-32601, "?"),
        "initialize" => {
            Reply::Result(json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}))
        }
        _ => Reply::Error(-32603, "no tools today"),
    });
    let host = Host::new();
    host.serve("", &server);
    let manager = host.start().await;
    let command = StdioCommand { command: "npx".to_owned(), ..StdioCommand::default() };
    let slug = manager.add(NewConnector::stdio("Local", command.clone())).await.unwrap().slug;
    assert_eq!(
        steps(&manager, &slug),
        [
            "Connection Passed process_started: npx",
            "Handshake Passed version_agreed: version 2025-11-25 (legacy era)",
            "Catalogue Failed upstream_error: the server answered with error -32603: no tools today",
        ]
    );
    let dialer = ScriptedDialer(|_: &crate::ConnectorDefinition| {
        Err(TransportError::NotStarted { reason: "there is no npx".to_owned(), source: None })
    });
    let manager = ConnectorManager::builder().with_dialer(Arc::new(dialer)).start().await;
    let slug = manager.add(NewConnector::stdio("Local", command)).await.unwrap().slug;
    assert_eq!(steps(&manager, &slug), ["Connection Failed process_not_started: there is no npx"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_its_code_and_the_step_that_it_happened_in() {
    let host = Host::new();
    host.serve("http://hangs", &ScriptedServer::new(HTTP_LIKE, |_, _| Reply::Never));
    let manager = host.start().await;
    let add = |url: &str| manager.add(NewConnector::http(url, url, vec![]));
    let slug = add("http://gone").await.unwrap().slug;
    assert_eq!(steps(&manager, &slug), ["Handshake Failed not_connected: nothing listens at http://gone"]);
    let slug = add("http://hangs").await.unwrap().slug;
    tokio::time::sleep(std::time::Duration::from_millis(20_050)).await;
    assert_eq!(steps(&manager, &slug), ["Handshake Failed timeout: server/discover took longer than 30s"]);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_begins_its_chapter_anew_and_leaves_the_others() {
    let (manager, _tools, _host, _sign_in, slug) = unsigned(&[]).await;
    for _ in 0..2 {
        manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    }
    let seen: Vec<_> =
        manager.explain(&slug).unwrap().into_iter().map(|step| (step.step, step.code)).collect();
    let expected = [(Step::Handshake, "sign_in_required"), (Step::AuthorizationServer, "metadata_read")];
    assert_eq!(seen, expected);
}
