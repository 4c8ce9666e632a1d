//! Values that are larger than a platform's entries, in the layout of car-secrets 0.60.
//!
//! The entry itself (the root) then holds a marker, and the value is in entries with a suffix to the account:
//!
//! | root | parts |
//! |---|---|
//! | `__car_secrets_chunked_v3__:GENERATION:REVISION:COUNT` | `#chunkv3#GENERATION#N`, each beginning with `__car_secrets_chunk_v3__:REVISION:` |
//! | `__car_secrets_chunked_v2__:NONCE:COUNT` | `#chunkv2#NONCE#N`, read only |
//! | `__car_secrets_chunked_v1__:COUNT` | `#chunkN`, read only |
//!
//! Written is the first, alternating between the generations `a` and `b`: the parts of the new value are written beside
//! those of the old one, and then the root, which makes the change. `#chunkv3#GENERATION#manifest` holds how many
//! parts a generation may have left behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use connectors_core::CredentialError;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::STORE;

const ROOT_V1: &str = "__car_secrets_chunked_v1__:";
const ROOT_V2: &str = "__car_secrets_chunked_v2__:";
const ROOT_V3: &str = "__car_secrets_chunked_v3__:";
const PART_V3: &str = "__car_secrets_chunk_v3__:";

/// Most parts that any layout may have.
const MAX_PARTS: usize = 1024;

/// How often a value that is being replaced while it is read is tried.
const READ_ATTEMPTS: usize = 4;

const GENERATIONS: [&str; 2] = ["a", "b"];

/// Entries that hold what fits into one.
pub(super) trait Slots {
    fn get(&self, account: &str) -> Result<Option<SecretString>, CredentialError>;
    fn set(&self, account: &str, value: &SecretString) -> Result<(), CredentialError>;
    /// Not an error if there is none.
    fn remove(&self, account: &str) -> Result<(), CredentialError>;
}

/// How much fits into one entry, in UTF-16 units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    whole: usize,
    part: usize,
}

impl Limits {
    /// 2,560 bytes, with room for what a part begins with.
    #[cfg(any(windows, test))]
    pub(super) const WINDOWS: Self = Self { whole: 1280, part: 1100 };

    /// Nothing but values that look like a root need chunks.
    #[cfg(any(target_os = "macos", test))]
    pub(super) const NONE: Self = Self { whole: usize::MAX, part: 1 << 20 };
}

