//! Servers that answer from a script.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use connectors_core::http::{HttpClient, HttpRequest, HttpResponse, HttpRules};
use connectors_core::{NetworkSettings, Slug, Trace, TransportError};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::Notify;
use url::Url;

use crate::exchange::Exchange;
use crate::metadata::{ResourceMetadata, ServerMetadata};

/// The MCP endpoint of [`exchange`].
pub(crate) const SERVER: &str = "https://mcp.test/mcp";

/// An exchange on behalf of [`SERVER`].
pub(crate) fn exchange(http: &Arc<ScriptedHttp>) -> Exchange {
    exchange_of(SERVER, http)
}

/// An exchange on behalf of any MCP endpoint.
pub(crate) fn exchange_of(server: &str, http: &Arc<ScriptedHttp>) -> Exchange {
    Exchange {
        slug: Slug::from_name("test"),
        server: Url::parse(server).unwrap(),
        network: Arc::new(NetworkSettings::default()),
        http: Arc::clone(http) as Arc<dyn HttpClient>,
        trace: Trace::default(),
    }
}

/// The steps that an exchange has noted, as `code` or `code!` where the step failed.
pub(crate) fn noted(exchange: &Exchange) -> Vec<String> {
    let mark = |step: &connectors_core::TraceStep| match step.outcome {
        connectors_core::trace::StepOutcome::Failed => format!("{}!", step.code),
        _ => step.code.to_owned(),
    };
    exchange.trace.read().iter().map(mark).collect()
}

/// One answer of the script.
pub(crate) struct Answer {
    result: Result<HttpResponse, TransportError>,
    gate: Option<Arc<Notify>>,
}

impl Answer {
    /// A status without a body.
    pub(crate) fn status(status: u16) -> Self {
        let mut response = HttpResponse::new(Bytes::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Self { result: Ok(response), gate: None }
    }

    /// A 200 with a JSON document.
    pub(crate) fn json(document: serde_json::Value) -> Self {
        Self::body(200, "application/json", document.to_string())
    }

    /// Any body.
    pub(crate) fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut answer = Self::status(status).header("content-type", content_type);
        if let Ok(response) = &mut answer.result {
            *response.body_mut() = body.into();
        }
        answer
    }

    /// No answer at all.
    pub(crate) fn failure(error: TransportError) -> Self {
        Self { result: Err(error), gate: None }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(response) = &mut self.result {
            let name: HeaderName = name.parse().unwrap();
            response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        self
    }

    /// Comes only when `gate` is notified.
    pub(crate) fn held_by(mut self, gate: &Arc<Notify>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) follow_redirects: bool,
}

impl Sent {
    /// The body as a form, in the order of its fields.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header, if it was sent once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        values.next().is_none().then_some(value)
    }
}

/// Answers each method and URL from its own queue; 404 where nothing is left in it.
pub(crate) struct ScriptedHttp {
    script: Mutex<HashMap<(String, String), VecDeque<Answer>>>,
    sent: Mutex<Vec<Sent>>,
}

impl ScriptedHttp {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { script: Mutex::default(), sent: Mutex::default() })
    }

    /// Appends an answer to a queue.
    pub(crate) fn on(self: &Arc<Self>, method: &str, url: &str, answer: Answer) -> &Arc<Self> {
        let key = (method.to_owned(), url.to_owned());
        self.script.lock().unwrap().entry(key).or_default().push_back(answer);
        self
    }

    /// Everything that was sent, in order.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// What was sent, as `METHOD url`.
    pub(crate) fn requested(&self) -> Vec<String> {
        self.sent().iter().map(|sent| format!("{} {}", sent.method, sent.url)).collect()
    }
}

#[async_trait]
impl HttpClient for ScriptedHttp {
    async fn send(&self, request: HttpRequest, rules: &HttpRules) -> Result<HttpResponse, TransportError> {
        let (parts, body) = request.into_parts();
        let (method, url) = (parts.method.to_string(), parts.uri.to_string());
        let key = (method.clone(), url.clone());
        let follow_redirects = rules.follow_redirects;
        let sent = Sent { method, url, headers: parts.headers, body, follow_redirects };
        self.sent.lock().unwrap().push(sent);
        let answer = self.script.lock().unwrap().get_mut(&key).and_then(VecDeque::pop_front);
        let answer = answer.unwrap_or_else(|| Answer::status(404));
        if let Some(gate) = answer.gate {
            gate.notified().await;
        }
        answer.result
    }
}

/// The metadata of [`SERVER`], with nothing optional in it.
pub(crate) fn resource_metadata() -> ResourceMetadata {
    ResourceMetadata {
        resource: SERVER.to_owned(),
        authorization_servers: vec!["https://as.test".to_owned()],
        scopes_supported: None,
        dpop_bound_access_tokens_required: false,
    }
}

/// The metadata of an authorization server at `https://as.test` that registers clients, with nothing else optional in it.
pub(crate) fn server_metadata() -> ServerMetadata {
    let assumed = ServerMetadata::assumed(&Url::parse("https://as.test").unwrap());
    ServerMetadata {
        code_challenge_methods_supported: Some(vec!["S256".to_owned()]),
        assumed: false,
        ..assumed
    }
}
