//! A user with a browser: signs in whenever the connector wants it, and agrees to everything.

use std::sync::Arc;

use connectors_core::sign_in::{SignInCallback, SignInRequest};
use connectors_core::{ConnectorError, ConnectorEvent, ConnectorManager, EventKind, Slug, StateName};
use connectors_tests::oauth::visit;
use tokio::sync::broadcast::Receiver;

/// Where the suite sends browsers back to. Nobody listens there: the address itself carries the answer.
const REDIRECT_URI: &str = "http://localhost:3000/callback";

/// A user who is asked this often refuses.
const PATIENCE: usize = 5;

/// Waits until a connector is ready, signing in as often as it takes.
pub(crate) async fn bring_to_ready(manager: &ConnectorManager, slug: &Slug) -> Result<(), String> {
    let mut events = manager.events().subscribe();
    for _ in 0..PATIENCE {
        let status = settled(manager, slug, &mut events).await?;
        match status {
            StateName::Ready => return Ok(()),
            StateName::NeedsSignIn => sign_in(manager, slug).await.map_err(super::text)?,
            _ => {
                let status = manager.status(slug).map_err(super::text)?;
                return Err(status.last_error.unwrap_or_else(|| format!("{:?}", status.state)));
            }
        }
    }
    Err(format!("still not ready after {PATIENCE} sign-ins"))
}

/// The state of a connector once it is neither dialled nor about to be.
async fn settled(
    manager: &ConnectorManager,
    slug: &Slug,
    events: &mut Receiver<Arc<ConnectorEvent>>,
) -> Result<StateName, String> {
    loop {
        let state = manager.status(slug).map_err(super::text)?.state;
        if !matches!(state, StateName::Connecting | StateName::Disconnected) {
            return Ok(state);
        }
        events.recv().await.map_err(|error| error.to_string())?;
    }
}

/// Signs in whenever a call needs more than was granted. Ends with an error when that fails.
pub(crate) async fn consent(manager: &ConnectorManager, slug: &Slug) -> String {
    let mut events = manager.events().subscribe();
    loop {
        match events.recv().await {
            Ok(event) if matches!(event.kind, EventKind::SignIn { wanted: true, .. }) => {
                if let Err(error) = sign_in(manager, slug).await {
                    return super::text(error);
                }
            }
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

async fn sign_in(manager: &ConnectorManager, slug: &Slug) -> Result<(), ConnectorError> {
    let mut request = SignInRequest::default();
    request.redirect_uri = Some(REDIRECT_URI.to_owned());
    let view = manager.sign_in(slug, request).await?;
    let Some(page) = view.authorize_url else { return Ok(()) };
    manager.complete_sign_in(browse(&page).await).await.map(drop)
}

/// Opens the page, and reads where the browser is sent then.
async fn browse(page: &str) -> SignInCallback {
    let sent = visit(page).await.ok();
    sent.and_then(|callback| SignInCallback::from_url(&callback.url)).unwrap_or_default()
}
