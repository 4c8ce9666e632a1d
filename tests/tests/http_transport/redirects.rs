//! Redirects: credentials stay with the origin that they were entered for.

use std::sync::{Arc, Mutex};

use connectors_core::authorizer::SecretHeader;
use connectors_core::{Limits, TransportError};
use serde_json::json;

use super::client::{call, transport_with};
use super::server::{Call, Server, json as json_answer, status, with};

/// What a server says of a path: a status and where it leads to, or an answer.
type Table = Arc<Mutex<Vec<(&'static str, u16, String)>>>;

async fn server(table: &Table) -> Server {
    let table = Arc::clone(table);
    Server::start(move |call: Call| {
        let path = call.target.split('?').next().unwrap_or_default();
        let row = table.lock().expect("no panic").iter().find(|(from, ..)| *from == path).cloned();
        let response = match row {
            Some((_, code, to)) => with(status(code), "location", &to),
            None => json_answer(
                &json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {"at": call.target}}),
            ),
        };
        async move { response }
    })
    .await
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_origin_and_keeps_the_message() {
    let table = Table::default();
    let server = server(&table).await;
    table.lock().unwrap().extend([
        ("/kept", 307, "/here?x=1".to_owned()),
        ("/moved", 308, server.url("/now")),
        ("/twice", 307, "kept".to_owned()),
        ("/moved-twice", 308, "/moved".to_owned()),
        ("/found", 302, "/here".to_owned()),
        ("/gone", 301, "/here?key=1".to_owned()),
        ("/other", 303, "/here".to_owned()),
        ("/loop", 307, "/loop".to_owned()),
        ("/nowhere", 307, "http://".to_owned()),
    ]);
    let key = || SecretHeader { name: "X-Api-Key".into(), value: "k".into() };
    let mut outcomes = Vec::new();
    for path in
        ["/kept", "/moved", "/twice", "/moved-twice", "/found", "/gone", "/other", "/loop", "/nowhere"]
    {
        let wire = transport_with(&server.url(path), Limits::default(), vec![key()]).await;
        outcomes.push(match call(&*wire, 1, "ping").await {
            Ok(result) => format!("{path}: {}", result["at"].as_str().unwrap()),
            Err(TransportError::Refused(why)) => format!("{path} is refused: {why}"),
            Err(TransportError::Malformed(why)) => format!("{path} is malformed: {why}"),
            Err(other) => panic!("{other:?}"),
        });
    }
    let dropped = |code: u16| {
        let here = server.url("/here");
        format!("the server redirects in a way that drops the message (HTTP {code}); add it again at {here}")
    };
    let expected = [
        "/kept: /here?x=1".to_owned(),
        "/moved: /now".to_owned(),
        "/twice: /here?x=1".to_owned(),
        "/moved-twice: /now".to_owned(),
        format!("/found is refused: {}", dropped(302)),
        format!("/gone is refused: {}", dropped(301)),
        format!("/other is refused: {}", dropped(303)),
        "/loop is refused: the server redirects more than 5 times in a row".to_owned(),
        "/nowhere is malformed: the server redirects, but does not say where to".to_owned(),
    ];
    assert_eq!(outcomes, expected);
    assert!(server.calls().iter().all(|call| call.header("x-api-key") == "k" && call.what() == "ping"));
}

#[tokio::test]
async fn a_permanent_move_is_remembered_and_a_passing_one_is_not() {
    let table = Table::default();
    let server = server(&table).await;
    table.lock().unwrap().extend([("/moved", 308, "/now".to_owned()), ("/kept", 307, "/now".to_owned())]);
    for (path, asked) in
        [("/moved", ["/moved", "/now", "/now"].as_slice()), ("/kept", &["/kept", "/now", "/kept", "/now"])]
    {
        let before = server.calls().len();
        let wire = transport_with(&server.url(path), Limits::default(), vec![]).await;
        for id in 1..=2 {
            call(&*wire, id, "ping").await.unwrap();
        }
        let targets: Vec<String> = server.calls()[before..].iter().map(|call| call.target.clone()).collect();
        assert_eq!(targets, asked);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_another_origin() {
    let (table, none) = (Table::default(), Table::default());
    let (server, other) = (server(&table).await, server(&none).await);
    for code in [307, 308, 302] {
        *table.lock().unwrap() = vec![("/mcp", code, other.url("/mcp"))];
        let wire = transport_with(&server.url("/mcp"), Limits::default(), vec![]).await;
        let refused = call(&*wire, 1, "ping").await;
        let Err(TransportError::Refused(why)) = refused else { panic!("{refused:?}") };
        let origin = other.url("");
        assert_eq!(
            why,
            format!("the server redirects to another origin ({origin}); add it again at that URL")
        );
    }
    assert_eq!((other.connections(), other.asked().len()), (0, 0));
}
