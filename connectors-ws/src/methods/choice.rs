//! What a user enters about signing in and about the network: shared by the methods that add and change connectors.

use connectors_core::sign_in::{ClientCredentials, SignInChoice};
use connectors_core::{GrantKind, OAuthException};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::error::ErrorObject;

/// A value that is a secret from the moment it is read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Secret(#[schemars(with = "String")] SecretString);

impl Secret {
    pub(crate) fn into_inner(self) -> SecretString {
        self.0
    }
}

/// How a connector signs in, where it is not by what the servers offer. What is absent stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct OAuthChoice {
    /// The client, if it was registered by hand.
    #[serde(default)]
    client_id: Option<String>,
    /// Its secret.
    #[serde(default)]
    client_secret: Option<Secret>,
    /// The issuer that the client was registered with; it is then used with no other.
    #[serde(default)]
    issuer: Option<String>,
    /// How tokens are obtained, where it is not by a user in a browser.
    #[serde(default)]
    grant: Option<GrantKind>,
    /// The PEM private key (PKCS#8) that signs the client's assertions.
    #[serde(default)]
    private_key: Option<Secret>,
    /// The assertion of the workload's identity (a JWT).
    #[serde(default)]
    assertion: Option<Secret>,
    /// The ID token of the company's identity provider.
    #[serde(default)]
    id_token: Option<Secret>,
    /// Deviations from the rules that are accepted for this connector, all of them.
    #[serde(default)]
    exceptions: Option<Vec<OAuthException>>,
}

impl OAuthChoice {
    pub(crate) fn read(self) -> Result<SignInChoice, ErrorObject> {
        let mut choice = SignInChoice::default();
        choice.client = client(self.client_id, self.client_secret, self.issuer)?;
        choice.grant = self.grant;
        choice.exceptions = self.exceptions;
        let secrets =
            [("private_key", self.private_key), ("assertion", self.assertion), ("id_token", self.id_token)];
        choice.secrets =
            secrets.into_iter().filter_map(|(name, value)| Some((name, value?.into_inner()))).collect();
        Ok(choice)
    }
}

/// A client that was registered by hand.
pub(crate) fn client(
    id: Option<String>,
    secret: Option<Secret>,
    issuer: Option<String>,
) -> Result<Option<ClientCredentials>, ErrorObject> {
    match id.filter(|id| !id.trim().is_empty()) {
        Some(id) => Ok(Some(ClientCredentials { id, secret: secret.map(Secret::into_inner), issuer })),
        None if secret.is_some() || issuer.is_some() => Err(ErrorObject::invalid_params(
            "client_id",
            "is missing; `client_secret` and `issuer` go with it",
        )),
        None => Ok(None),
    }
}
