//! Where the numbers come from.

use std::fs::read_to_string;
use std::process::Command;

/// Names the machine and the versions of what was compared.
pub(super) fn describe() -> String {
    let cpu = read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|info| {
            let line = info.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown CPU".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc =
        Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let rustc = String::from_utf8_lossy(&rustc);
    let versions: Vec<String> = ["connectors-core", "reqwest", "hyper", "tokio", "rmcp"]
        .into_iter()
        .filter_map(|package| Some(format!("{package} {}", version(package)?)))
        .collect();
    format!(
        "{cores} cores of {cpu}, Linux {}, {}, {}",
        kernel.trim(),
        rustc.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
        versions.join(", ")
    )
}

/// The version of a package that this binary was built with.
fn version(package: &str) -> Option<&'static str> {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let entry = LOCK.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")))?;
    entry.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
}
