//! Any file is a list of rejected proposals or refused and left alone, and a change keeps the others.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use connectors_core::{ConnectorDefinition, Proposal, ProposalSource, Slug};
use connectors_store::{Paths, TeamFile};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(paths(folder.path()).state_root).expect("a state root");
    folder
});
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fn paths(folder: &Path) -> Paths {
    Paths::new(folder.join("state"), folder.join("vault.key"))
}

fuzz_target!(|bytes: &[u8]| {
    let paths = paths(FOLDER.path());
    let file = paths.rejected_proposals();
    fs::write(&file, bytes).expect("a file");
    let source = TeamFile::new(FOLDER.path(), &paths);
    let proposal = Proposal {
        definition: ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://example.com/mcp"),
        hash: "rejected by the fuzzer".to_owned(),
        file: String::new(),
        line: 1,
    };
    RUNTIME.block_on(async {
        let Ok(mut before) = source.rejected().await else {
            source.remember(&proposal, true).await.expect_err("a file that is no list takes nothing");
            assert!(fs::read(&file).expect("the file") == bytes, "a file that is no list was changed");
            return;
        };
        source.remember(&proposal, true).await.expect("a list takes a proposal");
        before.insert(proposal.hash.clone());
        assert_eq!(source.rejected().await.expect("still a list"), before);
        source.remember(&proposal, false).await.expect("a list lets a proposal go");
        before.remove(&proposal.hash);
        assert_eq!(source.rejected().await.expect("still a list"), before);
    });
});
