//! The page at `/`, and the token that it authenticates with.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::auth::Token;

/// Tells where a request comes from; sent by browsers only.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// Path, content type and content of every file of the page.
const FILES: [(&str, &str, &str); 20] = [
    ("/panel/style.css", CSS, include_str!("../panel/style.css")),
    ("/panel/icon.svg", ICON, include_str!("../panel/icon.svg")),
    ("/panel/main.js", SCRIPT, include_str!("../panel/main.js")),
    ("/panel/dom.js", SCRIPT, include_str!("../panel/dom.js")),
    ("/panel/rpc.js", SCRIPT, include_str!("../panel/rpc.js")),
    ("/panel/add.js", SCRIPT, include_str!("../panel/add.js")),
    ("/panel/edit.js", SCRIPT, include_str!("../panel/edit.js")),
    ("/panel/rows.js", SCRIPT, include_str!("../panel/rows.js")),
    ("/panel/variables.js", SCRIPT, include_str!("../panel/variables.js")),
    ("/panel/import.js", SCRIPT, include_str!("../panel/import.js")),
    ("/panel/list.js", SCRIPT, include_str!("../panel/list.js")),
    ("/panel/details.js", SCRIPT, include_str!("../panel/details.js")),
    ("/panel/team.js", SCRIPT, include_str!("../panel/team.js")),
    ("/panel/sign_in.js", SCRIPT, include_str!("../panel/sign_in.js")),
    ("/panel/trace.js", SCRIPT, include_str!("../panel/trace.js")),
    ("/panel/tool.js", SCRIPT, include_str!("../panel/tool.js")),
    ("/panel/sample.js", SCRIPT, include_str!("../panel/sample.js")),
    ("/panel/question.js", SCRIPT, include_str!("../panel/question.js")),
    ("/panel/secrets.js", SCRIPT, include_str!("../panel/secrets.js")),
    ("/panel/events.js", SCRIPT, include_str!("../panel/events.js")),
];

/// The page itself.
pub(crate) fn page() -> Response {
    file(HTML, include_str!("../panel/index.html"))
}

/// Everything that the page loads.
pub(crate) fn routes(token: Option<Arc<Token>>) -> Router {
    let files = FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(move || async move { file(kind, content) }))
    });
    files.route("/panel/token", get(hand_out).with_state(token))
}

fn file(kind: &'static str, content: &'static str) -> Response {
    // Asked for anew each time, so that a newer daemon never meets the script of an older one.
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], content).into_response()
}

/// The token, for this origin's own page: other origins are turned away before, and what a browser says of a request
/// that has no `Origin` is believed.
async fn hand_out(State(token): State<Option<Arc<Token>>>, headers: HeaderMap) -> Response {
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return (StatusCode::FORBIDDEN, "the token is for this daemon's own page").into_response();
    }
    let token = token.as_deref().map(Token::expose);
    let body = serde_json::json!({ "token": token }).to_string();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}
