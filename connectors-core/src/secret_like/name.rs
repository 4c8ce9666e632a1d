//! What the name of a value says about it.

use super::value;

/// How much a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// A password: even a word or a number is one.
    Password,
    /// A secret by its name.
    Secret,
    /// A secret or something about one: a plain word is none.
    Perhaps,
    /// The same of how somebody signs in: a user and a password are one as well.
    Auth,
    /// Leads to a secret, by a path or a URL.
    Place,
    /// Who signs in, perhaps with a password after the name.
    User,
    /// Nothing, or that it only describes a secret.
    None,
    /// That it is meant to be public.
    Public,
}

const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "passcode", "pwd", "pass", "sshpass"];

const SECRETS: &[&str] = &[
    "token",
    "tokens",
    "secret",
    "secrets",
    "apikey",
    "apikeys",
    "accesskey",
    "secretkey",
    "privatekey",
    "credential",
    "credentials",
    "bearer",
    "jwt",
    "pat",
    "mnemonic",
    "authorization",
    "cookie",
    "cookies",
];

/// Words that end a longer one without a border: `PGPASSWORD`, `authtoken`.
const ENDINGS: &[(&str, Hint)] = &[
    ("password", Hint::Password),
    ("passwd", Hint::Password),
    ("token", Hint::Secret),
    ("secret", Hint::Secret),
    ("apikey", Hint::Secret),
];

const PERHAPS: &[&str] = &["key", "keys", "private", "session", "signature", "sig"];

const AUTHS: &[&str] = &["auth", "authentication"];

/// Last words of names of users.
const USERS: &[&str] = &["user", "username", "login", "userinfo", "userpwd"];

/// What a key is of that is a secret. Of another it may be the name of a field.
const KEYS: &[&str] =
    &["api", "access", "secret", "private", "app", "account", "encryption", "signing", "master", "session"];

const PLACES: &[&str] =
    &["file", "filename", "path", "dir", "directory", "folder", "url", "uri", "endpoint", "socket", "sock"];

/// Last words of names that describe a secret and do not hold it.
const DESCRIPTIONS: &[&str] = &[
    "id",
    "name",
    "type",
    "mode",
    "host",
    "port",
    "email",
    "ttl",
    "timeout",
    "expiry",
    "expires",
    "limit",
    "count",
    "length",
    "size",
    "scope",
    "scopes",
    "algorithm",
    "alg",
    "method",
    "provider",
    "region",
    "version",
    "enabled",
    "disabled",
    "required",
    "header",
    "prefix",
    "suffix",
    "field",
    "issuer",
    "audience",
    "realm",
    "domain",
    "store",
    "backend",
    "format",
    "strategy",
    "policy",
];

const PUBLIC: &[&str] = &["public", "publishable"];

/// Last words of names whose values are long and random, and known to others.
const IDENTIFIERS: &[&str] = &[
    "id", "ids", "uuid", "guid", "hash", "sha", "sha256", "digest", "checksum", "commit", "revision", "rev",
];

/// What `name` says.
pub(super) fn hint(name: &str) -> Hint {
    let words = words(name);
    let has = |listed: &[&str]| words.iter().any(|word| listed.contains(&word.as_str()));
    let ending = || {
        let ends = |word: &String| ENDINGS.iter().find(|(ending, _)| word.ends_with(ending));
        words.iter().find_map(ends).map(|(_, hint)| *hint)
    };
    // `API_KEY`, `x-api-key`, `accessKey`: two words that are one.
    let is_pair = |pair: &[String]| pair[1] == "key" && KEYS.contains(&pair[0].as_str());
    let said = if has(PASSWORDS) {
        Hint::Password
    } else if has(SECRETS) || words.windows(2).any(is_pair) {
        Hint::Secret
    } else if let Some(hint) = ending() {
        hint
    } else if has(AUTHS) {
        Hint::Auth
    } else if has(PERHAPS) {
        Hint::Perhaps
    } else {
        Hint::None
    };
    let Some(last) = words.last() else { return Hint::None };
    if said == Hint::None && (has(PUBLIC) || IDENTIFIERS.contains(&last.as_str())) {
        return Hint::Public;
    }
    if USERS.contains(&last.as_str()) {
        return Hint::User;
    }
    if said == Hint::None {
        return Hint::None;
    }
    let before = words.len().checked_sub(2).map(|at| words[at].as_str());
    if has(PUBLIC) && said != Hint::Password {
        Hint::Public
    } else if PLACES.contains(&last.as_str()) {
        Hint::Place
    } else if DESCRIPTIONS.contains(&last.as_str()) && (last, before) != (&"id".to_owned(), Some("secret")) {
        Hint::None
    } else {
        said
    }
}

impl Hint {
    /// True if a value of such a name, that is not nothing, is a secret whatever it looks like.
    pub(super) fn says_secret(self, text: &str) -> bool {
        match self {
            Self::Password => {
                !value::is_path(text) && !value::is_plain_url(text) && !value::is_short_number(text, 3)
            }
            Self::Secret => {
                !value::is_path(text) && !value::is_plain_url(text) && !value::is_short_number(text, 7)
            }
            Self::Perhaps => !value::is_path(text) && !value::is_plain_url(text) && !value::is_plain(text),
            Self::Auth => value::is_login(text) || Self::Perhaps.says_secret(text),
            // `node:node` is a user and its group.
            Self::User => {
                value::is_login(text) && text.split_once(':').is_some_and(|(name, other)| name != other)
            }
            Self::Place => {
                !value::is_path(text)
                    && !value::is_plain_url(text)
                    && !value::is_plain(text)
                    && !text.contains(['.', '/'])
            }
            Self::None | Self::Public => false,
        }
    }

    /// What the names say together, where one value stands under another.
    pub(super) fn or(self, name: &str) -> Self {
        match (self, hint(name)) {
            (outer, Self::None) => outer,
            (outer, Self::User) if outer != Self::None => outer,
            (_, said) => said,
        }
    }
}

/// The words of a name, in small letters: split at what is neither letter nor digit, and where capitals begin.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()) {
        let letters: Vec<char> = part.chars().collect();
        let mut word = String::new();
        for (at, &letter) in letters.iter().enumerate() {
            let after_small = at > 0 && !letters[at - 1].is_uppercase();
            let before_small = at > 0 && letters.get(at + 1).is_some_and(|next| next.is_lowercase());
            if letter.is_uppercase() && (after_small || before_small) && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            word.extend(letter.to_lowercase());
        }
        words.push(word);
    }
    words
}
