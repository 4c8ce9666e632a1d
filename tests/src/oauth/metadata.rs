//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery).

use serde_json::{Value, json};

use super::answer::Answer;
use super::setup::{AuthMethod, DpopUse, IssuerName, MetadataPlace, Registration};
use super::state::Desk;

/// Every path at which metadata is looked for.
pub(super) fn places(issuer_path: &str) -> [(MetadataPlace, String); 3] {
    let path = issuer_path.trim_end_matches('/');
    [
        (MetadataPlace::Rfc8414, format!("/.well-known/oauth-authorization-server{path}")),
        (MetadataPlace::OidcInserted, format!("/.well-known/openid-configuration{path}")),
        (MetadataPlace::OidcAppended, format!("{path}/.well-known/openid-configuration")),
    ]
}

impl Desk<'_> {
    pub(super) fn metadata(&self, path: &str) -> Answer {
        let here = places(&self.setup.issuer_path)
            .iter()
            .any(|(place, at)| at == path && self.setup.metadata_at.contains(place));
        if here { Answer::json(200, self.document()) } else { Answer::page(404, "Not found") }
    }

    fn document(&self) -> Value {
        let setup = self.setup;
        let issuer = match &setup.issuer {
            IssuerName::Right => self.issuer.to_owned(),
            IssuerName::WithSlash => format!("{}/", self.issuer),
            IssuerName::Other(other) => other.clone(),
        };
        let methods: Vec<_> = setup.auth_methods.iter().map(|method| method.name()).collect();
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "response_types_supported": ["code"],
            "grant_types_supported": self.grant_types(),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": methods,
        });
        let mut add = |condition: bool, name: &str, value: Value| {
            if condition {
                document[name] = value;
            }
        };
        let registration = setup.registration != Registration::Absent;
        add(registration, "registration_endpoint", json!(self.url("/register")));
        add(setup.revocation, "revocation_endpoint", json!(self.url("/revoke")));
        let device = self.url("/device_authorization");
        add(setup.device.is_some(), "device_authorization_endpoint", json!(device));
        add(setup.announces_iss, "authorization_response_iss_parameter_supported", json!(true));
        add(setup.client_id_documents, "client_id_metadata_document_supported", json!(true));
        add(setup.scopes_supported.is_some(), "scopes_supported", json!(setup.scopes_supported));
        add(setup.dpop != DpopUse::Ignored, "dpop_signing_alg_values_supported", json!(["ES256"]));
        let signed = setup.auth_methods.contains(&AuthMethod::PrivateKeyJwt);
        add(signed, "token_endpoint_auth_signing_alg_values_supported", json!(["ES256"]));
        document
    }

    fn grant_types(&self) -> Vec<&'static str> {
        let mut all = vec!["authorization_code", "client_credentials"];
        let optional = [
            (self.setup.refresh_tokens, "refresh_token"),
            (self.setup.device.is_some(), super::token::DEVICE_CODE),
            (!self.setup.trusts.is_empty(), super::token::JWT_BEARER),
            (!self.setup.id_tokens.is_empty(), super::token::TOKEN_EXCHANGE),
        ];
        all.extend(optional.into_iter().filter(|(offered, _)| *offered).map(|(_, name)| name));
        all
    }
}
