//! Connectors that change all the time under runtimes that use them all the time.
//!
//! `CONNECTORS_CAR_CHURN_SECONDS` says for how long; three seconds if it says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use car_engine::{McpToolExecutor, Runtime};
use car_ir::ActionStatus;
use connectors_core::Slug;
use connectors_core::manager::NewConnector;
use connectors_tests::deadline::{poll, soon};
use connectors_tests::{McpServer, Script, Tool};
use serde_json::json;

use crate::host::{Host, action, listed, run};

const RUNTIMES: usize = 8;

/// Whether actions of a runtime are dispatched by the engine's own executor.
fn is_on_engines(n: usize) -> bool {
    n % 4 == 3
}

/// A tool that notes the age in which its caller began; `text` is the age.
fn tool() -> Tool {
    Tool::echo()
}

/// The ages of the churn: even while the tool may be called, odd while it is withdrawn.
#[derive(Default)]
struct Ages {
    now: AtomicU64,
    /// By runtime: the age in which its action under way began, plus one; zero between actions.
    under_way: [AtomicU64; RUNTIMES],
    /// By runtime: how many actions have begun.
    begun: [AtomicU64; RUNTIMES],
    /// By runtime: how many have succeeded.
    succeeded: [AtomicU64; RUNTIMES],
    over: AtomicBool,
}

