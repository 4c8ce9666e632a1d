//! What a user configured: one entry of the manifest.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::names::Slug;

/// The definition of one connector, free of secrets.
///
/// Its serialised form is an entry of `connectors.json`; a [`ConfigStore`](crate::ConfigStore) keeps the fields of that
/// file that are not known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectorDefinition {
    /// Stable identifier.
    pub slug: Slug,
    /// Display name, as the user wrote it.
    pub name: String,
    /// The MCP endpoint; empty for a stdio connector.
    #[serde(default)]
    pub url: String,
    /// The local command, for a stdio connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<StdioCommand>,
    /// Names of the headers whose values are in the credential store.
    #[serde(default)]
    pub secret_headers: Vec<String>,
    /// How the connector signs in, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthSettings>,
    /// The tools that the user has enabled, by the server's own names.
    #[serde(default)]
    pub enabled_tools: Vec<String>,
    /// Fingerprints of the definitions that the user has seen, by tool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_pins: BTreeMap<String, String>,
    /// Another number after every change of the connector's secrets: other processes on the same manifest see by it that there was one,
    /// and whoever finds one that was cut short, whether it was made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub secrets_revision: u64,
    /// True while the connector is being added or removed, and so not all there. Where that was cut short, whoever reads this clears
    /// away the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// True while the user has switched the connector off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What becomes of a result that violates its tool's output schema.
    #[serde(default, skip_serializing_if = "OutputCheck::is_default")]
    pub output_check: OutputCheck,
    /// True where the user wants the local server to be handled by the Common Agent Runtime's engine, if this program has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub engine: bool,
    /// How the server and its authorization server are reached.
    #[serde(default, skip_serializing_if = "NetworkSettings::is_default")]
    pub network: NetworkSettings,
    /// The proposal that the user accepted, where it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<AcceptedProposal>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a user accepted from a file that came with a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AcceptedProposal {
    /// The file, as it was shown.
    pub file: String,
    /// The [`Proposal::hash`](crate::proposal::Proposal::hash) of what was shown.
    pub hash: String,
}

/// How one connector's servers are reached, where that differs from the rest of this machine. Holds for the connection, for
/// metadata and for tokens alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NetworkSettings {
    /// A file of PEM certificates that are trusted besides those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// A file with the PEM certificate chain that this client shows (mutual TLS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_file: Option<String>,
    /// A file with its PEM private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<String>,
    /// The proxy to use instead of the system's: an `http` or `https` URL without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// True where this connector's metadata may lead to private addresses: an intranet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
}

impl NetworkSettings {
    /// True where nothing is special.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of a result whose `structuredContent` violates the tool's output schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OutputCheck {
    /// It is not looked at.
    Off,
    /// It is handed on with what is wrong with it.
    #[default]
    Warn,
    /// The call fails.
    Strict,
}

impl OutputCheck {
    /// True for the choice that a manifest need not mention.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ConnectorDefinition {
    /// A connector reached over Streamable HTTP.
    pub fn http(slug: Slug, name: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(slug, name.into(), url.into(), None)
    }

    /// A connector that is a local process.
    pub fn stdio(slug: Slug, name: impl Into<String>, command: StdioCommand) -> Self {
        Self::new(slug, name.into(), String::new(), Some(command))
    }

    fn new(slug: Slug, name: String, url: String, stdio: Option<StdioCommand>) -> Self {
        Self {
            slug,
            name,
            url,
            stdio,
            secret_headers: Vec::new(),
            oauth: None,
            enabled_tools: Vec::new(),
            tool_pins: BTreeMap::new(),
            secrets_revision: 0,
            unfinished: false,
            disabled: false,
            output_check: OutputCheck::default(),
            engine: false,
            network: NetworkSettings::default(),
            proposal: None,
        }
    }

    /// Where the connector leads, for messages: its URL or its command.
    pub fn target(&self) -> &str {
        self.stdio.as_ref().map_or(&self.url, |stdio| &stdio.command)
    }
}

/// A local MCP server: the process to start. Debug prints the names of its variables without their values: one of those may be a
/// secret that has not been protected yet.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdioCommand {
    /// The executable, looked up in `PATH` if it has no separator. It is never given to a shell.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables to set on top of the inherited allow-list.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of the variables whose values are in the credential store. Of two of one name, this one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_env: Vec<String>,
    /// The folder that it is started in; this program's own if `None`. Absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

impl fmt::Debug for StdioCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, args, env, secret_env, cwd } = self;
        f.debug_struct("StdioCommand")
            .field("command", command)
            .field("args", args)
            .field("env", &env.keys().collect::<Vec<_>>())
            .field("secret_env", secret_env)
            .field("cwd", cwd)
            .finish()
    }
}

/// An environment variable whose value is a secret.
#[derive(Debug, Clone)]
pub struct SecretVariable {
    /// The variable's name.
    pub name: String,
    /// Its value.
    pub value: SecretString,
}

impl SecretVariable {
    /// A variable.
    pub fn new(name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// What of a sign-in is not secret. `token_endpoint` and `client_id` are empty until there was one.
///
/// A newer version may have written a grant, a registration or an exception that this one does not know. It is read all the
/// same: such a grant as [`GrantKind::Unknown`], and the other two as if they were not there, while the
/// [`ConfigStore`](crate::ConfigStore) keeps what it holds of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OAuthSettings {
    /// Where tokens are requested and refreshed.
    pub token_endpoint: String,
    /// The registered client.
    pub client_id: String,
    /// True if the client's secret is in the credential store.
    #[serde(default)]
    pub has_client_secret: bool,
    /// The RFC 8707 resource that tokens are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The scopes that were requested.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The authorization server that knows the client: its registration is used with no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The redirect URI that the client was registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// How the client came to be known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "if_known")]
    pub registration: Option<Registration>,
    /// How the client proves itself, in the words of `token_endpoint_auth_method` (RFC 7591).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    /// How tokens are obtained, where it is not by a user in a browser.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_or_not")]
    pub grant: Option<GrantKind>,
    /// Deviations from the rules that the user has accepted for this connector.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "those_known")]
    pub exceptions: Vec<OAuthException>,
}

/// How an authorization server came to know this client (2026-07-28, authorization, client registration).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Registration {
    /// The user registered it by hand.
    Manual,
    /// By the URL of its metadata document.
    MetadataDocument,
    /// By dynamic registration (RFC 7591).
    Dynamic,
}

