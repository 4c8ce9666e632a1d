//! The two documents that say how to sign in: of the protected resource, and of its authorization server.
//!
//! Read tolerantly where it does no harm: unknown members, `null` or an empty string for what is absent, a list as one string
//! with spaces. An address that must not be used is an error of the whole document.

use serde_json::{Map, Value};
use url::Url;

use crate::endpoint::{self, BadEndpoint};

/// Why a document is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMetadata {
    #[error("it is not JSON ({0})")]
    NotJson(String),
    #[error("it is not a JSON object")]
    NotAnObject,
    #[error("it has no `{0}`")]
    Missing(&'static str),
    #[error("its `{member}` cannot be used: {problem}")]
    Endpoint { member: &'static str, problem: BadEndpoint },
}

/// OAuth 2.0 Protected Resource Metadata (RFC 9728, section 2), as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceMetadata {
    /// Byte for byte as published: that is what the `resource` parameter has to be.
    pub(crate) resource: String,
    /// Issuers, byte for byte as published. Unchecked.
    pub(crate) authorization_servers: Vec<String>,
    pub(crate) scopes_supported: Option<Vec<String>>,
    /// Tokens have to be bound to a key (RFC 9449).
    pub(crate) dpop_bound_access_tokens_required: bool,
}

impl ResourceMetadata {
    pub(crate) fn read(document: &[u8]) -> Result<Self, BadMetadata> {
        let members = Members::read(document)?;
        Ok(Self {
            resource: members.text("resource").ok_or(BadMetadata::Missing("resource"))?,
            authorization_servers: members.list("authorization_servers").unwrap_or_default(),
            scopes_supported: members.list("scopes_supported"),
            dpop_bound_access_tokens_required: members.flag("dpop_bound_access_tokens_required"),
        })
    }
}

/// OAuth 2.0 Authorization Server Metadata (RFC 8414, section 2; RFC 9207, section 3; RFC 9449, section 5.1), as far as it is
/// used. The addresses have passed [`endpoint::checked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerMetadata {
    /// Byte for byte as published.
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: Option<Url>,
    pub(crate) token_endpoint: Url,
    pub(crate) registration_endpoint: Option<Url>,
    pub(crate) revocation_endpoint: Option<Url>,
    pub(crate) device_authorization_endpoint: Option<Url>,
    pub(crate) scopes_supported: Option<Vec<String>>,
    pub(crate) code_challenge_methods_supported: Option<Vec<String>>,
    pub(crate) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    pub(crate) token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    pub(crate) grant_types_supported: Option<Vec<String>>,
    pub(crate) client_id_metadata_document_supported: bool,
    pub(crate) authorization_response_iss_parameter_supported: bool,
    pub(crate) dpop_signing_alg_values_supported: Option<Vec<String>>,
    pub(crate) require_pushed_authorization_requests: bool,
    /// Nothing was published: the addresses are those that 2025-03-26 assumes.
    pub(crate) assumed: bool,
}

impl ServerMetadata {
    pub(crate) fn read(document: &[u8]) -> Result<Self, BadMetadata> {
        let members = Members::read(document)?;
        Ok(Self {
            issuer: members.text("issuer").ok_or(BadMetadata::Missing("issuer"))?,
            authorization_endpoint: members.endpoint("authorization_endpoint")?,
            token_endpoint: members
                .endpoint("token_endpoint")?
                .ok_or(BadMetadata::Missing("token_endpoint"))?,
            registration_endpoint: members.endpoint("registration_endpoint")?,
            // Tokens can be thrown away without it.
            revocation_endpoint: members.endpoint("revocation_endpoint").unwrap_or_default(),
            device_authorization_endpoint: members.endpoint("device_authorization_endpoint")?,
            scopes_supported: members.list("scopes_supported"),
            code_challenge_methods_supported: members.list("code_challenge_methods_supported"),
            token_endpoint_auth_methods_supported: members.list("token_endpoint_auth_methods_supported"),
            token_endpoint_auth_signing_alg_values_supported: members
                .list("token_endpoint_auth_signing_alg_values_supported"),
            grant_types_supported: members.list("grant_types_supported"),
            client_id_metadata_document_supported: members.flag("client_id_metadata_document_supported"),
            authorization_response_iss_parameter_supported: members
                .flag("authorization_response_iss_parameter_supported"),
            dpop_signing_alg_values_supported: members.list("dpop_signing_alg_values_supported"),
            require_pushed_authorization_requests: members.flag("require_pushed_authorization_requests"),
            assumed: false,
        })
    }

