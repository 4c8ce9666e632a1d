//! What 32 actions at once cost, with the connectors' executor, with the engine's, and in the engine alone. Prints what `docs/performance.md` holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use car_engine::{McpToolExecutor, Runtime, ToolExecutor};
use car_ir::ActionStatus;
use connectors_tests::{Script, Tool};
use serde_json::{Value, json};

use crate::host::{Host, action, execute, proposal, schema};

/// The best of them counts, since a busy machine can only make it slower. More than these are made only while it seems too slow.
const ROUNDS: usize = 5;

/// A machine that is busy throughout these is too busy to tell.
const MOST_ROUNDS: usize = 60;

/// Less than this many times what one takes. One after the other, they take 32 times.
const SIDE_BY_SIDE: f64 = 2.0;

/// Takes as long as the tool, and does nothing.
struct Nap;

#[async_trait]
impl ToolExecutor for Nap {
    async fn execute(&self, _: &str, _: &Value) -> Result<Value, String> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(Value::Null)
    }
}

/// How long `n` actions on a tool that takes 50 ms take.
async fn time(runtime: &Runtime, n: usize) -> Duration {
    let all = proposal((0..n).map(|n| action(&format!("a{n}"), "mcp_s_sleep", json!({"ms": 50}))).collect());
    let started = Instant::now();
    let result = execute(runtime, &all).await;
    assert!(result.results.iter().all(|result| result.status == ActionStatus::Succeeded), "{result:?}");
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_actions_at_once_take_little_longer_than_one() {
    let server = Script::modern().with_tools([Tool::sleep()]).start();
    let host = Host::new().await;
    host.add("S", &server, &["sleep"]).await;
    let ours = Runtime::new();
    ours.set_executor(Arc::new(host.bridge.executor(&ours))).await;
    host.bridge.attach(&ours).await;
    let chained = host.runtime().await;
    let engines = Runtime::new();
    let executor = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&executor).await;
    engines.set_executor(executor).await;
    host.bridge.attach(&engines).await;
    let bare = Runtime::new();
    bare.set_executor(Arc::new(Nap)).await;
    bare.register_tool_schema(schema("mcp_s_sleep")).await;
    for (name, runtime, most) in [
        ("no connector", &bare, None),
        ("ConnectorExecutor", &ours, Some(SIDE_BY_SIDE)),
        ("ConnectorExecutor, with a log that is chained by hashes", &*chained, Some(SIDE_BY_SIDE)),
        ("McpToolExecutor", &engines, None),
    ] {
        time(runtime, 1).await;
        let (mut one, mut many) = (Duration::MAX, Duration::MAX);
        let mut ratio = f64::INFINITY;
        for round in 0..MOST_ROUNDS {
            if round >= ROUNDS && most.is_none_or(|most| ratio < most) {
                break;
            }
            one = one.min(time(runtime, 1).await);
            many = many.min(time(runtime, 32).await);
            ratio = many.div_duration_f64(one);
        }
        println!("{name}: one {one:.1?}, 32 at once {many:.1?}, {ratio:.1} times");
        assert!(most.is_none_or(|most| ratio < most), "{name}: {ratio:.2} times");
    }
}
