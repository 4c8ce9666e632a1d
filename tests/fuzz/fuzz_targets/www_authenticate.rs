//! Any `WWW-Authenticate` fields are read, in time that grows no faster than they do, and what a server cannot write as a
//! name is not read as one.
#![no_main]

use std::time::{Duration, Instant};

use connectors_oauth::parse_challenges;
use libfuzzer_sys::fuzz_target;

/// Long enough, and often enough, for a quadratic reader to show itself.
const LONG: usize = 64 << 10;
const TIMES: usize = 8;

/// What a linear one takes a small part of, even with instrumentation and on a busy machine.
const BEARABLE: Duration = Duration::from_secs(2);

/// RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_part)
}

/// Reads the fields; what is kept of them has legal names, and is not longer than they are.
fn check(fields: &[String]) {
    let challenges = parse_challenges(fields);
    let mut kept = 0;
    for challenge in &challenges {
        assert!(is_token(&challenge.scheme), "{:?} is no scheme", challenge.scheme);
        kept += challenge.scheme.len();
        for (name, value) in &challenge.params {
            assert!(is_token(name), "{name:?} is no parameter");
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name:?} is not in lower case");
            assert!(challenge.param(name).is_some(), "{name:?} is not found");
            kept += name.len() + value.len();
        }
    }
    assert!(kept <= fields.iter().map(String::len).sum(), "more is kept than there was");
    // One field is read like another, whatever stands before it.
    let apart: Vec<_> =
        fields.iter().flat_map(|field| parse_challenges(std::slice::from_ref(field))).collect();
    assert_eq!(apart[..challenges.len()], challenges, "a field reaches into the next");
}

/// Reads a field in which the text comes again and again.
fn check_time(text: &str) {
    let long = [text.repeat(LONG / text.len())];
    let began = Instant::now();
    for _ in 0..TIMES {
        parse_challenges(&long);
    }
    assert!(began.elapsed() < BEARABLE, "{TIMES} times {LONG} bytes took {:?}", began.elapsed());
}

fuzz_target!(|text: &str| {
    // A field cannot hold a line break.
    let fields: Vec<String> = text.lines().map(str::to_owned).collect();
    check(&fields);
    // Costly: for some of them.
    if !text.is_empty() && text.len() % 16 == 0 {
        check_time(text);
    }
});
