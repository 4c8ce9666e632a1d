use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;
use crate::auth::Token;
use crate::fixture::Fixture;

async fn daemon(token: Option<Arc<Token>>) -> Router {
    router(9100, Connections::new(Fixture::new().await.dispatcher, token))
}

fn get_with(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

const HOST: (&str, &str) = ("host", "127.0.0.1:9100");

const UPGRADE_HEADERS: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn a_wrong_host_or_a_foreign_origin_is_turned_away_on_every_route() {
    let daemon = daemon(Some(Arc::new(Token::generate()))).await;
    for path in ["/", "/healthz", "/panel/token", "/panel/main.js", "/no/such/route"] {
        for headers in [
            vec![],
            vec![("host", "evil.test")],
            vec![("host", "127.0.0.1:9101")],
            vec![HOST, ("origin", "null")],
            vec![HOST, ("origin", "http://evil.test")],
        ] {
            for upgrade in [&[][..], &UPGRADE_HEADERS[..]] {
                let headers = [&headers[..], upgrade].concat();
                let response = daemon.clone().oneshot(get_with(path, &headers)).await.unwrap();
                assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_routes_are_those_that_the_interface_names() {
    let daemon = daemon(None).await;
    for (path, status) in [
        ("/healthz", StatusCode::OK),
        ("/oauth/callback", StatusCode::BAD_REQUEST),
        ("/panel/nothing", StatusCode::NOT_FOUND),
        ("/panel/../Cargo.toml", StatusCode::NOT_FOUND),
    ] {
        for origin in [None, Some(("origin", "http://localhost:9100"))] {
            let headers: Vec<_> = [HOST].into_iter().chain(origin).collect();
            let response = daemon.clone().oneshot(get_with(path, &headers)).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
    }
}

async fn body(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_callback_that_belongs_to_no_sign_in_is_refused_without_a_word_of_it() {
    let daemon = daemon(None).await;
    for path in [
        "/oauth/callback?state=hunter2&code=%3Cscript%3E",
        "/oauth/callback/some_slug?state=hunter2&error=access_denied&error_description=%3Cb%3Ehunter2",
        "/oauth/callback?state=a&state=hunter2&code=c",
        "/oauth/callback?code=hunter2",
    ] {
        let response = daemon.clone().oneshot(get_with(path, &[HOST])).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("location"));
        let page = body(response).await;
        assert!(!page.contains("hunter2") && !page.contains("<script") && !page.contains("<b>"), "{page}");
    }
}

#[tokio::test]
async fn every_answer_keeps_itself_to_this_origin() {
    let daemon = daemon(None).await;
    for headers in [vec![HOST], vec![("host", "evil.test")]] {
        let response = daemon.clone().oneshot(get_with("/healthz", &headers)).await.unwrap();
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_an_error_and_not_the_page() {
    let daemon = daemon(None).await;
    let response = daemon.oneshot(get_with("/", &[HOST, ("upgrade", "h2c")])).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[cfg(not(feature = "panel"))]
#[tokio::test]
async fn without_a_panel_the_root_asks_for_an_upgrade_and_no_route_gives_the_token() {
    let daemon = daemon(Some(Arc::new(Token::generate()))).await;
    let root = daemon.clone().oneshot(get_with("/", &[HOST])).await.unwrap();
    assert_eq!(root.status(), StatusCode::UPGRADE_REQUIRED);
    let token = daemon.oneshot(get_with("/panel/token", &[HOST])).await.unwrap();
    assert_eq!(token.status(), StatusCode::NOT_FOUND);
}

#[cfg(feature = "panel")]
mod panel {
    use super::*;

    #[tokio::test]
    async fn the_page_finds_everything_that_it_loads() {
        let daemon = daemon(None).await;
        let page = daemon.clone().oneshot(get_with("/", &[HOST])).await.unwrap();
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let mut wanted = paths(&body(page).await);
        assert!(wanted.contains(&"/panel/main.js".to_owned()), "{wanted:?}");
        let mut next = 0;
        while let Some(path) = wanted.get(next).cloned() {
            let file = daemon.clone().oneshot(get_with(&path, &[HOST])).await.unwrap();
            assert_eq!(file.status(), StatusCode::OK, "{path}");
            for path in paths(&body(file).await) {
                if !wanted.contains(&path) {
                    wanted.push(path);
                }
            }
            next += 1;
        }
        assert_eq!(wanted.len(), 20, "{wanted:?}");
    }

    /// The paths of our own files that a text refers to.
    fn paths(text: &str) -> Vec<String> {
        let quoted = text.split('"').skip(1).step_by(2);
        let own = quoted.filter_map(|text| match text.strip_prefix("./") {
            Some(module) => Some(format!("/panel/{module}")),
            None => text.starts_with("/panel/").then(|| text.to_owned()),
        });
        own.filter(|path| path != "/panel/token").collect()
    }

    #[tokio::test]
    async fn the_page_has_no_inline_script_or_style_and_writes_no_markup() {
        let daemon = daemon(None).await;
        let page = body(daemon.clone().oneshot(get_with("/", &[HOST])).await.unwrap()).await;
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick="));
        for path in [
            "dom",
            "rpc",
            "add",
            "edit",
            "rows",
            "variables",
            "list",
            "details",
            "tool",
            "events",
            "main",
            "sample",
            "question",
        ] {
            let path = format!("/panel/{path}.js");
            let script = body(daemon.clone().oneshot(get_with(&path, &[HOST])).await.unwrap()).await;
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!script.contains(forbidden), "{path}: {forbidden}");
            }
        }
    }

    #[tokio::test]
    async fn only_the_page_itself_gets_the_token() {
        let token = Arc::new(Token::generate());
        let daemon = daemon(Some(Arc::clone(&token))).await;
        for site in [None, Some("same-origin"), Some("none")] {
            let site = site.map(|site| ("sec-fetch-site", site));
            let headers: Vec<_> = [HOST].into_iter().chain(site).collect();
            let response = daemon.clone().oneshot(get_with("/panel/token", &headers)).await.unwrap();
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(body(response).await, format!(r#"{{"token":"{}"}}"#, token.expose()));
        }
        for site in ["same-site", "cross-site", ""] {
            let headers = [HOST, ("sec-fetch-site", site)];
            let response = daemon.clone().oneshot(get_with("/panel/token", &headers)).await.unwrap();
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{site}");
        }
    }

    #[tokio::test]
    async fn where_no_token_is_wanted_there_is_none() {
        let daemon = daemon(None).await;
        let response = daemon.oneshot(get_with("/panel/token", &[HOST])).await.unwrap();
        assert_eq!(body(response).await, r#"{"token":null}"#);
    }
}
