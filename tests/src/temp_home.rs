//! A user's folders that are gone after the test.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

/// A temporary home: `state` in it is `CAR_HOME`, `user` is `HOME`.
#[derive(Debug)]
pub struct TempHome(TempDir);

impl Default for TempHome {
    fn default() -> Self {
        Self::new()
    }
}

impl TempHome {
    /// An empty one.
    pub fn new() -> Self {
        let home = Self(TempDir::with_prefix("connectors-home-").expect("a temporary folder"));
        for folder in [home.state(), home.user()] {
            std::fs::create_dir(folder).expect("a new folder");
        }
        home
    }

    /// The state root.
    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The user's own folder.
    pub fn user(&self) -> PathBuf {
        self.0.path().join("user")
    }

    /// Where `connectors.json` is.
    pub fn manifest_path(&self) -> PathBuf {
        self.state().join("connectors.json")
    }

    /// The text of `connectors.json`; empty if there is no such file.
    pub fn manifest_text(&self) -> String {
        std::fs::read_to_string(self.manifest_path()).unwrap_or_default()
    }

    /// The entries of `connectors.json`; none if there is no such file.
    pub fn manifest(&self) -> Vec<Value> {
        match self.manifest_text() {
            text if text.is_empty() => Vec::new(),
            text => {
                let manifest: Value = serde_json::from_str(&text).expect("connectors.json is JSON");
                manifest["connectors"].as_array().expect("connectors.json holds `connectors`").clone()
            }
        }
    }

    /// Writes `connectors.json`.
    pub fn write_manifest(&self, text: &str) {
        std::fs::write(self.manifest_path(), text).expect("the manifest can be written");
    }

    /// Where the daemon puts its token.
    pub fn token_path(&self) -> PathBuf {
        self.state().join("ai.parslee.car").join("auth-token")
    }

    /// Where the daemon keeps the key of its vault.
    pub fn vault_key_path(&self) -> PathBuf {
        self.user().join(".config").join("connectors").join("vault.key")
    }

    /// Every file in it that contains `needle`.
    pub fn files_with(&self, needle: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a readable folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if contains(&std::fs::read(&path).unwrap_or_default(), needle.as_bytes()) {
                    found.push(path);
                }
            }
        }
        found
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
