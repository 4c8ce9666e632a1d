//! The practical limit: reqwest, and nothing but what any client has to do.
//!
//! Posts a message, checks the status and the content type, reads the body or the event, and reads the envelope: the id is
//! checked, the result is kept as it came.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Connection, Contender};
use crate::Era;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bare","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

#[derive(Deserialize)]
struct Envelope {
    id: u64,
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Tool>,
    next_cursor: Option<String>,
}

/// What a client has to know of a tool.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "kept, as any client keeps it")]
struct Tool {
    name: String,
    description: Option<String>,
    input_schema: Box<RawValue>,
}

pub(super) struct Bare {
    client: reqwest::Client,
    era: Era,
}

impl Bare {
    pub(super) fn new(era: Era) -> Result<Self> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, era })
    }
}

impl Contender for Bare {
    type Connection = Connected;

    async fn connect(&self, url: &str) -> Result<Connected> {
        let mut connected = Connected {
            client: self.client.clone(),
            url: url.parse()?,
            era: self.era,
            stays_open: url.contains("answer=open"),
            session: None,
            next_id: AtomicU64::new(1),
            tools: Vec::new(),
        };
        connected.open().await?;
        let mut cursor = String::new();
        loop {
            let page = connected.request("tools/list", None, &cursor).await?;
            let page: Page = serde_json::from_str(page.get())?;
            connected.tools.extend(page.tools);
            let Some(next) = page.next_cursor else { return Ok(connected) };
            cursor = format!(r#""cursor":"{next}""#);
        }
    }
}

pub(super) struct Connected {
    client: reqwest::Client,
    url: reqwest::Url,
    era: Era,
    /// The server leaves its streams open: nothing is to be had from reading on.
    stays_open: bool,
    session: Option<HeaderValue>,
    next_id: AtomicU64,
    tools: Vec<Tool>,
}

impl Connected {
    async fn open(&mut self) -> Result<()> {
        if self.era == Era::Modern {
            self.request("server/discover", None, "").await?;
            return Ok(());
        }
        let params =
            r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bare","version":"1"}"#;
        let response = self.post("initialize", None, self.body(0, "initialize", params)).await?;
        self.session = response.headers().get("mcp-session-id").cloned();
        result(&response.bytes().await?, 0)?;
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
        self.post("notifications/initialized", None, note).await?.bytes().await?;
        Ok(())
    }

    fn body(&self, id: u64, method: &str, params: &str) -> String {
        let (comma, meta) = match self.era {
            Era::Modern => (if params.is_empty() { "" } else { "," }, META),
            Era::Legacy => ("", ""),
        };
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{meta}}}}}"#)
    }

    async fn request(&self, method: &'static str, name: Option<&str>, params: &str) -> Result<Box<RawValue>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let response = self.post(method, name, self.body(id, method, params)).await?;
        match response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(b"application/json") => result(&response.bytes().await?, id),
            Some(b"text/event-stream") => self.event(response, id).await,
            _ => bail!("neither JSON nor an event stream"),
        }
    }

    async fn post(
        &self,
        method: &'static str,
        name: Option<&str>,
        body: String,
    ) -> Result<reqwest::Response> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        match self.era {
            Era::Modern => {
                request = request
                    .header("mcp-protocol-version", HeaderValue::from_static("2026-07-28"))
                    .header("mcp-method", HeaderValue::from_static(method));
                if let Some(name) = name {
                    request = request.header("mcp-name", name);
                }
            }
            Era::Legacy => {
                if let Some(session) = &self.session {
                    request = request
                        .header("mcp-protocol-version", HeaderValue::from_static("2025-11-25"))
                        .header("mcp-session-id", session.clone());
                }
            }
        }
        let response = request.body(body).send().await?;
        ensure!(response.status().is_success(), "status {}", response.status());
        Ok(response)
    }

    async fn event(&self, mut response: reqwest::Response, id: u64) -> Result<Box<RawValue>> {
        let mut stream = Vec::new();
        let end = loop {
            let chunk = response.chunk().await?.context("the stream ended before the event")?;
            // The blank line may begin in the chunk before.
            let from = stream.len().saturating_sub(1);
            stream.extend_from_slice(&chunk);
            if let Some(end) = memmem::find(&stream[from..], b"\n\n") {
                break from + end;
            }
        };
        let data = memmem::find(&stream[..end], b"data: ").context("an event without data")?;
        let result = result(&stream[data + b"data: ".len()..end], id)?;
        if !self.stays_open {
            // So that the connection can be used again.
            while response.chunk().await?.is_some() {}
        }
        Ok(result)
    }
}

fn result(message: &[u8], id: u64) -> Result<Box<RawValue>> {
    let envelope: Envelope = serde_json::from_slice(message)?;
    ensure!(envelope.id == id, "the answer to another request");
    envelope.result.context("no result")
}

impl Connection for Connected {
    fn tools(&self) -> usize {
        self.tools.len()
    }

    async fn call(&self, arguments: Value) -> Result<usize> {
        let name = &self.tools.first().context("no tools")?.name;
        let params = format!(r#""name":"{name}","arguments":{arguments}"#);
        Ok(self.request("tools/call", Some(name), &params).await?.get().len())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
