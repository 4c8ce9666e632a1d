//! What is shown of a connector and of its tools.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cell::{Cell, State};
use super::environment::plaintext_secrets;
use super::routes::{is_changed, withheld};
use super::shared::Shared;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::names::Slug;
use crate::view::{CommandView, ConnectorStatus, ToolView};

/// An error as a sentence for a status, where the connector is named already.
pub(super) fn sentence(error: &ConnectorError) -> String {
    match error {
        ConnectorError::Transport { error, .. } => error.to_string(),
        ConnectorError::Protocol { problem, .. } => format!("the server broke the protocol: {problem}"),
        ConnectorError::SignInRequired { reason, .. } => {
            reason.clone().unwrap_or_else(|| "the server wants a sign-in".to_owned())
        }
        ConnectorError::Authorization { problem, .. } => problem.clone(),
        ConnectorError::InsufficientScope { scopes, .. } => {
            format!("it needs your consent to more: {}", crate::text::display(&scopes.join(", "), 500))
        }
        ConnectorError::NotConnected { reason: Some(reason), .. } => reason.clone(),
        ConnectorError::LimitExceeded { limit, max, .. } => format!("{limit} is over the limit of {max}"),
        ConnectorError::TimedOut { what, limit, .. } => format!("{what} took longer than {limit:?}"),
        ConnectorError::Upstream { error, .. } => {
            format!(
                "the server answered with error {}: {}",
                error.code,
                crate::text::display(&error.message, 200)
            )
        }
        error => error.to_string(),
    }
}

impl Shared {
    pub(super) fn status_of(&self, cell: &Cell) -> ConnectorStatus {
        let definition = cell.definition.load();
        let state = cell.state.borrow().clone();
        let catalog = cell.catalog.load();
        let connected = matches!(state, State::Ready { .. });
        let (mut retry_at, mut failed_attempts, mut session) = (None, 0, None);
        let mut last_error = state.error().map(ToOwned::to_owned);
        match &state {
            State::Backoff { retry_at: at, failed_attempts: n, .. } => {
                (retry_at, failed_attempts) = (Some(*at), *n);
                last_error = last_error.map(|error| format!("{error}; {}", next_try(*at)));
            }
            State::Connecting { failed_attempts: n } => failed_attempts = *n,
            State::Ready { session: established, .. } => session = Some(Arc::clone(established)),
            State::Disconnected | State::NeedsSignIn(_) | State::Disabled => {}
        }
        let (detail, refused_scopes) = match state.refusal() {
            Some(refusal) => (refusal.detail, refusal.scopes.clone()),
            None => (None, Vec::new()),
        };
        ConnectorStatus {
            slug: cell.slug.clone(),
            name: definition.name.clone(),
            url: definition.url.clone(),
            connected,
            tool_count: catalog.as_ref().map_or(0, |catalog| catalog.tools.len()),
            enabled_count: self.routes.load().count(&cell.slug),
            last_error,
            state: state.name(),
            transport: if definition.stdio.is_some() { "stdio" } else { "http" },
            command: command(&definition),
            retry_at,
            failed_attempts,
            era: session.as_ref().map(|session| session.era()),
            protocol_version: session.as_ref().map(|session| session.version.as_str()),
            engine: definition.engine,
            limitations: session.as_ref().map_or(&[], |session| session.limitations),
            server_info: session.and_then(|session| session.server.clone()),
            tools_fetched_at: catalog.as_ref().map(|catalog| catalog.fetched_at),
            stale: !connected && catalog.is_some(),
            quarantined: catalog.as_ref().map(|catalog| catalog.quarantined.clone()).unwrap_or_default(),
            secret_headers: definition.secret_headers.clone(),
            plaintext_secrets: plaintext_secrets(&definition),
            detail,
            oauth: definition.oauth.clone(),
            sign_in_scopes: if refused_scopes.is_empty() { cell.consent.scopes() } else { refused_scopes },
            network: definition.network.clone(),
            proposal: definition.proposal.as_ref().map(super::proposals::accepted_view),
            proposal_changed: self.proposals.change_of(&definition),
        }
    }

    /// Why an enabled tool of a connector's catalogue has no route; `None` if it has one, or is none.
    pub(super) fn withheld_reason(&self, slug: &Slug, tool: &str) -> Option<String> {
        let cell = self.cell(slug).ok()?;
        let definition = cell.definition.load();
        if definition.disabled || !definition.enabled_tools.iter().any(|enabled| enabled == tool) {
            return None;
        }
        let catalog = cell.catalog.load_full()?;
        let tool = catalog.tools.iter().find(|offered| offered.name == tool)?;
        withheld(&definition, tool, &self.gates)
    }

    pub(super) fn tools_of(&self, cell: &Cell) -> Vec<ToolView> {
        let Some(catalog) = cell.catalog.load_full() else { return Vec::new() };
        let definition = cell.definition.load();
        let routes = self.routes.load();
        let view = |tool: &Arc<crate::tool::ToolDefinition>| {
            let enabled = definition.enabled_tools.contains(&tool.name);
            ToolView {
                name: tool.name.clone(),
                canonical: routes.canonical(&cell.slug, &tool.name),
                description: tool.description(),
                enabled,
                routed: routes.get(&cell.slug, &tool.name).is_some(),
                withheld: enabled.then(|| withheld(&definition, tool, &self.gates)).flatten(),
                changed: enabled && is_changed(&definition, tool),
                title: tool.title(),
                annotations: tool.annotations,
                definition: tool.raw().to_owned(),
            }
        };
        catalog.tools.iter().map(view).collect()
    }
}

pub(super) fn command(definition: &ConnectorDefinition) -> Option<CommandView> {
    definition.stdio.as_ref().map(|stdio| CommandView {
        command: stdio.command.clone(),
        args: stdio.args.clone(),
        env: stdio.env.keys().cloned().collect(),
        secret_env: stdio.secret_env.clone(),
        cwd: stdio.cwd.clone(),
    })
}

fn next_try(at: SystemTime) -> String {
    let left = at.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
    match left.as_secs() {
        0 => "trying again now".to_owned(),
        1..=119 => format!("next try in {} s", left.as_secs()),
        seconds => format!("next try in {} min", seconds / 60),
    }
}
