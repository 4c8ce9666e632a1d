//! What becomes of an entry of the manifest when its definition changes: what this version knows is what the definition says,
//! everything else stays as it is written.

use std::borrow::Cow;

use connectors_core::definition::Registration;
use connectors_core::{ConnectorDefinition, GrantKind, OAuthException};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::raw::{RawObject, raw};

/// The fields of a connector that are ours: each is what the definition says, or absent if it says nothing.
pub(super) const CONNECTOR: &[&str] = &[
    "slug",
    "name",
    "url",
    "stdio",
    "secret_headers",
    "oauth",
    "enabled_tools",
    "tool_pins",
    "secrets_revision",
    "unfinished",
    "disabled",
    "output_check",
    "engine",
    "network",
    "proposal",
];
pub(super) const STDIO: &[&str] = &["command", "args", "env", "secret_env", "cwd"];
pub(super) const PROPOSAL: &[&str] = &["file", "hash"];
pub(super) const OAUTH: &[&str] = &[
    "token_endpoint",
    "client_id",
    "has_client_secret",
    "resource",
    "scopes",
    "issuer",
    "redirect_uri",
    "registration",
    "token_endpoint_auth_method",
    "grant",
    "exceptions",
];
pub(super) const GRANT: &[&str] = &["kind", "signing_algorithm", "idp_token_endpoint", "idp_client_id"];
pub(super) const NETWORK: &[&str] =
    &["ca_file", "client_certificate_file", "client_key_file", "proxy", "allow_private"];

/// The entry `old`, which says `before`, made to say `after`. What they agree on stays as it is written.
pub(super) fn merged(
    old: &RawValue,
    before: &ConnectorDefinition,
    after: &ConnectorDefinition,
) -> Box<RawValue> {
    raw(&merged_object(old, &raw(before), &raw(after), CONNECTOR))
}

/// `old` with those members named by `known` changed that differ between `before` and `after`, and every other kept in its
/// place.
fn merged_object<'a>(
    old: &'a RawValue,
    before: &RawValue,
    after: &'a RawValue,
    known: &[&str],
) -> RawObject<'a> {
    let (old, before, mut after) = (RawObject::of(old), RawObject::of(before), RawObject::of(after));
    let mut members = Vec::with_capacity(old.0.len().max(after.0.len()));
    for (name, old) in old.0 {
        let merged = if known.contains(&name.as_str()) {
            let (before, new) = (before.get(&name), after.take(&name));
            if before.map(RawValue::get) == new.as_deref().map(RawValue::get) {
                Some(old)
            } else {
                merged_member(&name, old, before, new)
            }
        } else {
            Some(old)
        };
        members.extend(merged.map(|value| (name, value)));
    }
    members.append(&mut after.0);
    RawObject(members)
}

/// What becomes of the known member `name`; `None` if nothing is left of it.
fn merged_member<'a>(
    name: &str,
    old: Raw<'a>,
    before: Option<&RawValue>,
    new: Option<Raw<'a>>,
) -> Option<Raw<'a>> {
    let nested = |new: &RawValue, known| {
        Cow::Owned(raw(&merged_object(&old, before.unwrap_or(RawValue::NULL), new, known)))
    };
    match (name, new) {
        ("stdio", Some(new)) => Some(nested(&new, STDIO)),
        ("oauth", Some(new)) => Some(nested(&new, OAUTH)),
        ("proposal", Some(new)) => Some(nested(&new, PROPOSAL)),
        ("grant", Some(new)) => Some(grant(old, before, new)),
        // A definition leaves it out where it has nothing special to say, which is not to say that nobody has.
        ("network", new) => {
            let merged = nested(new.as_deref().unwrap_or(RawValue::NULL), NETWORK);
            (!RawObject::of(&merged).0.is_empty()).then_some(merged)
        }
        ("registration", None) => (!is_known::<Registration>(&old)).then_some(old),
        ("exceptions", new) => exceptions(&old, new),
        (_, new) => new,
    }
}

type Raw<'a> = Cow<'a, RawValue>;

/// The members of one kind of grant mean nothing to another.
fn grant<'a>(old: Raw<'a>, before: Option<&RawValue>, new: Raw<'a>) -> Raw<'a> {
    #[derive(PartialEq, Deserialize)]
    struct Kind {
        kind: String,
    }
    let kind = |grant: &RawValue| serde_json::from_str::<Kind>(grant.get()).ok();
    if is_known::<GrantKind>(&new) && kind(&old) == kind(&new) {
        Cow::Owned(raw(&merged_object(&old, before.unwrap_or(RawValue::NULL), &new, GRANT)))
    } else {
        new
    }
}

/// The new list, and after it what is in the old one and not understood.
fn exceptions<'a>(old: &RawValue, new: Option<Raw<'a>>) -> Option<Raw<'a>> {
    let entries =
        |list: &RawValue| serde_json::from_str::<Vec<Box<RawValue>>>(list.get()).unwrap_or_default();
    let mut merged = new.as_deref().map(entries).unwrap_or_default();
    merged.extend(entries(old).into_iter().filter(|entry| !is_known::<OAuthException>(entry)));
    (!merged.is_empty()).then(|| Cow::Owned(raw(&merged)))
}

/// True for what this version can read, which is then what the definition has of it.
fn is_known<T: DeserializeOwned>(value: &RawValue) -> bool {
    serde_json::from_str::<T>(value.get()).is_ok()
}
