//! Slugs, and the names under which a model sees a connector's tools.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest tool name that the common model providers accept (`^[a-zA-Z0-9_-]{1,64}$`).
pub const MAX_CANONICAL_NAME: usize = 64;

/// Length of the hash suffix of a shortened name, separator included.
const SUFFIX: usize = 9;

/// A connector's stable identifier: lowercase ASCII alphanumerics and single underscores.
///
/// It names the connector in routes, in the manifest and in the accounts of its secrets. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Slug(Arc<str>);

impl Slug {
    /// Derives a slug from a display name: lowercase ASCII alphanumerics, every other run one `_`, trimmed;
    /// a name with nothing left becomes `connector`.
    pub fn from_name(name: &str) -> Self {
        let mut slug = String::with_capacity(name.len());
        for c in name.chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('_') {
                slug.push('_');
            }
        }
        let slug = slug.trim_end_matches('_');
        Self(if slug.is_empty() { "connector".into() } else { slug.into() })
    }

    /// Takes a slug as it stands in a manifest or a request, without changing it.
    pub fn verbatim(slug: impl Into<Arc<str>>) -> Self {
        Self(slug.into())
    }

    /// This slug with `_n` appended, for a name that is already taken.
    #[must_use]
    pub fn numbered(&self, n: usize) -> Self {
        Self(format!("{}_{n}", self.0).into())
    }

    /// The first of `base`, `base_2`, `base_3`, ... that `is_taken` does not claim.
    pub fn first_free(base: &Self, mut is_taken: impl FnMut(&Self) -> bool) -> Self {
        if !is_taken(base) {
            return base.clone();
        }
        let mut n = 2;
        loop {
            let candidate = base.numbered(n);
            if !is_taken(&candidate) {
                return candidate;
            }
            n += 1;
        }
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Slug {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The model-visible name of a tool: `mcp_{slug}_{tool}`, or, where providers would not accept that, a
/// sanitised prefix of it with a short hash of the two parts.
///
/// The result always matches `^[a-zA-Z0-9_-]{1,64}$` and depends on nothing but its arguments. The server's own
/// name cannot be recovered from it: routes carry that.
pub fn canonical_name(slug: &Slug, tool: &str) -> String {
    let plain = format!("mcp_{slug}_{tool}");
    if plain.len() <= MAX_CANONICAL_NAME && plain.bytes().all(is_name_byte) {
        plain
    } else {
        hashed_name(slug, tool)
    }
}

/// The name of a tool whose plain canonical name another tool already has.
pub fn hashed_name(slug: &Slug, tool: &str) -> String {
    let mut name: String = format!("mcp_{slug}_{tool}")
        .chars()
        .map(|c| if c.is_ascii() && is_name_byte(c as u8) { c } else { '_' })
        .take(MAX_CANONICAL_NAME - SUFFIX)
        .collect();
    let mut hash = Sha256::new();
    hash.update(slug.as_str());
    hash.update([0]);
    hash.update(tool);
    name.push('_');
    for byte in &hash.finalize()[..(SUFFIX - 1) / 2] {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slug_keeps_lowercase_alphanumerics_and_folds_every_other_run_into_one_underscore() {
        let slug = |name: &str| Slug::from_name(name).to_string();
        assert_eq!(slug("GitHub Issues!"), "github_issues");
        assert_eq!(slug("  spaced -- out "), "spaced_out");
        assert_eq!(slug("Zürich"), "z_rich");
        assert_eq!(slug("東京"), "connector");
        assert_eq!(slug(""), "connector");
    }

    #[test]
    fn a_taken_slug_is_numbered_from_two() {
        let base = Slug::from_name("git");
        let taken = ["git", "git_2"];
        assert_eq!(Slug::first_free(&base, |s| taken.contains(&s.as_str())).as_str(), "git_3");
    }

    #[test]
    fn a_name_that_fits_is_the_plain_one() {
        assert_eq!(canonical_name(&Slug::from_name("GitHub"), "create_issue"), "mcp_github_create_issue");
    }

    #[test]
    fn the_two_tools_of_an_ambiguous_plain_name_get_distinct_hashed_ones() {
        let (a, a_b) = (Slug::verbatim("a"), Slug::verbatim("a_b"));
        assert_eq!(canonical_name(&a, "b_c"), canonical_name(&a_b, "c"));
        assert_ne!(hashed_name(&a, "b_c"), hashed_name(&a_b, "c"));
    }

    proptest! {
        #[test]
        fn every_canonical_name_is_acceptable_to_providers(name in ".{0,80}", tool in ".{0,200}") {
            let slug = Slug::from_name(&name);
            for name in [canonical_name(&slug, &tool), hashed_name(&slug, &tool)] {
                prop_assert!((1..=MAX_CANONICAL_NAME).contains(&name.len()));
                prop_assert!(name.bytes().all(is_name_byte));
            }
        }

        #[test]
        fn a_slug_of_a_slug_is_itself(name in ".{0,80}") {
            let slug = Slug::from_name(&name);
            prop_assert_eq!(Slug::from_name(slug.as_str()), slug);
        }
    }
}
