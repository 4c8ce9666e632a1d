use super::*;
use crate::contract::proposals::{FILE, ScriptedProposals, proposal};
use crate::definition::ConnectorDefinition;
use crate::error::{ConnectorError, StorageError};
use crate::manager::{CallRequest, ConnectorUpdate};
use crate::proposal::{Mistake, ProposalSource};
use crate::store::{ConfigStore, MockConfigStore};
use crate::view::{ConnectorStatus, StateName};

pub(super) fn one() -> Slug {
    Slug::verbatim("one")
}

/// What is proposed as `one`, leading to `url`.
pub(super) fn leading_to(url: &str) -> ConnectorDefinition {
    ConnectorDefinition::http(one(), "One", url)
}

pub(super) fn states(manager: &ConnectorManager) -> Vec<(String, StateName)> {
    manager.list().into_iter().map(|status| (status.slug.to_string(), status.state)).collect()
}

/// What waits for the user: the slug.
pub(super) fn waiting(manager: &ConnectorManager) -> Vec<String> {
    let proposed = states(manager).into_iter().filter(|(_, state)| *state == StateName::Proposed);
    proposed.map(|(slug, _)| slug).collect()
}

/// A host with servers at `http://one` and `http://other`, and what proposes the first.
pub(super) fn proposing() -> (Host, Tools, Tools, Arc<ScriptedProposals>) {
    let (host, first, other) = (Host::new(), Tools::new(&["a"]), Tools::new(&["a"]));
    host.serve("http://one", &first.server);
    host.serve("http://other", &other.server);
    (host, first, other, ScriptedProposals::of([leading_to("http://one")]))
}

pub(super) async fn start(host: &Host, source: &Arc<ScriptedProposals>) -> ConnectorManager {
    host.builder().with_proposals(Arc::<ScriptedProposals>::clone(source)).start().await
}

/// The hash of what the user sees of `one`.
pub(super) fn seen(manager: &ConnectorManager) -> Option<String> {
    let status = manager.status(&one()).ok()?;
    status.proposal_changed.map(|change| change.hash).or(status.proposal.map(|proposal| proposal.hash))
}

/// The user accepts what they see of `one`.
pub(super) async fn accept(manager: &ConnectorManager) -> Result<ConnectorStatus, ConnectorError> {
    manager.accept(&one(), seen(manager).as_deref()).await
}

/// The field of a refusal.
pub(super) fn field<T: std::fmt::Debug>(outcome: Result<T, ConnectorError>) -> &'static str {
    match outcome.unwrap_err() {
        ConnectorError::Invalid(invalid) => invalid.field,
        error => panic!("{error}"),
    }
}

