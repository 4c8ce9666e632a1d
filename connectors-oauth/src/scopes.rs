//! Which scopes to ask for: as few as the servers suggest (2026-07-28, authorization, scope selection strategy).

use crate::metadata::{ResourceMetadata, ServerMetadata};

/// The scope that stands for access while the user is away (OpenID Connect Core, section 11).
const OFFLINE_ACCESS: &str = "offline_access";

/// Scopes that are read from one list; a request for more would not fit into a URL.
const MAX_SCOPES: usize = 256;

/// The scopes of a first sign-in: those of the challenge, else all of the resource's metadata, else none.
///
/// `offline_access` is added where the authorization server lists it, so that it gives a refresh token; not where nothing
/// else is asked for, because the server would then leave out its own default.
pub(crate) fn initial(
    challenge: Option<&[String]>,
    resource: Option<&ResourceMetadata>,
    server: &ServerMetadata,
) -> Vec<String> {
    let suggested = challenge
        .filter(|scopes| !scopes.is_empty())
        .or_else(|| resource?.scopes_supported.as_deref())
        .unwrap_or_default();
    let scopes = union(suggested, &[]);
    let offers_offline =
        server.scopes_supported.iter().flatten().any(|scope| scope.as_str() == OFFLINE_ACCESS);
    if offers_offline && !scopes.is_empty() {
        return union(&scopes, &[OFFLINE_ACCESS.to_owned()]);
    }
    scopes
}

/// Everything in either, once, in order. What cannot be a scope (RFC 6749, section 3.3) is left out.
pub(crate) fn union(first: &[String], second: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for scope in first.iter().chain(second) {
        if is_scope(scope) && !all.contains(scope) && all.len() < MAX_SCOPES {
            all.push(scope.clone());
        }
    }
    all
}

/// The scopes of a `scope` parameter.
pub(crate) fn split(text: &str) -> Vec<String> {
    let all: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    union(&all, &[])
}

fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{resource_metadata, server_metadata};

    fn list(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|scope| (*scope).to_owned()).collect()
    }

    fn asked(challenge: Option<&[&str]>, resource: Option<&[&str]>, server: Option<&[&str]>) -> Vec<String> {
        let challenge = challenge.map(list);
        let resource = ResourceMetadata { scopes_supported: resource.map(list), ..resource_metadata() };
        let server = ServerMetadata { scopes_supported: server.map(list), ..server_metadata() };
        initial(challenge.as_deref(), Some(&resource), &server)
    }

    #[test]
    fn the_challenge_counts_before_the_metadata() {
        assert_eq!(asked(Some(&["mcp:basic"]), Some(&["mcp:basic", "mcp:write"]), None), ["mcp:basic"]);
    }

    #[test]
    fn without_a_challenge_all_scopes_of_the_resource_are_asked_for() {
        assert_eq!(asked(None, Some(&["b", "a", "b"]), Some(&["z"])), ["b", "a"]);
    }

    #[test]
    fn where_nobody_names_scopes_none_are_asked_for() {
        assert_eq!(asked(None, None, Some(&["z", "offline_access"])), list(&[]));
        assert_eq!(initial(None, None, &server_metadata()), list(&[]));
    }

    #[test]
    fn offline_access_is_added_only_where_the_authorization_server_lists_it() {
        assert_eq!(asked(Some(&["a"]), None, Some(&["a", "offline_access"])), ["a", "offline_access"]);
        assert_eq!(asked(Some(&["a"]), Some(&["a", "offline_access"]), Some(&["a"])), ["a"]);
        assert_eq!(
            asked(Some(&["offline_access", "a"]), None, Some(&["offline_access"])),
            ["offline_access", "a"]
        );
    }

    #[test]
    fn a_union_keeps_the_order_and_leaves_out_what_is_no_scope() {
        let union = union(&list(&["b", "a b", "a", "\"", ""]), &list(&["c", "a", "é", "b"]));
        assert_eq!(union, ["b", "a", "c"]);
    }

    #[test]
    fn an_endless_list_of_scopes_is_cut() {
        let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        assert_eq!(union(&many, &[]), many[..MAX_SCOPES]);
    }
}
