use std::time::Duration;

use connectors_core::Slug;
use connectors_core::error::{CredentialError, StorageError, TransportError};
use connectors_core::transport::InvalidDefinition;
use serde_json::{Value, json};

use super::*;

fn wire(error: ConnectorError) -> Value {
    serde_json::to_value(ErrorObject::from(error)).unwrap()
}

#[test]
fn every_connector_error_has_the_code_and_data_that_the_interface_promises() {
    let slug = || Slug::verbatim("github");
    let upstream = RpcError {
        code: -32000,
        message: "no\u{202e} such \u{1b}[31mrepository".to_owned(),
        data: Some(RawValue::from_string(r#"{"x":1.0}"#.to_owned()).unwrap()),
    };
    let closed = TransportError::Closed { reason: "the connection was closed".to_owned() };
    let table = [
        (
            ConnectorError::NotFound(slug()),
            json!({"code": -32040, "message": "there is no connector `github`", "data": {
                "code": "connector_not_found", "slug": "github",
                "remedy": "list the connectors to see what there is"}}),
        ),
        (
            ConnectorError::NotAccepted(slug()),
            json!({"code": -32052,
                "message": "the connector `github` is only proposed; nothing is started or sent before you accept it",
                "data": {"code": "not_accepted", "slug": "github",
                "remedy": "look at what is proposed, and accept or reject it"}}),
        ),
        (
            ConnectorError::UnknownTool { slug: slug(), tool: "push".to_owned() },
            json!({"code": -32041, "message": "the connector `github` has no enabled tool `push`", "data": {
                "code": "unknown_tool", "slug": "github", "tool": "push",
                "remedy": "enable the tool first, or refresh the connector if the server has just added it"}}),
        ),
        (
            ConnectorError::SignInRequired { slug: slug(), reason: None },
            json!({"code": -32042, "message": "the connector `github` needs you to sign in", "data": {
                "code": "sign_in_required", "slug": "github",
                "remedy": "sign in to the connector, or enter its headers again"}}),
        ),
        (
            ConnectorError::NotConnected {
                slug: slug(),
                reason: Some("connection refused".to_owned()),
                retry_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_900_000_000_900)),
            },
            json!({"code": -32043, "message": "the connector `github` is not connected: connection refused",
                "data": {"code": "not_connected", "slug": "github",
                "remedy": "wait for the next attempt, or reconnect", "retry_at": 1_900_000_000}}),
        ),
        (
            ConnectorError::Upstream { slug: slug(), error: Box::new(upstream) },
            json!({"code": -32044, "message": "the server of `github` answered with error -32000", "data": {
                "code": "upstream_error", "slug": "github", "upstream": {
                    "code": -32000, "message": "no such [31mrepository", "data": {"x": 1.0}}}}),
        ),
        (
            ConnectorError::Protocol { slug: slug(), problem: "no result".to_owned() },
            json!({"code": -32045, "message": "the server of `github` broke the protocol: no result", "data": {
                "code": "upstream_protocol", "slug": "github"}}),
        ),
        (
            ConnectorError::LimitExceeded { slug: slug(), limit: "the reply", max: "16 MiB".to_owned() },
            json!({"code": -32046, "message": "`github`: the reply is over the limit of 16 MiB", "data": {
                "code": "limit_exceeded", "slug": "github", "limit": "the reply"}}),
        ),
        (
            ConnectorError::TimedOut {
                slug: slug(),
                what: "`push`".to_owned(),
                limit: Duration::from_secs(60),
            },
            json!({"code": -32047, "message": "`github`: `push` took longer than 60s", "data": {
                "code": "timeout", "slug": "github",
                "remedy": "try again, with a longer time limit if the tool is slow"}}),
        ),
        (
            ConnectorError::Credentials(CredentialError::Failed {
                store: "keychain",
                source: "the bus is gone".into(),
            }),
            json!({"code": -32048, "message": "the keychain failed: the bus is gone", "data": {
                "code": "secret_store_unavailable",
                "remedy": "unlock or repair the secret store, or start with another one (`--secrets`)"}}),
        ),
        (
            ConnectorError::Storage(StorageError::Io {
                action: "write",
                file: "connectors.json".to_owned(),
                source: std::io::Error::other("no space left"),
            }),
            json!({"code": -32049, "message": "cannot write connectors.json: no space left", "data": {
                "code": "storage", "remedy": "check the permissions and the free space of the state folder"}}),
        ),
        (
            ConnectorError::Credentials(CredentialError::Storage {
                store: "vault",
                action: "write",
                file: "connectors.vault".to_owned(),
                source: std::io::Error::other("no space left"),
            }),
            json!({"code": -32049, "message": "the vault cannot write connectors.vault: no space left", "data": {
                "code": "storage", "remedy": "check the permissions and the free space of the state folder"}}),
        ),
        (
            ConnectorError::InvalidArguments {
                slug: slug(),
                tool: "push".to_owned(),
                problems: vec!["/a: is missing".to_owned()],
            },
            json!({"code": -32050,
                "message": "the arguments of `push` do not satisfy its input schema: /a: is missing", "data": {
                "code": "invalid_arguments", "slug": "github", "tool": "push", "problems": ["/a: is missing"],
                "remedy": "correct the arguments at the paths named"}}),
        ),
        (
            ConnectorError::Cancelled { slug: slug() },
            json!({"code": -32051, "message": "the call was cancelled", "data": {
                "code": "cancelled", "slug": "github"}}),
        ),
        (
            ConnectorError::Transport { slug: slug(), error: Box::new(closed) },
            json!({"code": -32043, "message": "`github`: the connection was closed", "data": {
                "code": "not_connected", "slug": "github"}}),
        ),
        (
            ConnectorError::ShuttingDown,
            json!({"code": -32043, "message": "the connectors are shutting down", "data": {
                "code": "not_connected"}}),
        ),
        (
            ConnectorError::Invalid(InvalidDefinition { field: "url", problem: "not a URL".to_owned() }),
            json!({"code": -32602, "message": "invalid params: `url`: not a URL", "data": {
                "code": "invalid_params", "field": "url"}}),
        ),
    ];
    for (error, expected) in table {
        assert_eq!(wire(error), expected);
    }
}

#[test]
fn a_time_before_the_epoch_is_left_out() {
    let error = ConnectorError::NotConnected {
        slug: Slug::verbatim("a"),
        reason: None,
        retry_at: Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
    };
    assert_eq!(wire(error)["data"].get("retry_at"), None);
}
