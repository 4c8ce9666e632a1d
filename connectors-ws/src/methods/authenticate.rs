//! `connectors.authenticate`

use connectors_core::NetworkSettings;
use connectors_core::manager::NewConnector;
use connectors_core::sign_in::{SignInRequest, SignInView};
use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::OAuthChoice;
use super::{Context, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct Authenticate;

/// A remote server that the user signs in to first.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// Display name; the slug comes from it.
    #[serde(deserialize_with = "params::name")]
    name: String,
    /// The MCP endpoint.
    url: String,
    /// Where the browser is sent back to; this daemon's own callback if it is absent.
    #[serde(default)]
    redirect_uri: Option<String>,
    /// How to sign in, where it is not by what the servers offer.
    #[serde(default)]
    oauth: Option<OAuthChoice>,
    /// How the servers are reached, where that differs from the rest of this machine.
    #[serde(default)]
    network: Option<NetworkSettings>,
}

impl Method for Authenticate {
    const NAME: &'static str = "connectors.authenticate";
    const SUMMARY: &'static str = "Begins a sign-in to a remote server; the connector is added when it is completed. One with this name \
         and URL is signed in to instead.";
    const ERRORS: &'static [&'static str] =
        &["sign_in_required", "not_connected", "timeout", "storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = SignInView;

    async fn run(context: Context<'_>, params: Params) -> Result<SignInView, ErrorObject> {
        let mut request = SignInRequest::default();
        let slug = connectors_core::Slug::from_name(&params.name);
        request.redirect_uri = params.redirect_uri.or_else(|| context.dispatcher.own_callback(&slug));
        let mut new = NewConnector::http(params.name, params.url, Vec::new());
        if let Some(choice) = params.oauth {
            let choice = choice.read()?;
            request.client = choice.client.clone();
            new = new.with_sign_in(choice);
        }
        if let Some(network) = params.network {
            new = new.with_network(network);
        }
        context.change(|manager| async move { manager.authenticate(new, request).await }).await
    }
}
