//! What a proposal is known by.

use connectors_core::ConnectorDefinition;
use connectors_core::digest::sha256_hex;
use serde::Serialize;

/// Everything that decides what is run, where it leads, and what the user is asked for. The members are in the order of
/// their names, so that this is canonical JSON (RFC 8785): there are strings only.
#[derive(Serialize)]
struct Content<'a> {
    name: &'a str,
    secret_headers: &'a [String],
    slug: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdio: Option<Command<'a>>,
    url: &'a str,
}

#[derive(Serialize)]
struct Command<'a> {
    args: &'a [String],
    command: &'a str,
    cwd: &'a str,
    env: &'a std::collections::BTreeMap<String, String>,
    secret_env: &'a [String],
}

/// SHA-256 of what a definition says, in hexadecimal.
pub(super) fn of(definition: &ConnectorDefinition) -> String {
    let command = definition.stdio.as_ref().map(|stdio| Command {
        args: &stdio.args,
        command: &stdio.command,
        cwd: stdio.cwd.as_deref().unwrap_or_default(),
        env: &stdio.env,
        secret_env: &stdio.secret_env,
    });
    let content = Content {
        name: &definition.name,
        secret_headers: &definition.secret_headers,
        slug: definition.slug.as_str(),
        stdio: command,
        url: &definition.url,
    };
    // Strings and lists of them always serialise.
    let canonical = serde_json::to_vec(&content).unwrap_or_default();
    sha256_hex(canonical)
}

#[cfg(test)]
mod tests {
    use connectors_core::{Slug, StdioCommand};

    use super::*;

    #[test]
    fn the_hash_is_stable_and_differs_with_every_part() {
        let slug = Slug::verbatim("x");
        let http = ConnectorDefinition::http(slug.clone(), "X", "https://h/mcp");
        // Acceptances and rejections of earlier versions are known by it.
        assert_eq!(of(&http), "f3f0ab88f53e7896b1f68b24af78bcf0b175d4977cc6a538b4019396e47ddf01");
        let full = || StdioCommand {
            command: "c".into(),
            args: vec!["a".into(), "b".into()],
            env: [("A".to_owned(), "1".to_owned())].into(),
            secret_env: vec!["T".into()],
            cwd: Some("/srv/p".into()),
        };
        let variants = [
            full(),
            StdioCommand { command: "d".into(), ..full() },
            StdioCommand { args: vec!["a b".into()], ..full() },
            StdioCommand { args: vec!["b".into(), "a".into()], ..full() },
            StdioCommand { env: [("A".to_owned(), "2".to_owned())].into(), ..full() },
            StdioCommand { secret_env: vec![], ..full() },
            StdioCommand { cwd: Some("/srv/q".into()), ..full() },
        ];
        let mut hashes: Vec<String> = variants
            .into_iter()
            .map(|stdio| of(&ConnectorDefinition::stdio(slug.clone(), "X", stdio)))
            .collect();
        let mut headers = http.clone();
        headers.secret_headers = vec!["X-Key".into()];
        hashes.extend([of(&http), of(&headers)]);
        hashes.push(of(&ConnectorDefinition::http(slug, "Y", "https://h/mcp")));
        let count = hashes.len();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
