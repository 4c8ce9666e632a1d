//! Values that do not belong in a file that a team shares.

use connectors_core::secret_like::{UrlPlace, see_url};

/// What to do instead, for a remote server.
pub(super) const HEADERS: &str =
    "name the header in `secret_headers`, and everyone is asked for their own value after accepting";
/// What to do instead, for a local server.
pub(super) const VARIABLES: &str =
    "name a variable in `secret_env`, and everyone is asked for their own value after accepting";

/// What in a URL looks like a secret, if anything does.
pub(super) fn in_url(text: &str) -> Option<&'static str> {
    let seen = see_url(text);
    if seen.has_user {
        return Some("the user name or password in it");
    }
    seen.secret.map(|place| match place {
        UrlPlace::Path => "a part of its path",
        UrlPlace::Parameter => "a parameter in it",
        _ => "it",
    })
}
