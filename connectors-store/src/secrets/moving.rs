//! Moving every secret from one place to the other.
//!
//! In this order: copy all, read each back, switch by replacing `secrets.json`, delete the originals. What is to be deleted is
//! on record before it is: the copies until the switch, the originals after it. So whoever comes after an interruption finds
//! every secret in the place that the file names, and only has to delete what is on record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connectors_core::{CredentialError, CredentialKey, Slug, StorageError};
use secrecy::SecretString;

use super::SecretsError;
use super::keeper::{Keeper, SecretPlace, is_same};
use super::marker::{Leftover, Marker};
use super::switching::{Places, shutting_down};

/// How long a start is held up by what an earlier move has left: by calls of other processes, or by a slow keychain.
const START: Duration = Duration::from_secs(2);

/// What a move did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Secrets that are in the new place now and were in the old one.
    pub moved: usize,
    /// Originals that are still in the old place: those of connectors that are not of this state root, in a keychain, and those
    /// that could not be deleted, which is tried again at the next start.
    pub left: usize,
}

/// One secret on its way.
struct Load {
    key: CredentialKey,
    value: SecretString,
    /// True if it is the other programs' too, which have other values, or none, under its name.
    foreign: bool,
}

impl Places {
    /// Moves all secrets to `to`. `own` finds the connectors of this state root: once everyone waits, since those who were there
    /// first may have added one.
    ///
    /// Calls wait until it is over. After an error the secrets are where they were.
    pub(super) async fn move_to(
        &self,
        to: SecretPlace,
        own: impl Future<Output = Result<BTreeSet<Slug>, StorageError>>,
    ) -> Result<Moved, SecretsError> {
        let (from, mut marker, _alone) = self.enter_alone().await?;
        let own = own.await?;
        if from == to {
            self.settle_leftover(&mut marker, from).await?;
            return Ok(Moved { moved: 0, left: 0 });
        }
        let target = self.keeper(to)?;
        let existed = target.exists().await;
        let moved = self.move_between(from, &*target, to, marker, &own).await;
        // An empty vault would be mistaken for the place in use at a start where the keychain is locked.
        if moved.is_err()
            && !existed
            && let Err(error) = target.remove_empty().await
        {
            tracing::warn!(%error, %to, "what was made for a move that failed could not be deleted");
        }
        Ok(moved?)
    }

    /// The move itself. The caller is alone.
    async fn move_between(
        &self,
        from: SecretPlace,
        target: &dyn Keeper,
        to: SecretPlace,
        mut marker: Option<Marker>,
        own: &BTreeSet<Slug>,
    ) -> Result<Moved, CredentialError> {
        let source = self.keeper(from)?;
        // A disk that is full is an error of its own; a condition only tells of it.
        target.create().await?;
        let condition = target.prove().await;
        if let Some(problem) = condition.problem {
            return Err(match condition.locked {
                true => CredentialError::Locked { store: to.as_str() },
                false => CredentialError::Unavailable { store: to.as_str(), reason: problem },
            });
        }
        self.settle_leftover(&mut marker, from).await?;

        let loads = collect(&*source, own).await?;
        let present: BTreeSet<_> = target.keys().await?.into_iter().collect();
        let moves = marker.as_ref().map_or(0, |marker| marker.moves);
        let kept_in = marker.as_ref().map_or(from, |marker| marker.kept_in);
        let added: Vec<_> =
            loads.iter().filter(|load| !present.contains(&load.key)).map(|load| load.key.account()).collect();
        // Others may already use the place that this process moves to, where it was started to use another one.
        if kept_in != to {
            let copies = Leftover { place: to, accounts: added };
            marker = Some(Marker::new(kept_in, moves, Some(copies)));
            self.write(marker.as_ref()).await?;
        }
        let copied = match copy(target, &loads).await {
            Ok(copied) => copied,
            Err(error) => {
                // The failure is what the user has to know; what stays behind is deleted at the next start.
                if let Err(error) = self.clear_leftover(&mut marker).await {
                    tracing::warn!(%error, "copies of secrets could not be deleted after a move that failed");
                }
                return Err(error);
            }
        };

        let originals = copied.iter().filter(|load| !(load.foreign && source.is_common()));
        let accounts: Vec<_> = originals.map(|load| load.key.account()).collect();
        let kept = loads.len() - accounts.len();
        let mut marker = Some(Marker::new(to, moves + 1, Some(Leftover { place: from, accounts })));
        self.write(marker.as_ref()).await?;
        self.settle(to, moves + 1);
        tracing::info!(%from, %to, secrets = copied.len(), "secrets were moved");

        if let Err(error) = self.clear_leftover(&mut marker).await {
            tracing::warn!(%error, %from, "secrets that were moved could not be deleted where they were");
        }
        let unfinished =
            marker.and_then(|marker| marker.leftover).map_or(0, |leftover| leftover.accounts.len());
        Ok(Moved { moved: copied.len(), left: kept + unfinished })
    }

