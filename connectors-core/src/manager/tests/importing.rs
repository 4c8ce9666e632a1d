//! Taking over what other clients have configured.

use std::sync::PoisonError;

use async_trait::async_trait;
use secrecy::SecretString;

use super::*;
use crate::error::ConnectorError;
use crate::import::{
    FileProblem, FoundConnector, FoundEndpoint, FoundFile, ImportRequest, ImportSource, Part, Placeholder,
    Template,
};
use crate::store::ConfigStore;
use crate::view::StateName;

/// Files that can be changed.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<Vec<FoundFile>>>);

#[async_trait]
impl ImportSource for Files {
    async fn find(&self) -> Vec<FoundFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Files {
    fn set(&self, connectors: Vec<FoundConnector>) {
        let mut file = FoundFile::new("cursor:/p", "cursor", "/p");
        file.connectors = connectors;
        *self.0.lock().unwrap() = vec![file];
    }
}

fn http(name: &str, url: &str, key: &str) -> FoundConnector {
    let headers = vec![("X-Key".to_owned(), Template::written(key))];
    FoundConnector::new(name, FoundEndpoint::Http { url: Template::written(url), headers })
}

async fn manager(host: &Host, files: &Files) -> ConnectorManager {
    host.builder().with_imports(Arc::new(files.clone())).start().await
}

fn skipped(outcome: &crate::import::ImportOutcome) -> Vec<(&str, &str)> {
    outcome.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.reason.as_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn entries_become_connectors_with_their_secrets_in_the_store_and_no_tool_enabled() {
    let (host, tools, files) = (Host::new(), Tools::new(&["a"]), Files::default());
    host.serve("http://one", &tools.server);
    let mut off = http("Off", "http://one/off", "k2");
    off.disabled = true;
    files.set(vec![http("One", "http://one", "k1"), off, FoundConnector::unusable("Bad", "it is bad")]);
    let manager = manager(&host, &files).await;
    let sources = manager.importable().await;
    assert_eq!(
        sources[0].connectors.iter().map(|found| found.existing.clone()).collect::<Vec<_>>(),
        [None, None, None]
    );
    assert_eq!(tools.server.dials(), 0, "nothing is dialled to show what there is");

    let outcome = manager.import(ImportRequest::new("cursor:/p")).await.unwrap();
    let states: Vec<_> = outcome
        .imported
        .iter()
        .map(|status| (status.slug.to_string(), status.state, status.tool_count, status.enabled_count))
        .collect();
    assert_eq!(
        states,
        [("one".to_owned(), StateName::Ready, 1, 0), ("off".to_owned(), StateName::Disabled, 0, 0)]
    );
    assert_eq!(skipped(&outcome), [("Bad", "it is bad")]);
    assert_eq!(host.secrets(&Slug::verbatim("one")).await, ["X-Key=k1"]);
    assert_eq!(host.secrets(&Slug::verbatim("off")).await, ["X-Key=k2"]);
    let disabled: Vec<_> =
        host.config.load().await.unwrap().iter().map(|definition| definition.disabled).collect();
    assert_eq!(disabled, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_taken_over_again_only_when_asked() {
    let (host, tools, files) = (Host::new(), Tools::new(&[]), Files::default());
    host.serve("http://one/mcp", &tools.server);
    // The same place twice, written in two ways.
    files.set(vec![http("One", "http://one/mcp", "k"), http("Again", " HTTP://ONE:80/mcp", "k")]);
    let manager = manager(&host, &files).await;
    let request = ImportRequest::new("cursor:/p");
    let outcome = manager.import(request.clone()).await.unwrap();
    assert_eq!(skipped(&outcome), [("Again", "the connector `one` leads to the same place")]);
    let existing = |sources: Vec<crate::import::ImportableFile>| {
        sources[0]
            .connectors
            .iter()
            .map(|found| found.existing.clone().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(existing(manager.importable().await), ["one", "one"]);
    let again = ImportRequest { again: true, names: Some(strings(&["One"])), ..request };
    let outcome = manager.import(again).await.unwrap();
    assert_eq!((outcome.imported[0].slug.as_str(), outcome.skipped.len()), ("one_2", 0));
}

#[tokio::test(start_paused = true)]
async fn entries_are_chosen_by_name_and_read_again() {
    let (host, files) = (Host::new(), Files::default());
    files.set(vec![http("One", "http://one", "k"), http("Two", "http://two", "k")]);
    let manager = manager(&host, &files).await;
    files.set(vec![http("Two", "http://two/moved", "k"), http("Three", "http://three", "k")]);
    let request = ImportRequest { names: Some(strings(&["One", "Two"])), ..ImportRequest::new("cursor:/p") };
    let outcome = manager.import(request).await.unwrap();
    assert_eq!(
        outcome.imported.iter().map(|status| status.url.as_str()).collect::<Vec<_>>(),
        ["http://two/moved"]
    );
    assert_eq!(skipped(&outcome), [("One", "the file has no entry of this name")]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_was_shown_is_left_out() {
    let (host, files) = (Host::new(), Files::default());
    files.set(vec![
        http("One", "http://one", "k"),
        http("Two", "http://two", "k"),
        http("Same", "http://same", "k"),
    ]);
    let manager = manager(&host, &files).await;
    let shown = &manager.importable().await[0].connectors;
    let hashes: std::collections::BTreeMap<_, _> =
        shown.iter().map(|found| (found.name.clone(), found.hash.clone())).collect();
    // Another place, another secret, and one that is new.
    files.set(vec![
        http("One", "http://one/moved", "k"),
        http("Two", "http://two", "other"),
        http("Same", "http://same", "k"),
        http("New", "http://new", "k"),
    ]);
    let request = ImportRequest { hashes: Some(hashes), ..ImportRequest::new("cursor:/p") };
    let outcome = manager.import(request).await.unwrap();
    assert_eq!(outcome.imported.iter().map(|status| status.slug.as_str()).collect::<Vec<_>>(), ["same"]);
    let reason = "it is no longer what was shown: look at it again";
    assert_eq!(skipped(&outcome), [("One", reason), ("Two", reason), ("New", reason)]);
    assert_eq!(manager.list().len(), 1);

    // What is shown then can be taken over.
    let shown = &manager.importable().await[0].connectors[1];
    let request = ImportRequest {
        names: Some(strings(&["Two"])),
        hashes: Some([(shown.name.clone(), shown.hash.clone())].into()),
        ..ImportRequest::new("cursor:/p")
    };
    assert_eq!(manager.import(request).await.unwrap().imported[0].slug.as_str(), "two");
    assert_eq!(host.secrets(&Slug::verbatim("two")).await, ["X-Key=other"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_entry_wants_is_given_by_the_user() {
    let (host, files) = (Host::new(), Files::default());
    let token = Part::Wanted(Placeholder { name: "TOKEN".into(), secret: true, ..Placeholder::default() });
    let headers = vec![("X-Key".to_owned(), Template::new(vec![token]))];
    files.set(vec![FoundConnector::new(
        "One",
        FoundEndpoint::Http { url: Template::written("http://one"), headers },
    )]);
    let manager = manager(&host, &files).await;
    let outcome = manager.import(ImportRequest::new("cursor:/p")).await.unwrap();
    assert_eq!(skipped(&outcome), [("One", "it needs values for TOKEN: give them as `values`")]);
    assert_eq!(manager.list().len(), 0);
    let values = [("TOKEN".to_owned(), SecretString::from("k"))].into();
    manager.import(ImportRequest { values, ..ImportRequest::new("cursor:/p") }).await.unwrap();
    assert_eq!(host.secrets(&Slug::verbatim("one")).await, ["X-Key=k"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_skipped_with_the_reason_and_leaves_nothing() {
    let (host, files) = (Host::new(), Files::default());
    files.set(vec![http("One", "http://one", "line\nbreak"), http(" ", "http://two", "k")]);
    let manager = manager(&host, &files).await;
    let outcome = manager.import(ImportRequest::new("cursor:/p")).await.unwrap();
    let reasons = skipped(&outcome);
    assert!(
        reasons[0].1.ends_with("the value of X-Key holds characters that a header cannot carry"),
        "{reasons:?}"
    );
    assert!(reasons[1].1.ends_with("a connector needs a name"), "{reasons:?}");
    assert_eq!((outcome.imported.len(), manager.list().len()), (0, 0));
    assert_eq!(host.secrets(&Slug::verbatim("one")).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_or_broken_cannot_be_imported() {
    let (host, files) = (Host::new(), Files::default());
    let mut broken = FoundFile::new("codex:/p", "codex", "/p");
    broken.problem = Some(FileProblem { problem: "this is not TOML".into(), position: Some((3, 4)) });
    *files.0.lock().unwrap() = vec![broken];
    let manager = manager(&host, &files).await;
    let sources = manager.importable().await;
    assert_eq!((sources[0].line, sources[0].column), (Some(3), Some(4)));
    for (source, problem) in [
        ("codex:/p", "this is not TOML (line 3, column 4)"),
        ("codex:/q", "there is no such file any more, or it defines no servers"),
    ] {
        let error = manager.import(ImportRequest::new(source)).await.unwrap_err();
        let ConnectorError::Invalid(invalid) = error else { panic!("{error:?}") };
        assert_eq!((invalid.field, invalid.problem.as_str()), ("source", problem));
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_reads_its_own_source_alone() {
    /// Files of which each can be had alone, and all of them no longer.
    struct OneByOne(Files);

    #[async_trait]
    impl ImportSource for OneByOne {
        async fn find(&self) -> Vec<FoundFile> {
            std::future::pending().await
        }

        async fn find_one(&self, source: &str) -> Option<FoundFile> {
            self.0.find_one(source).await
        }
    }

    let (host, files) = (Host::new(), Files::default());
    files.set(vec![http("One", "http://one", "k")]);
    let manager = host.builder().with_imports(Arc::new(OneByOne(files))).start().await;
    let outcome = manager.import(ImportRequest::new("cursor:/p")).await.unwrap();
    assert_eq!(outcome.imported.iter().map(|status| status.slug.as_str()).collect::<Vec<_>>(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn two_accounts_at_one_place_in_one_file_become_two_connectors() {
    let (host, tools, files) = (Host::new(), Tools::new(&["a"]), Files::default());
    host.serve("http://one", &tools.server);
    files.set(vec![http("Work", "http://one", "k1"), http("Home", "http://one", "k2")]);
    let manager = manager(&host, &files).await;
    let outcome = manager.import(ImportRequest::new("cursor:/p")).await.unwrap();
    let slugs: Vec<_> = outcome.imported.iter().map(|status| status.slug.to_string()).collect();
    assert_eq!((slugs, skipped(&outcome)), (vec!["work".to_owned(), "home".to_owned()], vec![]));
    assert_eq!(host.secrets(&Slug::verbatim("home")).await, ["X-Key=k2"]);
    let again = manager.import(ImportRequest::new("cursor:/p")).await.unwrap();
    assert_eq!(again.skipped.len(), 2);
}
