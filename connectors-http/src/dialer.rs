//! Opening transports.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::transport::{DialTarget, InvalidDefinition};
use connectors_core::{ConnectorDefinition, Dialer, Transport, TransportError};
use url::{ParseError, Url};

use crate::client::ClientSettings;
use crate::connection::{Connection, Outcome};
use crate::headers::problem_with_name;
use crate::network::{self, refused};
use crate::route::Route;
use crate::stack::HttpStack;
use crate::transport::HttpTransport;
use crate::wire::Wire;

/// Dials servers over Streamable HTTP.
///
/// All connectors of one stack that agree in their network settings share one HTTP client, with its connection pool and its
/// TLS configuration: compose one dialer per host process. Nothing is set up before the first dial, and a dial makes no
/// connection. Files that the network settings name are looked at by each dial, and read again when they have changed.
#[derive(Debug, Clone, Default)]
pub struct HttpDialer {
    stack: HttpStack,
}

impl HttpDialer {
    /// A dialer on a stack of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A dialer on a stack that is shared.
    pub fn on(stack: &HttpStack) -> Self {
        Self { stack: stack.clone() }
    }

    /// The client for an endpoint, and the way that it takes.
    async fn client(
        &self,
        endpoint: &Url,
        definition: &ConnectorDefinition,
        connect: Duration,
    ) -> Result<(reqwest::Client, Route), TransportError> {
        let route = Route::to(endpoint, &definition.network).map_err(refused)?;
        let settings = ClientSettings { connect, route: route.clone(), guard: None };
        Ok((self.stack.clients.get(settings, &definition.network).await?, route))
    }
}

#[async_trait]
impl Dialer for HttpDialer {
    fn serves(&self, definition: &ConnectorDefinition) -> bool {
        definition.stdio.is_none()
    }

    fn check(&self, definition: &ConnectorDefinition) -> Result<(), InvalidDefinition> {
        endpoint(&definition.url)?;
        if let Some(problem) = definition.secret_headers.iter().find_map(|name| problem_with_name(name)) {
            return Err(InvalidDefinition { field: "headers", problem });
        }
        network::check(&definition.network)
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn Transport>, TransportError> {
        let DialTarget { definition, authorizer, limits, trace, .. } = target;
        let connection = Connection::new(trace);
        let endpoint = endpoint(&definition.url).map_err(refused)?;
        let client = self.client(&endpoint, &definition, limits.connect).await.inspect_err(|error| {
            connection.note(Outcome::NetworkSettings, || error.to_string());
        })?;
        Ok(Arc::new(HttpTransport::new(Wire::new(client, endpoint, authorizer, limits, connection))))
    }
}

/// Reads the URL of an MCP endpoint, as a user entered it.
fn endpoint(text: &str) -> Result<Url, InvalidDefinition> {
    let invalid = |problem: &str| InvalidDefinition { field: "url", problem: problem.to_owned() };
    if text.trim().is_empty() {
        return Err(invalid("enter the URL of the server's MCP endpoint"));
    }
    // They would be left out in silence: not what anybody has read.
    if text.trim().contains(char::is_control) {
        return Err(invalid("the URL holds line breaks or other control characters"));
    }
    let url = Url::parse(text).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => invalid("a URL begins with https:// or http://"),
        ParseError::EmptyHost => invalid("the URL names no host"),
        error => invalid(&format!("not a URL ({error})")),
    })?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(invalid("the URL has to begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("credentials do not belong into the URL: enter them as a header"));
    }
    if url.fragment().is_some() {
        return Err(invalid("leave out the part from `#` on: it is never sent to a server"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use connectors_core::{Slug, StdioCommand};

    use super::*;

    fn definition(url: &str) -> ConnectorDefinition {
        ConnectorDefinition::http(Slug::verbatim("x"), "X", url)
    }

    fn problem(url: &str) -> String {
        HttpDialer::new().check(&definition(url)).unwrap_err().to_string()
    }

    #[test]
    fn an_endpoint_is_an_http_url_with_a_host() {
        for url in ["https://h.example/mcp", "http://localhost:3000", " http://[::1]:9/a?b=c ", "HTTPS://H/"]
        {
            assert_eq!(HttpDialer::new().check(&definition(url)), Ok(()), "{url}");
        }
        assert_eq!(problem(" "), "`url`: enter the URL of the server's MCP endpoint");
        assert_eq!(problem("h.example/mcp"), "`url`: a URL begins with https:// or http://");
        assert_eq!(problem("localhost:3000/mcp"), "`url`: the URL has to begin with https:// or http://");
        assert_eq!(problem("ftp://h.example/"), "`url`: the URL has to begin with https:// or http://");
        assert_eq!(problem("https://"), "`url`: the URL names no host");
        for hidden in ["http://h/\r\nX: y", "http://h/a\tb", "http://h\0/"] {
            assert_eq!(problem(hidden), "`url`: the URL holds line breaks or other control characters");
        }
        assert_eq!(problem("http://h:99999/"), "`url`: not a URL (invalid port number)");
        assert_eq!(
            problem("https://h.example/#tools"),
            "`url`: leave out the part from `#` on: it is never sent to a server"
        );
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for url in
            ["https://user:hidden@h.example/", "https://hidden@h.example/", "https://:hidden@h.example/"]
        {
            assert_eq!(problem(url), "`url`: credentials do not belong into the URL: enter them as a header");
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_refused_by_name() {
        let mut definition = definition("https://h.example/");
        definition.secret_headers = vec!["X-Api-Key".into(), "Content-Length".into()];
        assert_eq!(
            HttpDialer::new().check(&definition).unwrap_err().to_string(),
            "`headers`: `Content-Length` is set by the connection itself: leave it out"
        );
    }

    #[test]
    fn a_local_command_is_left_to_another_dialer() {
        let command = ConnectorDefinition::stdio(Slug::verbatim("x"), "X", StdioCommand::default());
        assert!(!HttpDialer::new().serves(&command));
        assert!(HttpDialer::new().serves(&definition("")));
    }
}
