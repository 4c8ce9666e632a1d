//! Secrets where the settings would hold them in the clear: in URLs and arguments. Found, and hidden where they are shown.

use crate::secret_like::looks_secret;

/// What stands for a secret that is not shown.
pub(super) const HIDDEN: &str = "…";

/// A URL, and what of it should not be seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SeenUrl {
    /// Fit for display.
    pub(super) shown: String,
    /// True if it names a user or a password.
    pub(super) has_user: bool,
    /// True if its path, query or fragment looks like it holds a secret.
    pub(super) has_secret: bool,
}

/// Works on text, since what is filled in later need not be a URL yet.
pub(super) fn see_url(url: &str) -> SeenUrl {
    let (mut has_user, mut has_secret) = (false, false);
    let (rest, fragment) = split(url, '#');
    let (rest, query) = split(rest, '?');
    let (scheme, rest) = match rest.split_once("//") {
        Some((scheme, rest)) => (format!("{scheme}//"), rest),
        None => (String::new(), rest),
    };
    let (authority, path) = match rest.find(['/', '\\']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => {
            has_user = true;
            format!("{HIDDEN}@{host}")
        }
        None => authority.to_owned(),
    };
    let mut hide = |name: &str, value: &str| {
        let is_secret = looks_secret(name, value);
        has_secret |= is_secret;
        if is_secret { HIDDEN.to_owned() } else { value.to_owned() }
    };
    let path: Vec<_> = path.split('/').map(|segment| hide("", segment)).collect();
    let mut pairs = |text: &str| {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => format!("{name}={}", hide(name, value)),
            None => hide("", pair),
        };
        text.split('&').map(pair).collect::<Vec<_>>().join("&")
    };
    let query = query.map(|query| format!("?{}", pairs(query))).unwrap_or_default();
    let fragment = fragment.map(|fragment| format!("#{}", pairs(fragment))).unwrap_or_default();
    SeenUrl { shown: format!("{scheme}{host}{}{query}{fragment}", path.join("/")), has_user, has_secret }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// For each argument, whether it looks like it holds a secret: by itself, or by the option before it.
pub(super) fn secret_arguments<T: AsRef<str>>(args: &[T]) -> Vec<bool> {
    let is_secret = |(at, arg): (usize, &T)| {
        let before = at.checked_sub(1).and_then(|before| args.get(before)).map(AsRef::as_ref);
        let option =
            before.filter(|before| before.starts_with('-') && !before.contains('=')).unwrap_or_default();
        let arg = arg.as_ref();
        looks_secret(option, arg) || arg.contains("://") && see_url(arg).has_user
    };
    args.iter().enumerate().map(is_secret).collect()
}

/// An argument without the secret in it.
pub(super) fn hidden_argument(arg: &str) -> String {
    match arg.split_once('=') {
        Some((name, _)) if !looks_secret("", name) => format!("{name}={HIDDEN}"),
        _ => HIDDEN.to_owned(),
    }
}
