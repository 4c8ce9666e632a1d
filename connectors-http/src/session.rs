//! The session of the legacy versions: its id, and how its end is recognised (2025-11-25, transports, session
//! management).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use connectors_core::TransportError;
use connectors_core::protocol::ProtocolVersion;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::Notify;

/// The header that carries the session's id.
pub(crate) const SESSION_ID: &str = "mcp-session-id";

/// Where the conversation stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Session {
    /// No `initialize` has been answered: nothing is kept, or the server is a modern one.
    #[default]
    None,
    /// `initialize` has been answered.
    Open(Open),
    /// The server has ended the session. Only a new `initialize` helps.
    Expired,
}

/// A session that the server keeps, if only in name: it need not have given an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Counts the sessions of this transport, so that a late failure of an old one does not end the new.
    pub(crate) number: u64,
    /// The server's id, marked sensitive.
    pub(crate) id: Option<HeaderValue>,
    /// The version that the last message announced, once the server has taken one after `initialize`.
    pub(crate) confirmed: Option<Option<ProtocolVersion>>,
}

impl Session {
    /// The id to send, if the server gave one.
    pub(crate) fn id(&self) -> Option<&HeaderValue> {
        match self {
            Self::Open(open) => open.id.as_ref(),
            Self::None | Self::Expired => None,
        }
    }

    /// The version to announce where no message brings its own.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        match self {
            Self::Open(open) => open.confirmed.flatten(),
            Self::None | Self::Expired => None,
        }
    }
}

/// The session shared by all requests of a transport. Reading it takes no lock.
#[derive(Debug, Default)]
pub(crate) struct SessionStore {
    current: ArcSwap<Session>,
    opened: AtomicU64,
    changed: Notify,
}

impl SessionStore {
    /// The session as it stands.
    pub(crate) fn current(&self) -> Arc<Session> {
        self.current.load_full()
    }

    /// The session for a message that is not `initialize`.
    ///
    /// # Errors
    ///
    /// [`TransportError::SessionExpired`] while there is none any more: without its id the server would answer that the
    /// id is missing, which says nothing of what to do.
    pub(crate) fn usable(&self) -> Result<Arc<Session>, TransportError> {
        let session = self.current();
        if *session == Session::Expired { Err(TransportError::SessionExpired) } else { Ok(session) }
    }

    /// Takes over the session that an answer to `initialize` opens.
    pub(crate) fn open(&self, headers: &HeaderMap) -> Result<(), TransportError> {
        let id = read_id(headers)?;
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        self.current.store(Arc::new(Session::Open(Open { number, id, confirmed: None })));
        self.changed.notify_waiters();
        Ok(())
    }

    /// Notes that the server has taken a message of this session, which announced `version`.
    pub(crate) fn confirm(&self, session: &Session, version: Option<ProtocolVersion>) {
        let Session::Open(used) = session else { return };
        if used.confirmed == Some(version) {
            return;
        }
        self.replace(used, |open| Session::Open(Open { confirmed: Some(version), ..open.clone() }));
    }

    /// Notes that the server has ended this session.
    pub(crate) fn expire(&self, session: &Session) {
        if let Session::Open(used) = session {
            self.replace(used, |_| Session::Expired);
        }
    }

    /// Takes the session out, for the orderly end.
    pub(crate) fn take(&self) -> Arc<Session> {
        self.current.swap(Arc::default())
    }

    /// Waits until there is a session that the server has confirmed.
    pub(crate) async fn confirmed(&self) -> Arc<Session> {
        loop {
            let changed = self.changed.notified();
            let session = self.current();
            if matches!(&*session, Session::Open(open) if open.confirmed.is_some()) {
                return session;
            }
            changed.await;
        }
    }

    /// Waits until another session than this one is open.
    pub(crate) async fn superseded(&self, session: &Session) {
        let Session::Open(old) = session else { return };
        loop {
            let changed = self.changed.notified();
            if matches!(&*self.current(), Session::Open(open) if open.number != old.number) {
                return;
            }
            changed.await;
        }
    }

    fn replace(&self, used: &Open, with: impl Fn(&Open) -> Session) {
        self.current.rcu(|current| match &**current {
            Session::Open(open) if open.number == used.number => Arc::new(with(open)),
            _ => Arc::clone(current),
        });
        self.changed.notify_waiters();
    }
}

fn read_id(headers: &HeaderMap) -> Result<Option<HeaderValue>, TransportError> {
    let Some(id) = headers.get(SESSION_ID).filter(|id| !id.is_empty()) else { return Ok(None) };
    if !id.as_bytes().iter().all(u8::is_ascii_graphic) {
        return Err(TransportError::Malformed(
            "the server's session id holds characters that are not allowed".into(),
        ));
    }
    let mut id = id.clone();
    id.set_sensitive(true);
    Ok(Some(id))
}

