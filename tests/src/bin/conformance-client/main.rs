//! The client that the official conformance suite drives: a host of the library, and nothing more.
//!
//! `conformance-client URL` adds a connector for the URL, enables what it offers, uses it the way a host would, and exits
//! with 0 if everything went well. What to call comes from the suite's context, or is made up from the schemas that the
//! server publishes. No rule of the protocol is kept here.

#![expect(clippy::print_stderr, reason = "a command's complaints")]

mod arguments;
mod choice;
mod host;
mod user;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use connectors_core::error::ConnectorError;
use connectors_core::manager::{CallRequest, NewConnector};
use connectors_core::{Connector, ConnectorManager, Slug};
use connectors_http::{HttpDialer, HttpStack};
use connectors_oauth::OAuthProvider;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The suite does not end a client that hangs.
const PATIENCE: Duration = Duration::from_secs(25);

/// Where this host publishes what it is (client ID metadata document).
const METADATA_URL: &str = "https://conformance-test.local/client-metadata.json";

/// What the suite says of a scenario.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(rename = "toolCalls")]
    tool_calls: Vec<ToolCall>,
    #[serde(flatten)]
    credentials: choice::Credentials,
}

#[derive(Debug, Deserialize)]
struct ToolCall {
    name: String,
    arguments: Value,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match tokio::time::timeout(PATIENCE, run()).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("not done after {PATIENCE:?}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let url = std::env::args().nth(1).ok_or("usage: conformance-client URL")?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(context) => {
            serde_json::from_str(&context).map_err(|error| format!("unreadable context: {error}"))?
        }
        Err(_) => Context::default(),
    };
    let http = HttpStack::new();
    let sign_in = OAuthProvider::new(http.client()).with_client_metadata_url(METADATA_URL);
    let manager = ConnectorManager::builder()
        .with_dialer(Arc::new(HttpDialer::on(&http)))
        .with_sign_in(Arc::new(sign_in))
        .with_input(Arc::new(host::ConsentingHost))
        .start()
        .await;
    let outcome = exercise(&manager, &url, &scenario, context).await;
    manager.shutdown().await;
    outcome
}

async fn exercise(
    manager: &ConnectorManager,
    url: &str,
    scenario: &str,
    context: Context,
) -> Result<(), String> {
    let mut new = NewConnector::http("conformance", url, Vec::new());
    if let Some(choice) = context.credentials.choice(scenario) {
        new = new.with_sign_in(choice);
    }
    let slug = manager.add(new).await.map_err(text)?.slug;
    user::bring_to_ready(manager, &slug).await?;
    tokio::select! {
        outcome = use_it(manager, &slug, scenario, context.tool_calls) => outcome,
        problem = user::consent(manager, &slug) => Err(problem),
    }
}

/// Uses everything that the connector offers.
async fn use_it(
    manager: &ConnectorManager,
    slug: &Slug,
    scenario: &str,
    tool_calls: Vec<ToolCall>,
) -> Result<(), String> {
    call_tools(manager, slug, tool_calls).await?;
    let connection = manager.connection(slug).map_err(text)?;
    let capabilities = connection.session().capabilities.clone();
    if capabilities.get("resources").is_some() {
        for resource in connection.list_resources().await.or_else(unless_missing).map_err(text)? {
            connection.read_resource(&resource.uri).await.map_err(text)?;
        }
    }
    if capabilities.get("prompts").is_some() {
        for prompt in connection.list_prompts().await.or_else(unless_missing).map_err(text)? {
            let arguments: Map<String, Value> =
                prompt.arguments.iter().map(|argument| (argument.name.clone(), "x".into())).collect();
            connection.get_prompt(&prompt.name, arguments).await.map_err(text)?;
        }
    }
    if capabilities["extensions"].get(connectors_core::skills::EXTENSION).is_some() {
        // Whether anything is loaded is the user's choice, and so the scenario's.
        let load = scenario.contains("-verify-");
        use_skills(&*connection, slug, load).await.map_err(text)?;
    }
    Ok(())
}

/// Enables every tool and calls what the context asks for, or each of them once.
async fn call_tools(manager: &ConnectorManager, slug: &Slug, asked: Vec<ToolCall>) -> Result<(), String> {
    let names: Vec<String> = manager.tools(slug).map_err(text)?.into_iter().map(|tool| tool.name).collect();
    manager.enable_tools(slug, &names).await.map_err(text)?;
    let tools = manager.tools(slug).map_err(text)?;
    if asked.is_empty() {
        for tool in tools.iter().filter(|tool| tool.routed) {
            let call = CallRequest::new(slug.clone(), &tool.name, arguments::for_tool(tool, &tools));
            match manager.call_tool(call).await {
                // Made up without success; nothing was sent.
                Ok(_) | Err(ConnectorError::InvalidArguments { .. }) => {}
                Err(error) => return Err(text(error)),
            }
        }
    }
    for ToolCall { name, arguments } in asked {
        manager.call_tool(CallRequest::new(slug.clone(), name, arguments)).await.map_err(text)?;
    }
    Ok(())
}

async fn use_skills(connection: &dyn Connector, slug: &Slug, load: bool) -> Result<(), ConnectorError> {
    for skill in connection.list_skills().await? {
        if load {
            connectors_core::skills::load(connection, slug, &skill).await?;
            for file in skill.resources.iter().filter(|file| file.uri != skill.uri) {
                connectors_core::skills::read_file(connection, slug, &skill, &file.uri).await?;
            }
        }
    }
    Ok(())
}

/// A server may declare a capability and offer nothing under it.
fn unless_missing<T>(error: ConnectorError) -> Result<Vec<T>, ConnectorError> {
    match error {
        ConnectorError::Upstream { error, .. } if error.code == -32601 => Ok(Vec::new()),
        ConnectorError::Protocol { .. } => Ok(Vec::new()),
        error => Err(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn text(error: ConnectorError) -> String {
    format!("{}: {error}", error.code())
}