pub(super) async fn stored(host: &Host) -> Vec<ConnectorDefinition> {
    host.config.load().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_about_a_proposal_before_it_is_accepted() {
    let (host, first, _, source) = proposing();
    let manager = start(&host, &source).await;
    let status = manager.status(&one()).unwrap();
    let shown = status.proposal.unwrap();
    assert_eq!(
        (status.state, status.url.as_str(), shown.file.as_str()),
        (StateName::Proposed, "http://one", FILE)
    );
    assert_eq!(manager.tools(&one()).unwrap().len(), 0);
    let tools = strings(&["a"]);
    let refusals = [
        manager.enable_tools(&one(), &tools).await.err(),
        manager.refresh(&one()).await.err(),
        manager.reconnect(&one()).await.err(),
        manager.sign_in(&one(), SignInRequest::default()).await.err(),
        manager.update(&one(), ConnectorUpdate::default()).await.err(),
        manager.call_tool(CallRequest::new(one(), "a", json!({}))).await.err(),
        manager.connection(&one()).err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(ConnectorError::NotAccepted(slug)) if slug == one()));
    }
    settle().await;
    assert_eq!((first.server.dials(), stored(&host).await), (0, vec![]));

    let status = manager.accept(&one(), Some(&shown.hash)).await.unwrap();
    assert_eq!((status.state, first.server.dials()), (StateName::Ready, 1));
    assert_eq!(stored(&host).await, [proposal(leading_to("http://one")).definition]);
    // As it is after a restart, and accepting it once more changes nothing.
    let again = start(&host, &source).await;
    assert_eq!(again.accept(&one(), None).await.unwrap().state, StateName::Ready);
    assert_eq!((waiting(&again), stored(&host).await.len()), (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_shown_can_be_accepted() {
    let (host, _, other, source) = proposing();
    let manager = start(&host, &source).await;
    assert_eq!(field(manager.accept(&one(), Some("another")).await), "hash");
    assert_eq!(field(manager.accept(&Slug::verbatim("two"), None).await), "slug");
    // The file changes between the look and the word, and nobody was told yet.
    let shown = seen(&manager);
    source.write([leading_to("http://other")]);
    assert_eq!(field(manager.accept(&one(), shown.as_deref()).await), "hash");
    settle().await;
    assert_eq!(
        (waiting(&manager), other.server.dials(), stored(&host).await),
        (strings(&["one"]), 0, vec![])
    );
    assert_eq!(manager.status(&one()).unwrap().url, "http://other");
    assert!(accept(&manager).await.unwrap().connected);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_proposal_is_not_asked_again_until_it_is_another() {
    let (host, first, _, source) = proposing();
    let manager = start(&host, &source).await;
    manager.remove(&one()).await.unwrap();
    assert!(manager.list().is_empty());
    assert!(matches!(manager.status(&one()), Err(ConnectorError::NotFound(_))));
    let again = start(&host, &source).await;
    assert!(again.list().is_empty());
    source.write([leading_to("http://other")]);
    source.announce();
    settle().await;
    assert_eq!((waiting(&again), waiting(&manager)), (strings(&["one"]), strings(&["one"])));
    source.write([leading_to("http://one")]);
    source.announce();
    settle().await;
    assert!(again.list().is_empty());
    // The user has changed their mind, and names nothing, and then what they have seen earlier.
    assert_eq!(field(again.accept(&one(), None).await), "hash");
    let hash = proposal(leading_to("http://one")).hash;
    assert!(again.accept(&one(), Some(&hash)).await.unwrap().connected);
    assert_eq!((first.server.dials(), source.rejected().await.unwrap().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_users_own_connector_comes_before_a_proposal_of_its_name() {
    let (host, _, other, source) = proposing();
    let manager = start(&host, &source).await;
    manager.add(NewConnector::http("One", "http://other", vec![])).await.unwrap();
    assert_eq!((states(&manager), other.server.dials()), (vec![("one".to_owned(), StateName::Ready)], 1));
    let hash = proposal(leading_to("http://one")).hash;
    for outcome in [manager.accept(&one(), Some(&hash)).await.map(drop), manager.reject(&one()).await] {
        assert_eq!(field(outcome), "slug");
    }
    source.write([leading_to("http://elsewhere")]);
    source.announce();
    settle().await;
    let status = manager.status(&one()).unwrap();
    assert_eq!((status.url.as_str(), status.proposal_changed), ("http://other", None));
    manager.remove(&one()).await.unwrap();
    assert_eq!(waiting(&manager), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_connector_does_not_come_back_as_a_proposal() {
    let (host, _, _, source) = proposing();
    let manager = start(&host, &source).await;
    accept(&manager).await.unwrap();
    manager.remove(&one()).await.unwrap();
    assert!(manager.list().is_empty() && start(&host, &source).await.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_stays_proposed() {
    let (host, first, _, source) = proposing();
    let mut config = MockConfigStore::new();
    config.expect_load().returning(|| Ok(vec![]));
    config.expect_insert().returning(|_| {
        let source = std::io::ErrorKind::StorageFull.into();
        Err(StorageError::Io { action: "write", file: "connectors.json".to_owned(), source })
    });
    host.put(&one(), "tokens", "of somebody").await;
    let builder = host.builder().with_config(Arc::new(config));
    let manager = builder.with_proposals(Arc::<ScriptedProposals>::clone(&source)).start().await;
    assert_eq!(waiting(&manager), ["one"]);
    let error = accept(&manager).await.unwrap_err();
    assert_eq!(error.code(), "storage");
    source.set_broken(true);
    assert_eq!(manager.reject(&one()).await.unwrap_err().code(), "storage");
    settle().await;
    assert_eq!((waiting(&manager), first.server.dials()), (strings(&["one"]), 0));
    assert_eq!(host.secrets(&one()).await, ["tokens=of somebody"]);
}

#[tokio::test(start_paused = true)]
async fn one_proposal_accepted_many_times_at_once_is_one_connector() {
    let (host, _, _, source) = proposing();
    let managers = [start(&host, &source).await, start(&host, &source).await];
    let accepting = (0..6).map(|n| {
        let manager = managers[n % 2].clone();
        async move { accept(&manager).await.unwrap().slug }
    });
    assert_eq!(futures_util::future::join_all(accepting).await, vec![one(); 6]);
    assert_eq!(stored(&host).await.len(), 1);
    for manager in &managers {
        assert_eq!((states(manager).len(), waiting(manager)), (1, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_that_were_there_before_never_reach_what_is_proposed() {
    let (host, first, _, source) = proposing();
    let mut wanted = leading_to("http://one");
    wanted.secret_headers = strings(&["X-Key"]);
    source.write([wanted]);
    host.put(&one(), "X-Key", "of an earlier connector").await;
    host.put(&one(), "tokens", "of an earlier connector").await;
    let manager = start(&host, &source).await;
    let status = accept(&manager).await.unwrap();
    assert_eq!((status.state, first.server.dials()), (StateName::NeedsSignIn, 0));
    assert_eq!(host.secrets(&one()).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_shown_and_what_cannot_be_a_connector_is_one() {
    let (host, _, _, source) = proposing();
    let mut headers = leading_to("http://other");
    headers.slug = Slug::verbatim("two");
    headers.name = "Two".to_owned();
    headers.secret_headers = strings(&["Host"]);
    source.write([leading_to("http://one"), headers]);
    let mistake = |line, column, problem: &str| Mistake {
        file: FILE.to_owned(),
        line: Some(line),
        column,
        problem: problem.to_owned(),
    };
    let of_file = mistake(7, Some(3), "something");
    source.mistake(vec![of_file.clone()]);
    let manager = start(&host, &source).await;
    let of_header =
        mistake(1, None, "`Two` is not proposed: `headers`: the header Host is set by the connection itself");
    assert_eq!(manager.proposal_problems(), [of_file, of_header.clone()]);
    assert_eq!(waiting(&manager), ["one"]);
    // What was rejected stays so while that cannot be read.
    manager.reject(&one()).await.unwrap();
    source.mistake(vec![]);
    source.set_broken(true);
    source.announce();
    settle().await;
    let problems = manager.proposal_problems();
    assert_eq!((problems.len(), &problems[0]), (2, &of_header));
    assert!(
        problems[1].problem.starts_with("the proposals that were rejected are not known: "),
        "{problems:?}"
    );
    assert!(manager.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_hash_nothing_is_accepted_that_was_not_accepted_before() {
    let (host, _, other, source) = proposing();
    let manager = start(&host, &source).await;
    assert_eq!(field(manager.accept(&one(), None).await), "hash");
    let shown = seen(&manager);
    // The file changes, which the manager sees and the user does not.
    source.write([leading_to("http://other")]);
    source.announce();
    settle().await;
    assert_eq!(field(manager.accept(&one(), shown.as_deref()).await), "hash");
    assert_eq!((waiting(&manager), other.server.dials()), (strings(&["one"]), 0));
    assert_eq!(accept(&manager).await.unwrap().url, "http://other");
    assert!(manager.accept(&one(), None).await.unwrap().connected);
    // So it is with a change to what was accepted.
    source.write([leading_to("http://one")]);
    source.announce();
    settle().await;
    assert_eq!(field(manager.accept(&one(), None).await), "hash");
    assert_eq!(manager.status(&one()).unwrap().url, "http://other");
    assert_eq!(accept(&manager).await.unwrap().url, "http://one");
}

#[tokio::test(start_paused = true)]
async fn a_slug_that_is_being_added_is_not_accepted_under() {
    let (host, first, _, source) = proposing();
    let manager = start(&host, &source).await;
    assert_eq!(waiting(&manager), ["one"]);
    // An addition under way, whose header is stored and whose definition is not yet.
    let adding = manager.shared().reserve("One", &[]);
    host.put(&one(), "X-Key", "of the addition").await;
    let error = accept(&manager).await.unwrap_err();
    assert!(matches!(&error, ConnectorError::Storage(StorageError::SlugTaken(slug)) if *slug == one()));
    assert_eq!((first.server.dials(), stored(&host).await), (0, vec![]));
    assert_eq!(host.secrets(&one()).await, ["X-Key=of the addition"]);
    drop(adding);
    assert!(accept(&manager).await.unwrap().connected);
}
