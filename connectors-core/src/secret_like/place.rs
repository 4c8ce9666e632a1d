//! Secrets in URLs and arguments: found, and hidden where they are shown.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{is_name, looks_secret};

/// What stands for a secret that is not shown.
pub const HIDDEN: &str = "…";

/// A URL, and what of it should not be seen.
#[derive(Debug, PartialEq, Eq)]
pub struct SeenUrl {
    /// Fit for display.
    pub shown: String,
    /// True if it names a user or a password.
    pub has_user: bool,
    /// Where it looks like it holds a secret, besides; the first place, if there are several.
    pub secret: Option<UrlPlace>,
}

/// A part of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlPlace {
    /// What would be the host, if this were a URL.
    Beginning,
    /// A segment of the path.
    Path,
    /// A parameter of the query or the fragment.
    Parameter,
}

impl SeenUrl {
    /// True if it should not be stored in the clear, or shown as it is.
    pub fn is_secret(&self) -> bool {
        self.has_user || self.secret.is_some()
    }
}

/// Looks at a URL. Works on any text, since what is filled in later need not be a URL yet.
pub fn see_url(url: &str) -> SeenUrl {
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
    let mut secret = None;
    let mut hide = |place: UrlPlace, name: &str, value: &str| {
        if holds_secret(name, value) {
            secret.get_or_insert(place);
            HIDDEN.to_owned()
        } else {
            value.to_owned()
        }
    };
    let (has_user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (true, format!("{HIDDEN}@{host}")),
        // A host is no secret, however random; a text without a scheme need not be one.
        None if scheme.is_empty() => (false, hide(UrlPlace::Beginning, "", authority)),
        None => (false, authority.to_owned()),
    };
    let path: Vec<_> = path.split('/').map(|segment| hide(UrlPlace::Path, "", segment)).collect();
    let mut pairs = |text: &str| {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => format!("{name}={}", hide(UrlPlace::Parameter, name, value)),
            None => hide(UrlPlace::Parameter, "", pair),
        };
        text.split('&').map(pair).collect::<Vec<_>>().join("&")
    };
    let query = query.map(|query| format!("?{}", pairs(query))).unwrap_or_default();
    let fragment = fragment.map(|fragment| format!("#{}", pairs(fragment))).unwrap_or_default();
    let shown = format!("{scheme}{host}{}{query}{fragment}", path.join("/"));
    SeenUrl { shown, has_user, secret }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// As it is written, and as the server will read it.
fn holds_secret(name: &str, value: &str) -> bool {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    looks_secret(name, value) || looks_secret(&decoded(name), &decoded(value))
}

/// For each argument, whether it looks like it holds a secret: by itself, or as the value of the option before it.
pub fn secret_arguments<T: AsRef<str>>(args: &[T]) -> Vec<bool> {
    let is_secret = |(at, arg): (usize, &T)| {
        let arg = &*without_commit(arg.as_ref());
        let before = at.checked_sub(1).and_then(|before| args.get(before)).map(AsRef::as_ref);
        let is_option = |before: &&str| before.starts_with('-') && !before.contains('=');
        // An option is not the value of the one before.
        let option = before.filter(is_option).filter(|_| !arg.starts_with('-')).unwrap_or_default();
        // Whoever reaches a repository by SSH is called so.
        let is_secret = |url: SeenUrl| url.secret.is_some() || url.has_user && !arg.contains("://git@");
        looks_secret(option, arg) || arg.contains("://") && is_secret(see_url(arg))
    };
    args.iter().enumerate().map(is_secret).collect()
}

/// What references to repositories have in them before a commit is named.
const REPOSITORIES: &[&str] = &[
    "git+",
    "git:",
    "git@",
    "github:",
    "gitlab:",
    "bitbucket:",
    "github.com/",
    "gitlab.com/",
    "bitbucket.org/",
];

/// A reference to a repository without the commit that it is pinned to, which is as long and random as a secret and public.
fn without_commit(arg: &str) -> Cow<'_, str> {
    let is_shorthand = |text: &str| {
        text.split_once('/').is_some_and(|(owner, repository)| is_name(owner) && is_name(repository))
    };
    let is_repository = |text: &str| {
        text.ends_with(".git") || is_shorthand(text) || REPOSITORIES.iter().any(|known| text.contains(known))
    };
    let pinned = arg.match_indices(['@', '#']).find_map(|(at, _)| {
        let (before, after) = (&arg[..at], &arg[at + 1..]);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let (commit, rest) = after.split_at(end);
        let is_commit =
            matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_commit && is_repository(before)).then(|| format!("{before}{rest}"))
    });
    pinned.map_or(Cow::Borrowed(arg), Cow::Owned)
}

/// An argument without the secret in it. Whatever is not known to be harmless is hidden as well.
pub fn hidden_argument(arg: &str) -> String {
    let is_url = !arg.contains(char::is_whitespace) && url::Url::parse(arg).is_ok_and(|url| url.has_host());
    if is_url {
        let SeenUrl { shown, has_user, secret } = see_url(arg);
        // What stands for a secret says nothing.
        let is_found = !has_user && secret.is_some() && !looks_secret("", &shown.replace(HIDDEN, "*"));
        return if is_found { shown } else { HIDDEN.to_owned() };
    }
    match arg.split_once('=') {
        Some((name, value)) if names(name, value) => format!("{name}={HIDDEN}"),
        _ => HIDDEN.to_owned(),
    }
}

