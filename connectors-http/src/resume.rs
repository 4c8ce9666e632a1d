//! Taking up a stream of the legacy versions again (2025-11-25, transports, resumability and redelivery).

use std::time::Duration;

use connectors_core::TransportError;
use connectors_core::protocol::ProtocolVersion;
use reqwest::Response;

use crate::headers;
use crate::response::{Content, content, not_mcp, refusal};
use crate::session::Session;
use crate::wire::{Outgoing, Verb, Wire};

/// Wait before a stream is taken up again, where the server has not said how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// A server that asks for no wait at all, or for longer than anyone has, gets these.
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Attempts without any progress before a stream is given up: those that failed, and those that the server answered with
/// a stream that held nothing (a server that is polled may do so for as long as it works).
const MAX_FAILED: u32 = 5;
const MAX_IDLE: u32 = 60;

/// When the next attempt is made, and whether there is one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    failed: u32,
    idle: u32,
}

impl Pace {
    /// The stream has moved on.
    pub(crate) fn progress(&mut self) {
        *self = Self::default();
    }

    /// An attempt did not open the stream, or not for long enough to be of use.
    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }

    /// An attempt opened the stream, which ended in good order with nothing on it.
    pub(crate) fn idle(&mut self) {
        self.idle += 1;
    }

    /// How long to wait before the next attempt, at least what the server asked for; `None` to give up.
    pub(crate) fn wait(&self, asked: Option<Duration>) -> Option<Duration> {
        if self.failed >= MAX_FAILED || self.idle >= MAX_IDLE {
            return None;
        }
        let wait = asked.unwrap_or(DEFAULT_WAIT).clamp(MIN_WAIT, MAX_WAIT);
        Some((wait * 2u32.pow(self.failed)).min(MAX_WAIT))
    }
}

/// Opens the server's own stream, or resumes the one on which `last_event_id` was seen.
///
/// # Errors
///
/// Every answer that is not an event stream is one, [`TransportError::SessionExpired`] included.
pub(crate) async fn request(
    wire: &Wire,
    session: &Session,
    version: Option<ProtocolVersion>,
    last_event_id: Option<&str>,
) -> Result<Response, TransportError> {
    let headers = headers::get(session, version, last_event_id);
    let outgoing = Outgoing { verb: Verb::Get, headers, body: bytes::Bytes::new() };
    let response = wire.send(&outgoing).await?;
    if !response.status().is_success() {
        return Err(refusal(response, session.id().is_some()).await);
    }
    match content(&response) {
        Content::Events => Ok(response),
        other => Err(not_mcp(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_server_is_given_the_time_it_asked_for_within_reason() {
        let pace = Pace::default();
        assert_eq!(pace.wait(None), Some(ms(1000)));
        assert_eq!(pace.wait(Some(ms(500))), Some(ms(500)));
        assert_eq!(pace.wait(Some(ms(0))), Some(MIN_WAIT));
        assert_eq!(pace.wait(Some(ms(u64::MAX))), Some(MAX_WAIT));
    }

    #[test]
    fn failures_double_the_wait_and_the_fifth_is_the_last() {
        let mut pace = Pace::default();
        let mut waits = Vec::new();
        while let Some(wait) = pace.wait(Some(ms(500))) {
            waits.push(wait);
            pace.failed();
        }
        assert_eq!(waits, [ms(500), ms(1000), ms(2000), ms(4000), ms(8000)]);
        pace.progress();
        assert_eq!(pace.wait(Some(ms(500))), Some(ms(500)));
    }

    #[test]
    fn polls_that_bring_nothing_keep_their_pace_and_end_some_day() {
        let mut pace = Pace::default();
        for _ in 0..MAX_IDLE {
            assert_eq!(pace.wait(None), Some(DEFAULT_WAIT));
            pace.idle();
        }
        assert_eq!(pace.wait(None), None);
    }
}
