//! Resources, prompts and completions, as servers offer them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::ConnectorError;
use crate::names::Slug;

/// An element of one of a server's lists.
pub trait ListItem: DeserializeOwned + Send {
    /// The method that lists these.
    const METHOD: &'static str;
    /// The member of its result that holds them.
    const MEMBER: &'static str;
}

/// A resource (2026-07-28, server, resources).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Identifies it to the server.
    pub uri: String,
    /// Programmatic name. Untrusted, as is all text here.
    pub name: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Everything else, as the server sent it.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl ListItem for Resource {
    const METHOD: &'static str = "resources/list";
    const MEMBER: &'static str = "resources";
}

/// A template for the URIs of resources (RFC 6570).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTemplate {
    /// The template.
    pub uri_template: String,
    /// Programmatic name.
    pub name: String,
    /// Everything else, as the server sent it.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl ListItem for ResourceTemplate {
    const METHOD: &'static str = "resources/templates/list";
    const MEMBER: &'static str = "resourceTemplates";
}

/// A prompt (2026-07-28, server, prompts).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Programmatic name.
    pub name: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it takes.
    #[serde(default)]
    pub arguments: Vec<PromptArgument>,
    /// Everything else, as the server sent it.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl ListItem for Prompt {
    const METHOD: &'static str = "prompts/list";
    const MEMBER: &'static str = "prompts";
}

/// A parameter of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// True if the prompt needs it.
    #[serde(default)]
    pub required: bool,
}

/// What is to be completed (2026-07-28, server, utilities, completion).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum CompletionReference {
    /// An argument of a prompt.
    #[serde(rename = "ref/prompt")]
    Prompt {
        /// The prompt.
        name: String,
    },
    /// A variable of a resource template.
    #[serde(rename = "ref/resource")]
    Resource {
        /// The template.
        uri: String,
    },
}

/// A request for completions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompletionRequest {
    /// What the argument belongs to.
    #[serde(rename = "ref")]
    pub reference: CompletionReference,
    /// The argument and what has been typed of it.
    pub argument: CompletionArgument,
}

/// The argument that is being typed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompletionArgument {
    /// Its name.
    pub name: String,
    /// What has been typed.
    pub value: String,
}

/// A result that is handed on as the server sent it.
#[derive(Debug, Clone)]
pub struct ServerResult {
    raw: Box<RawValue>,
}

impl ServerResult {
    pub(crate) fn new(raw: Box<RawValue>) -> Self {
        Self { raw }
    }

    /// The whole result, unparsed. Untrusted.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Reads the result as `T`.
    pub fn parse<T: DeserializeOwned>(&self, slug: &Slug) -> Result<T, ConnectorError> {
        serde_json::from_str(self.raw.get()).map_err(|_| ConnectorError::Protocol {
            slug: slug.clone(),
            problem: "a result does not have the members that its method promises".to_owned(),
        })
    }
}
