//! Staying signed in.
//!
//! A refresh is a transaction: hold the connector's secrets, read them again, take what another process has brought, else ask the
//! server, write, and only then use. It runs in a task of its own and is finished though its caller has gone.
//!
//! What that is proof against: any number of tasks and processes that want new tokens at once; one that signs in, signs out or
//! removes the connector meanwhile; a process that dies at any point (what the server has given and nobody has written is lost, and
//! nothing else); a store that is locked; a server that is slow or away; a clock that jumps.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, OAuthSettings};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::exchange::Exchange;

mod error;
mod failure;
mod flight;
mod held;
mod keep;
mod read;
mod sign_out;
mod transaction;
mod unsaved;

pub(crate) use error::RefreshError;
pub(crate) use held::HeldTokens;
pub(crate) use unsaved::Unsaved;

use failure::{Failure, RECHECK};
use flight::Landing;
use held::Freshness;

/// Times that a caller looks again after somebody else's work; more means that tokens change faster than they can be used.
const ROUNDS: usize = 4;

/// The tokens of one connector, for one connection.
///
/// Sessions that share a store, in one process or in several, share the grant. Cloning is cheap; clones are the same session.
///
/// *Concurrency.* Everything at once. *Cancellation.* A refresh that has begun is finished.
#[derive(Clone)]
pub(crate) struct Session {
    inner: Arc<Inner>,
}

/// What a refresh came to: there are tokens other than the refused ones. Send the request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// The server has just given them.
    Received,
    /// They are somebody else's, or older than the refusal.
    Adopted,
}

struct Inner {
    exchange: Exchange,
    store: Arc<dyn CredentialStore>,
    settings: Option<OAuthSettings>,
    unsaved: Unsaved,
    clock: Clock,
    state: ArcSwap<State>,
    flight: Mutex<Option<Landing>>,
    failure: Mutex<Option<Failure>>,
    rechecked: Mutex<Option<Instant>>,
}

/// What is known of the store.
enum State {
    /// It has not been read yet.
    Unread,
    /// There are no tokens, as far as anybody has reason to look.
    Empty,
    Held(Arc<HeldTokens>),
}

/// Why the store or the server is asked.
#[derive(Clone)]
enum Purpose {
    /// To see what is in the store.
    Read,
    /// To see what is in the store, and to give what is known of it another chance.
    Reload,
    /// To have new tokens before the old ones expire.
    Early,
    /// The access token has expired.
    Expired,
    /// A server has refused this access token.
    Refused(SecretString),
}

impl Purpose {
    fn is_renewal(&self) -> bool {
        !matches!(self, Self::Read | Self::Reload)
    }
}

type Outcome = Result<(), RefreshError>;

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("slug", &self.inner.exchange.slug).finish_non_exhaustive()
    }
}

impl Session {
    /// A session on what is in the store. Reads nothing yet. `settings` are what the definition says of a sign-in: they complete
    /// tokens that car-connectors stored, and where there are none, nobody has signed in, and the store is not asked before a server
    /// wants tokens.
    pub(crate) fn open(
        exchange: Exchange,
        store: Arc<dyn CredentialStore>,
        settings: Option<OAuthSettings>,
        unsaved: Unsaved,
    ) -> Self {
        Self::with_clock(exchange, store, settings, unsaved, Clock::system())
    }

    fn with_clock(
        exchange: Exchange,
        store: Arc<dyn CredentialStore>,
        settings: Option<OAuthSettings>,
        unsaved: Unsaved,
        clock: Clock,
    ) -> Self {
        // A server that wants no sign-in must not depend on a store that is locked or away.
        let state = if settings.is_some() { State::Unread } else { State::Empty };
        Self {
            inner: Arc::new(Inner {
                exchange,
                store,
                settings,
                unsaved,
                clock,
                state: ArcSwap::from_pointee(state),
                flight: Mutex::default(),
                failure: Mutex::default(),
                rechecked: Mutex::default(),
            }),
        }
    }

