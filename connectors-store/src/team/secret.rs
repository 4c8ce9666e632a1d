//! Values that do not belong in a file that a team shares.

use connectors_core::looks_secret;
use url::Url;

/// What to do instead, for a remote server.
pub(super) const HEADERS: &str =
    "name the header in `secret_headers`, and everyone is asked for their own value after accepting";
/// What to do instead, for a local server.
pub(super) const VARIABLES: &str =
    "name a variable in `secret_env`, and everyone is asked for their own value after accepting";

/// What in a URL looks like a secret, if anything does.
pub(super) fn in_url(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else {
        return looks_secret("url", text).then_some("it");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("the user name or password in it");
    }
    if url.query_pairs().any(|(name, value)| looks_secret(&name, &value)) {
        return Some("a parameter in it");
    }
    let fragment = url.fragment().unwrap_or_default();
    if url::form_urlencoded::parse(fragment.as_bytes()).any(|(name, value)| looks_secret(&name, &value)) {
        return Some("a parameter in it");
    }
    let mut segments = url.path_segments().into_iter().flatten();
    segments.any(|segment| looks_secret("", segment)).then_some("a part of its path")
}

/// True if the argument at `at` looks like a secret, by itself or as the value of the option before it.
pub(super) fn in_argument(args: &[String], at: usize) -> bool {
    let Some(argument) = args.get(at) else { return false };
    let option =
        at.checked_sub(1).and_then(|before| args.get(before)).map(String::as_str).unwrap_or_default();
    let is_value = !argument.starts_with('-') && option.starts_with('-') && !option.contains('=');
    let (own_name, own_value) = match argument.split_once('=') {
        Some((name, value)) => (name.trim_start_matches('-'), value),
        None => ("", argument.as_str()),
    };
    looks_secret(own_name, own_value)
        || looks_secret("", argument)
        || is_value && looks_secret(option.trim_start_matches('-'), argument)
        || argument.contains("://") && in_url(argument).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

    #[test]
    fn credentials_in_a_url_are_found_wherever_they_stand() {
        let found = |url: &str| in_url(&url.replace("TOKEN", TOKEN));
        assert_eq!(found("https://example.com/mcp?tenant=acme&v=2"), None);
        assert_eq!(found("https://user@example.com/mcp"), Some("the user name or password in it"));
        assert_eq!(found("https://:pw@example.com/mcp"), Some("the user name or password in it"));
        assert_eq!(found("https://example.com/mcp?api_key=hunter22hunter"), Some("a parameter in it"));
        assert_eq!(found("https://example.com/mcp?x=TOKEN"), Some("a parameter in it"));
        assert_eq!(found("https://example.com/mcp#access_token=TOKEN"), Some("a parameter in it"));
        assert_eq!(found("https://example.com/TOKEN/mcp"), Some("a part of its path"));
        assert_eq!(found("not a url TOKEN"), Some("it"));
    }

    #[test]
    fn a_secret_argument_is_known_by_its_option_or_by_its_looks() {
        let found = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| arg.replace("TOKEN", TOKEN)).collect();
            (0..args.len()).filter(|&at| in_argument(&args, at)).collect::<Vec<_>>()
        };
        assert_eq!(found(&["-y", "@scope/server-files", "--root", "/srv/data"]), Vec::<usize>::new());
        assert_eq!(found(&["--api-key", "hunter22hunter"]), [1]);
        assert_eq!(found(&["--token=hunter22hunter", "TOKEN"]), [0, 1]);
        assert_eq!(found(&["--api-key", "--verbose"]), Vec::<usize>::new());
        assert_eq!(found(&["--url", "https://u:p@example.com/"]), [1]);
    }
}
