//! Where messages are posted: what the `endpoint` event says.

use connectors_core::TransportError;
use url::Url;

/// Reads the URI of an `endpoint` event, which may be relative to the URL of its stream.
///
/// # Errors
///
/// [`TransportError::Refused`] for another origin: credentials stay with the one that they were entered for.
/// [`TransportError::Malformed`] for what is no URI.
pub(super) fn resolve(stream: &Url, data: &[u8]) -> Result<Url, TransportError> {
    let mut endpoint = std::str::from_utf8(data)
        .ok()
        .and_then(|text| stream.join(text.trim()).ok())
        .filter(Url::has_host)
        .ok_or_else(|| TransportError::Malformed("the server's endpoint for messages is no URI".into()))?;
    if endpoint.origin() != stream.origin() {
        return Err(TransportError::Refused(format!(
            "the server wants messages sent to another origin ({}), which is not done",
            endpoint.origin().ascii_serialization()
        )));
    }
    endpoint.set_fragment(None);
    // What a server puts there would be sent as credentials. It fails only for URLs without a host.
    let _ = endpoint.set_username("");
    let _ = endpoint.set_password(None);
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(data: &str) -> Result<String, String> {
        let stream = "https://h.example/mcp/sse?tenant=1".parse().unwrap();
        resolve(&stream, data.as_bytes()).map(String::from).map_err(|error| error.to_string())
    }

    #[test]
    fn the_endpoint_is_relative_to_the_stream() {
        let at = |text: &str| Ok(text.to_owned());
        assert_eq!(resolved("/message?sessionId=a%2Fb"), at("https://h.example/message?sessionId=a%2Fb"));
        assert_eq!(resolved(" messages/7#x\n"), at("https://h.example/mcp/messages/7"));
        assert_eq!(resolved("?s=1"), at("https://h.example/mcp/sse?s=1"));
        assert_eq!(resolved("https://u:p@h.example:443/m"), at("https://h.example/m"));
    }

    #[test]
    fn another_origin_is_refused_without_path_or_query() {
        for (uri, origin) in [
            ("https://evil.example/m?token=1", "https://evil.example"),
            ("//evil.example/m", "https://evil.example"),
            ("http://h.example/m", "http://h.example"),
            ("https://h.example:8443/m", "https://h.example:8443"),
            ("\\\\evil.example/m", "https://evil.example"),
        ] {
            let refused =
                format!("the server wants messages sent to another origin ({origin}), which is not done");
            assert_eq!(resolved(uri), Err(refused));
        }
    }

    #[test]
    fn what_is_no_address_is_malformed() {
        let malformed = || Err("the server's endpoint for messages is no URI".to_owned());
        assert_eq!(resolved("https://"), malformed());
        assert_eq!(resolved("javascript:alert(1)"), malformed());
        assert_eq!(resolved("mailto:a@b"), malformed());
        let stream = "http://h.example/".parse().unwrap();
        assert!(matches!(resolve(&stream, b"\xff"), Err(TransportError::Malformed(_))));
    }
}
