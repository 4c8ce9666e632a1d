//! Asking the user through the events, and taking the answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::elicitation::{Elicitation, ElicitationAnswer, Elicitor};
use crate::events::{EventBus, EventKind};
use crate::names::Slug;

/// Announces what servers ask of the user and waits for [`answer`](Self::answer). Cloning is cheap.
#[derive(Clone)]
pub(super) struct Questions {
    events: EventBus,
    open: Arc<Mutex<HashMap<String, oneshot::Sender<ElicitationAnswer>>>>,
    next: Arc<AtomicU64>,
}

impl Questions {
    pub(super) fn new(events: EventBus) -> Self {
        Self { events, open: Arc::default(), next: Arc::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<ElicitationAnswer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a question; false if it is no longer open.
    pub(super) fn answer(&self, request_id: &str, answer: ElicitationAnswer) -> bool {
        let question = self.open().remove(request_id);
        question.is_some_and(|question| question.send(answer).is_ok())
    }
}

#[async_trait]
impl Elicitor for Questions {
    async fn elicit(&self, connector: &Slug, elicitation: Elicitation) -> ElicitationAnswer {
        if self.events.is_unwatched() {
            // Nobody is there to be asked.
            return ElicitationAnswer::Cancel;
        }
        let request_id = format!("input-{}", self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let (answer, answered) = oneshot::channel();
        self.open().insert(request_id.clone(), answer);
        let _open = OpenQuestion { questions: self, connector, request_id: &request_id };
        let kind = match elicitation {
            Elicitation::Form { message, schema } => EventKind::InputWanted {
                request_id: request_id.clone(),
                mode: "form",
                message,
                schema: Some(schema),
                url: None,
                host: None,
            },
            Elicitation::Url { message, url } => EventKind::InputWanted {
                request_id: request_id.clone(),
                mode: "url",
                message,
                schema: None,
                host: url.host_str().map(ToOwned::to_owned),
                url: Some(url.to_string()),
            },
        };
        self.events.publish(Some(connector), kind);
        answered.await.unwrap_or(ElicitationAnswer::Cancel)
    }
}

/// A question that is withdrawn, and said to be over, when nobody waits for its answer any more.
struct OpenQuestion<'a> {
    questions: &'a Questions,
    connector: &'a Slug,
    request_id: &'a str,
}

impl Drop for OpenQuestion<'_> {
    fn drop(&mut self) {
        self.questions.open().remove(self.request_id);
        let kind = EventKind::InputOver { request_id: self.request_id.to_owned() };
        self.questions.events.publish(Some(self.connector), kind);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn form() -> Elicitation {
        Elicitation::Form { message: "?".to_owned(), schema: json!({"type": "object"}) }
    }

    #[tokio::test]
    async fn an_answer_reaches_its_question_once() {
        let events = EventBus::default();
        let questions = Questions::new(events.clone());
        let mut watcher = events.subscribe();
        let slug = Slug::verbatim("s");
        let answer = async {
            let event = watcher.recv().await.unwrap();
            let EventKind::InputWanted { request_id, mode: "form", .. } = &event.kind else {
                panic!("{event:?}")
            };
            assert!(!questions.answer("input-999", ElicitationAnswer::Cancel));
            assert!(questions.answer(request_id, ElicitationAnswer::Accept(Map::new())));
            assert!(!questions.answer(request_id, ElicitationAnswer::Decline));
        };
        let (answered, ()) = tokio::join!(questions.elicit(&slug, form()), answer);
        assert_eq!(answered, ElicitationAnswer::Accept(Map::new()));
        assert!(matches!(watcher.recv().await.unwrap().kind, EventKind::InputOver { .. }));
    }

    #[tokio::test]
    async fn a_question_that_nobody_could_answer_is_not_asked() {
        let questions = Questions::new(EventBus::default());
        assert_eq!(questions.elicit(&Slug::verbatim("s"), form()).await, ElicitationAnswer::Cancel);
    }

    #[tokio::test]
    async fn a_question_whose_call_is_gone_is_withdrawn() {
        let events = EventBus::default();
        let questions = Questions::new(events.clone());
        let mut watcher = events.subscribe();
        let slug = Slug::verbatim("s");
        let request_id = tokio::select! {
            _ = questions.elicit(&slug, form()) => unreachable!(),
            event = watcher.recv() => match &event.unwrap().kind {
                EventKind::InputWanted { request_id, .. } => request_id.clone(),
                other => panic!("{other:?}"),
            },
        };
        assert!(!questions.answer(&request_id, ElicitationAnswer::Decline));
        assert!(matches!(watcher.recv().await.unwrap().kind, EventKind::InputOver { .. }));
    }
}