    /// What 2025-03-26 assumes of a server that publishes nothing (authorization, fallbacks for servers without metadata
    /// discovery). `origin` is checked, and is the issuer without the slash at its end.
    pub(crate) fn assumed(origin: &Url) -> Self {
        let at = |path: &str| {
            let mut endpoint = origin.clone();
            endpoint.set_path(path);
            endpoint
        };
        Self {
            issuer: origin.as_str().trim_end_matches('/').to_owned(),
            authorization_endpoint: Some(at("/authorize")),
            token_endpoint: at("/token"),
            registration_endpoint: Some(at("/register")),
            revocation_endpoint: None,
            device_authorization_endpoint: None,
            scopes_supported: None,
            code_challenge_methods_supported: None,
            token_endpoint_auth_methods_supported: None,
            token_endpoint_auth_signing_alg_values_supported: None,
            grant_types_supported: None,
            client_id_metadata_document_supported: false,
            authorization_response_iss_parameter_supported: false,
            dpop_signing_alg_values_supported: None,
            require_pushed_authorization_requests: false,
            assumed: true,
        }
    }
}

/// The members of a document.
struct Members(Map<String, Value>);

impl Members {
    fn read(document: &[u8]) -> Result<Self, BadMetadata> {
        match serde_json::from_slice(document) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(BadMetadata::NotAnObject),
            // Says where and of what kind the error is, without quoting the document.
            Err(error) => Err(BadMetadata::NotJson(error.to_string())),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        match self.0.get(name)? {
            Value::Array(values) => {
                Some(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Value::String(text) => Some(text.split_ascii_whitespace().map(str::to_owned).collect()),
            _ => None,
        }
    }

    fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    fn endpoint(&self, member: &'static str) -> Result<Option<Url>, BadMetadata> {
        let Some(address) = self.text(member) else { return Ok(None) };
        endpoint::checked(&address).map(Some).map_err(|problem| BadMetadata::Endpoint { member, problem })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{resource_metadata, server_metadata};

    fn server(document: &Value) -> Result<ServerMetadata, BadMetadata> {
        ServerMetadata::read(document.to_string().as_bytes())
    }

    #[test]
    fn resource_metadata_keeps_its_bytes() {
        let document = br#"{"resource":"https://MCP.test:443","authorization_servers":["https://as.test/"],"x":{"y":1}}"#;
        let expected = ResourceMetadata {
            resource: "https://MCP.test:443".to_owned(),
            authorization_servers: vec!["https://as.test/".to_owned()],
            ..resource_metadata()
        };
        assert_eq!(ResourceMetadata::read(document), Ok(expected));
    }

    #[test]
    fn null_and_sloppy_members_do_no_harm() {
        let document = json!({
            "issuer": "https://as.test", "token_endpoint": "https://as.test/token",
            "authorization_endpoint": null, "registration_endpoint": "",
            "revocation_endpoint": "http://as.test/revoke",
            "scopes_supported": "a b", "grant_types_supported": 7,
            "code_challenge_methods_supported": ["S256", null],
            "authorization_response_iss_parameter_supported": "true",
            "client_id_metadata_document_supported": null,
        });
        let expected = ServerMetadata {
            authorization_endpoint: None,
            registration_endpoint: None,
            scopes_supported: Some(vec!["a".to_owned(), "b".to_owned()]),
            authorization_response_iss_parameter_supported: true,
            ..server_metadata()
        };
        assert_eq!(server(&document), Ok(expected));
    }

    #[test]
    fn an_address_that_must_not_be_used_is_named() {
        let members = [
            "authorization_endpoint",
            "token_endpoint",
            "registration_endpoint",
            "device_authorization_endpoint",
        ];
        for member in members {
            let mut document =
                json!({"issuer": "https://as.test", "token_endpoint": "https://as.test/token"});
            document[member] = json!("javascript:alert(1)");
            let expected = BadMetadata::Endpoint { member, problem: BadEndpoint::Scheme };
            assert_eq!(server(&document), Err(expected));
        }
    }

    #[test]
    fn what_is_needed_is_missed() {
        let cases = [
            (json!({"token_endpoint": "https://as.test/token"}), BadMetadata::Missing("issuer")),
            (json!({"issuer": "https://as.test"}), BadMetadata::Missing("token_endpoint")),
            (json!({"issuer": 1, "token_endpoint": "https://as.test/token"}), BadMetadata::Missing("issuer")),
            (json!([]), BadMetadata::NotAnObject),
        ];
        for (document, expected) in cases {
            assert_eq!(server(&document), Err(expected));
        }
        assert_eq!(ResourceMetadata::read(b"{}"), Err(BadMetadata::Missing("resource")));
        assert!(matches!(ResourceMetadata::read(b"<html>"), Err(BadMetadata::NotJson(_))));
        assert!(matches!(ResourceMetadata::read(&[0xff]), Err(BadMetadata::NotJson(_))));
    }

    #[test]
    fn where_nothing_is_published_the_endpoints_are_at_the_origin() {
        let assumed = ServerMetadata::assumed(&Url::parse("https://mcp.test:8443").unwrap());
        let addresses = [
            assumed.authorization_endpoint.unwrap().to_string(),
            assumed.token_endpoint.to_string(),
            assumed.registration_endpoint.unwrap().to_string(),
            assumed.issuer,
        ];
        let expected =
            ["/authorize", "/token", "/register", ""].map(|path| format!("https://mcp.test:8443{path}"));
        assert_eq!(addresses, expected);
    }
}
