//! The contract of `ConfigStore`.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use connectors_core::{ConfigStore, MemoryConfigStore, contract};
//! # async fn test() {
//! contract::config::run(|| Arc::new(MemoryConfigStore::default())).await;
//! # }
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use super::parallel::{TASKS, in_tasks, on_threads};
use crate::definition::{
    AcceptedProposal, ConnectorDefinition, GrantKind, NetworkSettings, OAuthException, OAuthSettings,
    OutputCheck, Registration, StdioCommand,
};
use crate::error::StorageError;
use crate::names::Slug;
use crate::store::ConfigStore;

/// Runs every check, each on a store of its own that `fresh` makes, which has to be empty.
pub async fn run<S: ConfigStore>(fresh: impl Fn() -> Arc<S>) {
    an_empty_store_has_no_definitions(&*fresh()).await;
    definitions_come_back_whole_and_in_order(&*fresh()).await;
    a_taken_slug_is_refused_and_changes_nothing(&*fresh()).await;
    replacing_changes_one_definition_where_it_stands(&*fresh()).await;
    replacing_a_missing_definition_adds_it(&*fresh()).await;
    what_is_no_longer_set_is_gone(&*fresh()).await;
    a_grant_that_is_not_known_comes_back(&*fresh()).await;
    a_swap_is_made_on_what_was_expected_alone(&*fresh()).await;
    removing_takes_one_definition_and_none_twice(&*fresh()).await;
    concurrent_swaps_lose_nothing(&fresh()).await;
    concurrent_writers_lose_nothing(&fresh(), &fresh()).await;
    one_of_many_inserts_of_a_slug_wins(&fresh()).await;
}

/// Runs the checks of a store that several processes can share: `open` gives two handles on one new, empty store, which
/// share nothing in memory.
pub async fn run_shared<S: ConfigStore>(open: impl Fn() -> (Arc<S>, Arc<S>)) {
    let (a, b) = open();
    let (one, two) = (sample("one"), sample("two"));
    a.insert(&one).await.unwrap();
    b.insert(&two).await.unwrap();
    assert_eq!(load(&*a).await, [one.clone(), two.clone()], "a handle does not see what another has written");
    b.remove(&one.slug).await.unwrap();
    assert_eq!(load(&*a).await, [two], "a handle still sees what another has removed");

    let (a, b) = open();
    let handles = [a.clone(), b];
    let inserts = in_tasks(TASKS, move |n| {
        let store = handles[n % 2].clone();
        async move { store.insert(&sample(&format!("s{n}"))).await.map_err(|error| error.to_string()) }
    });
    assert_eq!(inserts.await, vec![Ok(()); TASKS]);
    assert_eq!(slugs(&*a).await, expected_slugs(TASKS), "two handles have undone each other's inserts");
}

async fn an_empty_store_has_no_definitions(store: &dyn ConfigStore) {
    assert_eq!(load(store).await, [], "a new store is not empty");
}

async fn definitions_come_back_whole_and_in_order(store: &dyn ConfigStore) {
    let mut all = vec![sample("b"), sample("a"), full("a_b"), sample("c")];
    all[1].name = "Zürich 東京 \u{1f980} \"quoted\"\n\u{1}".to_owned();
    all[3].enabled_tools = (0..5_000).map(|n| format!("tool_{n}")).collect();
    for definition in &all {
        store.insert(definition).await.unwrap();
    }
    assert_eq!(load(store).await, all);
}

async fn a_taken_slug_is_refused_and_changes_nothing(store: &dyn ConfigStore) {
    let first = full("a");
    store.insert(&first).await.unwrap();
    let error = store.insert(&sample("a")).await.expect_err("a taken slug was accepted");
    assert!(
        matches!(&error, StorageError::SlugTaken(slug) if slug.as_str() == "a"),
        "a taken slug was refused with another error: {error}"
    );
    assert_eq!(load(store).await, [first]);
}

