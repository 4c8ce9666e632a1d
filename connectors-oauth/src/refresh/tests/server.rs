//! An authorization server that rotates refresh tokens, and takes the whole grant back when one is used twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::TransportError;
use connectors_core::http::{HttpClient, HttpRequest, HttpResponse, HttpRules};
use http::StatusCode;
use serde_json::{Value, json};

use super::shelf::Halt;

/// What a server does with a token request.
#[derive(Clone, Default)]
pub(super) enum Mood {
    #[default]
    Well,
    /// Answers with a status and nothing else.
    Status(u16),
    /// Answers with an error of OAuth.
    Error(&'static str),
    /// Is not reached.
    Away,
    /// Rotates, and answers after this time.
    Slow(Duration),
    /// Answers with tokens that have these fields instead.
    Odd(Value),
}

#[derive(Default)]
struct Books {
    count: usize,
    /// The grant of each refresh token that is good.
    good: HashMap<String, usize>,
    /// The grant of each refresh token that has been used, and the one that it was used for.
    spent: HashMap<String, (usize, String)>,
    revoked: HashSet<String>,
    forms: Vec<HashMap<String, String>>,
    mood: Mood,
}

/// The server.
pub(super) struct Server {
    books: Mutex<Books>,
    /// Whether a token that was used last is accepted once more (as servers with a grace period do).
    pub(super) is_lenient: bool,
    pub(super) halt: Halt,
}

impl Server {
    pub(super) fn new() -> Arc<Self> {
        Self::of(false, Halt::never())
    }

    pub(super) fn of(is_lenient: bool, halt: Halt) -> Arc<Self> {
        Arc::new(Self { books: Mutex::default(), is_lenient, halt })
    }

    /// A grant of its own: an access token and a refresh token.
    pub(super) fn grant(&self) -> (String, String) {
        let mut books = self.books.lock().unwrap();
        let grant = books.count;
        books.issue(grant)
    }

    pub(super) fn feels(&self, mood: Mood) {
        self.books.lock().unwrap().mood = mood;
    }

    /// Takes every refresh token back.
    pub(super) fn forget_grants(&self) {
        self.books.lock().unwrap().good.clear();
    }

    /// Forms that were posted, tokens and revocations alike.
    pub(super) fn requests(&self) -> usize {
        self.books.lock().unwrap().forms.len()
    }

    pub(super) fn last_form(&self) -> HashMap<String, String> {
        self.books.lock().unwrap().forms.last().cloned().unwrap()
    }

    pub(super) fn is_revoked(&self, token: &str) -> bool {
        self.books.lock().unwrap().revoked.contains(token)
    }

    fn answer(&self, form: &HashMap<String, String>) -> HttpResponse {
        let mut books = self.books.lock().unwrap();
        match books.mood.clone() {
            Mood::Status(status) => return response(status, Value::Null),
            Mood::Error(error) => return response(400, json!({"error": error})),
            _ => {}
        }
        if form.get("grant_type").map(String::as_str) != Some("refresh_token") {
            let grant = books.count;
            let (access, _) = books.issue(grant);
            return response(
                200,
                json!({"access_token": access, "token_type": "Bearer", "expires_in": 3600}),
            );
        }
        let used = form.get("refresh_token").cloned().unwrap_or_default();
        let Some(grant) = books.good.remove(&used) else {
            let Some((grant, successor)) = books.spent.get(&used).cloned() else { return refusal() };
            let is_last = books.good.contains_key(&successor);
            if !(self.is_lenient && is_last) {
                // Used twice: somebody has stolen it.
                books.good.retain(|_, of| *of != grant);
                return refusal();
            }
            books.good.remove(&successor);
            return books.rotate(used, grant);
        };
        if let Mood::Odd(answer) = books.mood.clone() {
            books.good.insert(used, grant);
            return response(200, answer);
        }
        books.rotate(used, grant)
    }
}

impl Books {
    fn issue(&mut self, grant: usize) -> (String, String) {
        self.count += 1;
        let refresh = format!("refresh-{}", self.count);
        self.good.insert(refresh.clone(), grant);
        (format!("access-{}", self.count), refresh)
    }

    fn rotate(&mut self, used: String, grant: usize) -> HttpResponse {
        let (access, refresh) = self.issue(grant);
        self.spent.insert(used, (grant, refresh.clone()));
        let tokens = json!({
            "access_token": access, "token_type": "bearer", "expires_in": 3600, "refresh_token": refresh,
        });
        response(200, tokens)
    }
}

fn refusal() -> HttpResponse {
    response(400, json!({"error": "invalid_grant", "error_description": "the token is not good"}))
}

fn response(status: u16, body: Value) -> HttpResponse {
    let mut response = HttpResponse::new(body.to_string().into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[async_trait]
impl HttpClient for Server {
    async fn send(&self, request: HttpRequest, _: &HttpRules) -> Result<HttpResponse, TransportError> {
        self.halt.step("before the request").await;
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(request.body()).into_owned().collect();
        let mood = {
            let mut books = self.books.lock().unwrap();
            books.forms.push(form.clone());
            books.mood.clone()
        };
        if request.uri().path() == "/revoke" {
            let token = form.get("token").cloned().unwrap_or_default();
            let mut books = self.books.lock().unwrap();
            books.good.remove(&token);
            books.revoked.insert(token);
            return Ok(response(200, Value::Null));
        }
        if let Mood::Away = mood {
            return Err(TransportError::Unreachable { reason: "as.test is away".into(), source: None });
        }
        let answer = self.answer(&form);
        self.halt.step("before the answer").await;
        if let Mood::Slow(time) = mood {
            tokio::time::sleep(time).await;
        }
        Ok(answer)
    }
}
