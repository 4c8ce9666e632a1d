//! What the manager itself notes of how a connector came to its state: from the dial to the catalogue.

use std::borrow::Cow;

use crate::connector::SessionInfo;
use crate::error::ConnectorError;
use crate::protocol::Era;
use crate::tool::ToolCatalog;
use crate::trace::{Step, StepOutcome, TraceStep};

/// Longest text that is quoted, in bytes.
const QUOTED: usize = 500;

/// The process runs.
pub(super) fn process_started(command: &str) -> TraceStep {
    TraceStep::new(Step::Connection, StepOutcome::Passed, "process_started")
        .expecting(PROCESS)
        .seeing(crate::text::display(command, QUOTED))
}

/// A version was found that both sides speak.
pub(super) fn agreed(session: &SessionInfo) -> TraceStep {
    let era = match session.era() {
        Era::Modern => "modern",
        Era::Legacy => "legacy",
    };
    TraceStep::new(Step::Handshake, StepOutcome::Passed, "version_agreed")
        .expecting(HANDSHAKE)
        .seeing(format!("version {} ({era} era)", session.version))
}

/// The tools are known.
pub(super) fn listed(catalog: &ToolCatalog) -> TraceStep {
    let mut seen = format!("{} tools", catalog.tools.len());
    if !catalog.quarantined.is_empty() {
        seen = format!("{seen}, {} more that cannot be used", catalog.quarantined.len());
    }
    TraceStep::new(Step::Catalogue, StepOutcome::Passed, "tools_listed").expecting(CATALOGUE).seeing(seen)
}

/// The step in which an attempt has failed.
pub(super) fn failed(step: Step, error: &ConnectorError) -> TraceStep {
    let expected = match step {
        Step::Connection => PROCESS,
        Step::Catalogue => CATALOGUE,
        _ => HANDSHAKE,
    };
    let code = match step {
        Step::Connection => "process_not_started",
        _ => error.detail().unwrap_or(error.code()),
    };
    TraceStep::new(step, StepOutcome::Failed, code)
        .expecting(expected)
        .seeing(crate::text::display(&super::status::sentence(error), QUOTED))
        .remedied_by(remedy(step, error))
}

const PROCESS: &str = "the command to start";
const HANDSHAKE: &str = "a version of MCP that both sides speak";
const CATALOGUE: &str = "the server's list of tools";

fn remedy(step: Step, error: &ConnectorError) -> Cow<'static, str> {
    if step == Step::Connection {
        return "check the command: that it is installed, and runs in a terminal".into();
    }
    // What helps with a call does not help here.
    match error {
        ConnectorError::NotConnected { .. } | ConnectorError::Transport { .. } => {
            "check the address, and that the server is running and within reach".into()
        }
        ConnectorError::TimedOut { .. } => {
            "check that the server is well; it is tried again by itself".into()
        }
        ConnectorError::LimitExceeded { .. } => {
            "ask the server's operator to send less, or raise this host's limits".into()
        }
        error => error
            .remedy()
            .unwrap_or("check that the address is that of an MCP server; if it is, tell its operator".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Slug;

    #[test]
    fn every_failure_has_a_code_and_a_remedy() {
        let slug = Slug::verbatim("s");
        let errors = [
            ConnectorError::Protocol { slug: slug.clone(), problem: "no".to_owned() },
            ConnectorError::NotConnected { slug: slug.clone(), reason: None, retry_at: None },
            ConnectorError::SignInRequired { slug: slug.clone(), reason: None },
            ConnectorError::InsufficientScope { slug, scopes: vec!["a".to_owned()] },
        ];
        let codes = errors.each_ref().map(|error| {
            let step = failed(Step::Handshake, error);
            assert!(step.remedy.is_some_and(|remedy| !remedy.is_empty()), "{error}");
            step.code
        });
        assert_eq!(codes, ["upstream_protocol", "not_connected", "sign_in_required", "insufficient_scope"]);
    }
}
