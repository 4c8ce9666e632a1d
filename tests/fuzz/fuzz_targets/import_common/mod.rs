//! What holds for every file of every client.

use std::path::Path;

use connectors_store::import::{Client, Locations, MAX_ENTRIES, read};

/// The value of every variable with a short name. Must not be printed.
const SECRET: &str = "correct-horse-battery-staple";

pub fn check(client: Client, bytes: &[u8]) {
    let locations =
        Locations::new("/u", "/srv/x").with_variables(|name| (name.len() < 3).then(|| SECRET.to_owned()));
    let files = read(client, Path::new("/u/file"), bytes, &locations);
    for file in &files {
        assert!(file.problem.is_some() || !file.connectors.is_empty(), "a file with nothing to say is shown");
        for found in &file.connectors {
            assert!(
                found.endpoint.is_some() || found.problem.is_some(),
                "an entry leads nowhere without a reason"
            );
        }
    }
    assert!(files.iter().map(|file| file.connectors.len()).sum::<usize>() <= MAX_ENTRIES);
    let is_written = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(is_written || !format!("{files:?}").contains(SECRET), "a value was printed");
}
