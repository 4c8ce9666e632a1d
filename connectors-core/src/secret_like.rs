//! Guessing which values a user would not want to see in a file.

mod name;
mod place;
mod value;

use serde_json::Value;

use self::name::{Hint, hint};
pub use self::place::{HIDDEN, SeenUrl, UrlPlace, hidden_argument, secret_arguments, see_url};

/// True if the `value` of a variable, header or argument called `name` looks like a secret.
///
/// A guess from the words of the name (`GITHUB_TOKEN`, `X-Api-Key`, `--client-secret`) and from the value (the known shapes of
/// tokens, private keys, URLs that carry credentials, long random strings). It errs to the safe side: what it takes for a
/// secret may be none. It is for asking the user and for protecting a value, never for deciding what may be logged: a
/// secret may look like anything.
///
/// Nothing is a secret that is empty, a placeholder (`${TOKEN}`), a yes or no, a small number or a path.
pub fn looks_secret(name: &str, value: &str) -> bool {
    let Some((inner_name, inner_value)) = inner(value) else { return is_secret(hint(name), value) };
    let inner_hint = hint(inner_name);
    // `--commit=0a1b...` is as random as a secret, and public by its own name where no other says anything.
    let is_public = hint(name) == Hint::None && inner_hint == Hint::Public && is_name(inner_value);
    is_secret(if is_public { Hint::Public } else { hint(name) }, value) || is_secret(inner_hint, inner_value)
}

/// The same for a value in which no other may be named.
fn is_secret(hint: Hint, whole: &str) -> bool {
    if let Some(object) = as_object(whole) {
        return any_in(hint, &object);
    }
    let literal = value::without_placeholders(whole);
    if literal.has_placeholders {
        // The name speaks of what will stand there, not of what is around it.
        let is_default_secret = |default: &String| is_secret(hint, default);
        return literal.defaults.iter().any(is_default_secret) || value::shows_secret(&literal.text, hint);
    }
    let text = literal.text.trim();
    if value::is_nothing(text) {
        return false;
    }
    value::shows_secret(text, hint) || hint.says_secret(text)
}

/// True for a value that is no secret of its own: a folder, or what separates folders.
pub(crate) fn is_folder(value: &str) -> bool {
    value::is_folder(value) || value.chars().count() < 2
}

/// The name and the value in `--name=value` and in `Name: value`.
fn inner(value: &str) -> Option<(&str, &str)> {
    let pair = value.split_once('=').filter(|(name, _)| is_name(name));
    pair.or_else(|| value.split_once(':').filter(|(name, value)| is_name(name) && !value.starts_with("//")))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn as_object(value: &str) -> Option<Value> {
    let is_object = value.trim_start().starts_with(['{', '[']);
    is_object.then(|| serde_json::from_str(value).ok()).flatten()
}

/// Looks at what stands in a JSON text under its own names.
fn any_in(hint: Hint, value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| any_in(hint.or(name), value)),
        Value::Array(items) => items.iter().any(|value| any_in(hint, value)),
        Value::String(text) => {
            // Not again as JSON: that would nest without a bound.
            let literal = value::without_placeholders(text);
            let text = literal.text.trim();
            !value::is_nothing(text)
                && (value::shows_secret(text, hint) || !literal.has_placeholders && hint.says_secret(text))
        }
        Value::Number(number) => hint.says_secret(&number.to_string()),
        Value::Null | Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests;
