//! A client that does one step of a sign-in at a time, and nothing that it is not told to.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connectors_tests::deadline::soon;
use connectors_tests::http_client::{HttpAnswer, HttpRequest};
use connectors_tests::oauth::{CallbackParams, KeyPair, Proof};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) const REDIRECT: &str = "http://127.0.0.1:7777/callback";
pub(crate) const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

/// What came back: status, headers, JSON.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Came {
    async fn of(answer: HttpAnswer) -> Self {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap_or_default();
        // The last event of a stream is the answer.
        let json = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
        Self { status, headers, body: serde_json::from_str(json).unwrap_or(Value::Null) }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and error code.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }
}

pub(crate) async fn send(request: HttpRequest) -> Came {
    Came::of(soon("an answer", request.send()).await.unwrap()).await
}

pub(crate) async fn get(url: &str) -> Came {
    send(HttpRequest::get(url)).await
}

/// A request of the modern era to list tools, or to call one.
pub(crate) fn mcp(url: &str, tool: Option<&str>) -> HttpRequest {
    let method = if tool.is_some() { "tools/call" } else { "tools/list" };
    let mut params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "hand", "version": "1"},
    }});
    if let Some(tool) = tool {
        params["name"] = json!(tool);
        params["arguments"] = json!({});
    }
    let request =
        HttpRequest::post(url, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
    match tool {
        Some(tool) => request.header("mcp-name", tool),
        None => request,
    }
}

/// A client of one MCP server.
#[derive(Debug)]
pub(crate) struct HandClient {
    pub(crate) mcp: String,
    pub(crate) resource: String,
    pub(crate) metadata: Value,
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) method: String,
    /// Proves that it has this key.
    pub(crate) key: Option<KeyPair>,
    pub(crate) nonce: Option<String>,
}

impl HandClient {
    /// Reads the challenge, the resource metadata and the server metadata (RFC 8414).
    pub(crate) async fn discover(mcp_url: &str) -> Self {
        let refused = send(mcp(mcp_url, None)).await;
        assert_eq!(refused.status, 401);
        let challenge = refused.header("www-authenticate");
        let (_, rest) = challenge.split_once(r#"resource_metadata=""#).expect("a metadata URL");
        let resource = get(rest.split('"').next().unwrap()).await.body;
        let issuer = resource["authorization_servers"][0].as_str().unwrap();
        let metadata = get(&format!("{issuer}/.well-known/oauth-authorization-server")).await.body;
        assert_eq!(metadata["issuer"], issuer);
        Self::knowing(mcp_url, resource["resource"].as_str().unwrap(), metadata)
    }

    pub(crate) fn knowing(mcp_url: &str, resource: &str, metadata: Value) -> Self {
        Self {
            mcp: mcp_url.to_owned(),
            resource: resource.to_owned(),
            metadata,
            id: String::new(),
            secret: String::new(),
            method: "none".to_owned(),
            key: None,
            nonce: None,
        }
    }

    pub(crate) fn endpoint(&self, name: &str) -> String {
        self.metadata[name].as_str().unwrap_or_else(|| panic!("metadata with {name}")).to_owned()
    }

    pub(crate) async fn register(&mut self, method: &str) -> Value {
        let body = json!({
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code"],
            "application_type": "native",
            "token_endpoint_auth_method": method,
        });
        let came = send(HttpRequest::post(&self.endpoint("registration_endpoint"), &body)).await;
        assert_eq!(came.status, 201, "{}", came.body);
        let text = |name: &str| came.body[name].as_str().unwrap_or_default().to_owned();
        (self.id, self.secret) = (text("client_id"), text("client_secret"));
        self.method = text("token_endpoint_auth_method");
        came.body
    }

    pub(crate) fn authorize_url(&self, more: &[(&str, &str)]) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut url = Url::parse(&self.endpoint("authorization_endpoint")).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.id)
            .append_pair("redirect_uri", REDIRECT)
            .append_pair("state", "the-state")
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", &self.resource)
            .extend_pairs(more);
        url.into()
    }

    /// A request of the token endpoint, or another with client authentication.
    pub(crate) async fn post(&mut self, endpoint: &str, fields: &[(&str, &str)]) -> Came {
        let url = self.endpoint(endpoint);
        let mut fields = fields.to_vec();
        let assertion = match &self.key {
            Some(key) if self.method == "private_key_jwt" => {
                key.client_assertion(&self.id, self.metadata["issuer"].as_str().unwrap())
            }
            _ => String::new(),
        };
        match self.method.as_str() {
            "client_secret_basic" => {}
            "private_key_jwt" => fields.extend([
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", &assertion),
            ]),
            "client_secret_post" => {
                fields.extend([("client_id", self.id.as_str()), ("client_secret", &self.secret)]);
            }
            _ => fields.push(("client_id", &self.id)),
        }
        let mut request = HttpRequest::post_form(&url, &fields);
        if self.method == "client_secret_basic" {
            let credentials = STANDARD.encode(format!("{}:{}", self.id, self.secret));
            request = request.header("authorization", &format!("Basic {credentials}"));
        }
        if let Some(proof) = self.proof("POST", &url, None) {
            request = request.header("dpop", &proof);
        }
        send(request).await
    }

    fn proof(&self, method: &str, url: &str, token: Option<&str>) -> Option<String> {
        let key = self.key.as_ref().filter(|_| self.method != "private_key_jwt")?;
        Some(key.prove(Proof { method, url, nonce: self.nonce.as_deref(), token }))
    }

    pub(crate) async fn exchange(&mut self, callback: &CallbackParams) -> Came {
        let code = callback.code.clone().unwrap_or_else(|| panic!("a code: {callback:?}"));
        let resource = self.resource.clone();
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("resource", &resource),
        ];
        self.post("token_endpoint", &fields).await
    }

    pub(crate) async fn refresh(&mut self, token: &str) -> Came {
        let resource = self.resource.clone();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("resource", &resource)];
        self.post("token_endpoint", &fields).await
    }

    /// Lists the tools of the MCP server, or calls one.
    pub(crate) async fn use_token(&self, token: &str, tool: Option<&str>) -> Came {
        let mut request = mcp(&self.mcp, tool);
        let proof = self.proof("POST", &self.mcp, Some(token));
        let scheme = if proof.is_some() { "DPoP" } else { "Bearer" };
        request = request.header("authorization", &format!("{scheme} {token}"));
        if let Some(proof) = proof {
            request = request.header("dpop", &proof);
        }
        send(request).await
    }
}

/// A client that has registered, at the pair that `rig` is.
pub(crate) async fn registered(rig: &connectors_tests::oauth::Rig) -> HandClient {
    let mut client = HandClient::discover(&rig.mcp.url()).await;
    client.register("none").await;
    client
}

/// The access and the refresh token of an answer.
pub(crate) fn tokens(came: &Came) -> (String, String) {
    assert_eq!(came.status, 200, "{}", came.body);
    let text = |name: &str| came.body[name].as_str().unwrap_or_default().to_owned();
    (text("access_token"), text("refresh_token"))
}