    /// Deletes what an interrupted move has left, where that can be done without asking the user anything. For the start of a
    /// process.
    pub(super) async fn finish_interrupted(&self) -> Result<(), CredentialError> {
        let Some(leftover) = self.read_first().await?.and_then(|marker| marker.leftover) else {
            return Ok(());
        };
        if let Some(problem) = self.keeper(leftover.place)?.condition().await.problem {
            tracing::info!(place = %leftover.place, %problem, "what an interrupted move of secrets has left is deleted later");
            return Ok(());
        }
        let (place, mut marker, _alone) = self.enter_alone().await?;
        self.settle_leftover(&mut marker, place).await
    }

    /// As [`clear_leftover`](Self::clear_leftover); but where this process was told to look elsewhere than the file says, what is
    /// on record may be in use again, and only the record is deleted.
    async fn settle_leftover(
        &self,
        marker: &mut Option<Marker>,
        place: SecretPlace,
    ) -> Result<(), CredentialError> {
        match marker {
            Some(marker) if marker.kept_in != place && marker.leftover.is_some() => {
                marker.leftover = None;
                self.write(Some(marker)).await
            }
            _ => self.clear_leftover(marker).await,
        }
    }

    /// Deletes what is on record, and the record. The caller is alone.
    ///
    /// Only while the place that the secrets are kept in answers for each of them. What it does not hold may be there for the last
    /// time: it is left, and stays on record.
    async fn clear_leftover(&self, marker: &mut Option<Marker>) -> Result<(), CredentialError> {
        let Some(Marker { kept_in, moves, leftover: Some(leftover), .. }) = marker.clone() else {
            return Ok(());
        };
        let mut only_there = Vec::new();
        if leftover.place != kept_in {
            let (kept, other) = (self.keeper(kept_in)?, self.keeper(leftover.place)?);
            for account in leftover.accounts {
                let Some(key) = CredentialKey::from_account(&account) else { continue };
                if kept.get(&key).await?.is_some() {
                    other.delete(&key).await?;
                } else if other.get(&key).await?.is_some() {
                    tracing::warn!(%key, %kept_in, "a secret is not where secrets are kept; the other copy is left");
                    only_there.push(account);
                }
            }
        }
        let left =
            (!only_there.is_empty()).then_some(Leftover { place: leftover.place, accounts: only_there });
        *marker = (moves > 0 || left.is_some()).then(|| Marker::new(kept_in, moves, left));
        self.write(marker.as_ref()).await
    }

    async fn write(&self, marker: Option<&Marker>) -> Result<(), CredentialError> {
        let (file, marker) = (Arc::clone(&self.marker), marker.cloned());
        let written = tokio::task::spawn_blocking(move || match &marker {
            Some(marker) => file.write(marker),
            None => file.remove(),
        });
        written.await.unwrap_or_else(|_| Err(shutting_down()))
    }
}

/// Reads everything that is to be moved.
async fn collect(source: &dyn Keeper, own: &BTreeSet<Slug>) -> Result<Vec<Load>, CredentialError> {
    let mut loads = Vec::new();
    for key in source.keys().await? {
        let foreign = !own.contains(key.slug());
        match source.get(&key).await {
            Ok(Some(value)) => loads.push(Load { key, value, foreign }),
            // Deleted meanwhile, by a program that does not know of moves.
            Ok(None) => {}
            Err(error @ CredentialError::Damaged { .. }) if foreign => {
                tracing::warn!(%key, %error, "a damaged secret of no known connector is not moved");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(loads)
}

/// Writes the secrets and reads them back; returns those that are there. In a place that is common to several state roots what
/// another one may have written is left as it is.
async fn copy<'a>(target: &dyn Keeper, loads: &'a [Load]) -> Result<Vec<&'a Load>, CredentialError> {
    let mut copied = Vec::with_capacity(loads.len());
    for load in loads {
        if load.foreign && target.is_common() {
            target.compare_and_swap(&load.key, None, &load.value).await?;
        } else {
            target.put(&load.key, &load.value).await?;
        }
    }
    for load in loads {
        let read = target.get(&load.key).await?;
        match is_same(read.as_ref(), Some(&load.value)) {
            true => copied.push(load),
            false if load.foreign && target.is_common() => {
                tracing::warn!(key = %load.key, "a secret of no known connector is not moved: another is there");
            }
            false => {
                return Err(CredentialError::Failed {
                    store: target.kind(),
                    source: format!("`{}` could not be read back as it was written", load.key).into(),
                });
            }
        }
    }
    Ok(copied)
}

/// Finishes what was interrupted, for no longer than [`START`]; after that it goes on by itself.
pub(super) async fn finish_at_start(places: &Arc<Places>) {
    let places = Arc::clone(places);
    let finishing = tokio::spawn(async move {
        if let Err(error) = places.finish_interrupted().await {
            tracing::warn!(%error, "what an interrupted move of secrets has left could not be deleted");
        }
    });
    if tokio::time::timeout(START, finishing).await.is_err() {
        tracing::info!("what an interrupted move of secrets has left is still being deleted");
    }
}

/// Runs a move to its end, whatever becomes of the caller.
pub(super) async fn move_all(
    places: &Arc<Places>,
    to: SecretPlace,
    own: impl Future<Output = Result<BTreeSet<Slug>, StorageError>> + Send + 'static,
) -> Result<Moved, SecretsError> {
    let places = Arc::clone(places);
    let moved = tokio::spawn(async move { places.move_to(to, own).await });
    moved.await.unwrap_or_else(|_| Err(shutting_down().into()))
}
