//! Reading members of an entry that may hold anything. Problems name the member, and repeat no value.

use serde_json::{Map, Value};

/// The members of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl Fields<'_> {
    /// True if there is something under one of these names.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| match self.0.get(*name) {
            None | Some(Value::Null) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(members)) => !members.is_empty(),
            Some(_) => true,
        })
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("`{name}` has to be a string")),
        }
    }

    /// The first that is there.
    pub(super) fn first_text(&self, names: &[&str]) -> Result<Option<String>, String> {
        for name in names {
            if let Some(text) = self.text(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(format!("`{name}` has to be true or false")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| scalar(item).ok_or_else(|| format!("`{name}` has to be a list of strings")))
                .collect(),
            Some(_) => Err(format!("`{name}` has to be a list of strings")),
        }
    }

    /// Names and values, in their order. One that is `null` is not set.
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        let members = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(format!("`{name}` has to hold names and values")),
        };
        let members = members.iter().filter(|(_, value)| !value.is_null());
        members
            .map(|(key, value)| match scalar(value) {
                Some(value) => Ok((key.clone(), value)),
                None => {
                    Err(format!("`{name}.{}` has to be a string", connectors_core::text::display(key, 100)))
                }
            })
            .collect()
    }
}

/// Numbers and booleans are as good as their text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
