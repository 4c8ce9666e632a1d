//! Where metadata may lead, and how much of an answer is read.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Response};
use bytes::Bytes;
use connectors_core::TransportError;
use connectors_http::{HttpStack, Names};
use futures_util::stream;

use super::exchange::{Rig, get, refusal, request, text, yes};
use crate::http_transport::server::{Call, Server, status, with};

/// Says one thing after the other, and then the last again and again.
struct Says(Mutex<VecDeque<Vec<&'static str>>>);

#[async_trait]
impl Names for Says {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Ok(next.unwrap_or_default().iter().map(|address| address.parse().unwrap()).collect())
    }
}

fn names_that_say(answers: &[&[&'static str]]) -> Rig {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    Rig::on(HttpStack::with_names(Arc::new(Says(Mutex::new(answers)))))
}

/// A server on this machine that tells its name, for who resolves that to this machine.
async fn server() -> (Server, impl Fn(&str) -> String) {
    let server = Server::start(yes).await;
    let port = server.address().port();
    (server, move |host: &str| format!("http://{host}:{port}/"))
}

#[tokio::test]
async fn a_name_that_turns_out_to_be_this_machine_is_refused_before_a_byte_is_sent() {
    let (server, url) = server().await;
    // The first answer is for the server itself, as it was entered.
    let rig = names_that_say(&[&["127.0.0.1"]]);
    assert!(rig.connect(&url("rebound.example")).await.is_ok());
    let refused = refusal(rig.get(&url("rebound.example")).await);
    assert_eq!(
        refused,
        "`rebound.example` is this machine, where only the metadata of a server on this machine may lead; \
         `network.allow_private` does not change that"
    );
    assert_eq!(server.asked(), ["ping"]);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn every_connection_is_checked_anew_and_made_to_what_was_checked() {
    let server = Server::start(|call| async move { with(yes(call).await, "connection", "close") }).await;
    let rig = names_that_say(&[
        &["169.254.169.254", "127.0.0.1", "::ffff:169.254.169.254"],
        &["169.254.169.254"],
        &["10.0.0.1", "127.0.0.1"],
    ]);
    let rules = rig.rules("http://localhost/");
    let target = format!("http://app.localhost:{}/", server.address().port());
    assert_eq!(text(&rig.send(get(&target), &rules).await.unwrap()), "200 yes");
    server.open_connections(0).await;
    let refused = refusal(rig.send(get(&target), &rules).await);
    assert!(refused.contains("an address that metadata may never lead to"), "{refused}");
    // The answer after that is for a server elsewhere, which reaches neither.
    let public = refusal(rig.send(get("https://auth.example/"), &rig.rules("https://mcp.example/")).await);
    assert!(public.contains("set `network.allow_private` for this connector"), "{public}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_of_somebody_who_may_is_not_used_by_somebody_who_may_not() {
    let (server, url) = server().await;
    let rig = names_that_say(&[&["127.0.0.1"]]);
    let target = url("app.example");
    let local = rig.rules(&url("127.0.0.1"));
    // Only the origin of the server itself is asked over http, so this machine speaks for the name.
    refusal(rig.send(get(&target), &local).await);
    assert_eq!(text(&rig.send(get(&url("app.localhost")), &local).await.unwrap()), "200 yes");
    refusal(rig.send(get(&url("app.localhost")), &rig.rules("https://mcp.example/")).await);
    refusal(rig.send(get(&target), &rig.rules(&target)).await);
    assert_eq!(server.asked(), ["GET"]);
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_or_another_origin_is_an_answer() {
    let other = Server::start(yes).await;
    let targets = [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        other.url("/"),
        "file:///etc/passwd".to_owned(),
    ];
    let of_server = targets.clone();
    let server = Server::start(move |call: Call| {
        let number: usize = call.target.trim_start_matches('/').parse().unwrap();
        let response = with(status(307), "location", &of_server[number]);
        async move { response }
    })
    .await;
    let rig = Rig::new();
    for (number, target) in targets.iter().enumerate() {
        for method in [Method::GET, Method::POST] {
            let url = server.url(&format!("/{number}"));
            let answer = rig.send(request(method, &url, ""), &rig.rules(&url)).await.unwrap();
            assert_eq!(text(&answer), "307 ");
            assert_eq!(answer.headers()["location"], *target);
        }
    }
    assert_eq!(server.asked().len(), 6);
    assert_eq!(other.connections(), 0);
    refusal(rig.send(get(&targets[0]), &rig.rules(&server.url("/"))).await);
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed_for_a_get_and_not_for_ever() {
    let server = Server::start(|call: Call| async move {
        match call.target.as_str() {
            "/loop" => with(status(302), "location", "/loop"),
            "/a" => with(status(302), "location", "/b"),
            _ => yes(call).await,
        }
    })
    .await;
    let rig = Rig::new();
    assert_eq!(rig.get(&server.url("/a")).await.unwrap(), "200 yes");
    assert_eq!(server.calls()[1].header("authorization"), "Bearer hidden");
    assert_eq!(
        refusal(rig.get(&server.url("/loop")).await),
        "the server redirects more than 5 times in a row"
    );
    assert_eq!(server.calls().len(), 8);
    let url = server.url("/a");
    let posted = rig.send(request(Method::POST, &url, "grant_type=x"), &rig.rules(&url)).await.unwrap();
    assert_eq!(text(&posted), "302 ");
    let mut rules = rig.rules(&url);
    rules.follow_redirects = false;
    assert_eq!(text(&rig.send(get(&url), &rules).await.unwrap()), "302 ");
}

#[tokio::test]
async fn an_endless_body_is_given_up_at_the_limit_and_a_bomb_is_counted_unpacked() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::Write::write_all(&mut packer, &vec![b' '; 8 << 20]).unwrap();
    let bomb = Bytes::from(packer.finish().unwrap());
    assert!(bomb.len() < 64 << 10);
    let server = Server::start(move |call: Call| {
        let response = if call.target == "/bomb" {
            with(Response::new(Body::from(bomb.clone())), "content-encoding", "gzip")
        } else {
            let chunks = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[b' '; 4096])));
            Response::new(Body::from_stream(chunks))
        };
        async move { response }
    })
    .await;
    let rig = Rig::new();
    let endless = rig.get(&server.url("/endless")).await;
    server.open_connections(0).await;
    for outcome in [endless, rig.get(&server.url("/bomb")).await] {
        let is_limit = matches!(&outcome, Err(TransportError::LimitExceeded { max, .. }) if max == "64 KiB");
        assert!(is_limit, "{outcome:?}");
    }
}

#[tokio::test]
async fn the_time_limit_holds_for_all_of_a_request() {
    let server = Server::start(|call: Call| async move {
        if call.target == "/silent" {
            std::future::pending::<()>().await;
        }
        let trickle = stream::pending::<Result<Bytes, io::Error>>();
        Response::new(Body::from_stream(trickle))
    })
    .await;
    let rig = Rig::new();
    for path in ["/silent", "/head-alone"] {
        let url = server.url(path);
        let mut rules = rig.rules(&url);
        rules.timeout = Duration::from_millis(50);
        let outcome = rig.send(get(&url), &rules).await;
        assert!(matches!(outcome, Err(TransportError::TimedOut { what: "the request", .. })), "{outcome:?}");
    }
    server.open_connections(0).await;
}
