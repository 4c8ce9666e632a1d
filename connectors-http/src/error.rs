//! What a failed request means, read from the chain of causes under reqwest's error.

use std::error::Error;
use std::io;
use std::time::Duration;

use connectors_core::TransportError;
use rustls::{AlertDescription, CertificateError};
use url::Url;

use crate::connection::Outcome;
use crate::guard::Forbidden;
use crate::route::{Proxy, Route};

/// A request that was not answered: what the caller is told, and what the trace is.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) outcome: Outcome,
    pub(crate) error: TransportError,
}

/// Why a request was not answered that took this way.
pub(crate) fn unanswered(error: reqwest::Error, url: &Url, connect: Duration, route: &Route) -> Unanswered {
    let place = place(url);
    if let Some(forbidden) = find::<Forbidden>(&error) {
        let error = TransportError::Refused(forbidden.to_string());
        return Unanswered { outcome: Outcome::AddressRefused, error };
    }
    if error.is_connect() && error.is_timeout() {
        let error = TransportError::TimedOut { what: "connecting", limit: connect };
        return Unanswered { outcome: Outcome::ConnectTimeout, error };
    }
    let refused_certificate = find::<rustls::Error>(&error).is_some_and(is_about_our_certificate);
    if error.is_connect() || refused_certificate {
        let (outcome, reason) = match route.proxy(url) {
            Some(proxy) => no_connection_through(&proxy, &error, url, &place),
            None => no_connection(&error, url, &place),
        };
        let source = Some(Box::new(error.without_url()).into());
        return Unanswered { outcome, error: TransportError::Unreachable { reason, source } };
    }
    if error.is_builder() {
        let error = TransportError::Refused(format!("no request can be made for the URL at {place}"));
        return Unanswered { outcome: Outcome::AddressRefused, error };
    }
    if find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
        let error = TransportError::Malformed(format!("what listens at {place} does not speak HTTP"));
        return Unanswered { outcome: Outcome::NotHttp, error };
    }
    let reason = format!("{place} closed the connection before it answered");
    Unanswered { outcome: Outcome::NoAnswer, error: TransportError::Closed { reason } }
}

/// The error of an answer that broke off.
pub(crate) fn broken_off(error: &reqwest::Error, url: &Url) -> TransportError {
    let place = place(url);
    let damaged = find::<hyper::Error>(error).is_none()
        && find::<io::Error>(error)
            .is_some_and(|e| matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    if damaged {
        return TransportError::Malformed(format!("the answer of {place} cannot be decompressed"));
    }
    TransportError::Closed { reason: format!("the connection to {place} ended in the middle of the answer") }
}

/// The transport was closed by its owner.
pub(crate) fn shut() -> TransportError {
    TransportError::Closed { reason: "the connection was closed from this side".into() }
}

/// Host and port, the part of a URL that messages name.
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn no_connection(error: &reqwest::Error, url: &Url, place: &str) -> (Outcome, String) {
    let host = url.host_str().unwrap_or_default();
    if error.is_dns() {
        return (Outcome::NameNotResolved, format!("the name `{host}` does not resolve"));
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_problem(tls, host, place);
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            (Outcome::ConnectionRefused, format!("nothing listens at {place} (connection refused)"))
        }
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            (Outcome::Unreachable, format!("there is no route to {place} from this machine"))
        }
        Some(
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof,
        ) => {
            let broken = format!("{place} closed the connection while it was set up");
            (if url.scheme() == "https" { Outcome::TlsFailed } else { Outcome::Unreachable }, broken)
        }
        _ => (Outcome::Unreachable, format!("no connection to {place} could be made")),
    }
}

fn no_connection_through(proxy: &Proxy, error: &reqwest::Error, url: &Url, place: &str) -> (Outcome, String) {
    let host = url.host_str().unwrap_or_default();
    let via = &proxy.place;
    if let Some(tls) = find::<rustls::Error>(error) {
        if url.scheme() == "https" && !proxy.is_https {
            return tls_problem(tls, host, place);
        }
        return (Outcome::ProxyFailed, format!("no TLS connection by way of the proxy {via} could be made"));
    }
    if error.is_dns() {
        return (Outcome::ProxyFailed, format!("the name of the proxy {via} does not resolve"));
    }
    let reason = match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("no proxy listens at {via} (connection refused)")
        }
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            format!("there is no route to the proxy {via} from this machine")
        }
        _ => format!("the proxy {via} makes no connection to {place}"),
    };
    (Outcome::ProxyFailed, reason)
}

