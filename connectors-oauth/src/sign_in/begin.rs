//! From the wish to sign in to the page that the user is sent to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use connectors_core::definition::Registration;
use connectors_core::sign_in::{ClientCredentials, SignInRequest, SignInStarted, SignInView, without_query};
use connectors_core::trace::{Chapter, Step, StepOutcome, TraceStep};
use connectors_core::{CredentialKey, OAuthException, OAuthSettings};
use secrecy::SecretString;
use tokio::time::Instant;

use super::demand::Wishes;
use super::{Flow, OAuthSignIn, Server, probe};
use crate::challenge::Scheme;
use crate::client_auth::{AuthMethod, ClientAuth};
use crate::device::DeviceCode;
use crate::discovery::{self, Discovered};
use crate::dpop::DpopKey;
use crate::error::OAuthError;
use crate::flow::{self, Ask, Bond, FlowError};
use crate::quoted::quoted;
use crate::registration::{self, Client, ClientOptions, Known};
use crate::scopes;

impl OAuthSignIn {
    /// Everything up to the user's part.
    pub(super) async fn start(&self, request: SignInRequest) -> Result<SignInStarted, OAuthError> {
        self.exchange.trace.begin(Chapter::SignIn);
        let (wishes, discovered) = self.discover().await?;
        let settings = self.settings();
        let server = self.server(&discovered);
        if let Some(kind) = &settings.grant {
            self.obtain(&discovered, kind).await?;
            return Ok(SignInStarted { view: self.view(&server, Vec::new()), outcome: None });
        }
        let asked = request.scopes.clone().unwrap_or_else(|| self.scopes(&wishes, &discovered, &settings));
        if request.device {
            return self.start_on_device(&request, discovered, asked, &wishes).await;
        }
        let redirect_uri = request.redirect_uri.clone().ok_or(FlowError::NoRedirectUri)?;
        flow::check_redirect_uri(&redirect_uri)?;
        let page = discovery::authorization_page(&self.exchange, &discovered.server, &settings.exceptions)?;
        let client = self.client(&request, &discovered, Some(&redirect_uri), &asked, &settings).await?;
        let dpop = self.key(&wishes, &discovered).await?;
        let thumbprint = dpop.as_ref().map(|key| key.thumbprint()).transpose()?;
        let ask = Ask {
            endpoint: page,
            client: &client,
            redirect_uri: &redirect_uri,
            scopes: &asked,
            resource: server.resource.as_deref(),
            dpop_jkt: thumbprint.as_deref(),
        };
        let names_itself = discovered.server.authorization_response_iss_parameter_supported;
        let (bond, address) = Bond::new(&ask, &discovered.server.issuer, names_itself)?;
        self.exchange.note(
            TraceStep::new(Step::Authorization, StepOutcome::Passed, "user_asked")
                .expecting("the user's consent")
                .seeing(format!("at {}, for scopes: {}", quoted(&without_query(page)), named(&asked))),
        );
        let mut view = self.view(&server, asked.clone());
        view.authorize_url = Some(address.into());
        view.state.clone_from(&bond.state);
        view.redirect_uri = Some(redirect_uri);
        view.expires_at = Some(SystemTime::now() + bond.left());
        self.keep(Flow { bond, server, client, scopes: asked, dpop });
        Ok(SignInStarted { view, outcome: None })
    }

    /// A sign-in with a code on another device (RFC 8628).
    async fn start_on_device(
        &self,
        request: &SignInRequest,
        discovered: Discovered,
        asked: Vec<String>,
        wishes: &Wishes,
    ) -> Result<SignInStarted, OAuthError> {
        let server = self.server(&discovered);
        let endpoint = discovered.server.device_authorization_endpoint.as_ref();
        let endpoint = endpoint
            .ok_or_else(|| FlowError::NoDeviceEndpoint { issuer: quoted(&discovered.server.issuer) })?;
        let settings = self.settings();
        let client = self.client(request, &discovered, None, &asked, &settings).await?;
        let proof = self.proof(&client).await?;
        let dpop = self.key(wishes, &discovered).await?;
        let resource = server.resource.as_deref();
        let code =
            DeviceCode::request(&self.exchange, endpoint, server.tokens.audience(), &proof, resource, &asked)
                .await?;
        let mut view = self.view(&server, asked.clone());
        view.authorize_url = Some(code.page_with_code.as_ref().unwrap_or(&code.page).as_str().to_owned());
        view.user_code = Some(code.user_code.clone());
        view.expires_at = Some(SystemTime::now() + left(code.expires_at));
        let this = self.clone();
        let outcome = async move {
            let resource = server.resource.clone();
            let tokens = code
                .wait(&this.exchange, &server.tokens, &proof, resource.as_deref(), dpop.as_deref())
                .await
                .map_err(|error| OAuthError::from(error).for_user(&this.exchange.slug))?;
            this.grant(server, client, asked, dpop, tokens)
                .map_err(|error| error.for_user(&this.exchange.slug))
        };
        Ok(SignInStarted { view, outcome: Some(Box::pin(outcome)) })
    }

