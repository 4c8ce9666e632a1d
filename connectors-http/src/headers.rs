//! The headers of each request (2026-07-28, Streamable HTTP, request metadata; 2025-11-25, transports).

use connectors_core::TransportError;
use connectors_core::authorizer::SecretHeader;
use connectors_core::protocol::ProtocolVersion;
use connectors_core::transport::Mirror;
use reqwest::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use crate::header_value::encode;
use crate::session::{SESSION_ID, Session};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const PARAM: &str = "mcp-param-";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const JSON_OR_EVENTS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// Headers that decide how a message is framed; a user's value for one would break the connection.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The headers of a POST that carries a message.
pub(crate) fn post(
    mirror: &Mirror,
    method: Option<&str>,
    session: &Session,
) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(ACCEPT, JSON_OR_EVENTS);
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(version) = mirror.protocol_version {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
    }
    if mirror.is_modern() {
        if let Some(method) = method {
            headers.insert(METHOD, encoded(method)?);
        }
        if let Some(name) = &mirror.name {
            headers.insert(NAME, encoded(name)?);
        }
        for (suffix, value) in &mirror.params {
            let name = HeaderName::try_from(format!("{PARAM}{suffix}"))
                .map_err(|_| unsendable(&format!("Mcp-Param-{suffix}")))?;
            headers.insert(name, encoded(value)?);
        }
    } else if let Some(id) = session.id() {
        headers.insert(SESSION_ID, id.clone());
    }
    Ok(headers)
}

/// The headers of a GET that opens or resumes a stream.
pub(crate) fn get(
    session: &Session,
    version: Option<ProtocolVersion>,
    last_event_id: Option<&str>,
) -> HeaderMap {
    let mut headers = of_session(session, version);
    headers.insert(ACCEPT, EVENTS);
    // The stream keeps its connection to itself while it lasts; where the server has none, the connection, opened while others
    // were busy, would lie idle. (HTTP/2 leaves the header out.)
    headers.insert(CONNECTION, CLOSE);
    if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()) {
        headers.insert(LAST_EVENT_ID, id);
    }
    headers
}

/// The headers that place a request in a session.
pub(crate) fn of_session(session: &Session, version: Option<ProtocolVersion>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(version) = version {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
    }
    if let Some(id) = session.id() {
        headers.insert(SESSION_ID, id.clone());
    }
    headers
}

