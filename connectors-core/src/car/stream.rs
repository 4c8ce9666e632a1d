//! Calls that a runtime does not wait for: progress as chunks, the result as the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use car_ir::ToolStreamChunk;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;

use super::result::{self, ResultShape};
use crate::connector::Progress;
use crate::error::ConnectorError;
use crate::events::{ConnectorEvent, EventKind};
use crate::manager::{CallRequest, CallResult, ConnectorManager, Route};

/// Chunks that wait for their reader. Progress beyond that is left out, the end never is.
const BACKLOG: usize = 64;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Starts a call. Dropping the receiver cancels it, at the server too.
pub(super) fn start(
    manager: &ConnectorManager,
    route: &Route,
    arguments: &Value,
    action: &str,
    shape: ResultShape,
) -> mpsc::Receiver<ToolStreamChunk> {
    let (chunks, receiver) = mpsc::channel(BACKLOG);
    let call_id: Arc<str> = format!("{action}#{}", NEXT.fetch_add(1, Ordering::Relaxed)).into();
    let mut request = CallRequest::new(route.slug.clone(), route.tool.name.as_str(), arguments.clone());
    request.call_id = Some(Arc::clone(&call_id));
    let (manager, events) = (manager.clone(), manager.events().subscribe());
    tokio::spawn(async move {
        let given_up = chunks.clone();
        tokio::select! {
            biased;
            () = given_up.closed() => {}
            () = run(manager, request, events, &call_id, chunks, shape) => {}
        }
    });
    receiver
}

async fn run(
    manager: ConnectorManager,
    request: CallRequest,
    mut events: Receiver<Arc<ConnectorEvent>>,
    call_id: &str,
    chunks: mpsc::Sender<ToolStreamChunk>,
    shape: ResultShape,
) {
    let call = manager.call_tool(request);
    let mut call = std::pin::pin!(call);
    let outcome = loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => report(&event, call_id, &chunks),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break call.await,
            },
            outcome = &mut call => break outcome,
        }
    };
    loop {
        match events.try_recv() {
            Ok(event) => report(&event, call_id, &chunks),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    // Fails only where nobody reads any more.
    let _ = chunks.send(last(outcome, shape)).await;
}

fn report(event: &ConnectorEvent, call: &str, chunks: &mpsc::Sender<ToolStreamChunk>) {
    if let EventKind::CallProgress { call_id, progress } = &event.kind
        && **call_id == *call
    {
        // A reader that does not keep up misses steps on the way.
        let _ = chunks.try_send(chunk(progress));
    }
}

fn chunk(progress: &Progress) -> ToolStreamChunk {
    let message = progress.message.as_deref().map(|message| crate::text::display(message, 1000));
    match progress.total {
        Some(total) if total > 0.0 => {
            ToolStreamChunk::Progress { fraction: (progress.progress / total).clamp(0.0, 1.0), message }
        }
        // Of an unknown whole.
        _ => ToolStreamChunk::Data { data: json!({"progress": progress.progress, "message": message}) },
    }
}

fn last(outcome: Result<CallResult, ConnectorError>, shape: ResultShape) -> ToolStreamChunk {
    match outcome {
        Ok(result) => match result::output(&result.outcome, shape) {
            Ok(output) => ToolStreamChunk::Done { result: Some(output) },
            Err(message) => ToolStreamChunk::Error { message },
        },
        Err(error) => ToolStreamChunk::Error { message: result::failure(&error).message },
    }
}
