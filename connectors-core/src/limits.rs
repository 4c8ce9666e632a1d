//! The limits that keep a hostile or broken server from costing more than its own connector.

use std::time::Duration;

/// Limits of one connector. Every one of them is enforced; none is switched off by leaving it out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest wait for a TCP connection, name resolution and TLS included.
    pub connect: Duration,
    /// Longest wait for a handshake (era probe, `initialize`, first `tools/list`) as a whole.
    pub handshake: Duration,
    /// Longest silence of a call: progress starts it anew.
    pub call_idle: Duration,
    /// Longest duration of a call, progress or not.
    pub call_total: Duration,
    /// Largest reply, in bytes after decompression.
    pub reply_bytes: usize,
    /// Largest server-sent event, or line of a stdio server, in bytes.
    pub event_bytes: usize,
    /// Most tools that a catalogue may hold.
    pub catalogue_tools: usize,
    /// Most pages that a catalogue may have.
    pub catalogue_pages: usize,
    /// Longest tool description that is shown, in bytes.
    pub description_bytes: usize,
    /// Largest single tool definition, in bytes; a larger one is quarantined.
    pub definition_bytes: usize,
    /// How often a call may be answered with a request for more input before it fails.
    pub input_rounds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(30),
            call_idle: Duration::from_secs(60),
            call_total: Duration::from_secs(30 * 60),
            reply_bytes: 16 << 20,
            event_bytes: 16 << 20,
            catalogue_tools: 10_000,
            catalogue_pages: 1_000,
            description_bytes: 16 << 10,
            definition_bytes: 1 << 20,
            input_rounds: 32,
        }
    }
}

/// Dials that may be under way at once when a manager starts.
pub const CONCURRENT_DIALS: usize = 64;
