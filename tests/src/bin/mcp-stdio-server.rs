//! The scriptable MCP server over stdio. Its only argument is a `StdioScript`, as JSON.
#![allow(clippy::expect_used, reason = "a failure here is a failed test")]

use connectors_tests::mcp_server::stdio::{StdioScript, run};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let argument = std::env::args().nth(1).expect("one argument");
    let script: StdioScript = serde_json::from_str(&argument).expect("a StdioScript as JSON");
    run(script).await;
    // A read of standard input that nobody waits for any more must not keep the process.
    std::process::exit(0);
}