/// How tokens are obtained without a user in a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[serde(
    expecting = "a grant of the kind client_credentials, jwt_bearer or enterprise_managed, with its fields"
)]
#[non_exhaustive]
pub enum GrantKind {
    /// `client_credentials`, with the client's secret, or with a JWT that `private_key` signs.
    ClientCredentials {
        /// The algorithm of the JWT, such as `ES256`; `None` for a secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signing_algorithm: Option<String>,
    },
    /// `jwt-bearer` (RFC 7523) with an assertion from elsewhere: workload identity.
    JwtBearer,
    /// Enterprise-managed authorization: an identity assertion of the company's identity provider (RFC 8693), exchanged for tokens
    /// (RFC 7523).
    EnterpriseManaged {
        /// The identity provider's token endpoint.
        idp_token_endpoint: String,
        /// This client, as the identity provider knows it.
        idp_client_id: String,
    },
    /// One that only a newer version of this program knows, as it stands in the manifest. Nothing can be obtained with it
    /// here. It is read as part of [`OAuthSettings`] alone: what a user enters is known, or refused.
    #[serde(untagged, skip_deserializing)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Unknown(Value),
}

/// A deviation of a real server's that the user accepts, for one connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OAuthException {
    /// The server does not say that it supports PKCE with S256. It is used all the same.
    PkceNotAdvertised,
    /// The server refuses the `resource` parameter: it is left out.
    ResourceOmitted,
    /// The issuer in the server's metadata differs from its address by a slash at the end.
    IssuerSlash,
}

/// `None` for what this version does not know.
fn if_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(from)?).ok())
}

/// Without the entries that this version does not know.
fn those_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::<Value>::deserialize(from)?;
    Ok(entries.into_iter().filter_map(|entry| T::deserialize(entry).ok()).collect())
}

fn known_or_not<'de, D: Deserializer<'de>>(from: D) -> Result<Option<GrantKind>, D::Error> {
    let grant = Option::<Value>::deserialize(from)?;
    Ok(grant.map(|grant| GrantKind::deserialize(&grant).unwrap_or(GrantKind::Unknown(grant))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> OAuthSettings {
        let mut settings = json!({"token_endpoint": "t", "client_id": "c"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn of_the_variables_of_a_local_server_only_the_names_are_printed() {
        let command = StdioCommand {
            command: "serve".into(),
            args: vec!["--fast".into()],
            env: [("API_KEY".to_owned(), "hunter2".to_owned())].into(),
            secret_env: vec!["TOKEN".into()],
            cwd: Some("/srv/x".into()),
        };
        let printed = format!("{command:?}");
        let expected = r#"StdioCommand { command: "serve", args: ["--fast"], env: ["API_KEY"], secret_env: ["TOKEN"], cwd: Some("/srv/x") }"#;
        assert_eq!(printed, expected);
        let added = format!("{:?}", crate::manager::NewConnector::stdio("S", command));
        assert!(added.contains("API_KEY") && !added.contains("hunter2"), "{added}");
    }

    #[test]
    fn a_grant_of_every_kind_is_read_as_it_is_written() {
        for grant in [
            GrantKind::ClientCredentials { signing_algorithm: None },
            GrantKind::ClientCredentials { signing_algorithm: Some("ES256".into()) },
            GrantKind::JwtBearer,
            GrantKind::EnterpriseManaged { idp_token_endpoint: "e".into(), idp_client_id: "i".into() },
            GrantKind::Unknown(json!({"kind": "telepathy", "distance": 1.5})),
            GrantKind::Unknown(json!({"kind": "enterprise_managed", "idp": {}})),
            GrantKind::Unknown(json!("telepathy")),
        ] {
            let settings = OAuthSettings { grant: Some(grant), ..OAuthSettings::default() };
            let written = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<OAuthSettings>(&written).unwrap(), settings, "{written}");
        }
        assert_eq!(read(json!({"grant": null})).grant, None);
    }

    #[test]
    fn what_only_a_newer_version_knows_leaves_the_rest_readable() {
        let settings = read(json!({
            "issuer": "https://as.test",
            "registration": {"federated": {"by": "https://ta.test"}},
            "exceptions": ["later", "issuer_slash", {"until": 1}],
            "grant": {"kind": "telepathy"},
        }));
        let expected = OAuthSettings {
            token_endpoint: "t".into(),
            client_id: "c".into(),
            issuer: Some("https://as.test".into()),
            grant: Some(GrantKind::Unknown(json!({"kind": "telepathy"}))),
            exceptions: vec![OAuthException::IssuerSlash],
            ..OAuthSettings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(read(json!({"registration": "dynamic"})).registration, Some(Registration::Dynamic));
        assert_eq!(read(json!({"registration": null})).registration, None);
    }

    #[test]
    fn a_grant_that_a_user_enters_has_to_be_a_known_one() {
        let error = serde_json::from_value::<GrantKind>(json!({"kind": "telepathy"})).unwrap_err();
        let expected =
            "a grant of the kind client_credentials, jwt_bearer or enterprise_managed, with its fields";
        assert_eq!(error.to_string(), expected);
    }
}