/// Adds credentials. The protocol's own headers stay as they are: configurations in use repeat `Accept` and
/// `Content-Type` among their headers, and a wrong value there breaks every request.
pub(crate) fn add_secrets(headers: &mut HeaderMap, secrets: &[SecretHeader]) -> Result<(), TransportError> {
    for secret in secrets {
        let (Ok(name), Ok(mut value)) = (
            HeaderName::try_from(secret.name.as_str()),
            HeaderValue::from_str(secret.value.expose_secret().trim()),
        ) else {
            return Err(unsendable(&secret.name));
        };
        if name == ACCEPT || name == CONTENT_TYPE || is_protocol(&name) {
            continue;
        }
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

fn is_protocol(name: &HeaderName) -> bool {
    *name == SESSION_ID
        || [PROTOCOL_VERSION, METHOD, NAME, LAST_EVENT_ID].contains(name)
        || name.as_str().starts_with(PARAM)
}

/// Why a user cannot send a header of this name, if that is so.
pub(crate) fn problem_with_name(name: &str) -> Option<String> {
    match HeaderName::try_from(name) {
        Err(_) => Some(format!("{name:?} is not a header name: use letters, digits and dashes")),
        Ok(parsed) if FRAMING.contains(&parsed.as_str()) => {
            Some(format!("`{name}` is set by the connection itself: leave it out"))
        }
        Ok(_) => None,
    }
}

fn encoded(value: &str) -> Result<HeaderValue, TransportError> {
    HeaderValue::from_str(&encode(value)).map_err(|_| unsendable("Mcp-Name"))
}

fn unsendable(name: &str) -> TransportError {
    TransportError::Refused(format!(
        "the header {name:?} cannot be sent: its name or value holds characters that HTTP does not allow"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Open;

    fn listed(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    fn session() -> Session {
        Session::Open(Open {
            number: 0,
            id: Some(HeaderValue::from_static("abc")),
            confirmed: Some(Some(ProtocolVersion::V2025_11_25)),
        })
    }

    #[test]
    fn a_modern_request_mirrors_its_body_and_knows_no_session() {
        let mirror = Mirror {
            protocol_version: Some(ProtocolVersion::V2026_07_28),
            name: Some("wetter für".into()),
            params: vec![("Region".into(), "us-west1".into()), ("Empty".into(), String::new())],
        };
        assert_eq!(
            listed(&post(&mirror, Some("tools/call"), &session()).unwrap()),
            [
                "accept: application/json, text/event-stream",
                "content-type: application/json",
                "mcp-method: tools/call",
                "mcp-name: =?base64?d2V0dGVyIGbDvHI=?=",
                "mcp-param-empty: ",
                "mcp-param-region: us-west1",
                "mcp-protocol-version: 2026-07-28",
            ]
        );
    }

    #[test]
    fn a_legacy_request_carries_session_and_version_alone() {
        let mirror = Mirror { name: Some("x".into()), ..Mirror::version(ProtocolVersion::V2025_06_18) };
        assert_eq!(
            listed(&post(&mirror, Some("tools/call"), &session()).unwrap()),
            [
                "accept: application/json, text/event-stream",
                "content-type: application/json",
                "mcp-protocol-version: 2025-06-18",
                "mcp-session-id: abc",
            ]
        );
    }

    #[test]
    fn initialize_carries_neither_version_nor_session() {
        assert_eq!(
            listed(&post(&Mirror::default(), Some("initialize"), &Session::None).unwrap()),
            ["accept: application/json, text/event-stream", "content-type: application/json",]
        );
    }

    #[test]
    fn a_get_resumes_after_an_id_of_any_text() {
        let headers = get(&session(), session().version(), Some("événement-1"));
        assert_eq!(headers[LAST_EVENT_ID].as_bytes(), "événement-1".as_bytes());
        assert_eq!(
            listed(&get(&session(), session().version(), Some("a\u{1}b"))),
            [
                "accept: text/event-stream",
                "connection: close",
                "mcp-protocol-version: 2025-11-25",
                "mcp-session-id: abc",
            ]
        );
    }

    #[test]
    fn secrets_are_sensitive_and_do_not_replace_the_protocols_headers() {
        let secret = |name: &str, value: &str| SecretHeader { name: name.into(), value: value.into() };
        let mut headers = post(&Mirror::default(), None, &session()).unwrap();
        let secrets = [secret("X-Api-Key", "k\n"), secret("accept", "*/*"), secret("Mcp-Session-Id", "mine")];
        add_secrets(&mut headers, &secrets).unwrap();
        assert_eq!(
            listed(&headers),
            [
                "accept: application/json, text/event-stream",
                "content-type: application/json",
                "mcp-session-id: abc",
                "x-api-key: k",
            ]
        );
        assert!(headers["x-api-key"].is_sensitive());
    }

    #[test]
    fn a_header_that_http_does_not_allow_is_refused_without_its_value() {
        for (name, value) in [("X Y", "hidden"), ("X-Y", "hid\nden")] {
            let secret = SecretHeader { name: name.into(), value: value.into() };
            let error = add_secrets(&mut HeaderMap::new(), &[secret]).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "the header {name:?} cannot be sent: its name or value holds characters that HTTP does \
                     not allow"
                )
            );
        }
    }

    #[test]
    fn names_that_break_a_request_are_found_before_it_is_made() {
        assert_eq!(problem_with_name("X-Api-Key"), None);
        assert_eq!(problem_with_name("Authorization"), None);
        assert!(problem_with_name("").is_some());
        assert!(problem_with_name("X Key").is_some());
        assert!(problem_with_name("Content-Length").is_some());
    }
}