/// What a root says.
#[derive(Debug, PartialEq, Eq)]
enum Layout {
    Whole,
    V1 { count: usize },
    V2 { nonce: String, count: usize },
    V3 { generation: &'static str, revision: String, count: usize },
}

/// The value under `account`, put together.
pub(super) fn read(slots: &impl Slots, account: &str) -> Result<Option<SecretString>, CredentialError> {
    let Some(mut root) = slots.get(account)? else { return Ok(None) };
    for _ in 0..READ_ATTEMPTS {
        let layout = layout(&root, account)?;
        if layout == Layout::Whole {
            return Ok(Some(root));
        }
        if let Some(value) = put_together(slots, account, &layout)? {
            return Ok(Some(value));
        }
        // A part is missing or of another revision: perhaps a writer came in between.
        match slots.get(account)? {
            None => return Ok(None),
            Some(again) if again.expose_secret() == root.expose_secret() => break,
            Some(again) => root = again,
        }
    }
    Err(damaged(account, "parts of it are missing"))
}

/// Replaces the value under `account`.
pub(super) fn write(
    slots: &impl Slots,
    account: &str,
    value: &SecretString,
    limits: Limits,
) -> Result<(), CredentialError> {
    let previous = previous_layout(slots, account)?;
    let text = value.expose_secret();
    if text.encode_utf16().count() <= limits.whole && !looks_like_root(text) {
        slots.set(account, value)?;
        remove_parts(slots, account, &previous, None);
        return Ok(());
    }
    let generation = match &previous {
        Layout::V3 { generation: "a", .. } => "b",
        _ => "a",
    };
    let parts = split(text, limits.part);
    if parts.len() > MAX_PARTS {
        return Err(CredentialError::Failed {
            store: STORE,
            source: format!("a value may have {MAX_PARTS} parts at most").into(),
        });
    }
    let revision = new_revision();
    // Before the parts, so that those of a writer that dies are found.
    let bound = parts_of(slots, account, generation)?.max(parts.len());
    set_bound(slots, account, generation, bound)?;
    for (n, part) in parts.iter().enumerate() {
        let mut text = String::with_capacity(PART_V3.len() + revision.len() + 1 + part.len());
        for piece in [PART_V3, &revision, ":", part] {
            text.push_str(piece);
        }
        slots.set(&part_v3(account, generation, n), &SecretString::from(text))?;
    }
    let root = format!("{ROOT_V3}{generation}:{revision}:{}", parts.len());
    slots.set(account, &SecretString::from(root))?;
    remove_parts(slots, account, &previous, Some((generation, parts.len())));
    Ok(())
}

/// Deletes the value under `account`: the root first, so that no reader finds half a value.
pub(super) fn delete(slots: &impl Slots, account: &str) -> Result<(), CredentialError> {
    let previous = previous_layout(slots, account)?;
    slots.remove(account)?;
    remove_parts(slots, account, &previous, None);
    Ok(())
}

/// True if `account` names a part of a value, or what is known about its parts.
pub(super) fn is_part(account: &str) -> bool {
    let Some((_, suffix)) = account.rsplit_once("#chunk") else { return false };
    suffix.starts_with("v2#")
        || suffix.starts_with("v3#")
        || (!suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit()))
}

fn looks_like_root(value: &str) -> bool {
    [ROOT_V1, ROOT_V2, ROOT_V3].iter().any(|marker| value.starts_with(marker))
}

/// The layout of what is to be replaced. What cannot be read is replaced as a whole.
fn previous_layout(slots: &impl Slots, account: &str) -> Result<Layout, CredentialError> {
    let root = slots.get(account)?;
    Ok(root.and_then(|root| layout(&root, account).ok()).unwrap_or(Layout::Whole))
}

fn layout(root: &SecretString, account: &str) -> Result<Layout, CredentialError> {
    let root = root.expose_secret();
    let parsed = if let Some(rest) = root.strip_prefix(ROOT_V3) {
        parse_v3(rest)
    } else if let Some(rest) = root.strip_prefix(ROOT_V2) {
        let (nonce, count) = rest.rsplit_once(':').unwrap_or_default();
        parse_count(count).map(|count| Layout::V2 { nonce: nonce.to_owned(), count })
    } else if let Some(rest) = root.strip_prefix(ROOT_V1) {
        parse_count(rest).map(|count| Layout::V1 { count })
    } else {
        Some(Layout::Whole)
    };
    parsed.ok_or_else(|| damaged(account, "it does not say where its parts are"))
}

fn parse_v3(rest: &str) -> Option<Layout> {
    let (rest, count) = rest.rsplit_once(':')?;
    let (generation, revision) = rest.split_once(':')?;
    let generation = GENERATIONS.into_iter().find(|known| *known == generation)?;
    Some(Layout::V3 { generation, revision: revision.to_owned(), count: parse_count(count)? })
}

fn parse_count(count: &str) -> Option<usize> {
    count.parse().ok().filter(|count| (1..=MAX_PARTS).contains(count))
}