impl Ages {
    /// Runs actions one after the other, each with the age in which it begins.
    async fn work(&self, n: usize, runtime: &Runtime) {
        while !self.over.load(Ordering::SeqCst) {
            let age = loop {
                let age = self.now.load(Ordering::SeqCst);
                self.under_way[n].store(age + 1, Ordering::SeqCst);
                // Seen by whoever turns the age, or begun again.
                if self.now.load(Ordering::SeqCst) == age {
                    break age;
                }
            };
            self.begun[n].fetch_add(1, Ordering::SeqCst);
            let result = run(runtime, action("a", "mcp_churn_echo", json!({"text": age.to_string()}))).await;
            if result.status == ActionStatus::Succeeded {
                let output = result.output.unwrap();
                // The engine's executor asks no list: what was validated before the tool went is the fallback's after it.
                let is_late =
                    is_on_engines(n) && age % 2 == 0 && output == json!("the host ran mcp_churn_echo");
                assert!(
                    is_late || output == json!(age.to_string()),
                    "{output} in the age {age}, by runtime {n}"
                );
                self.succeeded[n].fetch_add(u64::from(!is_late), Ordering::SeqCst);
            }
            self.under_way[n].store(0, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    }

    /// Begins an age, and waits until no action of an earlier one is under way.
    async fn turn(&self) -> u64 {
        let age = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        let is_old = |began: &AtomicU64| (1..=age).contains(&began.load(Ordering::SeqCst));
        poll("the actions of the last age to end", async || {
            (!self.under_way.iter().any(is_old)).then_some(())
        })
        .await;
        age
    }

    /// Waits until every runtime has begun another action.
    async fn used(&self) {
        let before: Vec<_> = self.begun.iter().map(|begun| begun.load(Ordering::SeqCst)).collect();
        poll("every runtime to begin an action", async || {
            let has_begun = |(begun, before): (&AtomicU64, &u64)| begun.load(Ordering::SeqCst) > before + 1;
            self.begun.iter().zip(&before).all(has_begun).then_some(())
        })
        .await;
    }
}

/// The ways in which a tool is withdrawn, and comes back.
async fn withdraw(way: usize, host: &Host, slug: &Slug, server: &McpServer) {
    let all = ["echo".to_owned()];
    match way {
        0 => drop(host.manager.disable_tools(slug, &all).await.unwrap()),
        1 => host.manager.remove(slug).await.unwrap(),
        2 => {
            host.kept.upgrade().unwrap().register("rule", slug.clone());
            host.manager.gates_changed().await;
        }
        // Off the server's list, and changed on it.
        3 => server.set_tools([Tool::add()]),
        _ => server.set_tools([tool().described("Changed."), Tool::add()]),
    }
    poll("the tool to be withdrawn", async || host.routed().is_empty().then_some(())).await;
    // Lists of tools agree with the routes when no change is under way.
    host.manager.routes_settled().await;
}

async fn bring_back(way: usize, host: &Host, slug: &Slug, server: &McpServer) {
    let all = ["echo".to_owned()];
    match way {
        0 => drop(host.manager.enable_tools(slug, &all).await.unwrap()),
        1 => {
            host.manager.add(NewConnector::http("Churn", server.url(), Vec::new())).await.unwrap();
            host.manager.enable_tools(slug, &all).await.unwrap();
        }
        2 => {
            assert!(host.kept.upgrade().unwrap().lift("rule"));
            host.manager.gates_changed().await;
        }
        3 => server.set_tools([tool(), Tool::add()]),
        // As it was: no change any more. The next time it is accepted as it is.
        _ => drop(host.manager.accept_changes(slug, &all).await.unwrap()),
    }
    poll("the tool to be back", async || (!host.routed().is_empty()).then_some(())).await;
    if way == 4 {
        server.set_tools([tool(), Tool::add()]);
        poll("the old definition", async || host.routed().is_empty().then_some(())).await;
        host.manager.accept_changes(slug, &all).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_to_a_withdrawn_tool_reaches_the_wire() {
    let seconds = std::env::var("CONNECTORS_CAR_CHURN_SECONDS").ok().and_then(|value| value.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let server = Script::modern().with_tools([tool(), Tool::add()]).start();
    let host = Host::new().await;
    let mut runtimes: Vec<Arc<Runtime>> = Vec::new();
    let engines = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&engines).await;
    for n in 0..RUNTIMES {
        let runtime = if is_on_engines(n) { host.runtime_on(&engines).await } else { host.runtime().await };
        runtimes.push(runtime);
    }
    let slug = host.add("Churn", &server, &["echo"]).await;
    let ages = Arc::new(Ages::default());
    let workers: Vec<_> = runtimes
        .iter()
        .enumerate()
        .map(|(n, runtime)| {
            let (ages, runtime) = (Arc::clone(&ages), Arc::clone(runtime));
            tokio::spawn(async move { ages.work(n, &runtime).await })
        })
        .collect();
    let mut withdrawn = Vec::new();
    for way in (0..5).cycle() {
        withdraw(way, &host, &slug, &server).await;
        // Whatever begins from here on, until the next age, must not arrive.
        withdrawn.push(ages.turn().await.to_string());
        ages.used().await;
        for runtime in &runtimes {
            assert_eq!(listed(runtime).await, ([].into(), [].into()));
        }
        // A runtime that comes in between starts with what there is.
        assert_eq!(listed(&*host.runtime().await).await, ([].into(), [].into()));
        host.manager.reconnect(&slug).await.ok();
        ages.turn().await;
        bring_back(way, &host, &slug, &server).await;
        host.manager.reconnect(&slug).await.unwrap();
        ages.used().await;
        if Instant::now() >= end && way == 4 {
            break;
        }
    }
    ages.over.store(true, Ordering::SeqCst);
    for worker in workers {
        soon("a runtime's last action", worker).await.unwrap();
    }
    host.manager.routes_settled().await;
    for runtime in &runtimes {
        assert_eq!(listed(runtime).await, (host.routed(), host.routed()));
    }
    assert!(engines.handles("mcp_churn_echo").await);
    let succeeded = ages.succeeded.each_ref().map(|succeeded| succeeded.load(Ordering::SeqCst));
    assert!(!succeeded.contains(&0), "of some runtime no call has arrived at all: {succeeded:?}");
    for call in server.calls() {
        let age = call.body["params"]["arguments"]["text"].as_str().unwrap().to_owned();
        assert!(!withdrawn.contains(&age), "a call of the age {age} has reached the server");
    }
}
