//! Which addresses may be used: in a browser, and for requests that carry secrets.

use connectors_core::http::is_loopback;
use url::Url;

/// Longest address, in bytes.
const MAX_LENGTH: usize = 8 << 10;

/// Why an address from outside is not used. Each is said of the address ("it ...").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEndpoint {
    /// Not an absolute URL, or one without a host.
    #[error("it is not an absolute URL")]
    NotAUrl,
    /// Over [`MAX_LENGTH`].
    #[error("it is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// Control characters and white space, which URL parsers remove in silence.
    #[error("it contains control characters or white space")]
    HiddenCharacter,
    /// A scheme that a browser or shell would hand to something else.
    #[error("its scheme is not https")]
    Scheme,
    /// Readable by everyone on the way.
    #[error("it is not https, and not on this machine")]
    Unencrypted,
    /// `https://known.example@other.example/`.
    #[error("it contains a user name or password")]
    UserInfo,
    /// RFC 6749, section 3.1.
    #[error("it contains a fragment")]
    Fragment,
    /// Only an issuer must not have one (RFC 8414, section 2).
    #[error("it contains a query")]
    Query,
}

/// Checks an address that a server, a challenge or a user named: https, or http on this machine (2026-07-28, authorization
/// security considerations, communication security).
///
/// What may be opened in a browser is the result, written anew by the parser, never the text that came in.
pub(crate) fn checked(url: &str) -> Result<Url, BadEndpoint> {
    if url.len() > MAX_LENGTH {
        return Err(BadEndpoint::TooLong);
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(BadEndpoint::HiddenCharacter);
    }
    let parsed = Url::parse(url).map_err(|_| BadEndpoint::NotAUrl)?;
    match parsed.scheme() {
        "https" => {}
        "http" if is_loopback(&parsed) => {}
        "http" => return Err(BadEndpoint::Unencrypted),
        _ => return Err(BadEndpoint::Scheme),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(BadEndpoint::UserInfo);
    }
    if parsed.fragment().is_some() {
        return Err(BadEndpoint::Fragment);
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn https_and_this_machine_are_accepted_and_written_anew() {
        let cases = [
            ("https://as.example/authorize?tenant=7", "https://as.example/authorize?tenant=7"),
            ("HTTPS://AS.example:443/a/../b", "https://as.example/b"),
            ("https://as.example\\@evil.example/", "https://as.example/@evil.example/"),
            ("https://as.example/<\"`>", "https://as.example/%3C%22%60%3E"),
            ("http://localhost:9100/cb", "http://localhost:9100/cb"),
            ("http://127.8.9.1/cb", "http://127.8.9.1/cb"),
            ("http://[::1]:80/cb", "http://[::1]/cb"),
        ];
        for (given, expected) in cases {
            assert_eq!(checked(given).map(String::from), Ok(expected.to_owned()), "{given}");
        }
    }

    #[test]
    fn what_could_reach_a_shell_or_an_eavesdropper_is_refused() {
        let long = format!("https://as.example/{}", "a".repeat(MAX_LENGTH));
        let cases = [
            ("javascript:alert(1)", BadEndpoint::Scheme),
            ("file:///etc/passwd", BadEndpoint::Scheme),
            ("data:text/html,x", BadEndpoint::Scheme),
            ("ms-settings:x", BadEndpoint::Scheme),
            ("ssh://-oProxyCommand=calc/x", BadEndpoint::Scheme),
            ("-oProxyCommand=calc", BadEndpoint::NotAUrl),
            ("--help", BadEndpoint::NotAUrl),
            ("/authorize", BadEndpoint::NotAUrl),
            ("https://", BadEndpoint::NotAUrl),
            ("", BadEndpoint::NotAUrl),
            ("https://$(calc)@as.example/", BadEndpoint::UserInfo),
            ("https://as.example@evil.example/", BadEndpoint::UserInfo),
            ("https://:secret@as.example/", BadEndpoint::UserInfo),
            ("https://as.example/\r\nHost: evil", BadEndpoint::HiddenCharacter),
            ("https://as.example/\u{85}", BadEndpoint::HiddenCharacter),
            ("java\tscript:alert(1)", BadEndpoint::HiddenCharacter),
            (" https://as.example/", BadEndpoint::HiddenCharacter),
            ("https://as.example/ & calc", BadEndpoint::HiddenCharacter),
            ("https://as.example/#", BadEndpoint::Fragment),
            ("http://as.example/", BadEndpoint::Unencrypted),
            ("http://localhost.evil.example/", BadEndpoint::Unencrypted),
            ("http://10.0.0.1/", BadEndpoint::Unencrypted),
            ("http://[::ffff:127.0.0.1]/", BadEndpoint::Unencrypted),
            (long.as_str(), BadEndpoint::TooLong),
        ];
        for (given, expected) in cases {
            assert_eq!(checked(given), Err(expected), "{given}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_a_plain_web_address(text in "(https?|HTTP)://\\PC{0,40}|\\PC{0,40}") {
            if let Ok(url) = checked(&text) {
                prop_assert!(url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)));
                prop_assert!(url.as_str().is_ascii() && !url.as_str().contains(char::is_whitespace));
                prop_assert_eq!(checked(url.as_str()), Ok(url));
            }
        }
    }
}
