//! What a value looks like, whatever it is called.

use super::name::{Hint, hint};

/// What tokens of well-known issuers begin with, and how many more characters they have at least.
const TOKENS: &[(&str, usize)] = &[
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 12),
    ("gldt-", 12),
    ("glrt-", 12),
    ("xoxa-", 8),
    ("xoxb-", 8),
    ("xoxe-", 8),
    ("xoxe.", 8),
    ("xoxp-", 8),
    ("xoxr-", 8),
    ("xoxs-", 8),
    ("xapp-", 8),
    ("sk-", 16),
    ("sk_live_", 8),
    ("sk_test_", 8),
    ("rk_live_", 8),
    ("rk_test_", 8),
    ("whsec_", 8),
    ("AIza", 30),
    ("ya29.", 16),
    ("GOCSPX-", 16),
    ("npm_", 24),
    ("pypi-", 24),
    ("dckr_pat_", 16),
    ("hf_", 24),
    ("gsk_", 24),
    ("xai-", 24),
    ("pplx-", 24),
    ("tvly-", 16),
    ("r8_", 24),
    ("figd_", 16),
    ("lin_api_", 16),
    ("ntn_", 24),
    ("secret_", 32),
    ("shpat_", 16),
    ("shpss_", 16),
    ("dop_v1_", 16),
    ("SG.", 24),
    ("ATATT3", 24),
    ("PMAK-", 24),
    ("hvs.", 20),
    ("AGE-SECRET-KEY-1", 16),
];

/// What says that a long run of letters and digits is a checksum.
const CHECKSUMS: &[&str] = &["sha1:", "sha256:", "sha512:", "sha1-", "sha256-", "sha384-", "sha512-", "md5:"];

/// Words that choose, and say nothing else.
const CHOICES: &[&str] = &[
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "none",
    "null",
    "undefined",
    "auto",
    "default",
    "enabled",
    "disabled",
    "required",
    "optional",
];

/// How many letters and digits in a row are long enough to look for randomness.
const LONG: usize = 20;

/// Stands where a placeholder was: a value of its own that is no secret, and part of no word.
const STAND_IN: char = '*';

/// A value without its placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// What stands around them, each as one asterisk.
    pub(super) text: String,
    /// What they stand for where nothing else is known: `b` of `${A:-b}`.
    pub(super) defaults: Vec<String>,
    /// True if there was one.
    pub(super) has_placeholders: bool,
}

/// Takes `${VAR}`, `${VAR:-default}` and the like out. One that does not end is text.
pub(super) fn without_placeholders(whole: &str) -> Literal {
    let mut literal = Literal { text: String::new(), defaults: Vec::new(), has_placeholders: false };
    // One entry for each placeholder that is open: whether its default has begun.
    let mut open: Vec<bool> = Vec::new();
    let (mut rest, mut default) = (whole, String::new());
    while let Some(next) = rest.chars().next() {
        let taken = if rest.starts_with("${") {
            if open.is_empty() {
                literal.text.push(STAND_IN);
            }
            open.push(false);
            literal.has_placeholders = true;
            2
        } else if next == '}' && !open.is_empty() {
            open.pop();
            literal.defaults.push(std::mem::take(&mut default));
            1
        } else {
            match open.last_mut() {
                None => literal.text.push(next),
                Some(true) => default.push(next),
                Some(begun) => *begun = rest.starts_with(":-"),
            }
            if open.last() == Some(&true) && rest.starts_with(":-") && default.is_empty() {
                2
            } else {
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    if !open.is_empty() {
        return Literal { text: whole.to_owned(), defaults: Vec::new(), has_placeholders: false };
    }
    literal
}

/// True for what cannot be a secret whatever it is called: nothing, a choice, something to be filled in.
pub(super) fn is_nothing(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_between = |from: &str, to: &str| text.len() > 2 && text.starts_with(from) && text.ends_with(to);
    // In capitals: a password may begin with a dollar sign.
    let is_variable = |name: &str| is_name(name) && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    let is_reference = text
        .strip_prefix('$')
        .is_some_and(|name| is_variable(name) && !name.starts_with(|c: char| c.is_ascii_digit()))
        || text.strip_prefix('%').and_then(|text| text.strip_suffix('%')).is_some_and(is_name);
    let is_to_fill_in = ["your_", "your-", "your "].iter().any(|start| lower.starts_with(start));
    text.bytes().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'))
        || CHOICES.contains(&lower.as_str())
        || is_reference
        || is_to_fill_in
        || is_between("<", ">")
        || is_between("{{", "}}")
}

/// True if the text holds something that looks like a secret by itself.
pub(super) fn shows_secret(text: &str, hint: Hint) -> bool {
    is_private_key(text)
        || has_scheme(text, hint)
        || has_token(text)
        || has_named(text)
        || text
            .split(|c: char| c.is_whitespace() || "\"'`".contains(c))
            .any(|part| url_shows_secret(part) || hint != Hint::Public && is_random(part))
}

fn is_private_key(text: &str) -> bool {
    text.contains("-----BEGIN ") && text.contains("PRIVATE KEY")
}

/// `Bearer ...` and `Basic ...`.
fn has_scheme(text: &str, hint: Hint) -> bool {
    let is_named = !matches!(hint, Hint::None | Hint::Public | Hint::User);
    let mut words = text.split_whitespace().peekable();
    let mut is_first = true;
    while let Some(word) = words.next() {
        let is_scheme = ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        let credential = words.peek().filter(|_| is_scheme);
        let counts = |word: &&str| !is_nothing(word) && ((is_first && is_named) || !is_plain(word));
        if credential.is_some_and(counts) {
            return true;
        }
        is_first = false;
    }
    false
}

fn has_token(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    text.split(|c| !is_part(c)).filter(|word| word.len() >= 12).any(|word| {
        let is_known = |(prefix, tail): &(&str, usize)| {
            word.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() >= *tail && !(rest.len() < LONG && is_plain(rest)))
        };
        TOKENS.iter().any(is_known) || is_amazon_key(word) || is_jwt(word)
    })
}

fn is_amazon_key(word: &str) -> bool {
    let is_rest = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    word.len() == 20
        && ["AKIA", "ASIA"].iter().any(|prefix| word.starts_with(prefix))
        && word.bytes().all(is_rest)
}

fn is_jwt(word: &str) -> bool {
    word.starts_with("eyJ") && word.split('.').count() >= 3
}

/// `password=...` in a connection string, `token=...` in a query.
fn has_named(text: &str) -> bool {
    let pairs = text.split(|c: char| c.is_whitespace() || ";&,?#\"'".contains(c));
    pairs.filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        let value = value.trim();
        // What is long may be anything but a name.
        name.len() <= 64 && !is_nothing(value) && hint(name).says_secret(value)
    })
}

