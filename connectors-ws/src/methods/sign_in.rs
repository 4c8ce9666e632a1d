//! `connectors.sign_in`

use connectors_core::Slug;
use connectors_core::sign_in::{SignInRequest, SignInView};
use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::{self, Secret};
use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct SignIn;

/// Which connector, and how.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The connector.
    slug: Slug,
    /// Where the browser is sent back to; this daemon's own callback if it is absent.
    #[serde(default)]
    redirect_uri: Option<String>,
    /// True to sign in on another device, with a code.
    #[serde(default)]
    device: bool,
    /// Scopes to ask for instead of those that the servers suggest.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// The client, if it was registered by hand.
    #[serde(default)]
    client_id: Option<String>,
    /// Its secret.
    #[serde(default)]
    client_secret: Option<Secret>,
    /// The issuer that the client was registered with.
    #[serde(default)]
    issuer: Option<String>,
}

impl Method for SignIn {
    const NAME: &'static str = "connectors.sign_in";
    const SUMMARY: &'static str = "Begins a sign-in to a connector, or one that grants it more. Without `authorize_url` it is done already.";
    const ERRORS: &'static [&'static str] = &[
        "connector_not_found",
        "sign_in_required",
        "not_connected",
        "timeout",
        "storage",
        "secret_store_unavailable",
    ];
    type Params = Params;
    type Output = SignInView;

    async fn run(context: Context<'_>, params: Params) -> Result<SignInView, ErrorObject> {
        let mut request = SignInRequest::default();
        request.redirect_uri = params.redirect_uri.or_else(|| context.dispatcher.own_callback(&params.slug));
        request.device = params.device;
        request.scopes = params.scopes;
        request.client = choice::client(params.client_id, params.client_secret, params.issuer)?;
        context.change(|manager| async move { manager.sign_in(&params.slug, request).await }).await
    }
}
