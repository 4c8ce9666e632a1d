//! What the server offers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::*;
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::changes::{Change, tell_client, tell_subscriber};

const NOTE: &str = "note://today";
const GROWN: &str = "note://grown";
const DAYS: [&str; 3] = ["monday", "saturday", "sunday"];
const NAMES: [&str; 3] = ["Ada", "Alan", "Grace"];

/// The server. All clones are the same one.
#[derive(Clone)]
pub(crate) struct Surface(Arc<State>);

struct State {
    versions: [ProtocolVersion; 1],
    grown: AtomicBool,
    touched: AtomicUsize,
    cancelled: AtomicUsize,
    changes: broadcast::Sender<Change>,
    /// For subscriptions that are accepted and not yet served: rmcp acknowledges them in between.
    accepted: Mutex<VecDeque<broadcast::Receiver<Change>>>,
}

impl Surface {
    /// One that speaks this version alone.
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self(Arc::new(State {
            versions: [version],
            grown: AtomicBool::new(false),
            touched: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            changes: broadcast::Sender::new(16),
            accepted: Mutex::default(),
        }))
    }

    fn accepted(&self) -> MutexGuard<'_, VecDeque<broadcast::Receiver<Change>>> {
        self.0.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_grown(&self) -> bool {
        self.0.grown.load(Ordering::SeqCst)
    }

    fn is_modern(&self) -> bool {
        self.0.versions[0] == ProtocolVersion::V_2026_07_28
    }

    async fn announce(&self, context: &RequestContext<RoleServer>, change: Change) {
        if self.is_modern() {
            // Fails only while nobody has subscribed.
            let _ = self.0.changes.send(change);
        } else {
            tell_client(context, &change).await;
        }
    }

    /// Asks for a name: in a round of its own, or by a request of the server's.
    async fn ask(
        &self,
        answer: Option<InputResponses>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let form = json!({
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": "Who are you?",
                "requestedSchema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "default": 42}},
                    "required": ["name"]
                }
            }
        });
        let answer: Value = if !self.is_modern() {
            match context.peer.send_request(ServerRequest::ElicitRequest(read(form)?)).await {
                Ok(answer) => serde_json::to_value(answer).map_err(internal)?,
                Err(error) => return Err(internal(error)),
            }
        } else if let Some(answer) = answer.as_ref().and_then(|answers| answers.get("who")) {
            serde_json::to_value(answer).map_err(internal)?
        } else {
            let requests = InputRequests::from_iter([("who".to_owned(), read(form)?)]);
            return Ok(InputRequiredResult::new(Some(requests), Some("asked".to_owned())).into());
        };
        let content = &answer["content"];
        Ok(text(match answer["action"].as_str() {
            Some("accept") => {
                format!("{} is {}", content["name"].as_str().unwrap_or_default(), content["age"])
            }
            action => action.unwrap_or_default().to_owned(),
        }))
    }
}