/// True if a URL carries credentials: of a user, or a random part of its path. Its query is looked at by name.
fn url_shows_secret(part: &str) -> bool {
    let Some(at) = part.find("://") else { return false };
    // `jdbc:postgresql://...`, `--url=https://...`
    let scheme =
        part[..at].rfind(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).map_or(0, |at| at + 1);
    let Some(url) = part.get(scheme..).and_then(|url| url::Url::parse(url).ok()) else { return false };
    let has_user = match url.password() {
        Some(password) => !is_nothing(password),
        // A token in the place of a user's name.
        None => matches!(url.scheme(), "http" | "https") && !is_nothing(url.username()),
    };
    let is_id = |run: &str| run.bytes().all(|byte| byte.is_ascii_hexdigit());
    has_user
        || url
            .path_segments()
            .into_iter()
            .flatten()
            .any(|segment| runs(segment).any(|run| !is_id(run) && is_random_run(run)))
}

fn is_random(part: &str) -> bool {
    let is_long_path =
        is_rooted(part) && part.split(['/', '\\']).filter(|segment| !segment.is_empty()).count() > 1;
    if part.contains("://") || is_long_path || CHECKSUMS.iter().any(|checksum| part.contains(checksum)) {
        return false;
    }
    runs(part).any(is_random_run)
}

/// Letters and digits in a row, where there are many.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| run.len() >= LONG)
}

/// True where letters and digits alternate as they do in no word.
fn is_random_run(run: &str) -> bool {
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = run.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    let mut seen = [false; 128];
    run.bytes().for_each(|byte| seen[usize::from(byte) % seen.len()] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    let has_both =
        run.bytes().any(|byte| byte.is_ascii_digit()) && run.bytes().any(|byte| byte.is_ascii_alphabetic());
    has_both && changes >= 5 && distinct >= 9
}

/// True for the path of a file, whatever it is called: a slash alone may begin a password.
pub(super) fn is_path(text: &str) -> bool {
    let is_file = || text.rfind('/') == Some(0) && text.contains('.') && plain_segments(text) == 1;
    is_like_path(text) && (!text.starts_with('/') || plain_segments(text) > 1 || is_file())
}

/// True for a folder, in what is not called a secret.
pub(super) fn is_folder(text: &str) -> bool {
    is_like_path(text) && (!text.starts_with('/') || text.len() == 1 || plain_segments(text) > 0)
}

/// It begins like the path of a file, and no part of it is random.
fn is_like_path(text: &str) -> bool {
    is_rooted(text) && !runs(text).any(is_random_run)
}

fn plain_segments(path: &str) -> usize {
    path.split('/').filter(|segment| !segment.is_empty() && is_plain(segment)).count()
}

/// True for a user and a password. A small number after the colon is a port, a group or a time.
pub(super) fn is_login(text: &str) -> bool {
    let is_user = |user: &str| {
        !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte))
    };
    let is_password = |password: &str| {
        !password.starts_with("//")
            && !password.contains(char::is_whitespace)
            && !is_short_number(password, 5)
            && !is_nothing(password)
    };
    !is_rooted(text)
        && text.split_once(':').is_some_and(|(user, password)| is_user(user) && is_password(password))
}

fn is_rooted(text: &str) -> bool {
    let is_drive = |text: &str| matches!(text.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    ["/", "./", "../", "~/", ".\\", "..\\", "\\\\"].iter().any(|start| text.starts_with(start))
        || matches!(text, "~" | "." | "..")
        || is_drive(text)
}

/// True for a URL, in a text in which nothing has been found.
pub(super) fn is_plain_url(text: &str) -> bool {
    text.contains("://") && !text.contains(char::is_whitespace) && url::Url::parse(text).is_ok()
}

/// True for a number of at most `digits` digits.
pub(super) fn is_short_number(text: &str, digits: usize) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_number && (1..=digits).contains(&number.bytes().filter(u8::is_ascii_digit).count())
}

/// True for words and small numbers, of which there may be several.
pub(super) fn is_plain(text: &str) -> bool {
    let is_word = |word: &str| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = word.len() - letters.len();
        let is_one_case =
            letters.chars().skip(1).all(char::is_lowercase) || letters.chars().all(char::is_uppercase);
        let is_wordlike = digits == 0 || letters.is_empty() || letters.len() >= 3;
        letters.chars().all(char::is_alphabetic)
            && letters.len() <= 16
            && is_one_case
            && is_wordlike
            && digits <= 4
    };
    text.len() <= 64 && text.split([' ', '-', '_', '.', '/', ':', ',']).all(is_word)
}
