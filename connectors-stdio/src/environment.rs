//! Which of the daemon's variables a server inherits.

use std::ffi::{OsStr, OsString};

/// Variables that say who and where the user is, and how to reach the network from here. Tokens, agents' sockets,
/// loader and interpreter options are not among them: what a server needs of those, its definition sets.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TMPDIR",
    "TZ",
    // Certificates and proxies of the network: without them nothing can be reached from within a company.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// The same for Windows, where processes do not start without some of these.
const INHERITED_ON_WINDOWS: &[&str] = &[
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "PROGRAMFILES(X86)",
    "USERPROFILE",
    "USERNAME",
    "HOMEDRIVE",
    "HOMEPATH",
    "TEMP",
    "TMP",
    "OS",
    "PROCESSOR_ARCHITECTURE",
    "NUMBER_OF_PROCESSORS",
];

/// Families of variables, by the beginning of their names.
const INHERITED_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// The variables out of `all` that a server inherits.
pub(crate) fn inherited(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    // A shell function that was exported is code, not a value.
    all.filter(|(name, value)| {
        name.to_str().is_some_and(is_inherited) && !value.to_string_lossy().starts_with("()")
    })
}

fn is_inherited(name: &str) -> bool {
    let is = |listed: &&str| if cfg!(windows) { listed.eq_ignore_ascii_case(name) } else { *listed == name };
    INHERITED.iter().any(is)
        || INHERITED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || cfg!(windows) && INHERITED_ON_WINDOWS.iter().any(is)
}

/// True if `name` can be the name of a variable.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// The value of `name` among `variables`, which may be set twice: the last one counts.
pub(crate) fn value<'a>(variables: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let is_it = |(set, _): &&(OsString, OsString)| {
        if cfg!(windows) { set.eq_ignore_ascii_case(name) } else { set.as_os_str() == OsStr::new(name) }
    };
    variables.iter().rev().find(is_it).map(|(_, value)| value.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_inherited() {
        let all = [
            ("PATH", "/bin"),
            ("LC_ALL", "C.UTF-8"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("https_proxy", "http://proxy:3128"),
            ("HOME", "() { :; }; echo"),
            ("GITHUB_TOKEN", "secret"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("LD_PRELOAD", "/tmp/x.so"),
            ("NODE_OPTIONS", "--require /tmp/x.js"),
            ("SSH_AUTH_SOCK", "/tmp/agent"),
        ];
        let kept: Vec<_> = inherited(all.iter().map(|(name, value)| ((*name).into(), (*value).into())))
            .map(|(name, _)| name.into_string().unwrap())
            .collect();
        assert_eq!(kept, ["PATH", "LC_ALL", "XDG_RUNTIME_DIR", "https_proxy"]);
    }

    #[test]
    fn a_name_is_not_empty_and_holds_no_equals_sign() {
        assert_eq!(["A", "a.b", "", "A=B", "A\0"].map(is_name), [true, true, false, false, false]);
    }

    #[test]
    fn the_last_of_two_values_counts() {
        let variables = [("PATH", "/bin"), ("PATH", "/opt/bin")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(value(&variables, "PATH"), Some(OsStr::new("/opt/bin")));
        assert_eq!(value(&variables, "HOME"), None);
    }
}
