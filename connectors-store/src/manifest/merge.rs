//! What becomes of an entry of the manifest when its definition changes: what this version knows is what the definition says,
//! everything else stays as it is written.

use std::borrow::Cow;

use connectors_core::definition::Registration;
use connectors_core::{ConnectorDefinition, GrantKind, OAuthException};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
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
    "disabled",
    "output_check",
    "network",
];
pub(super) const STDIO: &[&str] = &["command", "args", "env"];
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

/// The entry `old`, made to say what `definition` says.
pub(super) fn merged(old: &RawValue, definition: &ConnectorDefinition) -> Box<RawValue> {
    raw(&merged_object(old, &raw(definition), CONNECTOR))
}

/// `old` with the members named by `known` taken from `new`, and every other kept in its place.
fn merged_object<'a>(old: &'a RawValue, new: &'a RawValue, known: &[&str]) -> RawObject<'a> {
    let old = RawObject::of(old);
    let mut new = RawObject::of(new);
    let mut members = Vec::with_capacity(old.0.len().max(new.0.len()));
    for (name, old) in old.0 {
        let merged = if known.contains(&name.as_str()) {
            let new = new.take(&name);
            merged_member(&name, old, new)
        } else {
            Some(old)
        };
        members.extend(merged.map(|value| (name, value)));
    }
    members.append(&mut new.0);
    RawObject(members)
}

/// What becomes of the known member `name`; `None` if nothing is left of it.
fn merged_member<'a>(name: &str, old: Raw<'a>, new: Option<Raw<'a>>) -> Option<Raw<'a>> {
    match (name, new) {
        ("stdio", Some(new)) => Some(nested(&old, &new, STDIO)),
        ("oauth", Some(new)) => Some(nested(&old, &new, OAUTH)),
        ("grant", Some(new)) => Some(grant(old, new)),
        // A definition leaves it out where it has nothing special to say, which is not to say that nobody has.
        ("network", new) => {
            let new = new.unwrap_or_else(|| Cow::Owned(raw(&RawObject::default())));
            let merged = merged_object(&old, &new, NETWORK);
            (!merged.0.is_empty()).then(|| Cow::Owned(raw(&merged)))
        }
        ("registration", None) => (!is_known::<Registration>(&old)).then_some(old),
        ("exceptions", new) => exceptions(&old, new),
        (_, new) => new,
    }
}

type Raw<'a> = Cow<'a, RawValue>;

fn nested<'a>(old: &RawValue, new: &RawValue, known: &[&str]) -> Raw<'a> {
    Cow::Owned(raw(&merged_object(old, new, known)))
}

/// The members of one kind of grant mean nothing to another.
fn grant<'a>(old: Raw<'a>, new: Raw<'a>) -> Raw<'a> {
    #[derive(PartialEq, Deserialize)]
    struct Kind {
        kind: String,
    }
    let kind = |grant: &RawValue| serde_json::from_str::<Kind>(grant.get()).ok();
    let value = |grant: &RawValue| serde_json::from_str::<Value>(grant.get()).ok();
    if !is_known::<GrantKind>(&new) {
        // One that came from here, most likely: then its numbers keep their spelling.
        if value(&old) == value(&new) { old } else { new }
    } else if kind(&old) == kind(&new) {
        nested(&old, &new, GRANT)
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
