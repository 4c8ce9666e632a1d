use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, Validation};
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::fixture::{Answer, ScriptedHttp, Sent, exchange};

const URL: &str = "https://as.test/token";

fn client(method: AuthMethod) -> ClientAuth {
    ClientAuth {
        method,
        secret: Some("s3cret/+ value".into()),
        private_key: None,
        ..ClientAuth::public("client:1")
    }
}

async fn sent(client: &ClientAuth) -> Sent {
    let http: Arc<ScriptedHttp> = ScriptedHttp::new();
    http.on("POST", URL, Answer::status(200));
    let mut form = Form::of_grant("test");
    client.apply(&mut form, "https://as.test").unwrap();
    form.post(&exchange(&http), &Url::parse(URL).unwrap(), Duration::from_secs(1)).await.unwrap();
    http.sent().remove(0)
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let first = std::iter::once(&("grant_type", "test"));
    first.chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn p256_pem() -> (SecretString, DecodingKey) {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let public = key.public_key().to_public_key_pem(LineEnding::LF).unwrap();
    let private = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    (private.as_str().into(), DecodingKey::from_ec_pem(public.as_bytes()).unwrap())
}

#[tokio::test]
async fn each_method_puts_the_secret_where_it_belongs_and_nowhere_else() {
    let post = sent(&client(AuthMethod::Post)).await;
    assert_eq!(post.form(), fields(&[("client_id", "client:1"), ("client_secret", "s3cret/+ value")]));
    assert_eq!(post.header("authorization"), None);

    let none = sent(&client(AuthMethod::None)).await;
    assert_eq!(none.form(), fields(&[("client_id", "client:1")]));
    assert_eq!(none.header("authorization"), None);

    // Both parts are form-encoded before base64.
    let basic = sent(&client(AuthMethod::Basic)).await;
    assert_eq!(basic.form(), fields(&[]));
    let expected = format!("Basic {}", STANDARD.encode("client%3A1:s3cret%2F%2B+value"));
    assert_eq!(basic.header("authorization"), Some(expected.as_str()));
}

#[tokio::test]
async fn an_assertion_names_the_client_and_the_server_and_is_good_once_for_a_minute() {
    let (pem, public) = p256_pem();
    let client = ClientAuth {
        private_key: Some(pem),
        ..client(AuthMethod::PrivateKeyJwt { algorithm: Some(SigningAlgorithm::Es256) })
    };
    let (one, two) = (sent(&client).await.form(), sent(&client).await.form());
    let kept: Vec<_> = one.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(kept, ["grant_type", "client_id", "client_assertion_type", "client_assertion"]);
    assert_eq!(one[2].1, JWT_ASSERTION);
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&["https://as.test"]);
    let decode = |form: &[(String, String)]| {
        jsonwebtoken::decode::<Value>(&form[3].1, &public, &rules).unwrap().claims
    };
    let (mut one, mut two) = (decode(&one), decode(&two));
    assert_ne!(one["jti"].take(), two["jti"].take());
    let issued = one["iat"].take().as_u64().unwrap();
    assert_eq!(one["exp"].take(), json!(issued + 60));
    assert!(unix_now() - issued <= 1);
    let expected = json!({"iss": "client:1", "sub": "client:1", "aud": "https://as.test", "jti": null,
        "iat": null, "exp": null});
    assert_eq!(one, expected);
}

#[test]
fn the_kind_of_a_key_decides_where_no_algorithm_is_named() {
    let (pem, _) = p256_pem();
    let sign = |algorithm| {
        let client =
            ClientAuth { private_key: Some(pem.clone()), ..client(AuthMethod::PrivateKeyJwt { algorithm }) };
        client.apply(&mut Form::default(), "https://as.test")
    };
    assert_eq!(sign(None), Ok(()));
    assert_eq!(sign(Some(SigningAlgorithm::Es256)), Ok(()));
    for wrong in [SigningAlgorithm::Es384, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa] {
        let error = ClientAuthError::UnusableKey { algorithm: Some(wrong) };
        assert_eq!(sign(Some(wrong)), Err(error), "{}", wrong.as_str());
    }
}

#[test]
fn a_client_without_its_proof_says_what_is_missing() {
    let apply = |client: ClientAuth| client.apply(&mut Form::default(), "https://as.test");
    for method in [AuthMethod::Basic, AuthMethod::Post] {
        assert_eq!(apply(ClientAuth { secret: None, ..client(method) }), Err(ClientAuthError::NoSecret));
    }
    let method = AuthMethod::PrivateKeyJwt { algorithm: None };
    assert_eq!(apply(client(method)), Err(ClientAuthError::NoPrivateKey));
    let broken = ClientAuth { private_key: Some("no key".into()), ..client(method) };
    assert_eq!(apply(broken), Err(ClientAuthError::UnusableKey { algorithm: None }));
}

#[test]
fn names_are_read_as_they_are_written() {
    let methods = [
        AuthMethod::Basic,
        AuthMethod::Post,
        AuthMethod::None,
        AuthMethod::PrivateKeyJwt { algorithm: None },
    ];
    for method in methods {
        assert_eq!(AuthMethod::parse(method.as_str()), Some(method));
    }
    for algorithm in SigningAlgorithm::ALL {
        assert_eq!(SigningAlgorithm::parse(algorithm.as_str()), Some(algorithm));
    }
    assert_eq!(AuthMethod::parse("tls_client_auth"), None);
    assert_eq!(SigningAlgorithm::parse("none"), None);
}