/// True for an option or a variable and its value. What merely has an equals sign in it, or at its end, may be all of one secret.
fn names(name: &str, value: &str) -> bool {
    let is_padding = value.bytes().all(|byte| byte == b'=');
    is_name(name)
        && !is_padding
        && !looks_secret("", name)
        && (name.starts_with('-') || looks_secret(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

    #[test]
    fn urls_are_seen_for_what_they_hide() {
        let see = |url: &str| {
            let SeenUrl { shown, has_user, secret } = see_url(&url.replace("TOKEN", TOKEN));
            (shown, has_user, secret)
        };
        let plain = [
            "https://a.test",
            "https://a.test/mcp/?tenant=x&b#c",
            "https://a.test/?x@y&q=a+b%20c",
            "http://[::1]:8080/mcp",
            "https://d111111abcdef8.cloudfront.test/mcp",
            "no url",
            "",
        ];
        for url in plain {
            assert_eq!(see(url), (url.to_owned(), false, None));
        }
        for url in ["https://u@a.test/", "https://:pw@a.test/", "https://u:p@q@a.test/"] {
            assert_eq!(see(url), ("https://…@a.test/".to_owned(), true, None));
        }
        let secret = [
            ("https://a.test/#access_token=hunter2", "https://a.test/#access_token=…", UrlPlace::Parameter),
            ("https://a.test/?api%5Fkey=hunter22hunter", "https://a.test/?api%5Fkey=…", UrlPlace::Parameter),
            ("https://a.test/?x=TOKEN&y=1", "https://a.test/?x=…&y=1", UrlPlace::Parameter),
            ("https://a.test/?TOKEN", "https://a.test/?…", UrlPlace::Parameter),
            ("https://a.test/TOKEN/mcp", "https://a.test/…/mcp", UrlPlace::Path),
            ("https://a.test/%67hp_0123456789abcdefghijABCDEFGHIJ012345", "https://a.test/…", UrlPlace::Path),
            ("TOKEN/mcp", "…/mcp", UrlPlace::Beginning),
        ];
        for (url, shown, place) in secret {
            assert_eq!(see(url), (shown.to_owned(), false, Some(place)));
        }
    }

    #[test]
    fn an_argument_is_known_by_its_looks_or_by_the_option_before_it() {
        let found = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(|arg| arg.replace("TOKEN", TOKEN)).collect();
            let secret = secret_arguments(&args);
            (0..args.len()).filter(|&at| secret[at]).collect::<Vec<_>>()
        };
        assert_eq!(found(&["-y", "@scope/server-files", "--root", "/srv/data"]), Vec::<usize>::new());
        assert_eq!(found(&["--token", "abc", "--verbose", "abc", "-e", "API_KEY=abc"]), [1, 5]);
        assert_eq!(found(&["--token=hunter22hunter", "TOKEN"]), [0, 1]);
        assert_eq!(found(&["--api-key", "--verbose"]), Vec::<usize>::new());
        assert_eq!(found(&["--url", "https://u:p@a.test/", "https://a.test/?x=TOKEN"]), [1, 2]);
    }

    #[test]
    fn a_pinned_commit_is_no_secret_and_hides_none() {
        let commit = "9b1b5a1c3d7e2f48a6b0c9d1e5f3a7b2c4d6e8f0";
        let is_secret =
            |arg: &str| secret_arguments(&[arg.replace("COMMIT", commit).replace("TOKEN", TOKEN)])[0];
        for arg in [
            "git+https://github.com/o/r@COMMIT",
            "git+https://git.test/o/r.git@COMMIT#subdirectory=inner",
            "--from=git+ssh://git@git.test/o/r@COMMIT",
            "pkg @ git+https://git.test/o/r@COMMIT",
            "github:o/r#COMMIT",
            "o/r#COMMIT",
            "https://github.com/o/r#COMMIT",
            "git@git.test:o/r.git#COMMIT",
            "git+https://github.com/o/r@COMMIT9b1b5a1c3d7e2f48a6b0c9d1",
        ] {
            assert!(!is_secret(arg), "{arg}");
        }
        for arg in [
            "https://a.test/mcp#COMMIT",
            "https://COMMIT@github.com/o/r@COMMIT",
            "git+https://TOKEN@github.com/o/r@COMMIT",
            "git+ssh://git:hunter2@git.test/o/r@COMMIT",
            "ssh://someone@git.test/o/r.git@COMMIT",
            "git+https://github.com/o/r@COMMIT#token=abc",
            "git+https://github.com/o/r@COMMITabc",
            "COMMIT",
            "@COMMIT",
        ] {
            assert!(is_secret(arg), "{arg}");
        }
    }

    #[test]
    fn of_a_secret_argument_only_its_name_or_the_rest_of_a_url_is_shown() {
        for (arg, shown) in [
            ("--token=abc", "--token=…"),
            ("API_KEY=abc", "API_KEY=…"),
            ("--url=https://h.test/?token=abc", "--url=…"),
            ("abc", "…"),
            (r#"{"apiKey":"c2VjcmV0LXZhbHVl=="}"#, "…"),
            ("c2VjcmV0LXZhbHVl==", "…"),
            ("c2VjcmV0LXRva2Vu==", "…"),
            ("hunter=2", "…"),
            ("Authorization: Basic dTpwYXNzd29yZA==", "…"),
            ("https://h.test/d41d8cd98f00b204e9800998ecf8427e/mcp?x=1", "https://h.test/…/mcp?x=1"),
            ("https://h.test/mcp?token=abc=&x=1", "https://h.test/mcp?token=…&x=1"),
            ("https://u:hunter2@h.test/mcp?x=1", "…"),
            ("https://h.test/ --password=hunter2", "…"),
        ] {
            assert_eq!(hidden_argument(arg), shown, "{arg}");
        }
    }
}
