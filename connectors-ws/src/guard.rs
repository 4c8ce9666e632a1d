//! Who may talk to the daemon: checks of `Host` and `Origin` on every route, and headers that keep the page to itself.

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The names under which a daemon on loopback is reached, and the pages that may talk to it.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    hosts: [String; 3],
    origins: [String; 2],
    content_policy: HeaderValue,
}

impl Guard {
    /// For a daemon on this port.
    pub(crate) fn for_port(port: u16) -> Self {
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}"));
        let origins = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}"));
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self' ws://127.0.0.1:{port} ws://localhost:{port}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let content_policy =
            HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { hosts, origins, content_policy }
    }

    /// Whether a request may pass; if not, why.
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
        let Some(host) = only(headers, &HOST).flatten() else {
            return Err("exactly one Host header is wanted");
        };
        // An absolute request target overrides the header, so both have to be right.
        let authority = uri.authority().map(|authority| authority.as_str());
        if !self.is_host(host) || !authority.is_none_or(|authority| self.is_host(authority)) {
            return Err("this is not a name of this daemon");
        }
        match only(headers, &ORIGIN) {
            // No browser, or a navigation.
            None => Ok(()),
            Some(Some(origin)) if self.origins.iter().any(|known| known == origin) => Ok(()),
            Some(_) => Err("pages of other origins may not talk to this daemon"),
        }
    }

    fn is_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// A header's value: `None` if it is absent, `Some(None)` if it is there more than once or not text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

/// Turns away what must not pass, before anything else is done, and keeps the answers to this origin.
pub(crate) async fn watch(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(reason) => {
            tracing::warn!(reason, "a request was turned away");
            (StatusCode::FORBIDDEN, reason).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, guard.content_policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(target: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Guard::for_port(9100).check(&target.parse().unwrap(), &map).is_ok()
    }

    #[test]
    fn only_the_names_of_loopback_with_the_port_are_hosts() {
        for host in ["127.0.0.1:9100", "localhost:9100", "[::1]:9100", "LocalHost:9100", "LOCALHOST:9100"] {
            assert!(passes("/", &[("host", host)]), "{host}");
        }
        for host in [
            "127.0.0.1",
            "localhost",
            "127.0.0.1:9101",
            "localhost.:9100",
            "localhost:09100",
            "localhost:9100.",
            "127.0.0.2:9100",
            "127.1:9100",
            "0.0.0.0:9100",
            "::1:9100",
            "[0:0:0:0:0:0:0:1]:9100",
            "evil.test",
            "evil.test:9100",
            "localhost:9100.evil.test",
            "user@localhost:9100",
            "localhost:9100, evil.test",
            "",
        ] {
            assert!(!passes("/", &[("host", host)]), "{host}");
        }
        assert!(!passes("/", &[]));
        assert!(!passes("/", &[("host", "localhost:9100"), ("host", "evil.test")]));
        assert!(!passes("/", &[("host", "localhost:9100"), ("host", "localhost:9100")]));
    }

    #[test]
    fn an_absolute_target_has_to_name_the_daemon_too() {
        let host = ("host", "127.0.0.1:9100");
        assert!(passes("http://localhost:9100/healthz", &[host]));
        assert!(!passes("http://evil.test/healthz", &[host]));
        assert!(!passes("http://u@localhost:9100/healthz", &[host]));
    }

    #[test]
    fn only_the_daemons_own_pages_are_origins() {
        let host = ("host", "localhost:9100");
        for origin in ["http://127.0.0.1:9100", "http://localhost:9100"] {
            assert!(passes("/", &[host, ("origin", origin)]), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://localhost:9100",
            "http://localhost",
            "http://localhost:9101",
            "http://localhost:9100/",
            "http://localhost.:9100",
            "http://evil.test",
            "http://localhost:9100.evil.test",
            "file://",
        ] {
            assert!(!passes("/", &[host, ("origin", origin)]), "{origin}");
        }
        let own = ("origin", "http://localhost:9100");
        assert!(!passes("/", &[host, own, own]));
    }
}
