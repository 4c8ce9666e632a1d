//! How a connector came to its state, step by step: for the user who wonders, and for bug reports.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

/// Steps of one chapter that are kept; of more, the oldest go.
const KEPT: usize = 40;

/// What is attempted in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Reaching the server: name, connection, TLS; or starting the process.
    Connection,
    /// Finding out which era the server speaks, and opening a conversation.
    Handshake,
    /// Reading the tools.
    Catalogue,
    /// The server's demand for credentials.
    Challenge,
    /// The protected resource metadata (RFC 9728).
    ResourceMetadata,
    /// The authorization server's metadata (RFC 8414, OpenID Connect Discovery).
    AuthorizationServer,
    /// How this client is known to the authorization server.
    Registration,
    /// The user's part, up to the redirect.
    Authorization,
    /// Getting tokens for it.
    Token,
    /// Renewing tokens.
    Refresh,
    /// Giving tokens back.
    Revocation,
}

impl Step {
    fn chapter(self) -> Chapter {
        match self {
            Self::Connection | Self::Handshake | Self::Catalogue => Chapter::Connection,
            Self::Refresh | Self::Revocation => Chapter::Tokens,
            _ => Chapter::SignIn,
        }
    }
}

/// Steps that begin anew together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chapter {
    /// From dialling to the catalogue.
    Connection,
    /// From the challenge to the tokens.
    SignIn,
    /// What became of the tokens.
    Tokens,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// Not needed, or not offered.
    Skipped,
}

/// One step. No field holds a secret; what is quoted from a server is shortened and made fit for display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TraceStep {
    /// When it ended (Unix seconds).
    #[serde(serialize_with = "crate::view::seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub at: SystemTime,
    /// What was attempted.
    pub step: Step,
    /// How it ended.
    pub outcome: StepOutcome,
    /// A stable word for that.
    pub code: &'static str,
    /// What was expected.
    pub expected: Cow<'static, str>,
    /// What was seen.
    pub seen: String,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Cow<'static, str>>,
}

impl TraceStep {
    /// A step that ended now.
    pub fn new(step: Step, outcome: StepOutcome, code: &'static str) -> Self {
        Self {
            at: SystemTime::now(),
            step,
            outcome,
            code,
            expected: Cow::Borrowed(""),
            seen: String::new(),
            remedy: None,
        }
    }

    /// What was expected.
    #[must_use]
    pub fn expecting(mut self, expected: impl Into<Cow<'static, str>>) -> Self {
        self.expected = expected.into();
        self
    }

    /// What was seen.
    #[must_use]
    pub fn seeing(mut self, seen: impl Into<String>) -> Self {
        self.seen = seen.into();
        self
    }

    /// What the user can do.
    #[must_use]
    pub fn remedied_by(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The trace of one connector. Cloning is cheap; all clones are the same trace.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    steps: Arc<Mutex<Vec<TraceStep>>>,
}

impl Trace {
    fn steps(&self) -> MutexGuard<'_, Vec<TraceStep>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the steps of a chapter: it begins anew.
    pub fn begin(&self, chapter: Chapter) {
        self.steps().retain(|step| step.step.chapter() != chapter);
    }

    /// Adds a step.
    pub fn note(&self, step: TraceStep) {
        let mut steps = self.steps();
        let chapter = step.step.chapter();
        if steps.iter().filter(|other| other.step.chapter() == chapter).count() >= KEPT
            && let Some(oldest) = steps.iter().position(|other| other.step.chapter() == chapter)
        {
            steps.remove(oldest);
        }
        steps.push(step);
    }

    /// The steps, in the order in which they ended.
    pub fn read(&self) -> Vec<TraceStep> {
        self.steps().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(trace: &Trace) -> Vec<&'static str> {
        trace.read().iter().map(|step| step.code).collect()
    }

    #[test]
    fn a_chapter_that_begins_anew_leaves_the_others() {
        let trace = Trace::default();
        trace.note(TraceStep::new(Step::Connection, StepOutcome::Passed, "connected"));
        trace.note(TraceStep::new(Step::Token, StepOutcome::Passed, "tokens"));
        trace.note(TraceStep::new(Step::Catalogue, StepOutcome::Failed, "no_catalogue"));
        trace.begin(Chapter::Connection);
        assert_eq!(codes(&trace), ["tokens"]);
    }

    #[test]
    fn a_long_chapter_loses_its_oldest_steps() {
        let trace = Trace::default();
        trace.note(TraceStep::new(Step::Connection, StepOutcome::Passed, "connected"));
        trace.note(TraceStep::new(Step::Refresh, StepOutcome::Failed, "oldest"));
        for _ in 0..KEPT {
            trace.note(TraceStep::new(Step::Refresh, StepOutcome::Passed, "refreshed"));
        }
        let codes = codes(&trace);
        assert_eq!((codes.len(), codes[0], codes.contains(&"oldest")), (KEPT + 1, "connected", false));
    }
}
