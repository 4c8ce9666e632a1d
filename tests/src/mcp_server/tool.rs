//! Tools for servers to have.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::engine::Failure;

/// What a call of a tool comes to: a `CallToolResult`, or a JSON-RPC error.
pub(crate) type Outcome = Result<Value, Failure>;

type Run = Arc<dyn Fn(ToolContext) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A tool: its definition, and what a call of it does.
#[derive(Clone)]
pub struct Tool {
    definition: Value,
    run: Run,
}

/// What a call gets.
#[derive(Debug)]
pub struct ToolContext {
    /// The arguments.
    pub arguments: Value,
    pub(crate) progress_token: Option<Value>,
    pub(crate) notes: mpsc::UnboundedSender<Value>,
}

impl ToolContext {
    /// Tells the client how far the call is, if it wants to know.
    pub fn progress(&self, progress: u64, total: u64, message: &str) {
        if let Some(token) = &self.progress_token {
            let params =
                json!({"progressToken": token, "progress": progress, "total": total, "message": message});
            // Nobody listens any more if the client has left.
            let _ = self.notes.send(super::engine::notification("notifications/progress", params));
        }
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.definition.fmt(f)
    }
}

/// A successful result of one text.
fn text(text: impl Into<String>) -> Value {
    json!({"content": [{"type": "text", "text": text.into()}], "isError": false})
}

impl Tool {
    /// A tool with this input schema that does `run`.
    pub fn new<F>(
        name: &str,
        input_schema: Value,
        run: impl Fn(ToolContext) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let definition =
            json!({"name": name, "description": format!("The tool {name}."), "inputSchema": input_schema});
        Self { definition, run: Arc::new(move |context| Box::pin(run(context))) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.definition["name"].as_str().unwrap_or_default()
    }

    /// Its definition, as listed.
    pub fn definition(&self) -> &Value {
        &self.definition
    }

    /// The same tool under another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.with_member("name", json!(name))
    }

    /// The same tool with another description.
    #[must_use]
    pub fn described(self, description: &str) -> Self {
        self.with_member("description", json!(description))
    }

    /// The same tool with a member of its definition set.
    #[must_use]
    pub fn with_member(mut self, key: &str, value: Value) -> Self {
        self.definition[key] = value;
        self
    }

