//! Tokens without a user: client credentials, workload identity, enterprise-managed authorization.

use connectors_core::sign_in::SignInRequest;
use connectors_core::{ConnectorError, CredentialKey, GrantKind};
use secrecy::{ExposeSecret, SecretString};

use super::OAuthSignIn;
use crate::client_auth::AuthMethod;
use crate::discovery::Discovered;
use crate::error::OAuthError;
use crate::grants::{self, Offer};
use crate::refresh::RefreshError;
use crate::scopes;

impl OAuthSignIn {
    /// Other tokens than the refused ones. One request at a time asks for them; the others take what it has brought.
    pub(super) async fn obtain_instead_of(
        &self,
        refused: Option<&SecretString>,
        kind: &GrantKind,
    ) -> Result<(), ConnectorError> {
        let _one_at_a_time = self.obtaining.lock().await;
        if let Some(refused) = refused {
            // With the endpoint that gave the refused ones.
            match self.session.refresh_after_refusal(refused).await {
                Ok(_) => return Ok(()),
                Err(RefreshError::NotSignedIn | RefreshError::NotRenewable | RefreshError::Incomplete) => {}
                Err(error) => return Err(self.refused(&error)),
            }
        } else if self.session.current().is_some() {
            return Ok(());
        }
        let obtained = async {
            let (_, discovered) = self.discover().await?;
            self.obtain(&discovered, kind).await
        };
        obtained.await.map_err(|error| error.for_request(&self.exchange.slug))
    }

    /// Obtains tokens and stores them. Finished though the caller has gone.
    pub(super) async fn obtain(&self, discovered: &Discovered, kind: &GrantKind) -> Result<(), OAuthError> {
        let (this, discovered, kind) = (self.clone(), discovered.clone(), kind.clone());
        let task = tokio::spawn(async move { this.obtain_here(&discovered, &kind).await });
        match task.await {
            Ok(outcome) => outcome,
            Err(_) => Err(OAuthError::Interrupted),
        }
    }

    async fn obtain_here(&self, discovered: &Discovered, kind: &GrantKind) -> Result<(), OAuthError> {
        let slug = &self.exchange.slug;
        let key = CredentialKey::tokens(slug);
        let before = self.target.credentials.get(&key).await?;
        let _exclusive = self.target.credentials.exclusive(slug).await?;
        let now = self.target.credentials.get(&key).await?;
        let text =
            |value: &Option<SecretString>| value.as_ref().map(|value| value.expose_secret().to_owned());
        if now.is_some() && text(&now) != text(&before) {
            // Another process has done it.
            return Ok(self.session.reload().await?);
        }
        let wishes = self.demand.read();
        let server = self.server(discovered);
        let challenged = wishes.wanted.as_ref().and_then(|wanted| wanted.scope.as_deref());
        let mut asked = scopes::initial(challenged, discovered.resource.as_ref(), &discovered.server);
        // There is no user to be away.
        asked.retain(|scope| scope != "offline_access");
        let settings = self.settings();
        let mut client = self.client(&SignInRequest::default(), discovered, None, &asked, &settings).await?;
        if let Some(method) = grants::auth_method(kind) {
            client.auth_method = method;
        } else if matches!(kind, GrantKind::JwtBearer) && client.secret.is_none() {
            client.auth_method = AuthMethod::None;
        }
        let proof = self.proof(&client).await?;
        let dpop = self.key(&wishes, discovered).await?;
        let offer = Offer::load(&*self.target.credentials, slug, kind).await?;
        let resource = server.resource.as_deref();
        let tokens =
            grants::obtain(&self.exchange, &server.tokens, &proof, &offer, resource, &asked, dpop.as_deref())
                .await?;
        if let Some(key) = &dpop {
            let name = CredentialKey::of_sign_in(slug, "dpop_key");
            self.target.credentials.put(&name, key.pem()).await?;
        }
        let record = self.record(&server, &client, asked, tokens);
        self.target.credentials.put(&key, &record.to_secret()?).await?;
        self.demand.satisfied();
        Ok(self.session.reload().await?)
    }
}
