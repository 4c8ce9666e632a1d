mod clients;
mod folders;
mod hanging;
mod quirks;

use std::path::Path;

use connectors_core::import::{FoundConnector, FoundEndpoint, FoundFile, Part, Template};
use secrecy::ExposeSecret;

use super::*;

/// A machine with these variables.
fn machine() -> Locations {
    Locations::new("/u", "/srv/x/shop").on(Platform::Linux).with_variables(|name| {
        let value = match name {
            "API_KEY" => "from-the-environment",
            "FIGMA_TOKEN" => "figd_environment",
            "HOME" => "/u",
            _ => return None,
        };
        Some(value.to_owned())
    })
}

/// What a file is read as: `name: command args (in folder) | VARIABLE=value | note: ... | problem: ...`. What is filled in stands between « and »,
/// what is wanted between ‹ and ›, with a question mark if it may be missing.
fn read_of(file: &FoundFile) -> Vec<String> {
    file.connectors.iter().map(line).collect()
}

fn line(found: &FoundConnector) -> String {
    let mut line = format!("{}{}:", found.name, if found.disabled { " (off)" } else { "" });
    let named = |pairs: &[(String, Template)]| {
        pairs.iter().map(|(name, value)| format!(" | {name}={}", text(value))).collect::<String>()
    };
    match &found.endpoint {
        Some(FoundEndpoint::Http { url, headers }) => line += &format!(" {}{}", text(url), named(headers)),
        Some(FoundEndpoint::Stdio { command, args, env, cwd }) => {
            line += &format!(" {}", text(command));
            args.iter().for_each(|arg| line += &format!(" {}", text(arg)));
            cwd.iter().for_each(|cwd| line += &format!(" (in {})", text(cwd)));
            line += &named(env);
        }
        None => {}
    }
    found.notes.iter().for_each(|note| line += &format!(" | note: {note}"));
    found.problem.iter().for_each(|problem| line += &format!(" | problem: {problem}"));
    line
}

fn text(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Written(text) => text.expose_secret().to_owned(),
        Part::Filled { name, value } => format!("«{name}={}»", value.expose_secret()),
        Part::Wanted(wanted) => {
            let default = wanted.default.as_ref().map(|default| format!(":-{}", default.expose_secret()));
            let optional = if wanted.optional { "?" } else { "" };
            format!("‹{}{optional}{}›", wanted.name, default.unwrap_or_default())
        }
    };
    template.parts().iter().map(part).collect()
}

/// The files that `client` reads out of this text, on [`machine`], as of a project.
fn files(client: Client, content: &str) -> Vec<FoundFile> {
    let locations = machine();
    let (path, folder) = (Path::new("/srv/x/shop/file"), Path::new("/srv/x/shop"));
    Opened { client, path, folder: Some(folder), locations: &locations, bytes: content.as_bytes() }
        .read()
        .files
}

/// The only line of the only file.
fn only(client: Client, content: &str) -> String {
    let files = files(client, content);
    assert_eq!(files.len(), 1, "{files:?}");
    read_of(&files[0]).join("\n")
}