async fn replacing_changes_one_definition_where_it_stands(store: &dyn ConfigStore) {
    for slug in ["a", "a_b", "b"] {
        store.insert(&sample(slug)).await.unwrap();
    }
    store.replace(&full("a_b")).await.unwrap();
    assert_eq!(load(store).await, [sample("a"), full("a_b"), sample("b")]);
}

async fn replacing_a_missing_definition_adds_it(store: &dyn ConfigStore) {
    store.insert(&sample("a")).await.unwrap();
    store.replace(&full("b")).await.unwrap();
    assert_eq!(load(store).await, [sample("a"), full("b")]);
}

async fn what_is_no_longer_set_is_gone(store: &dyn ConfigStore) {
    store.insert(&full("a")).await.unwrap();
    store.replace(&sample("a")).await.unwrap();
    assert_eq!(load(store).await, [sample("a")]);
}

async fn a_grant_that_is_not_known_comes_back(store: &dyn ConfigStore) {
    let mut definition = full("a");
    let grant = serde_json::json!({"kind": "of_a_newer_version", "number": 1.5, "list": [{}]});
    for (name, grant) in [("inserted", GrantKind::Unknown(grant)), ("replaced", GrantKind::JwtBearer)] {
        name.clone_into(&mut definition.name);
        if let Some(oauth) = &mut definition.oauth {
            oauth.grant = Some(grant);
        }
        store.replace(&definition).await.unwrap();
        assert_eq!(load(store).await, [definition.clone()]);
    }
}

async fn a_swap_is_made_on_what_was_expected_alone(store: &dyn ConfigStore) {
    let (first, second) = (sample("a"), full("a"));
    let swap = async |from: &ConnectorDefinition, to: &ConnectorDefinition| {
        store.compare_and_swap(from, to).await.expect("the store works")
    };
    assert!(!swap(&first, &second).await, "what is not there was swapped");
    store.insert(&sample("b")).await.unwrap();
    store.insert(&first).await.unwrap();
    assert!(!swap(&second, &first).await, "another definition than expected was swapped");
    assert_eq!(load(store).await, [sample("b"), first.clone()]);
    assert!(swap(&first, &second).await, "what was expected was not swapped");
    assert!(swap(&second, &second).await, "a definition is not itself");
    assert_eq!(load(store).await, [sample("b"), second]);
}

async fn concurrent_swaps_lose_nothing<S: ConfigStore>(store: &Arc<S>) {
    store.insert(&sample("a")).await.unwrap();
    let shared = store.clone();
    in_tasks(TASKS, move |n| {
        let store = shared.clone();
        async move {
            loop {
                let before = load(&*store).await.remove(0);
                let mut after = before.clone();
                after.enabled_tools.push(format!("tool_{n}"));
                if store.compare_and_swap(&before, &after).await.unwrap() {
                    return;
                }
            }
        }
    })
    .await;
    let tools: BTreeSet<_> = load(&**store).await.remove(0).enabled_tools.into_iter().collect();
    assert_eq!(tools, (0..TASKS).map(|n| format!("tool_{n}")).collect(), "a swap has undone another");
}

async fn removing_takes_one_definition_and_none_twice(store: &dyn ConfigStore) {
    for slug in ["a", "a_b", "b"] {
        store.insert(&sample(slug)).await.unwrap();
    }
    for _ in 0..2 {
        store.remove(&Slug::verbatim("a")).await.expect("removing what is gone is not an error");
    }
    assert_eq!(load(store).await, [sample("a_b"), sample("b")]);
}

async fn concurrent_writers_lose_nothing<S: ConfigStore>(tasks: &Arc<S>, threads: &Arc<S>) {
    let churn = |store: Arc<S>, n: usize| async move {
        let mut definition = sample(&format!("s{n}"));
        store.insert(&definition).await.unwrap();
        store.insert(&sample(&format!("gone{n}"))).await.unwrap();
        definition.enabled_tools = vec![format!("tool_{n}")];
        store.replace(&definition).await.unwrap();
        store.remove(&Slug::verbatim(format!("gone{n}"))).await.unwrap();
    };
    let store = tasks.clone();
    in_tasks(TASKS, move |n| churn(store.clone(), n)).await;
    let store = threads.clone();
    on_threads(TASKS, move |n| churn(store.clone(), n)).await;
    for store in [tasks, threads] {
        assert_eq!(slugs(&**store).await, expected_slugs(TASKS), "concurrent writers have lost a change");
        for definition in load(&**store).await {
            let n = definition.slug.as_str().trim_start_matches('s');
            assert_eq!(definition.enabled_tools, [format!("tool_{n}")]);
        }
    }
}

