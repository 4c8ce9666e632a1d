//! `connectors.complete_authentication`

use connectors_core::ConnectorStatus;
use connectors_core::sign_in::SignInCallback;
use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::Secret;
use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct CompleteAuthentication;

/// What the browser brought back: `state` with the others as they came, or the whole address in `callback_url`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// Names the sign-in.
    #[serde(default)]
    state: Option<String>,
    /// The authorization code. A secret.
    #[serde(default)]
    code: Option<Secret>,
    /// The issuer (RFC 9207): to be passed on where it came.
    #[serde(default)]
    iss: Option<String>,
    /// The error that came instead of a code.
    #[serde(default)]
    error: Option<String>,
    /// The text that came with it.
    #[serde(default)]
    error_description: Option<String>,
    /// The address that the browser ended at, copied from its address bar: where browser and daemon are on different
    /// machines.
    #[serde(default)]
    callback_url: Option<Secret>,
}

impl Method for CompleteAuthentication {
    const NAME: &'static str = "connectors.complete_authentication";
    const SUMMARY: &'static str =
        "Completes a sign-in with what the browser brought back, and connects. Each `state` is good once.";
    const ERRORS: &'static [&'static str] =
        &["sign_in_required", "not_connected", "timeout", "storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        let callback = read(params)?;
        context.change(|manager| async move { manager.complete_sign_in(callback).await }).await
    }
}

fn read(params: Params) -> Result<SignInCallback, ErrorObject> {
    use secrecy::ExposeSecret;

    if let Some(url) = params.callback_url {
        return SignInCallback::from_url(url.into_inner().expose_secret()).ok_or_else(|| {
            ErrorObject::invalid_params("callback_url", "is not the address that a sign-in ended at")
        });
    }
    let mut callback = SignInCallback::default();
    callback.state = params.state.ok_or_else(|| ErrorObject::invalid_params("state", "is missing"))?;
    callback.code = params.code.map(Secret::into_inner);
    if callback.code.is_none() && params.error.is_none() {
        return Err(ErrorObject::invalid_params("code", "is missing"));
    }
    callback.iss = params.iss;
    callback.error = params.error;
    callback.error_description = params.error_description;
    Ok(callback)
}
