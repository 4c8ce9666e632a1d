//! Connectors that change all the time under runtimes that use them all the time.
//!
//! `CONNECTORS_CAR_CHURN_SECONDS` says for how long; three seconds if it says nothing.

use std::collections::BTreeSet;
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

use crate::host::{Host, action, execute, listed, proposal, strings};

const RUNTIMES: usize = 8;

/// Two connectors, which go their ways independently.
const CONNECTORS: [&str; 2] = ["Churn", "Other"];

/// The tools of each that come and go.
const TOOLS: [&str; 2] = ["echo", "again"];

/// How many ways there are in which a tool is withdrawn.
const WAYS: usize = 6;

/// Whether actions of a runtime are dispatched by the engine's own executor.
fn is_on_engines(n: usize) -> bool {
    n % 4 == 3
}

/// Tools that note the age in which their caller began; `text` is the age.
fn tools(description: &str) -> Vec<Tool> {
    let mut tools = vec![Tool::add()];
    tools.extend(TOOLS.map(|name| Tool::echo().named(name).described(description)));
    tools
}

/// The ages of one connector: even while its tools may be called, odd while they are withdrawn.
#[derive(Default)]
struct Ages {
    now: AtomicU64,
    /// By runtime: the age in which its action under way began, plus one; zero between actions.
    under_way: [AtomicU64; RUNTIMES],
    /// By runtime: how many proposals have begun.
    begun: [AtomicU64; RUNTIMES],
    /// By runtime: how many actions have succeeded.
    succeeded: [AtomicU64; RUNTIMES],
    over: AtomicBool,
}

