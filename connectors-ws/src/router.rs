//! The daemon's routes.

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::callback;
use crate::connection::Connections;
use crate::guard::{self, Guard};
use crate::protocol::MAX_FRAME;

/// The routes of a daemon that is reached on loopback at `port`: the WebSocket and the panel at `/`, `/healthz`, and
/// the callback of sign-ins.
///
/// Requests that name another host, or come from pages of another origin, are answered with 403 before anything else.
pub fn router(port: u16, connections: Connections) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health))
        .merge(callback::routes(port, connections.dispatcher().clone()));
    #[cfg(feature = "panel")]
    let routes = routes.merge(crate::panel::routes(connections.token()));
    routes
        .route("/", get(move |headers, upgrade| root(connections, headers, upgrade)))
        .layer(from_fn_with_state(Guard::for_port(port), guard::watch))
}

/// The WebSocket for those who ask for an upgrade, the page for the others.
async fn root(
    connections: Connections,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade
            .max_message_size(MAX_FRAME)
            .max_frame_size(MAX_FRAME)
            .on_upgrade(move |socket| connections.accept(socket)),
        Err(rejection) if headers.contains_key(UPGRADE) => rejection.into_response(),
        Err(_) => page(),
    }
}

#[cfg(feature = "panel")]
fn page() -> Response {
    crate::panel::page()
}

#[cfg(not(feature = "panel"))]
fn page() -> Response {
    (StatusCode::UPGRADE_REQUIRED, [(UPGRADE, "websocket")], "this daemon speaks WebSocket and has no page")
        .into_response()
}

/// Says that the daemon is up.
async fn health() -> Response {
    let body = serde_json::json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}).to_string();
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, body).into_response()
}

#[cfg(test)]
mod tests;
