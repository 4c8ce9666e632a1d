use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::json;

use super::*;
use crate::fixture::{Answer, ScriptedHttp, exchange, noted};

const START: &str = "https://as.test/device_authorization";
const TOKEN: &str = "https://as.test/token";

fn document() -> Value {
    json!({
        "device_code": "dc", "user_code": "WDJB-MJHT", "verification_uri": "https://as.test/device",
        "verification_uri_complete": "https://as.test/device?user_code=WDJB-MJHT", "expires_in": 900, "interval": 5,
    })
}

fn error(error: &str) -> Answer {
    Answer::body(400, "application/json", json!({"error": error}).to_string())
}

async fn begin(exchange: &Exchange) -> Result<DeviceCode, &'static str> {
    let (url, client) = (Url::parse(START).unwrap(), ClientAuth::public("client"));
    let scopes = ["read".to_owned()];
    let code = DeviceCode::request(exchange, &url, TOKEN, &client, Some("https://mcp.test"), &scopes).await;
    code.map_err(|error| error.detail())
}

/// The token or the failure, the seconds that it took, and the number of questions.
async fn wait(document: Value, answers: Vec<Answer>) -> (Result<String, &'static str>, u64, usize) {
    let http = ScriptedHttp::new();
    http.on("POST", START, Answer::json(document));
    for answer in answers {
        http.on("POST", TOKEN, answer);
    }
    let exchange = exchange(&http);
    let server = TokenServer { endpoint: Url::parse(TOKEN).unwrap(), issuer: None };
    let begun = Instant::now();
    let code = begin(&exchange).await.unwrap();
    let outcome = code.wait(&exchange, &server, &ClientAuth::public("client"), None, None).await;
    let token = outcome.map(|tokens| tokens.access_token.expose_secret().to_owned());
    (token.map_err(|error| error.detail()), begun.elapsed().as_secs(), http.sent().len() - 1)
}

fn tokens() -> Answer {
    Answer::json(json!({"access_token": "t"}))
}

#[tokio::test(start_paused = true)]
async fn a_code_is_asked_for_with_scope_and_resource() {
    let http: Arc<ScriptedHttp> = ScriptedHttp::new();
    http.on("POST", START, Answer::json(document()));
    let exchange = exchange(&http);
    let code = begin(&exchange).await.unwrap();
    let shown = (code.user_code.as_str(), code.page.as_str(), code.page_with_code.as_ref().map(Url::as_str));
    let expected =
        ("WDJB-MJHT", "https://as.test/device", Some("https://as.test/device?user_code=WDJB-MJHT"));
    assert_eq!(shown, expected);
    assert_eq!(code.expires_at, Instant::now() + Duration::from_secs(900));
    let form = [("scope", "read"), ("resource", "https://mcp.test"), ("client_id", "client")];
    assert_eq!(http.sent()[0].form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(noted(&exchange), ["device_code_received"]);
}

#[tokio::test(start_paused = true)]
async fn pages_that_must_not_reach_a_browser_do_not() {
    let mut cases =
        vec![(json!({"error": "invalid_client"}), "invalid_client"), (json!({}), "token_answer_malformed")];
    for page in ["javascript:alert(1)", "http://as.test/device", "file:///etc/passwd", ""] {
        let mut document = document();
        document["verification_uri"] = json!(page);
        cases.push((
            document,
            if page.is_empty() { "token_answer_malformed" } else { "verification_page_invalid" },
        ));
    }
    for (document, detail) in cases {
        let http = ScriptedHttp::new();
        http.on("POST", START, Answer::json(document));
        let exchange = exchange(&http);
        assert_eq!(begin(&exchange).await.unwrap_err(), detail);
        assert_eq!(noted(&exchange), [format!("{detail}!")]);
    }
    // One that carries the code is a convenience.
    let mut document = document();
    document["verification_uri_complete"] = json!("javascript:alert(1)");
    document["verification_url"] = document["verification_uri"].take();
    document["user_code"] = json!("A\u{1b}[1mB");
    let http = ScriptedHttp::new();
    http.on("POST", START, Answer::json(document));
    let code = begin(&exchange(&http)).await.unwrap();
    assert_eq!((code.page_with_code, code.user_code.as_str()), (None, "A[1mB"));
}

#[tokio::test(start_paused = true)]
async fn the_server_is_asked_at_its_interval_until_the_user_is_done() {
    let pending = || error("authorization_pending");
    assert_eq!(wait(document(), vec![pending(), pending(), tokens()]).await, (Ok("t".into()), 15, 3));
    let mut unhurried = document();
    unhurried["interval"] = json!(20);
    assert_eq!(wait(unhurried, vec![pending(), tokens()]).await, (Ok("t".into()), 40, 2));
    let mut silent = document();
    silent["interval"] = Value::Null;
    assert_eq!(wait(silent, vec![tokens()]).await, (Ok("t".into()), 5, 1));
}

#[tokio::test(start_paused = true)]
async fn slow_down_adds_five_seconds_for_good() {
    let answers = vec![error("slow_down"), error("authorization_pending"), error("slow_down"), tokens()];
    // 5, 10, 10, 15.
    assert_eq!(wait(document(), answers).await, (Ok("t".into()), 40, 4));
}

#[tokio::test(start_paused = true)]
async fn failures_that_may_pass_are_sat_out_with_longer_pauses() {
    let away =
        Answer::failure(connectors_core::TransportError::Unreachable { reason: "away".into(), source: None });
    // 5, 10, 20.
    assert_eq!(wait(document(), vec![away, Answer::status(502), tokens()]).await, (Ok("t".into()), 35, 3));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_declines_or_forgets_ends_it() {
    let pending = || (0..1000).map(|_| error("authorization_pending")).collect();
    assert_eq!(wait(document(), vec![error("access_denied")]).await, (Err("access_denied"), 5, 1));
    assert_eq!(wait(document(), vec![error("expired_token")]).await, (Err("device_code_expired"), 5, 1));
    assert_eq!(wait(document(), vec![error("invalid_grant")]).await, (Err("invalid_grant"), 5, 1));
    assert_eq!(wait(document(), pending()).await, (Err("device_code_expired"), 900, 179));
    let mut endless = document();
    endless["expires_in"] = json!(1e9);
    assert_eq!(wait(endless, pending()).await, (Err("device_code_expired"), 1800, 359));
}
