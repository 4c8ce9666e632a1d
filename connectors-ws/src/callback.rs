//! `GET /oauth/callback`: where browsers come back to after a sign-in.

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use connectors_core::sign_in::SignInCallback;

use crate::dispatch::Dispatcher;

/// The path; a connector's own is below it, so that the answers of two authorization servers arrive at different addresses.
pub(crate) const PATH: &str = "/oauth/callback";

const DONE: &str = "<!doctype html><meta charset=\"utf-8\"><title>Signed in</title>\
    <p>You are signed in. You can close this page.</p>";

/// The callback of a daemon on `port`.
pub(crate) fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}{PATH}")
}

/// The route, for a daemon on `port`.
pub(crate) fn routes(port: u16, dispatcher: Dispatcher) -> Router {
    let arrived = get(complete).with_state((port, dispatcher));
    Router::new().route(PATH, arrived.clone()).route(&format!("{PATH}/{{slug}}"), arrived)
}

/// Completes the sign-in that the query names. The page says nothing that came with it.
async fn complete(State((port, dispatcher)): State<(u16, Dispatcher)>, uri: Uri) -> Response {
    let Some(callback) = SignInCallback::from_url(&format!("http://127.0.0.1:{port}{uri}")) else {
        return failed("sign_in_unreadable");
    };
    let manager = dispatcher.manager().clone();
    // On a task of its own: a browser that is closed too early undoes nothing.
    let completed = tokio::spawn(async move { manager.complete_sign_in(callback).await });
    match completed.await {
        Ok(Ok(_)) => page(StatusCode::OK, DONE.to_owned()),
        Ok(Err(error)) => failed(error.detail().unwrap_or(error.code())),
        Err(_) => failed("internal"),
    }
}

fn failed(code: &'static str) -> Response {
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Not signed in</title>\
         <p>The sign-in did not come about ({code}). The program that you began it in says more.</p>"
    );
    page(StatusCode::BAD_REQUEST, text)
}

fn page(status: StatusCode, text: String) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (status, headers, text).into_response()
}
