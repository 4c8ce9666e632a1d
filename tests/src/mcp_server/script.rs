//! What a server is told to be.

use std::sync::Arc;
use std::time::Duration;

use super::faults::{Fault, Stage};
use super::guard::Guard;
use super::tool::Tool;

/// Which eras a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eras {
    /// 2026-07-28 alone.
    Modern,
    /// 2025-11-25 and earlier, alone.
    Legacy,
    /// Both, told apart request by request.
    Dual,
}

/// How a request that has an answer gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyAs {
    /// One JSON object; a stream only where notifications come before the answer.
    Json,
    /// A stream of server-sent events, which ends as [`Linger`] says.
    Sse(Linger),
}

/// How long a stream stays open after it has delivered the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linger {
    /// It ends at once.
    No,
    /// It ends after this time.
    For(Duration),
    /// It ends when the client leaves or the server stops.
    Forever,
}

/// The cursors that a paged `tools/list` hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursors {
    /// One for every page but the last.
    Honest,
    /// The same one on every page, for ever.
    Repeated,
    /// A new one on every page, for ever; pages after the last tool are empty.
    Endless,
}

/// Everything that a server is told before it starts. Without more it is a flawless one with no tools.
#[derive(Debug, Clone)]
pub struct Script {
    pub(crate) eras: Eras,
    pub(crate) sessions: bool,
    pub(crate) get_stream: bool,
    pub(crate) tools: Vec<Tool>,
    pub(crate) page_size: usize,
    pub(crate) cursors: Cursors,
    pub(crate) reply: ReplyAs,
    pub(crate) delays: Vec<(Stage, Duration)>,
    pub(crate) faults: Vec<(Stage, Fault)>,
    pub(crate) ttl: Duration,
    pub(crate) required_headers: Vec<(String, String)>,
    pub(crate) guard: Option<Arc<dyn Guard>>,
}

impl Script {
    fn new(eras: Eras) -> Self {
        Self {
            eras,
            sessions: eras != Eras::Modern,
            get_stream: eras != Eras::Modern,
            tools: Vec::new(),
            page_size: usize::MAX,
            cursors: Cursors::Honest,
            reply: ReplyAs::Json,
            delays: Vec::new(),
            faults: Vec::new(),
            ttl: Duration::from_secs(3600),
            required_headers: Vec::new(),
            guard: None,
        }
    }

    /// A server of 2026-07-28.
    pub fn modern() -> Self {
        Self::new(Eras::Modern)
    }

    /// A server of 2025-11-25 and earlier, with sessions and a GET stream.
    pub fn legacy() -> Self {
        Self::new(Eras::Legacy)
    }

    /// A server of both eras.
    pub fn dual() -> Self {
        Self::new(Eras::Dual)
    }

    /// Legacy requests get no session id and need none.
    #[must_use]
    pub fn without_sessions(mut self) -> Self {
        self.sessions = false;
        self
    }

    /// GET is answered 405.
    #[must_use]
    pub fn without_get_stream(mut self) -> Self {
        self.get_stream = false;
        self
    }

    /// The tools that it begins with, in this order.
    #[must_use]
    pub fn with_tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = tools.into_iter().collect();
        self
    }

    /// Lists at most this many tools a page.
    #[must_use]
    pub fn with_page_size(mut self, size: usize) -> Self {
        self.page_size = size;
        self
    }

    /// How it hands out cursors.
    #[must_use]
    pub fn with_cursors(mut self, cursors: Cursors) -> Self {
        self.cursors = cursors;
        self
    }

    /// How it answers.
    #[must_use]
    pub fn replying(mut self, reply: ReplyAs) -> Self {
        self.reply = reply;
        self
    }

    /// Answers at `stage` only after `delay`.
    #[must_use]
    pub fn with_delay(mut self, stage: Stage, delay: Duration) -> Self {
        self.delays.push((stage, delay));
        self
    }

    /// Does wrong at `stage`; the first fault that applies wins.
    #[must_use]
    pub fn with_fault(mut self, stage: Stage, fault: Fault) -> Self {
        self.faults.push((stage, fault));
        self
    }

    /// How long its lists and its description of itself are called fresh (modern).
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Answers 401 to every request without this header.
    #[must_use]
    pub fn requiring_header(mut self, name: &str, value: &str) -> Self {
        self.required_headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Admits only what `guard` lets pass, and leaves everything outside of the MCP endpoint to it.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl Guard) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    pub(crate) fn delay_at(&self, method: &str) -> Duration {
        self.delays.iter().filter(|(stage, _)| stage.covers(method)).map(|(_, delay)| *delay).sum()
    }
}
