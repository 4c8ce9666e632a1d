//! Any text is a team file or a list of mistakes, and what is proposed is whole, named by its content, and free of variables'
//! values that look like secrets.
#![no_main]

use std::collections::HashSet;
use std::path::Path;

use connectors_store::team::{Origin, parse};
use libfuzzer_sys::fuzz_target;

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

fn variables(name: &str) -> Option<String> {
    match name {
        "A" => Some("a".to_owned()),
        "TOKEN" => Some(TOKEN.to_owned()),
        _ => None,
    }
}

fuzz_target!(|text: &str| {
    let origin = Origin {
        file: "/srv/project/.car/connectors.toml",
        project: Path::new("/srv/project"),
        variables: &variables,
    };
    let proposals = parse(text, &origin);
    let lines = text.lines().count().max(1) + 1;
    for mistake in &proposals.mistakes {
        assert!(mistake.line.is_some_and(|line| (1..=lines).contains(&line)), "{mistake:?}");
        assert!(!mistake.problem.contains(TOKEN), "{mistake:?}");
    }
    let mut slugs = HashSet::new();
    for proposal in &proposals.entries {
        let definition = &proposal.definition;
        assert!(slugs.insert(definition.slug.clone()), "two proposals for {}", definition.slug);
        assert_eq!(definition.stdio.is_none(), !definition.url.is_empty());
        assert_eq!(definition.proposal.as_ref().map(|accepted| &accepted.hash), Some(&proposal.hash));
        assert!(definition.enabled_tools.is_empty());
        assert!(text.contains(TOKEN) || !format!("{definition:?}").contains(TOKEN), "{definition:?}");
    }
    assert_eq!(parse(text, &origin), proposals);
});
