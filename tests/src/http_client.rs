//! A bare HTTP client: one connection for each request, and no header but those that are asked for.

use std::io;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Method, Request, Response};
use futures_util::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A request to be sent.
#[derive(Debug)]
pub struct HttpRequest {
    address: String,
    request: Request<Body>,
}

impl HttpRequest {
    /// A request without a body for `http://host:port/path`.
    pub fn new(method: Method, url: &str) -> Self {
        let rest = url.strip_prefix("http://").expect("an http URL");
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let request = Request::builder().method(method).uri(format!("/{path}")).header("host", address);
        Self { address: address.to_owned(), request: request.body(Body::empty()).expect("a valid request") }
    }

    /// A GET.
    pub fn get(url: &str) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST of JSON.
    pub fn post(url: &str, body: &Value) -> Self {
        Self::post_body(url, "application/json", body.to_string())
    }

    /// A POST of a form.
    pub fn post_form(url: &str, fields: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::post_body(url, "application/x-www-form-urlencoded", form)
    }

    /// A POST of anything.
    pub fn post_body(url: &str, content_type: &str, body: String) -> Self {
        let mut request = Self::new(Method::POST, url).header("content-type", content_type);
        *request.request.body_mut() = Body::from(body);
        request
    }

    /// Sets a header, `host` included.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().expect("a header value"));
        self
    }

    /// Sends it, and returns the answer as soon as its head is there. Dropping that closes the connection.
    pub async fn send(self) -> io::Result<HttpAnswer> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let connection = AbortOnDrop(tokio::spawn(async move {
            // What goes wrong shows in the answer.
            let _ = connection.await;
        }));
        let response = sender.send_request(self.request).await.map_err(io::Error::other)?;
        Ok(HttpAnswer { response: response.map(Body::new), _connection: connection })
    }
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct HttpAnswer {
    response: Response<Body>,
    _connection: AbortOnDrop,
}

impl HttpAnswer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The whole body.
    pub async fn text(self) -> io::Result<String> {
        let body =
            axum::body::to_bytes(self.response.into_body(), usize::MAX).await.map_err(io::Error::other)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The body as it arrives.
    pub fn chunks(self) -> impl Stream<Item = io::Result<bytes::Bytes>> + Unpin {
        let Self { response, _connection: connection } = self;
        let chunks: BodyDataStream = response.into_body().into_data_stream();
        chunks.map(move |chunk| {
            // The stream keeps the connection.
            let _ = &connection;
            chunk.map_err(io::Error::other)
        })
    }

    /// The messages of a stream of server-sent events, as they arrive.
    pub fn messages(self) -> impl Stream<Item = Value> + Unpin {
        assert_eq!(self.header("content-type"), "text/event-stream");
        Box::pin(self.chunks().filter_map(|chunk| async move {
            let text = String::from_utf8(chunk.ok()?.to_vec()).ok()?;
            serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: "))?).ok()
        }))
    }
}
