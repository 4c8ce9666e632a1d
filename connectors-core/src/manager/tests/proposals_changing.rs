use super::proposing::*;
use super::*;
use crate::contract::proposals::{FILE, ScriptedProposals};
use crate::view::{FieldChange, StateName};

#[tokio::test(start_paused = true)]
async fn a_changed_proposal_leaves_the_accepted_connector_as_it_is_until_the_user_decides() {
    let (host, first, other, source) = proposing();
    let manager = start(&host, &source).await;
    accept(&manager).await.unwrap();
    manager.enable_tools(&one(), &strings(&["a"])).await.unwrap();
    host.put(&one(), "tokens", "of the first").await;
    source.write([leading_to("http://other")]);
    source.announce();
    settle().await;
    let status = manager.status(&one()).unwrap();
    assert_eq!(
        (status.state, status.url.as_str(), other.server.dials()),
        (StateName::Ready, "http://one", 0)
    );
    let change = status.proposal_changed.unwrap();
    let url = FieldChange {
        field: "url".to_owned(),
        before: Some("http://one".to_owned()),
        after: Some("http://other".to_owned()),
    };
    assert_eq!((change.file.as_str(), change.changes), (FILE, vec![url]));
    // So it is after a restart.
    let again = start(&host, &source).await;
    assert!(again.status(&one()).unwrap().proposal_changed.is_some());
    again.shutdown().await;

    let status = manager.accept(&one(), Some(&change.hash)).await.unwrap();
    assert_eq!((status.url.as_str(), status.connected, status.enabled_count), ("http://other", true, 1));
    assert_eq!((status.proposal_changed, first.server.dials(), other.server.dials()), (None, 2, 1));
    assert_eq!(host.secrets(&one()).await, Vec::<String>::new());

    source.write([leading_to("http://third")]);
    source.announce();
    settle().await;
    manager.reject(&one()).await.unwrap();
    let status = manager.status(&one()).unwrap();
    assert_eq!((status.url.as_str(), status.proposal_changed), ("http://other", None));
    assert!(start(&host, &source).await.status(&one()).unwrap().proposal_changed.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_vanishes_takes_no_accepted_connector_with_it() {
    let (host, _, _, source) = proposing();
    let manager = start(&host, &source).await;
    let mut two = leading_to("http://other");
    two.slug = Slug::verbatim("two");
    source.write([leading_to("http://one"), two]);
    accept(&manager).await.unwrap();
    assert_eq!(waiting(&manager), ["two"]);
    source.write([]);
    source.announce();
    settle().await;
    assert_eq!(states(&manager), [("one".to_owned(), StateName::Ready)]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_goes_and_changes_is_announced() {
    let (host, _, _, source) = proposing();
    let manager = start(&host, &source).await;
    let mut events = manager.events().subscribe();
    let mut seen = async |what: &str| {
        source.announce();
        settle().await;
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            match &event.kind {
                EventKind::State { state: Some(StateName::Proposed), .. } => seen.push("proposed"),
                EventKind::State { removed: true, .. } => seen.push("gone"),
                EventKind::ApprovalWanted { .. } => seen.push("wanted"),
                EventKind::ProposalsChanged {} => seen.push("changed"),
                _ => {}
            }
        }
        (what.to_owned(), seen.join(" "))
    };
    let expect = |what: &str, events: &str| (what.to_owned(), events.to_owned());
    assert_eq!(seen("nothing").await, expect("nothing", ""));
    source.write([leading_to("http://other")]);
    assert_eq!(seen("another").await, expect("another", "proposed wanted changed"));
    source.write([]);
    assert_eq!(seen("none").await, expect("none", "gone changed"));
    source.write([leading_to("http://one")]);
    assert_eq!(seen("back").await, expect("back", "proposed wanted changed"));
    assert_eq!(waiting(&manager), ["one"]);
    accept(&manager).await.unwrap();
    assert_eq!(seen("accepted").await, expect("accepted", ""));
    source.write([leading_to("http://other")]);
    assert_eq!(seen("edited").await, expect("edited", "wanted changed"));
    manager.reject(&one()).await.unwrap();
    assert_eq!(seen("rejected").await, expect("rejected", "changed"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_trusts_the_file_starts_what_it_proposes_and_writes_it_only_when_touched() {
    let (host, first, other, source) = proposing();
    let trusting =
        || host.builder().trust_proposals(true).with_proposals(Arc::<ScriptedProposals>::clone(&source));
    let manager = trusting().start().await;
    settle().await;
    assert_eq!((states(&manager), stored(&host).await), (vec![("one".to_owned(), StateName::Ready)], vec![]));
    // Untouched, it is whatever the file says.
    source.write([leading_to("http://other")]);
    source.announce();
    settle().await;
    let status = manager.status(&one()).unwrap();
    assert_eq!((status.url.as_str(), status.connected), ("http://other", true));
    assert_eq!((first.server.dials(), other.server.dials(), stored(&host).await), (1, 1, vec![]));
    // Touched, it is the user's own, and goes on following the file.
    let began = tokio::time::Instant::now();
    assert_eq!(manager.enable_tools(&one(), &strings(&["a"])).await.unwrap(), 1);
    // Nobody waits for a file that need not be there.
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    assert_eq!(stored(&host).await.len(), 1);
    source.write([leading_to("http://one")]);
    source.announce();
    settle().await;
    let status = manager.status(&one()).unwrap();
    assert_eq!((status.url.as_str(), status.enabled_count), ("http://one", 1));
    source.write([]);
    source.announce();
    settle().await;
    assert_eq!(states(&manager).len(), 1);
    source.write([leading_to("http://one")]);
    source.announce();
    settle().await;
    manager.remove(&one()).await.unwrap();
    assert!(manager.list().is_empty() && trusting().start().await.list().is_empty());
}
