use std::collections::HashMap;

use connectors_core::definition::Registration;
use proptest::prelude::*;

use super::*;
use crate::client_auth::AuthMethod;

const ISSUER: &str = "https://as.example";
const REDIRECT: &str = "http://127.0.0.1:9100/oauth/callback";

fn client() -> Client {
    Client {
        id: "client 1".into(),
        secret: None,
        auth_method: AuthMethod::None,
        registration: Registration::Dynamic,
        redirect_uri: Some(REDIRECT.into()),
        issuer: ISSUER.into(),
    }
}

fn begin(scopes: &[&str], resource: Option<&str>, names_itself: bool) -> (Bond, Url) {
    let endpoint = Url::parse("https://as.example/authorize?tenant=7").unwrap();
    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let ask = Ask {
        endpoint: &endpoint,
        client: &client(),
        redirect_uri: REDIRECT,
        scopes: &scopes,
        resource,
        dpop_jkt: None,
    };
    Bond::new(&ask, ISSUER, names_itself).unwrap()
}

fn answer(bond: &Bond) -> SignInCallback {
    let mut callback = SignInCallback::default();
    callback.state.clone_from(&bond.state);
    callback.code = Some("the-code".into());
    callback
}

fn outcome(bond: &Bond, callback: SignInCallback) -> Result<String, &'static str> {
    bond.code(callback).map(|code| code.expose_secret().to_owned()).map_err(|error| error.detail())
}

#[test]
fn the_page_carries_everything_that_binds_the_answer() {
    let (bond, url) = begin(&["read", "write"], Some("https://mcp.example"), false);
    let mut query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let challenge = query.remove("code_challenge").unwrap();
    assert_eq!(query.remove("state").unwrap(), bond.state);
    let expected = [
        ("tenant", "7"),
        ("response_type", "code"),
        ("client_id", "client 1"),
        ("redirect_uri", REDIRECT),
        ("scope", "read write"),
        // Byte for byte as published: no slash is added.
        ("resource", "https://mcp.example"),
        ("code_challenge_method", "S256"),
    ];
    let expected: HashMap<_, _> =
        expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(query, expected);
    assert_eq!((challenge.len(), bond.state.len()), (43, 43));
}

#[test]
fn no_scope_is_sent_where_none_is_wanted_and_consent_is_asked_for_lasting_access() {
    let (_, plain) = begin(&[], None, false);
    let (_, lasting) = begin(&["offline_access"], None, false);
    let has = |url: &Url, name: &str| url.query_pairs().any(|(key, _)| key == name);
    assert_eq!((has(&plain, "scope"), has(&plain, "resource"), has(&plain, "prompt")), (false, false, false));
    assert!(has(&lasting, "prompt"));
}

#[test]
fn every_sign_in_has_its_own_state_and_verifier() {
    let (one, _) = begin(&[], None, false);
    let (two, _) = begin(&[], None, false);
    assert_ne!(one.state, two.state);
    assert_ne!(one.verifier.expose_secret(), two.verifier.expose_secret());
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_to_be_the_one_to_the_question() {
    type Change = fn(&mut SignInCallback);
    let cases: [(&str, bool, Change, Result<&str, &str>); 14] = [
        ("as it should be", false, |_| {}, Ok("the-code")),
        ("with its issuer", true, |c| c.iss = Some(ISSUER.into()), Ok("the-code")),
        ("issuer, though not promised", false, |c| c.iss = Some(ISSUER.into()), Ok("the-code")),
        ("another state", false, |c| c.state.push('x'), Err("state_unknown")),
        ("no state", false, |c| c.state.clear(), Err("state_unknown")),
        ("no issuer, though promised", true, |_| {}, Err("iss_missing")),
        ("another issuer", false, |c| c.iss = Some("https://evil.example".into()), Err("iss_mismatch")),
        ("issuer with a slash", true, |c| c.iss = Some(format!("{ISSUER}/")), Err("iss_mismatch")),
        ("no code", false, |c| c.code = None, Err("code_missing")),
        ("empty code", false, |c| c.code = Some("".into()), Err("code_missing")),
        ("declined", false, |c| c.error = Some("access_denied".into()), Err("access_denied")),
        ("other error", false, |c| c.error = Some("server_error".into()), Err("authorization_refused")),
        (
            "another server's error",
            false,
            |c| (c.error, c.iss) = (Some("access_denied".into()), Some("https://evil.example".into())),
            Err("iss_mismatch"),
        ),
        (
            "arrived elsewhere",
            false,
            |c| c.arrived_at = Some("http://127.0.0.1:9100/oauth/callback/other".into()),
            Err("redirect_mismatch"),
        ),
    ];
    for (name, names_itself, change, expected) in cases {
        let (bond, _) = begin(&[], None, names_itself);
        let mut callback = answer(&bond);
        change(&mut callback);
        assert_eq!(outcome(&bond, callback), expected.map(ToOwned::to_owned), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_refused() {
    let (bond, _) = begin(&[], None, false);
    tokio::time::advance(SIGN_IN_LIFETIME).await;
    assert_eq!(outcome(&bond, answer(&bond)), Ok("the-code".into()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(outcome(&bond, answer(&bond)), Err("sign_in_expired"));
}

#[test]
fn what_a_server_says_of_an_error_is_shortened_and_cleaned() {
    let (bond, _) = begin(&[], None, false);
    let mut callback = answer(&bond);
    callback.error = Some("access_denied".into());
    callback.error_description = Some(format!("no\u{202e}\u{1b}[31m{}", "x".repeat(10_000)));
    let error = bond.code(callback).unwrap_err().to_string();
    assert!(error.len() < 400 && !error.contains(['\u{1b}', '\u{202e}']), "{error}");
}

#[test]
fn only_addresses_that_a_program_can_own_are_redirected_to() {
    for uri in [
        "https://app.example/callback?x=1",
        "http://127.0.0.1:9100/oauth/callback",
        "http://localhost/cb",
        "http://[::1]:3000/",
        "com.example.app:/callback",
        "carhost://oauth",
    ] {
        assert_eq!(check_redirect_uri(uri), Ok(()), "{uri}");
    }
    for uri in [
        "",
        "/callback",
        "http://app.example/callback",
        "https://user:secret@app.example/",
        "https://app.example/#x",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
    ] {
        assert_eq!(check_redirect_uri(uri).unwrap_err().detail(), "redirect_uri_invalid", "{uri}");
    }
}

proptest! {
    #[test]
    fn no_answer_but_the_right_one_yields_a_code(
        state in ".{0,60}", iss in proptest::option::of(".{0,40}"), code in ".{0,20}",
    ) {
        let (bond, _) = begin(&[], None, true);
        let mut callback = SignInCallback::default();
        callback.state = state;
        callback.iss = iss;
        callback.code = Some(code.into());
        prop_assert!(bond.code(callback).is_err());
    }
}