/// The parts in one; `None` if they are not all there.
fn put_together(
    slots: &impl Slots,
    account: &str,
    layout: &Layout,
) -> Result<Option<SecretString>, CredentialError> {
    let (accounts, revision) = match layout {
        Layout::Whole => return Ok(None),
        Layout::V1 { .. } | Layout::V2 { .. } => (legacy_parts(account, layout), None),
        Layout::V3 { generation, revision, count } => {
            let accounts = (0..*count).map(|n| part_v3(account, generation, n)).collect();
            (accounts, Some(format!("{PART_V3}{revision}:")))
        }
    };
    let mut parts = Vec::with_capacity(accounts.len());
    for account in accounts {
        match slots.get(&account)? {
            Some(part) => parts.push(part),
            None => return Ok(None),
        }
    }
    let length = parts.iter().map(|part| part.expose_secret().len()).sum();
    let mut value = Zeroizing::new(String::with_capacity(length));
    for part in &parts {
        let part = part.expose_secret();
        match revision.as_ref().map_or(Some(part), |revision| part.strip_prefix(revision.as_str())) {
            Some(part) => value.push_str(part),
            None => return Ok(None),
        }
    }
    Ok(Some(SecretString::from(value.as_str())))
}

/// Deletes every part but those of `kept`, a generation and its count. What cannot be deleted now is by the next write:
/// the value itself is in place.
fn remove_parts(slots: &impl Slots, account: &str, previous: &Layout, kept: Option<(&str, usize)>) {
    let mut failed =
        legacy_parts(account, previous).iter().filter(|part| slots.remove(part).is_err()).count();
    for generation in GENERATIONS {
        let first = kept.filter(|(kept, _)| *kept == generation).map_or(0, |(_, count)| count);
        let Ok(bound) = parts_of(slots, account, generation) else {
            failed += 1;
            continue;
        };
        let bound = match previous {
            Layout::V3 { generation: active, count, .. } if *active == generation => bound.max(*count),
            _ => bound,
        };
        let mut left = 0;
        for n in first..bound {
            left += usize::from(slots.remove(&part_v3(account, generation, n)).is_err());
        }
        let settled = match first {
            _ if left > 0 || bound == first => Ok(()),
            0 => slots.remove(&manifest(account, generation)),
            first => set_bound(slots, account, generation, first),
        };
        failed += left + usize::from(settled.is_err());
    }
    if failed > 0 {
        tracing::warn!(failed, "parts of a replaced secret could not be deleted from the keychain");
    }
}

fn legacy_parts(account: &str, layout: &Layout) -> Vec<String> {
    match layout {
        Layout::V1 { count } => (0..*count).map(|n| format!("{account}#chunk{n}")).collect(),
        Layout::V2 { nonce, count } => {
            (0..*count).map(|n| format!("{account}#chunkv2#{nonce}#{n}")).collect()
        }
        Layout::Whole | Layout::V3 { .. } => Vec::new(),
    }
}

/// How many parts a generation may have.
fn parts_of(slots: &impl Slots, account: &str, generation: &str) -> Result<usize, CredentialError> {
    let bound = slots.get(&manifest(account, generation))?;
    Ok(bound.map_or(0, |bound| bound.expose_secret().parse().unwrap_or(MAX_PARTS).min(MAX_PARTS)))
}

fn set_bound(
    slots: &impl Slots,
    account: &str,
    generation: &str,
    bound: usize,
) -> Result<(), CredentialError> {
    slots.set(&manifest(account, generation), &SecretString::from(bound.to_string()))
}

fn part_v3(account: &str, generation: &str, n: usize) -> String {
    format!("{account}#chunkv3#{generation}#{n}")
}

fn manifest(account: &str, generation: &str) -> String {
    format!("{account}#chunkv3#{generation}#manifest")
}

/// Pieces of at most `units` UTF-16 units, at least one.
fn split(value: &str, units: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut length) = (0, 0);
    for (at, c) in value.char_indices() {
        if length + c.len_utf16() > units {
            pieces.push(&value[start..at]);
            (start, length) = (at, 0);
        }
        length += c.len_utf16();
    }
    pieces.push(&value[start..]);
    pieces
}

/// Different from every other, of this process and others.
fn new_revision() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{:x}-{nanoseconds:x}-{:x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn damaged(account: &str, problem: &str) -> CredentialError {
    CredentialError::Damaged { store: STORE, account: account.to_owned(), problem: problem.to_owned() }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "chunks_tests.rs"]
mod tests;
