//! Whether a redirect is followed: credentials stay with the origin that they were entered for.

use connectors_core::TransportError;
use reqwest::{Method, StatusCode};
use url::Url;

/// Redirects that are followed for one request.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// Where a redirect leads, if it may be followed; `None` if the status is not one of a redirect.
///
/// Followed are those that keep the request as it is (307, 308; for a GET also 301, 302 and 303), to the same origin or
/// from http to https on the same host.
///
/// # Errors
///
/// [`TransportError::Refused`] for every other redirect, [`TransportError::Malformed`] for one that leads nowhere.
pub(crate) fn target(
    method: &Method,
    status: StatusCode,
    from: &Url,
    location: Option<&[u8]>,
) -> Result<Option<Url>, TransportError> {
    let keeps_request = match status.as_u16() {
        307 | 308 => true,
        301..=303 => method == Method::GET,
        _ => return Ok(None),
    };
    let mut to = location
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| from.join(text).ok())
        .ok_or_else(|| TransportError::Malformed("the server redirects, but does not say where to".into()))?;
    to.set_fragment(None);

    let upgrade = from.scheme() == "http" && to.scheme() == "https" && from.host() == to.host();
    if to.origin() != from.origin() && !upgrade {
        return Err(TransportError::Refused(elsewhere(from, &to)));
    }
    // What a server puts there would be sent as credentials. It fails only for URLs without a host.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    if !keeps_request {
        to.set_query(None);
        return Err(TransportError::Refused(format!(
            "the server redirects in a way that drops the message (HTTP {}); add it again at {to}",
            status.as_u16()
        )));
    }
    Ok(Some(to))
}

/// The error of a request that was redirected too often.
pub(crate) fn circles() -> TransportError {
    TransportError::Refused(format!("the server redirects more than {MAX_REDIRECTS} times in a row"))
}

fn elsewhere(from: &Url, to: &Url) -> String {
    if from.scheme() == "https" && to.scheme() == "http" && from.host() == to.host() {
        return "the server redirects from https to unprotected http, which is not followed".into();
    }
    if !matches!(to.scheme(), "http" | "https") {
        return "the server redirects to an address that is neither https nor http".into();
    }
    format!(
        "the server redirects to another origin ({}); add it again at that URL",
        to.origin().ascii_serialization()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(method: Method, status: u16, from: &str, to: &str) -> Result<Option<String>, String> {
        let status = StatusCode::from_u16(status).unwrap();
        match target(&method, status, &from.parse().unwrap(), Some(to.as_bytes())) {
            Ok(url) => Ok(url.map(String::from)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn post(from: &str, to: &str) -> Result<Option<String>, String> {
        decide(Method::POST, 307, from, to)
    }

    #[test]
    fn the_same_origin_and_the_step_to_https_are_followed() {
        let same = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(post("https://h.example/mcp", "/mcp/"), same("https://h.example/mcp/"));
        assert_eq!(
            post("https://h.example/mcp", "https://h.example:443/x?y#z"),
            same("https://h.example/x?y")
        );
        assert_eq!(post("http://h.example/mcp", "https://h.example/mcp"), same("https://h.example/mcp"));
        assert_eq!(decide(Method::POST, 308, "http://h/a", "b"), same("http://h/b"));
    }

    #[test]
    fn credentials_in_a_location_are_dropped() {
        assert_eq!(
            post("https://h.example/", "https://u:p@h.example/x"),
            Ok(Some("https://h.example/x".into()))
        );
    }

    #[test]
    fn another_origin_is_refused_by_name_without_path_or_query() {
        for to in ["https://evil.example/mcp?token=1", "//evil.example", "https://u:p@evil.example/"] {
            assert_eq!(
                post("https://h.example/mcp", to),
                Err(
                    "the server redirects to another origin (https://evil.example); add it again at that URL"
                        .into()
                )
            );
        }
        for to in ["https://h.example:8443/", "https://h.example.evil.tld/", "https://sub.h.example/"] {
            assert!(post("https://h.example/mcp", to).is_err(), "{to}");
        }
    }

    #[test]
    fn the_step_down_to_http_and_other_schemes_are_refused() {
        assert_eq!(
            post("https://h.example/", "http://h.example/"),
            Err("the server redirects from https to unprotected http, which is not followed".into())
        );
        for to in ["file:///etc/passwd", "javascript:alert(1)", "ftp://h.example/"] {
            assert_eq!(
                post("http://h.example/", to),
                Err("the server redirects to an address that is neither https nor http".into())
            );
        }
    }

    #[test]
    fn a_redirect_that_drops_the_message_is_followed_for_a_get_alone() {
        assert_eq!(
            decide(Method::POST, 301, "https://h.example/mcp", "/mcp/?k=v"),
            Err("the server redirects in a way that drops the message (HTTP 301); add it again at \
                 https://h.example/mcp/"
                .into())
        );
        assert_eq!(
            decide(Method::GET, 303, "https://h.example/mcp", "/e"),
            Ok(Some("https://h.example/e".into()))
        );
    }

    #[test]
    fn other_statuses_are_no_redirects_and_no_location_is_an_error() {
        assert_eq!(decide(Method::POST, 304, "https://h.example/", "/x"), Ok(None));
        let nowhere =
            target(&Method::POST, StatusCode::TEMPORARY_REDIRECT, &"http://h/".parse().unwrap(), None);
        assert!(matches!(nowhere, Err(TransportError::Malformed(_))));
    }
}
