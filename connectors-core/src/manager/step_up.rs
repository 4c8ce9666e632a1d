//! Calls that need more than the user has granted: they wait for the consent and are sent again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::consent::Verdict;
use super::routes::Route;
use super::shared::Shared;
use crate::client::McpClient;
use crate::connector::{ToolCall, ToolOutcome};
use crate::error::ConnectorError;
use crate::sign_in::SIGN_IN_LIFETIME;

/// How often one call may ask for more.
const MOST: usize = 2;

/// What it takes to send a call again.
pub(super) struct StepUp<'a> {
    shared: &'a Shared,
    route: &'a Arc<Route>,
    call: ToolCall,
    /// When the caller's own patience ends.
    deadline: Option<Instant>,
    /// Sign-ins that were completed before the call was sent.
    grants: u64,
}

impl<'a> StepUp<'a> {
    /// For a call that was refused. `grants` are the sign-ins that were completed before it was sent.
    pub(super) fn new(
        shared: &'a Shared,
        route: &'a Arc<Route>,
        call: ToolCall,
        deadline: Option<Instant>,
        grants: u64,
    ) -> Self {
        Self { shared, route, call, deadline, grants }
    }

    /// Waits until the user has granted `scopes` and sends the call again, more than once if more is missing then.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::InsufficientScope`] where the user does not grant it in time, or grants it too often in vain; else what
    /// becomes of the call.
    pub(super) async fn send_again(mut self, mut scopes: Vec<String>) -> Result<ToolOutcome, ConnectorError> {
        let route = self.route;
        let missing = |scopes| ConnectorError::InsufficientScope { slug: route.slug.clone(), scopes };
        for _ in 0..MOST {
            let reason = super::status::sentence(&missing(scopes.clone()));
            let until = self.at_most(SIGN_IN_LIFETIME);
            match self.shared.consent(&route.cell, self.grants, &scopes, &reason, until).await {
                Verdict::Granted => {}
                Verdict::TooLate => return Err(missing(scopes)),
                Verdict::Over if self.shared.is_current(&route.cell) => {
                    return Err(ConnectorError::ShuttingDown);
                }
                Verdict::Over => return Err(ConnectorError::NotFound(route.slug.clone())),
            }
            self.grants = route.cell.consent.grants();
            match self.send().await {
                Err(ConnectorError::InsufficientScope { scopes: more, .. }) => scopes = more,
                outcome => return outcome,
            }
        }
        Err(missing(scopes))
    }

    async fn send(&mut self) -> Result<ToolOutcome, ConnectorError> {
        let client = self.connection().await?;
        self.call.tool = Arc::clone(&self.admitted()?.tool);
        if let Some(deadline) = self.deadline {
            self.call.total_timeout = Some(deadline.saturating_duration_since(Instant::now()));
        }
        client.call(&self.call).await
    }

    /// The connection, which may have to be made anew with what was granted.
    async fn connection(&self) -> Result<Arc<McpClient>, ConnectorError> {
        let mut state = self.route.cell.state.subscribe();
        let until = self.at_most(self.shared.limits.handshake);
        // A state that stays pending is reported as not connected.
        let _ = tokio::time::timeout_at(until, state.wait_for(|state| !state.is_pending())).await;
        self.shared.connection(&self.route.cell)
    }

    /// The route as it is by now: the user has had time to change their mind, and the server its tools.
    fn admitted(&self) -> Result<Arc<Route>, ConnectorError> {
        let (slug, tool) = (&self.route.slug, &self.route.tool.name);
        let route = self.shared.routes.load().get(slug, tool).cloned();
        let route = route
            .filter(|route| Arc::ptr_eq(&route.cell, &self.route.cell))
            .ok_or_else(|| ConnectorError::UnknownTool { slug: slug.clone(), tool: tool.clone() })?;
        if route.tool.fingerprint() != self.route.tool.fingerprint() {
            super::calls::validate(&route, &self.call.arguments)?;
        }
        Ok(route)
    }

    fn at_most(&self, wait: Duration) -> Instant {
        let end = Instant::now() + wait;
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }
}