fn tls_problem(error: &rustls::Error, host: &str, place: &str) -> (Outcome, String) {
    match error {
        rustls::Error::InvalidCertificate(problem) => {
            let (outcome, problem) = certificate_problem(problem);
            (outcome, format!("the certificate of `{host}` {problem}"))
        }
        rustls::Error::InvalidMessage(_) => {
            (Outcome::TlsFailed, format!("what listens at {place} does not speak TLS"))
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            (Outcome::TlsClientCertificate, format!("{place} wants a client certificate"))
        }
        error if is_about_our_certificate(error) => {
            (Outcome::TlsClientCertificate, format!("{place} does not accept the client certificate"))
        }
        rustls::Error::AlertReceived(_) => {
            (Outcome::TlsFailed, format!("{place} refused the TLS connection"))
        }
        _ => (Outcome::TlsFailed, format!("no TLS connection to {place} could be made")),
    }
}

/// True for what a server says of the certificate that this client showed. With TLS 1.3 it does so only after the handshake,
/// in place of an answer.
fn is_about_our_certificate(error: &rustls::Error) -> bool {
    use AlertDescription as A;
    matches!(
        error,
        rustls::Error::AlertReceived(
            A::CertificateRequired
                | A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateRevoked
                | A::CertificateExpired
                | A::CertificateUnknown
                | A::UnknownCA
        )
    )
}

fn certificate_problem(problem: &CertificateError) -> (Outcome, &'static str) {
    use CertificateError as E;
    match problem {
        E::Expired | E::ExpiredContext { .. } => (Outcome::TlsExpired, "has expired"),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            (Outcome::TlsExpired, "is not valid yet (is this machine's clock right?)")
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            (Outcome::TlsWrongName, "is for another name")
        }
        E::UnknownIssuer => {
            (Outcome::TlsUnknownIssuer, "is issued by an authority that this machine does not trust")
        }
        E::Revoked => (Outcome::TlsFailed, "has been revoked"),
        _ => (Outcome::TlsFailed, "is not accepted by this machine"),
    }
}

/// The first cause of a type, looking into I/O errors too, which hide what they wrap from the chain.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find::<T>(inner)
        {
            return Some(found);
        }
        current = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_holds_neither_credentials_nor_path_nor_query() {
        assert_eq!(place(&url("http://user:pw@127.0.0.1:9/path?key=secret#f")), "127.0.0.1:9");
        assert_eq!(place(&url("https://example.com/mcp")), "example.com");
        assert_eq!(place(&url("http://[::1]:8080/")), "[::1]:8080");
    }

    #[test]
    fn a_certificate_problem_is_found_inside_an_io_error_and_named() {
        let problem = |e| {
            let wrapped = io::Error::other(io::Error::new(
                io::ErrorKind::InvalidData,
                rustls::Error::InvalidCertificate(e),
            ));
            let found = find::<rustls::Error>(&wrapped).unwrap().clone();
            tls_problem(&found, "h.example", "h.example:8443")
        };
        for (error, outcome, expected) in [
            (CertificateError::Expired, Outcome::TlsExpired, "has expired"),
            (
                CertificateError::UnknownIssuer,
                Outcome::TlsUnknownIssuer,
                "is issued by an authority that this machine does not trust",
            ),
            (CertificateError::NotValidForName, Outcome::TlsWrongName, "is for another name"),
            (CertificateError::BadSignature, Outcome::TlsFailed, "is not accepted by this machine"),
        ] {
            assert_eq!(problem(error), (outcome, format!("the certificate of `h.example` {expected}")));
        }
    }

    #[test]
    fn a_port_that_speaks_no_tls_is_said_to() {
        let error = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(
            tls_problem(&error, "h", "h:80"),
            (Outcome::TlsFailed, "what listens at h:80 does not speak TLS".into())
        );
    }

    #[test]
    fn a_server_that_wants_a_client_certificate_is_told_from_one_that_refuses_tls() {
        let alert = |alert| tls_problem(&rustls::Error::AlertReceived(alert), "h", "h:443").0;
        assert_eq!(alert(AlertDescription::CertificateRequired), Outcome::TlsClientCertificate);
        assert_eq!(alert(AlertDescription::UnknownCA), Outcome::TlsClientCertificate);
        assert_eq!(alert(AlertDescription::HandshakeFailure), Outcome::TlsFailed);
    }
}
