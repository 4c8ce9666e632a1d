//! The methods, one file each: parameters, result, and what connects them to the manager.

mod accept;
mod accept_changes;
mod add;
mod add_stdio;
mod answer;
mod authenticate;
mod call_tool;
mod cancel;
mod choice;
mod complete_authentication;
mod disable_tools;
mod discover;
mod enable_tools;
mod explain;
mod import;
mod importable;
mod list;
mod move_secrets;
mod policy_register;
mod policy_unregister;
mod protect_env;
mod reconnect;
mod refresh;
mod reject;
mod remove;
mod secrets;
mod set_vault_passphrase;
mod sign_in;
mod sign_out;
mod subscribe;
mod tools;
mod unlock_secrets;
mod unsubscribe;
mod update;
mod variables;

use std::collections::BTreeMap;

use connectors_core::authorizer::SecretHeader;
use connectors_core::{ConnectorError, ConnectorManager, Slug};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dispatch::{Dispatcher, run, unknown};
use crate::error::ErrorObject;
use crate::openrpc::Schemas;
use crate::session::Session;

/// One method of the interface.
pub(crate) trait Method {
    /// Its name.
    const NAME: &'static str;
    /// What it does, in one sentence.
    const SUMMARY: &'static str;
    /// `data.code` of the errors that it may end with, beyond those that every method has.
    const ERRORS: &'static [&'static str] = &[];
    /// Its parameters.
    type Params: DeserializeOwned + JsonSchema + Send;
    /// Its result.
    type Output: Serialize + JsonSchema + Send;

    /// Does it.
    fn run(
        context: Context<'_>,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Output, ErrorObject>> + Send;
}

/// Who asks, and of whom.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) session: &'a Session,
}

impl Context<'_> {
    fn manager(&self) -> &ConnectorManager {
        &self.dispatcher.manager
    }

    /// Makes a change on a task of its own, so that it is finished though the caller goes away meanwhile.
    async fn change<T, F>(&self, change: impl FnOnce(ConnectorManager) -> F + Send) -> Result<T, ErrorObject>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ConnectorError>> + Send + 'static,
    {
        match tokio::spawn(change(self.manager().clone())).await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => {
                tracing::error!(%error, "a change did not come to its end");
                Err(ErrorObject::internal(
                    "the change failed unexpectedly; list the connectors to see its effect",
                ))
            }
        }
    }
}

macro_rules! methods {
    ($($method:ty),* $(,)?) => {
        /// The names of all methods.
        pub(crate) const NAMES: &[&str] = &[$(<$method>::NAME),*];

        /// Runs the method of this name.
        pub(crate) async fn dispatch(
            context: Context<'_>,
            method: &str,
            params: Option<&RawValue>,
        ) -> Result<Box<RawValue>, ErrorObject> {
            match method {
                $(<$method>::NAME => run::<$method>(context, params).await,)*
                _ => Err(unknown(method)),
            }
        }

        /// What the OpenRPC document says of each.
        pub(crate) fn describe(schemas: &mut Schemas) -> Vec<Value> {
            vec![$(schemas.method::<$method>()),*]
        }
    };
}

methods![
    add::Add,
    add_stdio::AddStdio,
    authenticate::Authenticate,
    complete_authentication::CompleteAuthentication,
    list::List,
    tools::Tools,
    enable_tools::EnableTools,
    disable_tools::DisableTools,
    refresh::Refresh,
    remove::Remove,
    policy_register::Register,
    policy_unregister::Unregister,
    call_tool::CallTool,
    cancel::Cancel,
    answer::Answer,
    subscribe::Subscribe,
    unsubscribe::Unsubscribe,
    update::Update,
    protect_env::ProtectEnv,
    reconnect::Reconnect,
    sign_in::SignIn,
    sign_out::SignOut,
    explain::Explain,
    accept_changes::AcceptChanges,
    accept::Accept,
    reject::Reject,
    importable::Importable,
    import::Import,
    secrets::Secrets,
    move_secrets::MoveSecrets,
    unlock_secrets::UnlockSecrets,
    set_vault_passphrase::SetVaultPassphrase,
    discover::Discover,
];

/// No parameters.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct NoParams {}

/// One connector.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct OneConnector {
    /// The connector.
    slug: Slug,
}

/// Some tools of one connector.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SomeTools {
    /// The connector.
    slug: Slug,
    /// The server's names of the tools.
    tools: Vec<String>,
}

/// Values of headers. Secrets from the moment they are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Headers(#[schemars(with = "BTreeMap<String, String>")] BTreeMap<String, SecretString>);

impl Headers {
    fn into_secret(self) -> Vec<SecretHeader> {
        self.0.into_iter().map(|(name, value)| SecretHeader { name, value }).collect()
    }
}

#[cfg(test)]
mod tests;
