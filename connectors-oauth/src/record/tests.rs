use serde_json::json;

use super::*;

fn tokens(access: &str) -> Tokens {
    Tokens {
        access_token: access.into(),
        token_type: TokenType::Bearer,
        refresh_token: Some("r".into()),
        expires_in: Some(3600),
        scope: None,
    }
}

fn provenance() -> Provenance {
    Provenance {
        issuer: Some("https://as.test".into()),
        token_endpoint: Some("https://as.test/token".into()),
        revocation_endpoint: Some("https://as.test/revoke".into()),
        client_id: Some("client".into()),
        auth_method: Some(AuthMethod::PrivateKeyJwt { algorithm: Some(SigningAlgorithm::Es384) }),
        resource: Some("https://mcp.test".into()),
        scope: vec!["a".into(), "b".into()],
        asked: vec!["a".into(), "b".into(), "c".into()],
        resource_server: Some("https://mcp.test".into()),
        grant: Some(GrantKind::JwtBearer),
    }
}

fn value(record: &TokenRecord) -> Value {
    serde_json::from_str(record.to_secret().unwrap().expose_secret()).unwrap()
}

fn parse(text: &str) -> Result<TokenRecord, RecordError> {
    TokenRecord::parse(&text.into())
}

#[test]
fn a_record_is_what_car_connectors_reads_and_more() {
    let record = TokenRecord::new(tokens("a"), 1000, provenance());
    let expected = json!({
        "access_token": "a", "token_type": "Bearer", "refresh_token": "r", "expires_at": 4600, "obtained_at": 1000,
        "issuer": "https://as.test", "token_endpoint": "https://as.test/token",
        "revocation_endpoint": "https://as.test/revoke", "client_id": "client", "auth_method": "private_key_jwt",
        "signing_algorithm": "ES384", "resource": "https://mcp.test", "scope": ["a", "b"],
        "asked": ["a", "b", "c"], "resource_server": "https://mcp.test", "grant": {"kind": "jwt_bearer"},
    });
    assert_eq!(value(&record), expected);
    let again = TokenRecord::parse(&record.to_secret().unwrap()).unwrap();
    assert_eq!((value(&again), again.provenance), (expected, provenance()));
}

#[test]
fn unknown_fields_survive_a_refresh() {
    let old =
        parse(r#"{"access_token":"a","token_type":"Bearer","future":{"x":[1]},"expires_at":5}"#).unwrap();
    let new = value(&old.renewed(tokens("b"), 10));
    assert_eq!(
        (&new["future"], &new["access_token"], &new["expires_at"]),
        (&json!({"x": [1]}), &json!("b"), &json!(3610))
    );
}

#[test]
fn a_refresh_keeps_what_it_does_not_mention() {
    let old = TokenRecord::new(tokens("a"), 1000, provenance());
    let plain = Tokens { refresh_token: None, expires_in: None, ..tokens("b") };
    let kept = old.renewed(plain, 2000);
    assert_eq!(kept.refresh_token.as_ref().unwrap().expose_secret(), "r");
    assert_eq!((kept.expires_at, kept.obtained_at, &kept.provenance), (None, Some(2000), &provenance()));
    let narrowed = Tokens { scope: Some(vec!["a".into()]), ..tokens("c") };
    assert_eq!(old.renewed(narrowed, 2000).provenance.scope, ["a"]);
}

#[test]
fn records_are_read_leniently() {
    let old =
        parse(r#"{"access_token":"a","token_type":"bearer","refresh_token":"r","expires_at":12}"#).unwrap();
    assert_eq!((old.expires_at, old.token_type, old.lifetime()), (Some(12), TokenType::Bearer, None));
    let odd = parse(
        r#"{"access_token":"a","expires_at":12.7,"refresh_token":"","scope":"x y","auth_method":"new"}"#,
    );
    let odd = odd.unwrap();
    assert_eq!((odd.expires_at, odd.refresh_token.is_none()), (Some(12), true));
    assert_eq!(
        (odd.provenance.scope, odd.provenance.auth_method),
        (vec!["x".to_owned(), "y".to_owned()], None)
    );
    let null =
        parse(r#"{"access_token":"a","expires_at":null,"refresh_token":null,"scope":null,"grant":null}"#);
    assert_eq!(null.unwrap().expires_at, None);
}

#[test]
fn what_is_no_record_is_said_without_quoting_it() {
    let error = parse("{\"access_token\":\n \"secret\", \"token_type\": {\"secret\"").unwrap_err();
    assert!(matches!(error, RecordError::Unreadable { line: 2, .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert_eq!(parse(r#"{"access_token":"a","token_type":"MAC"}"#).unwrap_err(), RecordError::UnknownType);
}

#[test]
fn what_the_manifest_knows_completes_only_a_record_that_knows_nothing() {
    let mut settings = OAuthSettings::default();
    settings.token_endpoint = "https://manifest.test/token".into();
    settings.client_id = "manifest".into();
    settings.has_client_secret = true;
    settings.resource = Some("https://mcp.test".into());
    settings.scopes = vec!["a".into()];
    let mut old = parse(r#"{"access_token":"a"}"#).unwrap();
    old.complete(&settings);
    assert_eq!(
        old.provenance,
        Provenance {
            token_endpoint: Some("https://manifest.test/token".into()),
            client_id: Some("manifest".into()),
            auth_method: Some(AuthMethod::Post),
            resource: Some("https://mcp.test".into()),
            scope: vec!["a".into()],
            asked: vec!["a".into()],
            ..Provenance::default()
        }
    );
    settings.has_client_secret = false;
    let mut public = parse(r#"{"access_token":"a"}"#).unwrap();
    public.complete(&settings);
    assert_eq!(public.provenance.auth_method, Some(AuthMethod::None));
    // Never the refresh token of one server to the address of another.
    let mut whole = TokenRecord::new(tokens("a"), 1000, provenance());
    whole.complete(&settings);
    assert_eq!(whole.provenance, provenance());
}

#[test]
fn a_jwt_says_when_it_ends_where_the_server_does_not() {
    let jwt = |claims: Value| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let expires_at = |token: &str, expires_in| {
        TokenRecord::new(Tokens { expires_in, ..tokens(token) }, 1000, Provenance::default()).expires_at
    };
    // The server's clock is a day ahead: its lifetime counts, not its time.
    assert_eq!(expires_at(&jwt(json!({"iat": 87400, "exp": 88000})), None), Some(1600));
    assert_eq!(expires_at(&jwt(json!({"exp": 1500})), None), Some(1500));
    assert_eq!(expires_at(&jwt(json!({"exp": 1500})), Some(10)), Some(1010));
    for token in
        [&*jwt(json!({"exp": 500})), &jwt(json!({"exp": "x"})), &jwt(json!([])), "a.b.c", "opaque", ".."]
    {
        assert_eq!(expires_at(token, None), None, "{token}");
    }
}