    /// The tokens that are in use, if the store has been read and holds any. Costs nothing.
    pub(crate) fn current(&self) -> Option<Arc<HeldTokens>> {
        match &**self.inner.state.load() {
            State::Held(held) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    /// Tokens for a request; `None` where nobody has signed in.
    ///
    /// An access token that still works is given at once, though a renewal is due, runs or has failed. An expired one is
    /// renewed first; where that cannot be done, it is given all the same: the server decides.
    pub(crate) async fn fresh(&self) -> Result<Option<Arc<HeldTokens>>, RefreshError> {
        for _ in 0..ROUNDS {
            let held = match &**self.inner.state.load() {
                State::Empty => return Ok(None),
                State::Held(held) => Some(Arc::clone(held)),
                State::Unread => None,
            };
            let Some(held) = held else {
                self.inner.not_too_soon()?;
                self.land(Purpose::Read).await.0?;
                continue;
            };
            match held.freshness(&self.inner.clock) {
                Freshness::Fresh => return Ok(Some(held)),
                Freshness::Due => {
                    if held.lost().is_none() && self.inner.may_try_early() {
                        self.take_off(Purpose::Early);
                    }
                    return Ok(Some(held));
                }
                Freshness::Expired if !held.is_renewable() => return Ok(Some(held)),
                Freshness::Expired => match held.lost() {
                    Some(lost) => self.recheck(&held, lost).await?,
                    None => {
                        self.inner.not_too_soon()?;
                        let (outcome, is_own) = self.land(Purpose::Expired).await;
                        outcome?;
                        if is_own {
                            // Even where the new ones have expired on the way: the server is asked once.
                            break;
                        }
                    }
                },
            }
        }
        Ok(self.current())
    }

    /// What to do about a 401: `Ok` where there are other tokens by now, else why there are none.
    pub(crate) async fn refresh_after_refusal(
        &self,
        refused: &SecretString,
    ) -> Result<Refreshed, RefreshError> {
        // Tokens that were there already are no news, whoever has brought them.
        let known = self.current().filter(|held| !is_same(&held.record.access_token, refused));
        if known.is_some() {
            return Ok(Refreshed::Adopted);
        }
        for _ in 0..ROUNDS {
            match self.current() {
                None => {
                    if !self.look_again().await? {
                        return Err(RefreshError::NotSignedIn);
                    }
                }
                Some(held) if !is_same(&held.record.access_token, refused) => break,
                Some(held) => match held.lost() {
                    Some(lost) => self.recheck(&held, lost).await?,
                    None => {
                        self.inner.not_too_soon()?;
                        let (outcome, is_own) = self.land(Purpose::Refused(refused.clone())).await;
                        outcome?;
                        if is_own {
                            // Even where the server has given the same token again: it is asked once.
                            break;
                        }
                    }
                },
            }
        }
        let is_received = self.current().is_some_and(|held| held.is_received);
        Ok(if is_received { Refreshed::Received } else { Refreshed::Adopted })
    }

    /// Reads the store where there were no tokens: another process may have signed in. True if there are some now.
    pub(crate) async fn look_again(&self) -> Result<bool, RefreshError> {
        self.inner.not_too_soon()?;
        self.land(Purpose::Read).await.0?;
        Ok(self.current().is_some())
    }

    /// Takes what is in the store now into use, with a clean slate.
    pub(crate) async fn reload(&self) -> Result<(), RefreshError> {
        self.inner.clear_failure();
        for _ in 0..ROUNDS {
            let (outcome, is_own) = self.land(Purpose::Reload).await;
            if is_own {
                return outcome;
            }
        }
        Ok(())
    }

    /// Looks into the store, now and then, for what a sign-in elsewhere has brought. Fails with `lost` where nothing has changed.
    async fn recheck(&self, held: &Arc<HeldTokens>, lost: RefreshError) -> Result<(), RefreshError> {
        {
            let mut rechecked = lock(&self.inner.rechecked);
            if rechecked.is_some_and(|at| at.elapsed() < RECHECK) {
                return Err(lost);
            }
            *rechecked = Some(Instant::now());
        }
        self.land(Purpose::Read).await.0?;
        match self.current() {
            Some(now) if Arc::ptr_eq(&now, held) => Err(lost),
            _ => Ok(()),
        }
    }
}

impl Inner {
    fn key(&self) -> CredentialKey {
        CredentialKey::tokens(&self.exchange.slug)
    }

    async fn run(self: &Arc<Self>, purpose: &Purpose) -> Outcome {
        let outcome = match purpose {
            Purpose::Read => self.look(false).await,
            Purpose::Reload => self.look(true).await,
            _ => self.renew(purpose).await,
        };
        match &outcome {
            Ok(()) => self.clear_failure(),
            // What is certain is known of the tokens themselves, if they could be read.
            Err(error) if !error.wants_sign_in() || !purpose.is_renewal() => self.note_failure(error),
            Err(_) => {}
        }
        outcome
    }

    /// Puts a new state in the place of the one that it was made from; false if that is no longer there.
    fn replace(&self, basis: &Arc<State>, new: State) -> bool {
        let previous = self.state.compare_and_swap(basis, Arc::new(new));
        Arc::ptr_eq(&previous, basis)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

impl From<CredentialError> for RefreshError {
    fn from(error: CredentialError) -> Self {
        Self::Store(Arc::new(error))
    }
}

#[cfg(test)]
mod tests;
