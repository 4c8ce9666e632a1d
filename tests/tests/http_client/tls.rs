//! Private authorities and mutual TLS, for connections and for single requests alike.

use connectors_core::TransportError;
use serde_json::json;

use super::certificates::Authority;
use super::exchange::{Rig, refusal, unreachable, yes};
use crate::http_transport::server::Server;

const UNTRUSTED: &str =
    "the certificate of `127.0.0.1` is issued by an authority that this machine does not trust";

#[tokio::test]
async fn a_server_of_a_private_authority_is_reached_with_its_certificate_alone() {
    let authority = Authority::new("Private");
    let server = Server::start_tls(authority.issue(&["127.0.0.1"]).server(), yes).await;
    let mut rig = Rig::new();
    assert_eq!(unreachable(rig.connect(&server.url("/mcp")).await), UNTRUSTED);
    assert_eq!(unreachable(rig.get(&server.url("/x")).await), UNTRUSTED);

    let both = format!("{}\n{}", Authority::new("Another").pem(), authority.pem());
    rig.network.ca_file = rig.file("ca.pem", &both);
    assert_eq!(rig.connect(&server.url("/mcp")).await.unwrap(), json!("yes"));
    assert_eq!(rig.get(&server.url("/x")).await.unwrap(), "200 yes");
    assert_eq!(server.asked(), ["ping", "GET"]);
}

#[tokio::test]
async fn a_connector_without_the_authority_does_not_share_the_trust_of_another() {
    let authority = Authority::new("Private");
    let server = Server::start_tls(authority.issue(&["127.0.0.1"]).server(), yes).await;
    let mut trusting = Rig::new();
    trusting.network.ca_file = trusting.file("ca.pem", &authority.pem());
    let other = Rig::on(trusting.stack.clone());
    assert_eq!(trusting.get(&server.url("/")).await.unwrap(), "200 yes");
    assert_eq!(unreachable(other.get(&server.url("/")).await), UNTRUSTED);
    assert_eq!(unreachable(other.connect(&server.url("/")).await), UNTRUSTED);
}

#[tokio::test]
async fn a_file_that_has_changed_counts_from_the_next_dial_on() {
    let authority = Authority::new("The one that counts");
    let server = Server::start_tls(authority.issue(&["127.0.0.1"]).server(), yes).await;
    let mut rig = Rig::new();
    rig.network.ca_file = rig.file("ca.pem", &Authority::new("Old").pem());
    assert_eq!(unreachable(rig.connect(&server.url("/")).await), UNTRUSTED);
    rig.file("ca.pem", &authority.pem());
    assert_eq!(rig.connect(&server.url("/")).await.unwrap(), json!("yes"));
    assert_eq!(rig.get(&server.url("/")).await.unwrap(), "200 yes");
}

#[tokio::test]
async fn a_file_that_is_of_no_use_is_named_and_nothing_is_connected() {
    let server = Server::start(yes).await;
    let issued = Authority::new("Private").issue(&["client"]);
    let other = Authority::new("Private").issue(&["client"]);
    let mut rig = Rig::new();
    let mut outcomes = Vec::new();
    let certificate = rig.file("c.pem", &issued.certificate);
    let files = [
        (rig.file("empty.pem", ""), None, None),
        (rig.file("text.pem", "no certificate"), None, None),
        (
            rig.file("damaged.pem", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"),
            None,
            None,
        ),
        (
            rig.file("nonsense.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"),
            None,
            None,
        ),
        (rig.file("gone.pem", ""), None, None),
        (None, certificate.clone(), rig.file("nokey.pem", &issued.certificate)),
        (None, certificate.clone(), rig.file("other.pem", &other.key)),
        (None, rig.file("nocert.pem", &issued.key), rig.file("k.pem", &issued.key)),
    ];
    std::fs::remove_file(files[4].0.as_ref().unwrap()).unwrap();
    for (authorities, certificate, key) in files {
        rig.network.ca_file = authorities;
        rig.network.client_certificate_file = certificate;
        rig.network.client_key_file = key;
        let connected = refusal(rig.connect(&server.url("/mcp")).await);
        assert_eq!(refusal(rig.get(&server.url("/")).await), connected);
        let name = |path: &str| path.rsplit(['/', '\\']).next().unwrap().to_owned();
        let words: Vec<String> = connected.split(' ').map(name).collect();
        outcomes.push(words.join(" "));
    }
    assert_eq!(
        outcomes,
        [
            "`network.ca_file`: empty.pem holds no certificate in PEM form",
            "`network.ca_file`: text.pem holds no certificate in PEM form",
            "`network.ca_file`: damaged.pem is damaged: it is not PEM throughout",
            "`network.ca_file`: one of its certificates cannot be used",
            "`network.ca_file`: gone.pem does not exist",
            "`network.client_key_file`: nokey.pem holds no private key in PEM form that is not encrypted",
            "`network.client_key_file`: the private key is not the one of the client certificate",
            "`network.client_certificate_file`: nocert.pem holds no certificate in PEM form",
        ]
    );
    assert_eq!(server.connections(), 0);
    assert!(rig.steps().iter().all(|(_, code, _)| *code == "network_settings"), "{:?}", rig.steps());
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_is_shown_it() {
    let (authority, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    let acceptor = authority.issue(&["127.0.0.1"]).server_for_clients_of(&clients);
    let server = Server::start_tls(acceptor, yes).await;
    let mut rig = Rig::new();
    rig.network.ca_file = rig.file("ca.pem", &authority.pem());
    for outcome in
        [rig.connect(&server.url("/mcp")).await.map(drop), rig.get(&server.url("/")).await.map(drop)]
    {
        // The server's word on it may be lost with the connection.
        assert!(
            matches!(outcome, Err(TransportError::Unreachable { .. } | TransportError::Closed { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(server.asked().len(), 0);

    let issued = clients.issue(&["client"]);
    rig.network.client_certificate_file = rig.file("client.pem", &issued.certificate);
    rig.network.client_key_file = rig.file("client.key", &issued.key);
    assert_eq!(rig.connect(&server.url("/mcp")).await.unwrap(), json!("yes"));
    assert_eq!(rig.get(&server.url("/")).await.unwrap(), "200 yes");
    assert_eq!(server.asked(), ["ping", "GET"]);
}
