//! Pages that a server wants the user to visit before it serves a request (2025-11-25, client, elicitation, URL
//! elicitation required error).

use std::collections::{BTreeSet, HashMap};
use std::future::Future;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use super::Inner;
use super::failure::Failure;
use super::request::Deadline;
use crate::elicitation::is_visitable;
use crate::error::ConnectorError;
use crate::host::InputRequest;
use crate::protocol::{Era, ProtocolVersion, code};

/// Most pages that one error may ask for.
const MAX_PAGES: usize = 16;

/// The pages whose visits are waited for, by the id that the server gave them.
#[derive(Debug, Default)]
pub(super) struct Pages(watch::Sender<HashMap<String, Page>>);

#[derive(Debug, Default)]
struct Page {
    /// How many requests wait for it: servers may give one id to several.
    waiting: usize,
    complete: bool,
}

impl Pages {
    /// Takes note of a `notifications/elicitation/complete`; ids that nobody waits for say nothing.
    pub(super) fn complete(&self, id: &str) {
        self.0.send_if_modified(|pages| match pages.get_mut(id) {
            Some(page) => !std::mem::replace(&mut page.complete, true),
            None => false,
        });
    }

    fn open(&self, ids: BTreeSet<String>) -> OpenPages<'_> {
        self.0.send_if_modified(|pages| {
            for id in &ids {
                pages.entry(id.clone()).or_default().waiting += 1;
            }
            false
        });
        OpenPages { pages: self, ids }
    }
}

/// The pages of one error. Dropping it gives up waiting for them.
struct OpenPages<'a> {
    pages: &'a Pages,
    ids: BTreeSet<String>,
}

impl OpenPages<'_> {
    /// Waits until the server has said of every page that the visit is over.
    async fn completed(&self) {
        let is_complete = |pages: &HashMap<String, Page>, id| pages.get(id).is_some_and(|page| page.complete);
        // The sender lives as long as `self`.
        let _ =
            self.pages.0.subscribe().wait_for(|pages| self.ids.iter().all(|id| is_complete(pages, id))).await;
    }
}

impl Drop for OpenPages<'_> {
    fn drop(&mut self) {
        self.pages.0.send_if_modified(|pages| {
            for id in &self.ids {
                if let Some(page) = pages.get_mut(id) {
                    page.waiting -= 1;
                    if page.waiting == 0 {
                        pages.remove(id);
                    }
                }
            }
            false
        });
    }
}

/// One element of the error's `data.elicitations`.
struct WantedPage {
    id: String,
    /// What `elicitation/create` would have as parameters.
    params: Box<RawValue>,
}