/// True if the text of a 400 says that the session is gone. Servers should answer 404, but many in use do not:
/// "No valid session ID provided", "Session not found", "Missing session ID", "Server not initialized" after a restart.
pub(crate) fn says_session_is_gone(text: &str) -> bool {
    const GONE: [&str; 12] = [
        "not found",
        "no valid",
        "invalid",
        "not valid",
        "unknown",
        "expired",
        "missing",
        "required",
        "terminated",
        "closed",
        "not exist",
        "no longer",
    ];
    let text = text.to_ascii_lowercase();
    text.contains("not initialized")
        || (text.contains("session") && GONE.iter().any(|word| text.contains(word)))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn headers(id: &'static [u8]) -> HeaderMap {
        HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static(SESSION_ID),
            HeaderValue::from_bytes(id).unwrap(),
        )])
    }

    #[test]
    fn an_id_of_visible_ascii_is_kept_and_never_printed() {
        let store = SessionStore::default();
        store.open(&headers(b"s3cr3t~!")).unwrap();
        assert_eq!(store.current().id().unwrap(), "s3cr3t~!");
        assert!(!format!("{store:?}").contains("s3cr3t"));
    }

    #[test]
    fn an_id_with_other_characters_is_refused_and_an_empty_one_is_none() {
        let store = SessionStore::default();
        for bad in [&b"a b"[..], b"a\tb", b"\xc3\xa9"] {
            assert!(matches!(store.open(&headers(bad)), Err(TransportError::Malformed(_))));
        }
        assert_eq!(*store.current(), Session::None);
        store.open(&headers(b"")).unwrap();
        assert_eq!(store.current().id(), None);
    }

    #[test]
    fn an_expired_session_stays_expired_until_a_new_one_is_opened() {
        let store = SessionStore::default();
        store.open(&headers(b"a")).unwrap();
        store.expire(&store.current());
        assert!(matches!(store.usable(), Err(TransportError::SessionExpired)));
        store.open(&headers(b"b")).unwrap();
        assert_eq!(store.usable().unwrap().id().unwrap(), "b");
    }

    #[test]
    fn a_late_failure_of_an_old_session_leaves_the_new_one_alone() {
        let store = SessionStore::default();
        store.open(&headers(b"same")).unwrap();
        let old = store.current();
        store.open(&headers(b"same")).unwrap();
        store.expire(&old);
        store.confirm(&old, Some(ProtocolVersion::V2025_03_26));
        assert_eq!(store.current().id().unwrap(), "same");
        assert_eq!(store.current().version(), None);
    }

    #[test]
    fn expiry_holds_for_a_session_that_was_confirmed_meanwhile() {
        let store = SessionStore::default();
        store.open(&headers(b"a")).unwrap();
        let before = store.current();
        store.confirm(&before, Some(ProtocolVersion::V2025_11_25));
        assert_eq!(store.current().version(), Some(ProtocolVersion::V2025_11_25));
        store.expire(&before);
        assert_eq!(*store.current(), Session::Expired);
    }

    #[tokio::test]
    async fn the_wait_for_a_session_ends_with_its_first_message() {
        let store = SessionStore::default();
        let waiting = store.confirmed();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        store.open(&HeaderMap::new()).unwrap();
        assert!(waiting.as_mut().now_or_never().is_none());
        store.confirm(&store.current(), None);
        assert_eq!(*waiting.await, *store.current());
    }

    #[tokio::test]
    async fn a_session_is_superseded_by_the_next_but_not_by_its_own_end() {
        let store = SessionStore::default();
        store.open(&headers(b"a")).unwrap();
        let old = store.current();
        let waiting = store.superseded(&old);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        store.confirm(&old, None);
        store.expire(&old);
        assert!(waiting.as_mut().now_or_never().is_none());
        store.open(&headers(b"b")).unwrap();
        waiting.await;
    }

    #[test]
    fn what_servers_say_of_a_lost_session_is_recognised() {
        for text in [
            "Bad Request: No valid session ID provided",
            "Session not found",
            "Session has been terminated",
            "Invalid or expired session ID",
            "Bad Request: Missing session ID",
            "Bad Request: Mcp-Session-Id header is required",
            "Bad Request: Server not initialized",
        ] {
            assert!(says_session_is_gone(text), "{text}");
        }
        for text in ["", "Bad Request", "Invalid params", "not found", "the session limit is 5"] {
            assert!(!says_session_is_gone(text), "{text}");
        }
    }
}
