//! What the suite's user has entered about signing in, from the credentials that the context holds.

use connectors_core::GrantKind;
use connectors_core::sign_in::{ClientCredentials, SignInChoice};
use secrecy::SecretString;
use serde::Deserialize;

/// The credentials of a context, all optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Credentials {
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    issuer: Option<String>,
    private_key_pem: Option<SecretString>,
    signing_algorithm: Option<String>,
    idp_client_id: Option<String>,
    idp_id_token: Option<SecretString>,
    idp_token_endpoint: Option<String>,
    valid_jwt: Option<SecretString>,
}

impl Credentials {
    /// The choice that they stand for; none where the servers' offers are followed. Which grant a client with a secret is meant
    /// for is the user's choice, and so the scenario's.
    pub(crate) fn choice(self, scenario: &str) -> Option<SignInChoice> {
        let mut choice = SignInChoice::default();
        choice.client =
            Some(ClientCredentials { id: self.client_id?, secret: self.client_secret, issuer: self.issuer });
        choice.grant = if let (Some(idp_token_endpoint), Some(idp_client_id)) =
            (self.idp_token_endpoint, self.idp_client_id)
        {
            Some(GrantKind::EnterpriseManaged { idp_token_endpoint, idp_client_id })
        } else if self.valid_jwt.is_some() {
            Some(GrantKind::JwtBearer)
        } else if scenario.contains("client-credentials") {
            Some(GrantKind::ClientCredentials { signing_algorithm: self.signing_algorithm })
        } else {
            None
        };
        let secrets = [
            ("private_key", self.private_key_pem),
            ("assertion", self.valid_jwt),
            ("id_token", self.idp_id_token),
        ];
        choice.secrets = secrets.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Some(choice)
    }
}
