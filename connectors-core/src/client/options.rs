//! What a client is given, and what it tells its owner.

use std::fmt;
use std::sync::Arc;

use crate::host::{InputHandler, NoInput};
use crate::limits::Limits;
use crate::names::Slug;
use crate::protocol::Implementation;

/// Signals that may wait for the owner; more are dropped, but for the last one of all.
pub(super) const SIGNAL_BACKLOG: usize = 32;

/// How a client speaks for its host.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The connector's name in errors and logs.
    pub slug: Slug,
    /// `clientInfo`.
    pub info: Implementation,
    /// The limits that hold.
    pub limits: Arc<Limits>,
    /// Who answers the server's requests for input.
    pub input: Arc<dyn InputHandler>,
    /// Which era to begin with.
    pub era: EraChoice,
}

impl ClientOptions {
    /// The default limits, nothing offered to the server, era probed.
    pub fn new(slug: Slug) -> Self {
        Self {
            slug,
            info: Implementation {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                title: None,
            },
            limits: Arc::default(),
            input: Arc::new(NoInput),
            era: EraChoice::Probe,
        }
    }

    /// What servers are told of the host.
    #[must_use]
    pub fn with_info(mut self, info: Implementation) -> Self {
        self.info = info;
        self
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<Limits>) -> Self {
        self.limits = limits;
        self
    }

    /// Somebody who answers the server.
    #[must_use]
    pub fn with_input(mut self, input: Arc<dyn InputHandler>) -> Self {
        self.input = input;
        self
    }

    /// An era that is known from before.
    #[must_use]
    pub fn with_era(mut self, era: EraChoice) -> Self {
        self.era = era;
        self
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("slug", &self.slug)
            .field("era", &self.era)
            .finish_non_exhaustive()
    }
}

/// Which era a conversation begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraChoice {
    /// Modern first; legacy where the server cleanly does not support it.
    #[default]
    Probe,
    /// `initialize` at once: the server was legacy before, or died of the probe.
    Legacy,
}

/// What a client tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientSignal {
    /// The tools have changed: list them again.
    ToolsChanged,
    /// The prompts have changed.
    PromptsChanged,
    /// The list of resources has changed.
    ResourcesChanged,
    /// A resource that is subscribed to has changed.
    ResourceUpdated {
        /// Its URI.
        uri: String,
    },
    /// A log message of the server's. Untrusted.
    Log {
        /// The server's level.
        level: String,
        /// The server's text, made fit for display.
        message: String,
    },
    /// The conversation is over; nothing can be sent any more. Always the last signal.
    Lost {
        /// One sentence.
        reason: String,
        /// True if the user has to sign in before it can go on.
        sign_in: bool,
    },
}
