//! Files of several projects that propose connectors of the same name.

use super::proposing::*;
use super::*;

/// Another project's file.
const OTHER: &str = "/srv/other/.car/connectors.toml";

#[tokio::test(start_paused = true)]
async fn what_was_accepted_from_one_project_is_not_changed_by_another_ones_file() {
    let (host, _, other, source) = proposing();
    accept(&start(&host, &source).await).await.unwrap();
    let before = stored(&host).await;
    source.write_in(OTHER, [leading_to("http://other")]);
    let manager = start(&host, &source).await;
    let status = manager.status(&one()).unwrap();
    assert_eq!((status.url.as_str(), status.proposal_changed), ("http://one", None));
    let hash = crate::contract::proposals::proposal(leading_to("http://other")).hash;
    for outcome in [manager.accept(&one(), Some(&hash)).await.map(drop), manager.reject(&one()).await] {
        assert_eq!(field(outcome), "slug");
    }
    assert_eq!((stored(&host).await, other.server.dials()), (before, 0));
    // Nor is it rejected with the other: it was never asked about.
    manager.remove(&one()).await.unwrap();
    assert_eq!(waiting(&manager), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_trusts_files_lets_none_change_what_was_accepted_from_another_project() {
    let (host, _, other, source) = proposing();
    accept(&start(&host, &source).await).await.unwrap();
    host.put(&one(), "tokens", "of the first").await;
    let before = stored(&host).await;
    source.write_in(OTHER, [leading_to("http://other")]);
    let builder = host.builder().trust_proposals(true);
    let manager = builder.with_proposals(Arc::clone(&source) as _).start().await;
    settle().await;
    assert_eq!(manager.status(&one()).unwrap().url, "http://one");
    assert_eq!((stored(&host).await, other.server.dials()), (before, 0));
    assert_eq!(host.secrets(&one()).await, ["tokens=of the first"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_proposal_in_another_place_is_no_other_one() {
    let (host, _, _, source) = proposing();
    accept(&start(&host, &source).await).await.unwrap();
    source.write_in(OTHER, [leading_to("http://one")]);
    let manager = start(&host, &source).await;
    assert!(accept(&manager).await.unwrap().connected);
    manager.remove(&one()).await.unwrap();
    assert!(manager.list().is_empty());
}