impl ServerHandler for Surface {
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Owned(self.0.versions.to_vec())
    }

    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_completions()
            .build();
        let mut info =
            ServerConfig::new(capabilities).with_server_info(Implementation::new("rmcp-interop", "1.0.0"));
        info.protocol_version = self.0.versions[0].clone();
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = |properties: Value| {
            let required: Vec<&String> =
                properties.as_object().into_iter().flat_map(|all| all.keys()).collect();
            json!({"type": "object", "properties": properties, "required": required})
        };
        let number = json!({"type": "integer"});
        let mut tools = vec![
            json!({"name": "echo", "inputSchema": schema(json!({"message": {"type": "string"}}))}),
            json!({"name": "add", "inputSchema": schema(json!({"a": number, "b": number}))}),
            json!({"name": "count", "inputSchema": schema(json!({"steps": number}))}),
        ];
        let plain = ["fail", "wait", "cancellations", "ask", "grow", "touch"];
        let grown = self.is_grown().then_some("grown");
        for name in plain.into_iter().chain(grown) {
            tools.push(json!({"name": name, "inputSchema": {"type": "object", "properties": {}}}));
        }
        read(json!({"resultType": "complete", "tools": tools}))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        Ok(match &*request.name {
            "echo" => text(arguments["message"].as_str().unwrap_or_default()),
            "add" => {
                let [a, b] = ["a", "b"].map(|key| arguments[key].as_i64().unwrap_or_default());
                text((a + b).to_string())
            }
            "fail" => CallToolResult::error(vec![ContentBlock::text("it did not work")]).into(),
            "count" => {
                let steps = arguments["steps"].as_u64().unwrap_or_default();
                for step in 1..=steps {
                    report(step, &context).await;
                }
                text(format!("counted to {steps}"))
            }
            "wait" => {
                report(1, &context).await;
                context.ct.cancelled().await;
                self.0.cancelled.fetch_add(1, Ordering::SeqCst);
                text("cancelled")
            }
            "cancellations" => text(self.0.cancelled.load(Ordering::SeqCst).to_string()),
            "ask" => return self.ask(request.input_responses, &context).await,
            "grow" => {
                self.0.grown.store(true, Ordering::SeqCst);
                self.announce(&context, Change::Lists).await;
                text("grown")
            }
            "touch" => {
                self.0.touched.fetch_add(1, Ordering::SeqCst);
                self.announce(&context, Change::Resource(NOTE)).await;
                text("touched")
            }
            "grown" if self.is_grown() => text("I am new"),
            name => return Err(ErrorData::invalid_params(format!("no tool {name}"), None)),
        })
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut resources = vec![json!({"uri": NOTE, "name": "today", "mimeType": "text/plain"})];
        if self.is_grown() {
            resources.push(json!({"uri": GROWN, "name": "grown", "mimeType": "text/plain"}));
        }
        read(json!({"resultType": "complete", "resources": resources}))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates =
            json!([{"uriTemplate": "note://days/{day}", "name": "day", "mimeType": "text/plain"}]);
        read(json!({"resultType": "complete", "resourceTemplates": templates}))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri;
        let text = match uri.as_str() {
            NOTE => format!("touched {} times", self.0.touched.load(Ordering::SeqCst)),
            GROWN if self.is_grown() => "I am new".to_owned(),
            other => match other.strip_prefix("note://days/") {
                Some(day) => format!("nothing on {day}"),
                None => return Err(ErrorData::resource_not_found(format!("no resource {uri}"), None)),
            },
        };
        let contents = json!([{"uri": uri, "mimeType": "text/plain", "text": text}]);
        let result: ReadResourceResult = read(json!({"resultType": "complete", "contents": contents}))?;
        Ok(result.into())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // Its one client may hear of everything.
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut prompts = vec![json!({"name": "greet", "arguments": [{"name": "name", "required": true}]})];
        if self.is_grown() {
            prompts.push(json!({"name": "grown"}));
        }
        read(json!({"resultType": "complete", "prompts": prompts}))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let text = match request.name.as_str() {
            "greet" => format!("Say hello to {}.", arguments["name"].as_str().unwrap_or_default()),
            name => return Err(ErrorData::invalid_params(format!("no prompt {name}"), None)),
        };
        let messages = json!([{"role": "user", "content": {"type": "text", "text": text}}]);
        let result: GetPromptResult = read(json!({"resultType": "complete", "messages": messages}))?;
        Ok(result.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let all = if let Reference::Prompt(_) = request.r#ref { NAMES } else { DAYS };
        let values: Vec<&str> =
            all.into_iter().filter(|value| value.starts_with(&request.argument.value)).collect();
        read(json!({"resultType": "complete", "completion": {"values": values}}))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.accepted().push_back(self.0.changes.subscribe());
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let accepted = self.accepted().pop_front();
        let mut changes = accepted.unwrap_or_else(|| self.0.changes.subscribe());
        loop {
            tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                Ok(change) = changes.recv() => tell_subscriber(&subscription, &change).await,
            }
        }
    }
}

async fn report(step: u64, context: &RequestContext<RoleServer>) {
    if let Some(token) = context.meta.get_progress_token() {
        // Fails only when the client has left.
        let _ = context.peer.notify_progress(ProgressNotificationParam::new(token, step as f64)).await;
    }
}

fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

/// A value of the SDK's from what it looks like on the wire.
fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
