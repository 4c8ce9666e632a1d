//! How connecting to a server went, as its trace tells it.

use std::sync::atomic::{AtomicU8, Ordering};

use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{Trace, TraceStep};

/// What an attempt to reach a server came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// The server has answered, whatever it said.
    Connected = 1,
    NameNotResolved,
    ConnectionRefused,
    Unreachable,
    ConnectTimeout,
    TlsFailed,
    TlsExpired,
    TlsUnknownIssuer,
    TlsWrongName,
    /// The server wants a client certificate, or another one.
    TlsClientCertificate,
    ProxyFailed,
    RedirectRefused,
    AddressRefused,
    /// What was entered about the network is of no use.
    NetworkSettings,
    NotHttp,
    /// The connection ended before an answer.
    NoAnswer,
}

impl Outcome {
    /// The stable word for it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::NameNotResolved => "name_not_resolved",
            Self::ConnectionRefused => "connection_refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed => "tls_failed",
            Self::TlsExpired => "tls_expired",
            Self::TlsUnknownIssuer => "tls_unknown_issuer",
            Self::TlsWrongName => "tls_wrong_name",
            Self::TlsClientCertificate => "tls_client_certificate",
            Self::ProxyFailed => "proxy_failed",
            Self::RedirectRefused => "redirect_refused",
            Self::AddressRefused => "address_refused",
            Self::NetworkSettings => "network_settings",
            Self::NotHttp => "not_http",
            Self::NoAnswer => "no_answer",
        }
    }

    fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::Connected => return None,
            Self::NameNotResolved => "check the host in the connector's URL, and this machine's network",
            Self::ConnectionRefused => "start the server, or check host and port in the connector's URL",
            Self::Unreachable => "check this machine's network (VPN, firewall) and the connector's URL",
            Self::ConnectTimeout => {
                "check the network (VPN, firewall, proxy) and the connector's URL; the server may be down"
            }
            Self::TlsFailed => {
                "check that the connector's URL leads to a port that speaks https; else ask who runs the server"
            }
            Self::TlsExpired => {
                "ask who runs the server to renew its certificate; check this machine's clock too"
            }
            Self::TlsUnknownIssuer => {
                "if the server uses an authority of your own, enter its certificate as `network.ca_file`"
            }
            Self::TlsWrongName => "use the host name that the certificate is for in the connector's URL",
            Self::TlsClientCertificate => {
                "enter the certificate and key that the server asks for as `network.client_certificate_file` and \
                 `network.client_key_file`"
            }
            Self::ProxyFailed => "check the proxy: `network.proxy`, or that of the environment (HTTPS_PROXY)",
            Self::RedirectRefused => "enter the URL that the server really is at",
            Self::AddressRefused => "check the connector's URL",
            Self::NetworkSettings => "correct the connector's `network` settings",
            Self::NotHttp => "check host, port and scheme in the connector's URL",
            Self::NoAnswer => "try again; if it happens again, ask who runs the server",
        })
    }
}

/// Records what changes about the connection of one transport. All its requests share it.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    trace: Trace,
    /// The outcome noted last; 0 before the first.
    last: AtomicU8,
}

impl Connection {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, last: AtomicU8::new(0) }
    }

    /// Takes an outcome down, unless it is that of the request before. `seen` is free of secrets.
    pub(crate) fn note(&self, outcome: Outcome, seen: impl FnOnce() -> String) {
        let number = outcome as u8;
        // The look ahead keeps requests that go well from contending for the place.
        if self.last.load(Ordering::Relaxed) == number || self.last.swap(number, Ordering::Relaxed) == number
        {
            return;
        }
        let ended = if outcome == Outcome::Connected { StepOutcome::Passed } else { StepOutcome::Failed };
        let step = TraceStep::new(Step::Connection, ended, outcome.code())
            .expecting("an answer from the server")
            .seeing(seen());
        self.trace.note(match outcome.remedy() {
            Some(remedy) => step.remedied_by(remedy),
            None => step,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_outcome_and_changes_are_noted() {
        use Outcome::{ConnectTimeout, Connected, NoAnswer};
        let trace = Trace::default();
        let connection = Connection::new(trace.clone());
        for outcome in [ConnectTimeout, ConnectTimeout, Connected, Connected, Connected, NoAnswer, Connected]
        {
            connection.note(outcome, || "seen".into());
        }
        let noted: Vec<_> = trace.read().into_iter().map(|step| (step.outcome, step.code)).collect();
        assert_eq!(
            noted,
            [
                (StepOutcome::Failed, "connect_timeout"),
                (StepOutcome::Passed, "connected"),
                (StepOutcome::Failed, "no_answer"),
                (StepOutcome::Passed, "connected"),
            ]
        );
    }

    #[test]
    fn a_failure_says_what_was_seen_and_what_to_do() {
        let trace = Trace::default();
        Connection::new(trace.clone()).note(Outcome::TlsUnknownIssuer, || "no trust".into());
        let step = &trace.read()[0];
        assert_eq!(
            (step.expected.as_ref(), step.seen.as_str(), step.remedy.as_deref()),
            (
                "an answer from the server",
                "no trust",
                Some(
                    "if the server uses an authority of your own, enter its certificate as `network.ca_file`"
                )
            )
        );
    }
}
