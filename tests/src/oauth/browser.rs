//! The user's part of a sign-in, without a browser.

use url::Url;

use crate::deadline::soon;
use crate::http_client::HttpRequest;

/// What a redirect brought back to the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackParams {
    /// The whole address that the browser was sent to.
    pub url: String,
    /// The same without its query: the redirect URI.
    pub redirect_uri: String,
    /// `code`.
    pub code: Option<String>,
    /// `state`; empty if there is none.
    pub state: String,
    /// `iss`.
    pub iss: Option<String>,
    /// `error`.
    pub error: Option<String>,
    /// `error_description`.
    pub error_description: Option<String>,
}

impl CallbackParams {
    /// Reads the address that a browser was sent to.
    pub fn of(url: &str) -> Self {
        let parsed = Url::parse(url).unwrap_or_else(|error| panic!("a redirect to {url}: {error}"));
        let value = |name: &str| {
            parsed.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let mut redirect_uri = parsed.clone();
        redirect_uri.set_query(None);
        Self {
            url: url.to_owned(),
            redirect_uri: redirect_uri.into(),
            code: value("code"),
            state: value("state").unwrap_or_default(),
            iss: value("iss"),
            error: value("error"),
            error_description: value("error_description"),
        }
    }
}

/// Opens the page that a sign-in leads to at an [`AuthorizationServer`](super::AuthorizationServer), whose user decides at once, and
/// tells where the browser is sent then. Panics, with the page's text, if it is not sent anywhere.
pub async fn follow(authorize_url: &str) -> CallbackParams {
    match visit(authorize_url).await {
        Ok(callback) => callback,
        Err((status, page)) => panic!("{authorize_url} was answered {status}: {page}"),
    }
}

/// The same; the status and the text of the page if the browser is not sent anywhere. For the page of a device, too.
pub async fn visit(url: &str) -> Result<CallbackParams, (u16, String)> {
    let answer = soon("the authorization page", HttpRequest::get(url).send()).await.expect("an answer");
    let status = answer.status();
    if (300..400).contains(&status) {
        return Ok(CallbackParams::of(answer.header("location")));
    }
    Err((status, answer.text().await.unwrap_or_default()))
}
