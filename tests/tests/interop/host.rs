//! A host of the library, with one connector.

use std::sync::Arc;

use connectors_core::connector::SessionInfo;
use connectors_core::elicitation::ElicitationAnswer;
use connectors_core::manager::{CallRequest, CallResult, NewConnector};
use connectors_core::{
    Connector, ConnectorError, ConnectorEvent, ConnectorManager, EventKind, Slug, StateName, StdioCommand,
};
use connectors_http::HttpDialer;
use connectors_stdio::StdioDialer;
use connectors_tests::deadline::soon;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::servers::Listening;

/// A manager with one connector, which is ready.
pub(super) struct Host {
    pub(super) manager: ConnectorManager,
    pub(super) slug: Slug,
    /// Lives as long as it is talked to.
    _server: Option<Listening>,
}

impl Host {
    /// A connector to the server at `path`.
    pub(super) async fn of(server: Listening, path: &str) -> Self {
        let url = server.url(path);
        Self::connect(NewConnector::http("Real server", url, Vec::new()), Some(server)).await
    }

    /// A connector that starts its server.
    pub(super) async fn of_command(command: StdioCommand) -> Self {
        Self::connect(NewConnector::stdio("Real server", command), None).await
    }

    async fn connect(new: NewConnector, server: Option<Listening>) -> Self {
        let manager = ConnectorManager::builder()
            .with_dialer(Arc::new(StdioDialer::new()))
            .with_dialer(Arc::new(HttpDialer::new()))
            .with_input_by_event()
            .start()
            .await;
        // Watched from the beginning, as by a host with a user: nobody else could be asked.
        let status = manager.add(new).await.expect("a definition that can be stored");
        assert_eq!((status.state, status.last_error), (StateName::Ready, None));
        Self { manager, slug: status.slug, _server: server }
    }

    pub(super) fn connection(&self) -> Arc<dyn Connector> {
        self.manager.connection(&self.slug).expect("a connection")
    }

    pub(super) fn session(&self) -> Arc<SessionInfo> {
        self.connection().session()
    }

    /// What happens from now on.
    pub(super) fn watch(&self) -> Watcher {
        Watcher(self.manager.events().subscribe())
    }

    /// The names of the tools.
    pub(super) fn tools(&self) -> Vec<String> {
        self.manager.tools(&self.slug).expect("a catalogue").into_iter().map(|tool| tool.name).collect()
    }

    /// Enables tools, all of which must be newly routed.
    pub(super) async fn enable(&self, tools: &[&str]) {
        let names: Vec<String> = tools.iter().map(ToString::to_string).collect();
        let enabled = self.manager.enable_tools(&self.slug, &names).await.expect("tools that can be enabled");
        assert_eq!(enabled, tools.len(), "of {tools:?}, among {:?}", self.tools());
    }

    /// Calls a tool under the id of its name.
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Result<CallResult, ConnectorError> {
        let mut request = CallRequest::new(self.slug.clone(), tool, arguments);
        request.call_id = Some(tool.into());
        soon(&format!("the end of {tool}"), self.manager.call_tool(request)).await
    }

    /// The text of a call that must succeed.
    pub(super) async fn text(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"));
        assert!(!result.outcome.is_error(), "{tool}: {}", result.outcome.raw());
        result.outcome.text()
    }

    /// The text of a call whose server asks the user, who gives this answer.
    pub(super) async fn text_after(&self, tool: &str, arguments: Value, answer: ElicitationAnswer) -> String {
        let mut events = self.watch();
        let asked = async {
            let request_id = events
                .find("a question", |kind| match kind {
                    EventKind::InputWanted { request_id, .. } => Some(request_id.clone()),
                    _ => None,
                })
                .await;
            assert!(self.manager.answer(&request_id, answer), "the question is no longer open");
        };
        tokio::join!(self.text(tool, arguments), asked).0
    }
}

/// What happens.
pub(super) struct Watcher(broadcast::Receiver<Arc<ConnectorEvent>>);

impl Watcher {
    /// The next event in which `pick` finds something.
    pub(super) async fn find<T>(&mut self, what: &str, pick: impl Fn(&EventKind) -> Option<T>) -> T {
        soon(what, async {
            loop {
                match self.0.recv().await {
                    Ok(event) => {
                        if let Some(found) = pick(&event.kind) {
                            return found;
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => panic!("no more events, and none was {what}"),
                }
            }
        })
        .await
    }

    /// The next announcement that `feature` has changed.
    pub(super) async fn changed(&mut self, feature: &str) -> Option<String> {
        self.find(&format!("changed {feature}"), |kind| match kind {
            EventKind::FeatureChanged { feature: changed, uri } if *changed == feature => Some(uri.clone()),
            _ => None,
        })
        .await
    }

    /// How often the call that runs under this id reports progress, up to its end.
    pub(super) async fn reports_of(&mut self, id: &str) -> usize {
        let mut reports = 0;
        while let Some(()) = self
            .find("progress or the end", |kind| match kind {
                EventKind::CallProgress { call_id, .. } if **call_id == *id => Some(Some(())),
                EventKind::CallFinished { call_id, .. } if **call_id == *id => Some(None),
                _ => None,
            })
            .await
        {
            reports += 1;
        }
        reports
    }
}
