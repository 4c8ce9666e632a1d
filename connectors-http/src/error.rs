//! What a failed request means, read from the chain of causes under reqwest's error.

use std::error::Error;
use std::io;
use std::time::Duration;

use connectors_core::TransportError;
use rustls::CertificateError;
use url::Url;

/// The error of a request that was not answered.
pub(crate) fn unanswered(error: reqwest::Error, url: &Url, connect: Duration) -> TransportError {
    let place = place(url);
    if error.is_connect() {
        if error.is_timeout() {
            return TransportError::TimedOut { what: "connecting", limit: connect };
        }
        return TransportError::Unreachable {
            reason: no_connection(&error, url, &place),
            source: Some(Box::new(error.without_url())),
        };
    }
    if error.is_builder() {
        return TransportError::Refused(format!("no request can be made for the URL at {place}"));
    }
    if find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
        return TransportError::Malformed(format!("what listens at {place} does not speak HTTP"));
    }
    TransportError::Closed { reason: format!("{place} closed the connection before it answered") }
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

fn no_connection(error: &reqwest::Error, url: &Url, place: &str) -> String {
    let host = url.host_str().unwrap_or_default();
    if error.is_dns() {
        return format!("the name `{host}` does not resolve");
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_problem(tls, host, place);
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => format!("nothing listens at {place} (connection refused)"),
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            format!("there is no route to {place} from this machine")
        }
        Some(
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof,
        ) => {
            format!("{place} closed the connection while it was set up")
        }
        _ => format!("no connection to {place} could be made"),
    }
}

fn tls_problem(error: &rustls::Error, host: &str, place: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(problem) => {
            format!("the certificate of `{host}` {}", certificate_problem(problem))
        }
        rustls::Error::InvalidMessage(_) => format!("what listens at {place} does not speak TLS"),
        rustls::Error::AlertReceived(_) => format!("{place} refused the TLS connection"),
        _ => format!("no TLS connection to {place} could be made"),
    }
}

fn certificate_problem(problem: &CertificateError) -> &'static str {
    use CertificateError as E;
    match problem {
        E::Expired | E::ExpiredContext { .. } => "has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "is not valid yet (is this machine's clock right?)",
        E::NotValidForName | E::NotValidForNameContext { .. } => "is for another name",
        E::UnknownIssuer => "is issued by an authority that this machine does not trust",
        E::Revoked => "has been revoked",
        _ => "is not accepted by this machine",
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
        assert_eq!(problem(CertificateError::Expired), "the certificate of `h.example` has expired");
        assert_eq!(
            problem(CertificateError::UnknownIssuer),
            "the certificate of `h.example` is issued by an authority that this machine does not trust"
        );
        assert_eq!(
            problem(CertificateError::NotValidForName),
            "the certificate of `h.example` is for another name"
        );
        assert_eq!(
            problem(CertificateError::BadSignature),
            "the certificate of `h.example` is not accepted by this machine"
        );
    }

    #[test]
    fn a_port_that_speaks_no_tls_is_said_to() {
        let error = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(tls_problem(&error, "h", "h:80"), "what listens at h:80 does not speak TLS");
    }
}