async fn one_of_many_inserts_of_a_slug_wins<S: ConfigStore>(store: &Arc<S>) {
    let shared = store.clone();
    let results = in_tasks(TASKS, move |n| {
        let store = shared.clone();
        async move {
            let mut definition = sample("same");
            definition.name = n.to_string();
            (n, store.insert(&definition).await.is_ok())
        }
    })
    .await;
    let winners: Vec<_> = results.iter().filter(|(_, won)| *won).map(|(n, _)| n.to_string()).collect();
    let stored: Vec<_> = load(&**store).await.into_iter().map(|definition| definition.name).collect();
    assert_eq!(winners.len(), 1, "{} inserts of one slug were accepted", winners.len());
    assert_eq!(stored, winners);
}

async fn load(store: &dyn ConfigStore) -> Vec<ConnectorDefinition> {
    store.load().await.expect("the store cannot be read")
}

async fn slugs(store: &dyn ConfigStore) -> BTreeSet<String> {
    load(store).await.into_iter().map(|definition| definition.slug.to_string()).collect()
}

fn expected_slugs(count: usize) -> BTreeSet<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

fn sample(slug: &str) -> ConnectorDefinition {
    ConnectorDefinition::http(Slug::verbatim(slug), slug.to_uppercase(), format!("https://{slug}.test/mcp"))
}

/// A definition in which every field is set.
fn full(slug: &str) -> ConnectorDefinition {
    let command = StdioCommand {
        command: "npx".into(),
        args: vec!["-y".into(), "päckage".into()],
        env: [("EMPTY".to_owned(), String::new()), ("KEY".to_owned(), "value".to_owned())].into(),
        secret_env: vec!["API_KEY".into()],
        cwd: Some("/srv/project".into()),
    };
    let mut definition = ConnectorDefinition::stdio(Slug::verbatim(slug), "Full", command);
    definition.secret_headers = vec!["X-Api-Key".into(), "Authorization".into()];
    definition.oauth = Some(OAuthSettings {
        token_endpoint: "https://auth.test/token".into(),
        client_id: "client".into(),
        has_client_secret: true,
        resource: Some("https://host.test/mcp".into()),
        scopes: vec!["read".into(), "write".into()],
        issuer: Some("https://auth.test".into()),
        redirect_uri: Some("http://127.0.0.1:9100/oauth/callback".into()),
        registration: Some(Registration::Dynamic),
        token_endpoint_auth_method: Some("client_secret_basic".into()),
        grant: Some(GrantKind::EnterpriseManaged {
            idp_token_endpoint: "https://idp.test/token".into(),
            idp_client_id: "at-idp".into(),
        }),
        exceptions: vec![OAuthException::PkceNotAdvertised, OAuthException::IssuerSlash],
    });
    definition.enabled_tools = vec!["one".into(), "two".into()];
    definition.tool_pins = [("one".to_owned(), "00ff".to_owned())].into();
    definition.secrets_revision = 2;
    definition.unfinished = true;
    definition.disabled = true;
    definition.output_check = OutputCheck::Strict;
    definition.engine = true;
    definition.proposal =
        Some(AcceptedProposal { file: "/srv/project/.car/connectors.toml".into(), hash: "00ff".into() });
    definition.network = NetworkSettings {
        ca_file: Some("/etc/ca.pem".into()),
        client_certificate_file: Some("/etc/client.pem".into()),
        client_key_file: Some("/etc/client.key".into()),
        proxy: Some("http://proxy.test:3128".into()),
        allow_private: true,
    };
    definition
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryConfigStore;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_memory_store_keeps_the_contract() {
        run(|| Arc::new(MemoryConfigStore::default())).await;
    }
}