impl Ages {
    /// Runs proposals one after the other, of an action on each tool, with the age in which they begin.
    async fn work(&self, slug: &str, n: usize, runtime: &Runtime) {
        let names = TOOLS.map(|tool| format!("mcp_{slug}_{tool}"));
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
            let actions = names.iter().map(|name| action(name, name, json!({"text": age.to_string()})));
            let outcome = execute(runtime, &proposal(actions.collect())).await;
            assert_eq!(outcome.results.len(), TOOLS.len());
            for result in outcome.results {
                if result.status == ActionStatus::Succeeded {
                    let output = result.output.unwrap();
                    // The engine's executor asks no list: what was validated before the tool went is the fallback's after it.
                    let is_late = is_on_engines(n)
                        && age % 2 == 0
                        && output == json!(format!("the host ran {}", result.action_id));
                    assert!(
                        is_late || output == json!(age.to_string()),
                        "{output} in the age {age}, by runtime {n}"
                    );
                    self.succeeded[n].fetch_add(u64::from(!is_late), Ordering::SeqCst);
                }
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

    /// Waits until every runtime has begun another proposal.
    async fn used(&self) {
        let before: Vec<_> = self.begun.iter().map(|begun| begun.load(Ordering::SeqCst)).collect();
        poll("every runtime to begin an action", async || {
            let has_begun = |(begun, before): (&AtomicU64, &u64)| begun.load(Ordering::SeqCst) > before + 1;
            self.begun.iter().zip(&before).all(has_begun).then_some(())
        })
        .await;
    }
}

/// One connector, and whoever uses it.
struct Churned {
    host: Arc<Host>,
    name: &'static str,
    slug: Slug,
    server: McpServer,
    runtimes: Vec<Arc<Runtime>>,
    ages: Arc<Ages>,
}

impl Churned {
    /// Those of its tools that have a route.
    fn routed(&self) -> BTreeSet<String> {
        self.own(self.host.routed())
    }

    fn own(&self, names: BTreeSet<String>) -> BTreeSet<String> {
        let prefix = format!("mcp_{}_", self.slug);
        names.into_iter().filter(|name| name.starts_with(&prefix)).collect()
    }

    /// What a runtime lists of it, in its registry and to models.
    async fn listed(&self, runtime: &Runtime) -> [BTreeSet<String>; 2] {
        let (registered, shown) = listed(runtime).await;
        [self.own(registered), self.own(shown)]
    }

    async fn until_routed(&self, count: usize) {
        let what = format!("{count} tools of {} to be routed", self.slug);
        poll(&what, async || (self.routed().len() == count).then_some(())).await;
    }

    /// The ways in which tools are withdrawn, and come back. By the last one they are denied, and stay where they are.
    async fn withdraw(&self, way: usize) {
        let Self { host, slug, server, .. } = self;
        match way {
            0 => host.disable(slug, &TOOLS).await,
            1 => host.manager.remove(slug).await.unwrap(),
            2 => {
                host.kept.upgrade().unwrap().register(self.name, slug.clone());
                host.manager.gates_changed().await;
            }
            // Off the server's list, and changed on it.
            3 => server.set_tools([Tool::add()]),
            4 => server.set_tools(tools("Changed.")),
            _ => {
                for runtime in &self.runtimes {
                    host.bridge.deny_connector(runtime, self.name, slug.clone()).await;
                }
                return;
            }
        }
        self.until_routed(0).await;
        // Lists of tools agree with the routes when no change is under way.
        host.manager.routes_settled().await;
        for runtime in &self.runtimes {
            assert_eq!(self.listed(runtime).await, [const { BTreeSet::new() }; 2]);
        }
        // A runtime that comes in between starts with what there is.
        assert_eq!(self.listed(&*host.runtime().await).await, [const { BTreeSet::new() }; 2]);
    }

    async fn bring_back(&self, way: usize) {
        let Self { host, slug, server, .. } = self;
        let all = strings(&TOOLS);
        match way {
            0 => host.enable(slug, &TOOLS).await,
            1 => {
                host.manager.add(NewConnector::http(self.name, server.url(), Vec::new())).await.unwrap();
                host.enable(slug, &TOOLS).await;
            }
            2 => {
                assert!(host.kept.upgrade().unwrap().lift(self.name));
                host.manager.gates_changed().await;
            }
            3 => server.set_tools(tools("")),
            // As it was: no change any more. The next time it is accepted as it is.
            4 => drop(host.manager.accept_changes(slug, &all).await.unwrap()),
            _ => {
                for runtime in &self.runtimes {
                    assert!(host.bridge.allow_connector(runtime, self.name).await);
                }
            }
        }
        self.until_routed(TOOLS.len()).await;
        if way == 4 {
            server.set_tools(tools(""));
            self.until_routed(0).await;
            host.manager.accept_changes(slug, &all).await.unwrap();
        }
    }

    /// Goes all ways until the time is over, and returns the ages in which no call was to arrive.
    async fn churn(&self, end: Instant) -> BTreeSet<String> {
        let mut withdrawn = BTreeSet::new();
        for way in (0..WAYS).cycle() {
            self.withdraw(way).await;
            // Whatever begins from here on, until the next age, must not arrive.
            withdrawn.insert(self.ages.turn().await.to_string());
            self.ages.used().await;
            self.host.manager.reconnect(&self.slug).await.ok();
            self.ages.turn().await;
            self.bring_back(way).await;
            self.host.manager.reconnect(&self.slug).await.unwrap();
            self.ages.used().await;
            if Instant::now() >= end && way == WAYS - 1 {
                break;
            }
        }
        self.ages.over.store(true, Ordering::SeqCst);
        withdrawn
    }

    /// Nothing has arrived that was not to, and everybody has got through.
    fn check(&self, withdrawn: &BTreeSet<String>) {
        let succeeded = self.ages.succeeded.each_ref().map(|succeeded| succeeded.load(Ordering::SeqCst));
        assert!(!succeeded.contains(&0), "of some runtime no call has arrived at all: {succeeded:?}");
        for call in self.server.calls() {
            let age = call.body["params"]["arguments"]["text"].as_str().unwrap();
            assert!(!withdrawn.contains(age), "a call of the age {age} has reached the server");
        }
        println!("{}: {} ages without a call, {succeeded:?} calls by runtime", self.slug, withdrawn.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_to_a_withdrawn_tool_reaches_the_wire() {
    let seconds = std::env::var("CONNECTORS_CAR_CHURN_SECONDS").ok().and_then(|value| value.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let host = Arc::new(Host::new().await);
    let mut runtimes: Vec<Arc<Runtime>> = Vec::new();
    let engines = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&engines).await;
    for n in 0..RUNTIMES {
        let runtime = if is_on_engines(n) { host.runtime_on(&engines).await } else { host.runtime().await };
        runtimes.push(runtime);
    }
    let mut workers = Vec::new();
    let mut churned = Vec::new();
    for name in CONNECTORS {
        let server = Script::modern().with_tools(tools("")).start();
        let slug = host.add(name, &server, &TOOLS).await;
        let (ages, runtimes) = (Arc::<Ages>::default(), runtimes.clone());
        for (n, runtime) in runtimes.iter().enumerate() {
            let (ages, runtime, slug) = (Arc::clone(&ages), Arc::clone(runtime), slug.clone());
            workers.push(tokio::spawn(async move { ages.work(slug.as_str(), n, &runtime).await }));
        }
        churned.push(Churned { host: Arc::clone(&host), name, slug, server, runtimes, ages });
    }
    let churns: Vec<_> = churned.iter().map(|churned| churned.churn(end)).collect();
    let withdrawn = futures_util::future::join_all(churns).await;
    for worker in workers {
        soon("a runtime's last action", worker).await.unwrap();
    }
    host.manager.routes_settled().await;
    assert_eq!(host.routed().len(), CONNECTORS.len() * TOOLS.len());
    for runtime in &runtimes {
        assert_eq!(listed(runtime).await, (host.routed(), host.routed()));
    }
    for name in host.routed() {
        assert!(engines.handles(&name).await, "{name}");
    }
    for (churned, withdrawn) in churned.iter().zip(&withdrawn) {
        churned.check(withdrawn);
    }
}
