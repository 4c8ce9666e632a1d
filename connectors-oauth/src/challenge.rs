//! `WWW-Authenticate`: what a server wants (RFC 9110, section 11.6.1; RFC 6750, section 3; RFC 9728, section 5.1).

use connectors_core::text;

use crate::scopes;

/// What of one field is read, in bytes. Servers and proxies limit a whole header to less.
const MAX_FIELD: usize = 32 << 10;

/// Challenges that are read; the rest are left.
const MAX_CHALLENGES: usize = 32;

/// Parameters of one challenge that are read; the rest are left.
const MAX_PARAMS: usize = 64;

/// Longest text of a server's that is kept for display.
const QUOTED: usize = 300;

/// One challenge of a `WWW-Authenticate` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthChallenge {
    /// The authentication scheme, as it was sent; compared without regard to case.
    pub scheme: String,
    /// The parameters in order, names in lower case, values without quotes and escapes. A `token68` is not among them.
    pub params: Vec<(String, String)>,
}

impl AuthChallenge {
    /// The value of a parameter, by its name in lower case; the first, if it is there more than once.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }
}

/// Reads the challenges of all `WWW-Authenticate` fields of an answer, in order (RFC 9110, section 11.6.1).
///
/// Never fails: what is no challenge is skipped up to the next comma. Two deviations of real servers are read as they are
/// meant: a value without the quotes that it needs (a URL), and parameters that no comma separates. Takes time linear in the
/// length of the fields.
pub fn parse(fields: &[String]) -> Vec<AuthChallenge> {
    let mut challenges = Vec::new();
    for field in fields {
        Reader::new(field).read_into(&mut challenges);
    }
    challenges
}

/// How an access token is shown to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449.
    DPoP,
}

/// What a server wants of a client that has no token, or not the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) scheme: Scheme,
    /// `None` where the server names none.
    pub(crate) scope: Option<Vec<String>>,
    /// Unchecked.
    pub(crate) resource_metadata: Option<String>,
    pub(crate) error: Option<String>,
    /// Fit for display.
    pub(crate) error_description: Option<String>,
}

/// What the fields ask for; `None` if no token would help.
///
/// A bearer token is preferred: DPoP is for servers that accept nothing else. Of several challenges of one scheme the one that
/// leads to metadata counts. `resource_metadata` may come with any scheme (RFC 9728, section 5.1).
pub(crate) fn wanted(fields: &[String]) -> Option<Wanted> {
    let challenges = parse(fields);
    let leads = |challenge: &&AuthChallenge| challenge.param("resource_metadata").is_some();
    let of = |scheme: &str| {
        let all = || challenges.iter().filter(|challenge| challenge.is(scheme));
        all().find(leads).or_else(|| all().next())
    };
    let (scheme, challenge) = of("Bearer")
        .map(|challenge| (Scheme::Bearer, challenge))
        .or_else(|| of("DPoP").map(|challenge| (Scheme::DPoP, challenge)))
        .or_else(|| challenges.iter().find(leads).map(|challenge| (Scheme::Bearer, challenge)))?;
    let resource_metadata = challenge
        .param("resource_metadata")
        .or_else(|| challenges.iter().find_map(|other| other.param("resource_metadata")));
    let shown = |name| challenge.param(name).map(|value| text::display(value, QUOTED));
    Some(Wanted {
        scheme,
        scope: challenge.param("scope").map(scopes::split).filter(|scopes| !scopes.is_empty()),
        resource_metadata: resource_metadata.map(str::to_owned),
        error: shown("error"),
        error_description: shown("error_description"),
    })
}

/// Reads one field from its beginning to its end, once.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(field: &'a str) -> Self {
        let mut end = field.len().min(MAX_FIELD);
        while !field.is_char_boundary(end) {
            end -= 1;
        }
        Self { rest: &field[..end] }
    }

    fn read_into(mut self, challenges: &mut Vec<AuthChallenge>) {
        // The challenge whose parameters come next. A field begins with a scheme.
        let mut current: Option<usize> = None;
        loop {
            let separated = self.skip_separators();
            if self.rest.is_empty() {
                return;
            }
            let name = self.token();
            if !name.is_empty() && self.assignment() {
                let Some(value) = self.value() else { continue };
                if let Some(challenge) = current.and_then(|index| challenges.get_mut(index))
                    && challenge.params.len() < MAX_PARAMS
                {
                    challenge.params.push((name.to_ascii_lowercase(), value));
                }
            } else if !name.is_empty() && (separated || current.is_none()) && self.ends_scheme() {
                if challenges.len() == MAX_CHALLENGES {
                    return;
                }
                current = Some(challenges.len());
                challenges.push(AuthChallenge { scheme: name.to_owned(), params: Vec::new() });
                self.token68();
            } else {
                self.skip_element();
            }
        }
    }

    /// Skips white space and commas, and says whether there was a comma.
    fn skip_separators(&mut self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\t', ',']);
        let separated = self.rest[..self.rest.len() - rest.len()].contains(',');
        self.rest = rest;
        separated
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn token(&mut self) -> &'a str {
        self.take_while(is_token)
    }

    /// Consumes the `=` of a parameter with the white space around it.
    fn assignment(&mut self) -> bool {
        let after = self.rest.trim_start_matches([' ', '\t']);
        let Some(after) = after.strip_prefix('=') else { return false };
        self.rest = after.trim_start_matches([' ', '\t']);
        true
    }

    /// A scheme is followed by white space, a comma or nothing.
    fn ends_scheme(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with([' ', '\t', ','])
    }

    /// Consumes a `token68`, which only a scheme is followed by and which only a comma or the end follows.
    fn token68(&mut self) {
        let start = self.rest.trim_start_matches([' ', '\t']);
        let after = start.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        if after.len() == start.len() {
            return;
        }
        let end = after.trim_start_matches('=').trim_start_matches([' ', '\t']);
        if end.is_empty() || end.starts_with(',') {
            self.rest = end;
        }
    }

    /// A quoted string, or whatever stands there up to white space or a comma. `None` for a string that does not end: then
    /// the rest of the field is lost.
    fn value(&mut self) -> Option<String> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        Some(self.take_while(|c| !matches!(c, ' ' | '\t' | ',' | '"')).to_owned())
    }

    fn quoted(&mut self) -> Option<String> {
        // What follows is what is left after the closing quote: nothing, if there is none.
        let mut characters = std::mem::take(&mut self.rest).chars();
        characters.next();
        let mut value = String::new();
        while let Some(c) = characters.next() {
            match c {
                '"' => {
                    self.rest = characters.as_str();
                    return Some(value);
                }
                '\\' => value.push(characters.next()?),
                c => value.push(c),
            }
        }
        None
    }

    /// Skips to the next comma that is not in a quoted string.
    fn skip_element(&mut self) {
        loop {
            self.take_while(|c| c != ',' && c != '"');
            if !self.rest.starts_with('"') || self.quoted().is_none() {
                return;
            }
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests;
