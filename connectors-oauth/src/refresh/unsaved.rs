//! Tokens that the store did not take. The old ones are spent: until these are written, they exist only here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{CredentialKey, CredentialStore, Slug, TraceStep};
use secrecy::SecretString;

use super::{is_same, lock};
use crate::exchange::Exchange;
use crate::record::TokenRecord;

/// Before the first attempt to write them; doubled before each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What could not be written, for all connections of a host: a connection that is opened anew finds it here.
#[derive(Clone, Default)]
pub(crate) struct Unsaved {
    entries: Arc<Mutex<HashMap<Slug, Entry>>>,
    numbers: Arc<AtomicU64>,
}

struct Entry {
    number: u64,
    /// What is in the store instead.
    stored: SecretString,
    new: SecretString,
    record: TokenRecord,
}

impl std::fmt::Debug for Unsaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsaved").field("count", &lock(&self.entries).len()).finish()
    }
}

impl Unsaved {
    /// The tokens that ought to be in the store instead of `stored`.
    pub(super) fn newer_than(&self, slug: &Slug, stored: &SecretString) -> Option<TokenRecord> {
        let entries = lock(&self.entries);
        entries.get(slug).filter(|entry| is_same(&entry.stored, stored)).map(|entry| entry.record.clone())
    }

    /// They are written, or not wanted any more.
    pub(super) fn forget(&self, slug: &Slug) {
        lock(&self.entries).remove(slug);
    }

    /// Keeps tokens, and writes them over `stored` as soon as the store takes them.
    pub(super) fn keep(
        &self,
        exchange: &Exchange,
        store: &Arc<dyn CredentialStore>,
        stored: &SecretString,
        new: SecretString,
        record: TokenRecord,
    ) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { number, stored: stored.clone(), new, record };
        lock(&self.entries).insert(exchange.slug.clone(), entry);
        let (unsaved, exchange, store) = (self.clone(), exchange.clone(), Arc::clone(store));
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                if unsaved.write(number, &exchange, &*store).await {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// One attempt; true if there is nothing left to do.
    async fn write(&self, number: u64, exchange: &Exchange, store: &dyn CredentialStore) -> bool {
        let slug = &exchange.slug;
        let values = || {
            let entries = lock(&self.entries);
            let entry = entries.get(slug).filter(|entry| entry.number == number)?;
            Some((entry.stored.clone(), entry.new.clone()))
        };
        if values().is_none() {
            return true;
        }
        // Not while a refresh is under way, which begins with these tokens and ends with others.
        let Ok(_exclusive) = store.exclusive(slug).await else { return false };
        let Some((stored, new)) = values() else { return true };
        let Ok(is_written) = store.compare_and_swap(&CredentialKey::tokens(slug), Some(&stored), &new).await
        else {
            return false;
        };
        // Not written means: signed out, or signed in anew.
        let mut entries = lock(&self.entries);
        if entries.get(slug).is_some_and(|entry| entry.number == number) {
            entries.remove(slug);
        }
        drop(entries);
        if is_written {
            exchange.note(
                TraceStep::new(Step::Refresh, StepOutcome::Passed, "tokens_saved")
                    .expecting("the credential store to take the new tokens")
                    .seeing("written"),
            );
        }
        true
    }
}