    pub(crate) fn call(&self, context: ToolContext) -> BoxFuture<'static, Outcome> {
        (self.run)(context)
    }

    /// `echo {text}` returns the text.
    pub fn echo() -> Self {
        let schema =
            json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
        Self::new("echo", schema, |call| async move {
            Ok(text(call.arguments["text"].as_str().unwrap_or_default()))
        })
    }

    /// `add {a, b}` returns the sum as text.
    pub fn add() -> Self {
        let number = json!({"type": "number"});
        let schema =
            json!({"type": "object", "properties": {"a": number, "b": number}, "required": ["a", "b"]});
        Self::new("add", schema, |call| async move {
            let [a, b] = ["a", "b"].map(|key| call.arguments[key].as_f64().unwrap_or(f64::NAN));
            Ok(text((a + b).to_string()))
        })
    }

    /// `sleep {ms}` answers after that time.
    pub fn sleep() -> Self {
        let schema = json!({"type": "object", "properties": {"ms": {"type": "integer"}}, "required": ["ms"]});
        Self::new("sleep", schema, |call| async move {
            let ms = call.arguments["ms"].as_u64().unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(text(format!("slept {ms} ms")))
        })
    }

    /// `fail` fails, as tools do.
    pub fn fail() -> Self {
        Self::new("fail", json!({"type": "object"}), |_| async {
            Ok(json!({"content": [{"type": "text", "text": "it did not work"}], "isError": true}))
        })
    }

    /// `progress {steps, message?}` reports every step.
    pub fn progress() -> Self {
        let properties = json!({"steps": {"type": "integer"}, "message": {"type": "string"}});
        let schema = json!({"type": "object", "properties": properties, "required": ["steps"]});
        Self::new("progress", schema, |call| async move {
            let steps = call.arguments["steps"].as_u64().unwrap_or_default();
            for step in 1..=steps {
                call.progress(step, steps, call.arguments["message"].as_str().unwrap_or("working"));
                // Lets the wire take each one as it comes.
                tokio::task::yield_now().await;
            }
            Ok(text(format!("{steps} steps done")))
        })
    }

    /// `big {bytes}` returns a text of that size.
    pub fn big() -> Self {
        let schema =
            json!({"type": "object", "properties": {"bytes": {"type": "integer"}}, "required": ["bytes"]});
        Self::new("big", schema, |call| async move {
            let bytes = call.arguments["bytes"].as_u64().unwrap_or_default();
            Ok(text("x".repeat(usize::try_from(bytes).unwrap_or_default())))
        })
    }

    /// `structured` returns structured content that satisfies its output schema.
    pub fn structured() -> Self {
        let output =
            json!({"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]});
        Self::new("structured", json!({"type": "object"}), |_| async {
            let content = json!([{"type": "text", "text": r#"{"answer":42}"#}]);
            Ok(json!({"content": content, "structuredContent": {"answer": 42}, "isError": false}))
        })
        .with_member("outputSchema", output)
    }

    /// `rpc_error` is answered with the JSON-RPC error -32000.
    pub fn rpc_error() -> Self {
        Self::new("rpc_error", json!({"type": "object"}), |_| async {
            Err(Failure::new(-32000, "the server is out of order"))
        })
    }

    /// `where {region}` mirrors its parameter into `Mcp-Param-Region` and returns it.
    pub fn mirrored() -> Self {
        let region = json!({"type": "string", "x-mcp-header": "Region"});
        let schema = json!({"type": "object", "properties": {"region": region}});
        Self::new("where", schema, |call| async move {
            Ok(text(call.arguments["region"].as_str().unwrap_or("nowhere")))
        })
    }

    /// `hang` never answers.
    pub fn hang() -> Self {
        Self::new("hang", json!({"type": "object"}), |_| std::future::pending())
    }

    /// `wait` answers once the gate is open.
    pub fn waiting(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::new("wait", json!({"type": "object"}), move |_| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                Ok(text("the gate is open"))
            }
        })
    }

    /// `pause {steps}` reports every step, and answers once `resume` was called.
    pub fn pause(gate: &Gate) -> Self {
        let gate = gate.clone();
        let schema = json!({"type": "object", "properties": {"steps": {"type": "integer"}}});
        Self::new("pause", schema, move |call| {
            let gate = gate.clone();
            async move {
                let steps = call.arguments["steps"].as_u64().unwrap_or_default();
                (1..=steps).for_each(|step| call.progress(step, steps, "working"));
                gate.passed().await;
                Ok(text("resumed"))
            }
        })
    }

    /// `resume` lets every `pause` with this gate go on.
    pub fn resume(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::new("resume", json!({"type": "object"}), move |_| {
            gate.open();
            async { Ok(text("open")) }
        })
    }

    /// `crash` ends the server's process with exit code 3.
    pub fn crash() -> Self {
        Self::new("crash", json!({"type": "object"}), |_| async { std::process::exit(3) })
    }

    /// The tool above that has this name; `gate` is for those that need one.
    pub fn by_name(name: &str, gate: &Gate) -> Option<Self> {
        let all = [
            Self::echo(),
            Self::add(),
            Self::sleep(),
            Self::fail(),
            Self::progress(),
            Self::big(),
            Self::structured(),
            Self::rpc_error(),
            Self::mirrored(),
            Self::hang(),
            Self::pause(gate),
            Self::resume(gate),
            Self::crash(),
        ];
        all.into_iter().find(|tool| tool.name() == name)
    }
}

/// Something that calls wait at until the test opens it.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Lets everyone through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        // Cannot fail while `self` holds the sender.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