/// The pages that an error names; `None` if it names none, too many, or one that the user must not be shown.
fn wanted(data: &RawValue) -> Option<Vec<WantedPage>> {
    #[derive(Deserialize)]
    struct Data {
        elicitations: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Id {
        elicitation_id: String,
    }
    let Data { elicitations } = serde_json::from_str(data.get()).ok()?;
    if !(1..=MAX_PAGES).contains(&elicitations.len()) {
        return None;
    }
    let read = |params: Box<RawValue>| {
        let Id { elicitation_id: id } = serde_json::from_str(params.get()).ok()?;
        is_visitable(&params).then_some(WantedPage { id, params })
    };
    elicitations.into_iter().map(read).collect()
}

impl Inner {
    /// As [`in_session`](Self::in_session), and once more when the user has agreed to visit the pages that the server wants
    /// visited first.
    ///
    /// `deadline` bounds the user's decisions and the wait for the end of the visits. Servers need not announce that end, so
    /// it is waited for no longer than for any sign of life, and no longer than half of the time that is left. The server's
    /// error stands where its pages must not be shown, where the user does not agree to all of them, and where it comes a
    /// second time.
    pub(super) async fn in_session_or_after_pages<F>(
        &self,
        deadline: Deadline,
        exchange: impl Fn(ProtocolVersion) -> F,
    ) -> Result<Box<RawValue>, ConnectorError>
    where
        F: Future<Output = Result<Box<RawValue>, Failure>>,
    {
        let outcome = self.in_session(&exchange).await;
        let Some(pages) = self.wanted_pages(&outcome) else { return outcome };
        // Rare, and large: kept out of the future of every request.
        if Box::pin(self.visit(pages, deadline)).await? {
            Box::pin(self.in_session(exchange)).await
        } else {
            outcome
        }
    }

    fn wanted_pages(&self, outcome: &Result<Box<RawValue>, ConnectorError>) -> Option<Vec<WantedPage>> {
        let Err(ConnectorError::Upstream { error, .. }) = outcome else { return None };
        let is_legacy = self.session.load().era() == Era::Legacy;
        if error.code != code::URL_ELICITATION_REQUIRED || !is_legacy {
            return None;
        }
        let is_offered = self.capabilities["elicitation"]["url"].is_object();
        error.data.as_deref().filter(|_| is_offered).and_then(wanted)
    }

    /// Asks the user to visit pages, one after the other; true when all of them were agreed to, and visited as far as is
    /// known.
    async fn visit(&self, pages: Vec<WantedPage>, deadline: Deadline) -> Result<bool, ConnectorError> {
        let slug = &self.options.slug;
        // From now on: a visit may be over before the answer to the last question.
        let open = self.pages.open(pages.iter().map(|page| page.id.clone()).collect());
        match timeout_at(deadline.end(), self.agrees_to(pages)).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(_) => {
                let what = "the user's consent to visit a page".to_owned();
                return Err(Failure::TimedOut { what, limit: deadline.total }.into_error(slug));
            }
        }
        let patience = deadline.idle.min(deadline.left() / 2);
        if timeout(patience, open.completed()).await.is_err() {
            tracing::debug!(%slug, "the server has not announced the end of a visit; it is asked again");
        }
        Ok(true)
    }

    async fn agrees_to(&self, pages: Vec<WantedPage>) -> bool {
        for WantedPage { params, .. } in pages {
            let request = InputRequest { method: "elicitation/create".to_owned(), params: Some(params) };
            let answer = self.options.input.answer(&self.options.slug, request).await;
            if answer.as_ref().ok().and_then(|answer| answer["action"].as_str()) != Some("accept") {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::*;

    fn page(url: &str) -> Value {
        json!({"mode": "url", "elicitationId": url, "url": url, "message": "?"})
    }

    fn ids(data: &Value) -> Option<Vec<String>> {
        wanted(&to_raw_value(data).unwrap()).map(|pages| pages.into_iter().map(|page| page.id).collect())
    }

    #[test]
    fn the_pages_are_those_of_the_error_in_its_order() {
        let pages = json!({"elicitations": [page("https://b.example/"), page("http://127.0.0.1/a")], "x": 1});
        assert_eq!(ids(&pages), Some(vec!["https://b.example/".to_owned(), "http://127.0.0.1/a".to_owned()]));
        assert!(ids(&json!({"elicitations": vec![page("https://a.example"); MAX_PAGES]})).is_some());
    }

    #[test]
    fn one_page_that_cannot_be_shown_spoils_all() {
        let form = json!({"elicitationId": "1", "message": "?", "requestedSchema": {"type": "object"}});
        let mut anonymous = page("https://a.example");
        anonymous.as_object_mut().unwrap().remove("elicitationId");
        for spoilt in [
            json!(7),
            form,
            anonymous,
            page("http://a.example"),
            page("/relative"),
            page("javascript:alert(1)"),
            page("https://user:pw@a.example"),
        ] {
            assert_eq!(ids(&json!({"elicitations": [page("https://a.example"), spoilt]})), None, "{spoilt}");
        }
        for data in [
            json!(null),
            json!({}),
            json!({"elicitations": {}}),
            json!({"elicitations": []}),
            json!({"elicitations": vec![page("https://a.example"); MAX_PAGES + 1]}),
        ] {
            assert_eq!(ids(&data), None, "{data}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_complete_for_all_who_wait_for_it_and_forgotten_with_them() {
        let pages = Pages::default();
        pages.complete("a");
        let both = pages.open(["a".to_owned(), "b".to_owned()].into());
        let one = pages.open(["a".to_owned()].into());
        pages.complete("a");
        one.completed().await;
        drop(one);
        assert!(timeout(std::time::Duration::from_secs(1), both.completed()).await.is_err());
        pages.complete("b");
        both.completed().await;
        drop(both);
        assert!(pages.0.borrow().is_empty());
    }
}
