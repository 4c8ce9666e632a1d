//! What was entered for one thing that was proposed never reaches another.

use secrecy::SecretString;

use super::environment::{Fault, Faulty, Noting, changes, command, given};
use super::proposing::*;
use super::*;
use crate::authorizer::SecretHeader;
use crate::contract::proposals::ScriptedProposals;
use crate::definition::{ConnectorDefinition, StdioCommand};
use crate::manager::ConnectorUpdate;
use crate::view::StateName;

/// What is proposed as `one`, leading to `url`, with a header that everyone enters.
fn keyed(url: &str) -> ConnectorDefinition {
    ConnectorDefinition { secret_headers: strings(&["X-Key"]), ..leading_to(url) }
}

fn header(value: &str) -> ConnectorUpdate {
    let header = SecretHeader { name: "X-Key".to_owned(), value: SecretString::from(value) };
    ConnectorUpdate { headers: Some(vec![header]), ..ConnectorUpdate::default() }
}

async fn trusting(host: &Host, source: &Arc<ScriptedProposals>) -> ConnectorManager {
    let manager = host.builder().trust_proposals(true).with_proposals(Arc::clone(source) as _).start().await;
    settle().await;
    manager
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_entered_does_not_follow_a_trusted_file_to_another_address() {
    let (host, _, other, source) = proposing();
    source.write([keyed("http://one")]);
    let manager = trusting(&host, &source).await;
    assert_eq!(states(&manager), [("one".to_owned(), StateName::NeedsSignIn)]);
    assert!(manager.update(&one(), header("k")).await.unwrap().connected);
    // It is the user's own by now, as what was entered for it is.
    assert_eq!(stored(&host).await.len(), 1);
    manager.shutdown().await;

    let again = trusting(&host, &source).await;
    assert!(again.status(&one()).unwrap().connected);
    source.write([keyed("http://other")]);
    source.announce();
    settle().await;
    let status = again.status(&one()).unwrap();
    assert_eq!((status.url.as_str(), status.state), ("http://other", StateName::NeedsSignIn));
    assert_eq!((other.server.dials(), host.secrets(&one()).await), (0, strings(&[])));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_connector_has_left_does_not_reach_what_a_trusted_file_proposes() {
    let (host, first, _, source) = proposing();
    source.write([keyed("http://one")]);
    host.put(&one(), "X-Key", "of an earlier one").await;
    let manager = trusting(&host, &source).await;
    assert_eq!(states(&manager), [("one".to_owned(), StateName::NeedsSignIn)]);
    assert_eq!((first.server.dials(), host.secrets(&one()).await), (0, strings(&[])));
}

#[tokio::test(start_paused = true)]
async fn while_the_secret_store_is_locked_what_a_trusted_file_asks_secrets_for_waits_and_the_rest_does_not() {
    let (host, _, _, source) = proposing();
    let open = ConnectorDefinition { slug: Slug::verbatim("open"), ..leading_to("http://other") };
    source.write([keyed("http://one"), open]);
    let store = Arc::new(Faulty::default());
    store.set(Fault::Locked);
    let builder = host.builder().with_credentials(Arc::clone(&store) as _).trust_proposals(true);
    let manager = builder.with_proposals(Arc::clone(&source) as _).start().await;
    settle().await;
    let expected = [("open".to_owned(), StateName::Ready), ("one".to_owned(), StateName::Proposed)];
    assert_eq!(states(&manager), expected);
    store.set(Fault::None);
    source.announce();
    settle().await;
    assert_eq!(manager.status(&one()).unwrap().state, StateName::NeedsSignIn);
}

#[tokio::test(start_paused = true)]
async fn variables_are_entered_again_for_another_command_line_or_other_plain_variables() {
    let local = |args: &[&str], env: &[(&str, &str)]| {
        let secret_env = strings(&["A_TOKEN"]);
        let command = StdioCommand { args: strings(args), secret_env, ..command(env) };
        ConnectorDefinition::stdio(one(), "One", command)
    };
    let (host, dialer) = (Host::new(), Arc::new(Noting::default()));
    let source = ScriptedProposals::of([local(&[], &[])]);
    let builder = host.without_dialer().with_dialer(Arc::clone(&dialer) as _);
    let manager = builder.with_proposals(Arc::clone(&source) as _).start().await;
    accept(&manager).await.unwrap();
    let enter = async || {
        let entered =
            ConnectorUpdate { secret_env: changes(&[("A_TOKEN", Some("a"))]), ..ConnectorUpdate::default() };
        manager.update(&one(), entered).await.unwrap();
        assert_eq!(given(&dialer), ["A_TOKEN=a"]);
    };
    for changed in [local(&["-v"], &[]), local(&["-v"], &[("API", "http://other")])] {
        enter().await;
        source.write([changed]);
        source.announce();
        settle().await;
        assert_eq!(accept(&manager).await.unwrap().state, StateName::NeedsSignIn);
        assert_eq!(host.secrets(&one()).await, strings(&[]));
    }
    enter().await;
    let mut another_name = local(&["-v"], &[("API", "http://other")]);
    another_name.name = "Renamed".to_owned();
    source.write([another_name]);
    source.announce();
    settle().await;
    assert_eq!(accept(&manager).await.unwrap().name, "Renamed");
    assert_eq!(host.secrets(&one()).await, ["env:A_TOKEN=a"]);
}