    /// Finds the authorization server, with what the MCP server says that it wants.
    pub(super) async fn discover(&self) -> Result<(Wishes, Discovered), OAuthError> {
        let mut wishes = self.demand.read();
        if wishes.wanted.is_none() {
            wishes.wanted = probe::probe(&self.exchange).await;
        }
        let settings = self.settings();
        let discovered =
            discovery::discover(&self.exchange, wishes.wanted.as_ref(), &settings.exceptions).await?;
        Ok((wishes, discovered))
    }

    pub(super) fn server(&self, discovered: &Discovered) -> Server {
        let is_left_out = self.settings().exceptions.contains(&OAuthException::ResourceOmitted);
        let resource = discovered.resource_parameter().filter(|_| !is_left_out).map(str::to_owned);
        Server::new(&discovered.server, resource)
    }

    /// What to ask for: what is needed now, and what was granted before by the same server.
    fn scopes(&self, wishes: &Wishes, discovered: &Discovered, settings: &OAuthSettings) -> Vec<String> {
        let challenged = wishes.wanted.as_ref().and_then(|wanted| wanted.scope.as_deref());
        if wishes.is_too_much {
            return challenged.map(<[String]>::to_vec).unwrap_or_default();
        }
        let first = scopes::initial(challenged, discovered.resource.as_ref(), &discovered.server);
        if !wishes.more.is_empty() {
            // Step-up: nothing that only the metadata suggests is added.
            let lasting = first.into_iter().filter(|scope| scope == "offline_access").collect::<Vec<_>>();
            return scopes::union(&wishes.more, &lasting);
        }
        let is_same = settings.issuer.as_ref() == Some(&discovered.server.issuer);
        if is_same { scopes::union(&first, &settings.scopes) } else { first }
    }

    pub(super) async fn client(
        &self,
        request: &SignInRequest,
        discovered: &Discovered,
        redirect_uri: Option<&str>,
        asked: &[String],
        settings: &OAuthSettings,
    ) -> Result<Client, OAuthError> {
        let server = &discovered.server;
        let secret = self.secret("client_secret").await?;
        let unbound = settings.registration == Some(Registration::Manual) && settings.issuer.is_none();
        let entered = unbound.then(|| ClientCredentials {
            id: settings.client_id.clone(),
            secret: secret.clone(),
            issuer: None,
        });
        let stored = Client::stored(settings, secret, server).filter(|client| {
            client.registration != Registration::Dynamic
                || !(self.host.is_forgotten(&client.issuer, &client.id)
                    || self.has_gone_unanswered(&client.id))
        });
        let known = Known { manual: request.client.as_ref().or(entered.as_ref()), stored: stored.as_ref() };
        let options = ClientOptions {
            name: &self.host.client_name,
            metadata_url: self.host.client_metadata_url.as_deref(),
            scopes: asked,
        };
        Ok(registration::client(&self.exchange, server, redirect_uri, known, &options).await?)
    }

    /// What a client proves itself with.
    pub(super) async fn proof(&self, client: &Client) -> Result<ClientAuth, OAuthError> {
        let private_key = match client.auth_method {
            AuthMethod::PrivateKeyJwt { .. } => self.secret("private_key").await?,
            _ => None,
        };
        Ok(ClientAuth {
            id: client.id.clone(),
            method: client.auth_method,
            secret: client.secret.clone(),
            private_key,
        })
    }

    /// The key that tokens are to be bound to, where the server wants that (RFC 9449).
    pub(super) async fn key(
        &self,
        wishes: &Wishes,
        discovered: &Discovered,
    ) -> Result<Option<Arc<DpopKey>>, OAuthError> {
        let is_challenged = wishes.wanted.as_ref().is_some_and(|wanted| wanted.scheme == Scheme::DPoP);
        let is_required =
            discovered.resource.as_ref().is_some_and(|resource| resource.dpop_bound_access_tokens_required);
        if !is_challenged && !is_required {
            return Ok(None);
        }
        let key = match self.secret("dpop_key").await? {
            // One that is damaged binds nothing that is still to come.
            Some(pem) => DpopKey::from_pem(pem).or_else(|_| DpopKey::generate())?,
            None => DpopKey::generate()?,
        };
        Ok(Some(Arc::new(key)))
    }

    pub(super) async fn secret(&self, name: &'static str) -> Result<Option<SecretString>, OAuthError> {
        let key = CredentialKey::of_sign_in(&self.exchange.slug, name);
        Ok(self.target.credentials.get(&key).await?)
    }

    fn view(&self, server: &Server, scopes: Vec<String>) -> SignInView {
        SignInView {
            authorize_url: None,
            state: flow::state(),
            issuer: server.tokens.issuer.clone(),
            redirect_uri: None,
            scopes,
            user_code: None,
            expires_at: None,
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn named(scopes: &[String]) -> String {
    if scopes.is_empty() { "none in particular".to_owned() } else { quoted(&scopes.join(" ")) }
}
