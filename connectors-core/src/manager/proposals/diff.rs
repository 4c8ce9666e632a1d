//! What would change about a connector, for the user to decide.

use std::collections::BTreeSet;

use crate::definition::{ConnectorDefinition, StdioCommand};
use crate::view::FieldChange;

/// The fields in which what is proposed differs from what there is.
pub(super) fn between(before: &ConnectorDefinition, after: &ConnectorDefinition) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let mut compare = |field: &str, before: Option<String>, after: Option<String>| {
        if before != after {
            changes.push(FieldChange { field: field.to_owned(), before, after });
        }
    };
    let (old, new) = (before.stdio.as_ref(), after.stdio.as_ref());
    compare("name", text(&before.name), text(&after.name));
    compare("url", text(&before.url), text(&after.url));
    compare("command", old.map(argv), new.map(argv));
    compare("cwd", old.and_then(|stdio| stdio.cwd.clone()), new.and_then(|stdio| stdio.cwd.clone()));
    let names = |names: &[String]| text(&names.join(", "));
    compare(
        "secret_env",
        old.and_then(|stdio| names(&stdio.secret_env)),
        new.and_then(|stdio| names(&stdio.secret_env)),
    );
    compare("secret_headers", names(&before.secret_headers), names(&after.secret_headers));
    changes.extend(variables(old, new));
    changes
}

/// Variables: the values that there are may be the user's own, so only the new ones, which a file without secrets gives, are
/// shown.
fn variables(old: Option<&StdioCommand>, new: Option<&StdioCommand>) -> Vec<FieldChange> {
    let value =
        |stdio: Option<&StdioCommand>, name: &str| stdio.and_then(|stdio| stdio.env.get(name).cloned());
    let names: BTreeSet<&String> =
        [old, new].into_iter().flatten().flat_map(|stdio| stdio.env.keys()).collect();
    let change = |name: &String| {
        let (before, after) = (value(old, name), value(new, name));
        (before != after).then(|| FieldChange {
            field: format!("env.{name}"),
            before: before.map(|_| "(a value that is not shown)".to_owned()),
            after,
        })
    };
    names.into_iter().filter_map(change).collect()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Where one argument ends and the next begins is plain in JSON.
fn argv(stdio: &StdioCommand) -> String {
    let argv: Vec<&String> = std::iter::once(&stdio.command).chain(&stdio.args).collect();
    serde_json::to_string(&argv).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Slug;

    fn change(field: &str, before: Option<&str>, after: Option<&str>) -> FieldChange {
        FieldChange {
            field: field.to_owned(),
            before: before.map(ToOwned::to_owned),
            after: after.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn every_difference_is_named_and_values_of_variables_that_there_are_stay_hidden() {
        let command = |command: &str, args: &[&str], env: &[(&str, &str)]| StdioCommand {
            command: command.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..StdioCommand::default()
        };
        let slug = Slug::verbatim("x");
        let old = command("npx", &["a b"], &[("GONE", "1"), ("OTHER", "mine"), ("SAME", "s")]);
        let mut new = command("npx", &["a", "b"], &[("NEW", "2"), ("OTHER", "theirs"), ("SAME", "s")]);
        new.cwd = Some("/srv/p".to_owned());
        new.secret_env = vec!["TOKEN".to_owned(), "KEY".to_owned()];
        let before = ConnectorDefinition::stdio(slug.clone(), "X", old);
        let after = ConnectorDefinition::stdio(slug.clone(), "Y", new);
        let hidden = Some("(a value that is not shown)");
        assert_eq!(
            between(&before, &after),
            [
                change("name", Some("X"), Some("Y")),
                change("command", Some(r#"["npx","a b"]"#), Some(r#"["npx","a","b"]"#)),
                change("cwd", None, Some("/srv/p")),
                change("secret_env", None, Some("TOKEN, KEY")),
                change("env.GONE", hidden, None),
                change("env.NEW", None, Some("2")),
                change("env.OTHER", hidden, Some("theirs")),
            ]
        );
        let mut http = ConnectorDefinition::http(slug, "X", "https://h/mcp");
        http.secret_headers = vec!["X-Key".to_owned()];
        assert_eq!(between(&http, &http.clone()), []);
        assert_eq!(
            between(&http, &before)[..3],
            [
                change("url", Some("https://h/mcp"), None),
                change("command", None, Some(r#"["npx","a b"]"#)),
                change("secret_headers", Some("X-Key"), None),
            ]
        );
    }
}
