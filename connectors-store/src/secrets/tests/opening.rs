//! The choice of a place at a start.

use std::sync::atomic::{AtomicUsize, Ordering};

use connectors_core::{ConfigStore, ConnectorDefinition, OAuthSettings, StdioCommand};

use super::scripted::*;
use crate::secrets::SecretPlace::{Keychain, Vault};
use crate::secrets::*;
use crate::{ManifestStore, OpenedCredentials};

/// A start on this machine, with the number of times that its keychain was opened.
fn start(machine: &Machine) -> (Opening, Arc<AtomicUsize>) {
    let folder = machine.folder.path();
    let (keychain, vault) = (machine.keychain.clone(), machine.vault.clone());
    let opened = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&opened);
    let make = move |place| -> Result<Arc<dyn Keeper>, CredentialError> {
        Ok(Arc::new(match place {
            Keychain => {
                count.fetch_add(1, Ordering::SeqCst);
                keychain.clone()
            }
            Vault => vault.clone(),
        }))
    };
    let file = VaultStore::new(&crate::Paths::new(folder.join("state"), folder.join("vault.key")));
    (Opening::new(&folder.join("state"), file, make), opened)
}

async fn chosen(machine: &Machine) -> OpenedCredentials {
    crate::open::auto(start(machine).0, &manifest(machine)).await.unwrap()
}

fn manifest(machine: &Machine) -> ManifestStore {
    ManifestStore::new(machine.folder.path().join("state").join("connectors.json"))
}

#[tokio::test]
async fn a_start_asks_one_keychain_once_whether_or_not_it_is_then_used() {
    for (problem, kind, notice) in [
        (None, "keychain", "Secrets are kept in a script."),
        (
            Some("the keychain forgets"),
            "vault",
            "Secrets are kept in a script, because the keychain forgets.",
        ),
    ] {
        let mut machine = Machine::new();
        machine.keychain.problem = problem;
        let (opening, opened) = start(&machine);
        let chosen = crate::open::auto(opening, &manifest(&machine)).await.unwrap();
        assert_eq!((chosen.store.kind(), chosen.notice.as_str()), (kind, notice));
        let proofs = machine.keychain.proofs.load(Ordering::SeqCst);
        assert_eq!((opened.load(Ordering::SeqCst), proofs), (1, 1), "{kind}");
    }
}

#[tokio::test]
async fn a_new_vault_is_warned_of_where_the_manifest_names_secrets_that_must_be_somewhere_else() {
    let definition = |name: &str| ConnectorDefinition::http(Slug::from_name(name), name, "https://a");
    let (plain, mut header, mut signed_in) = (definition("a"), definition("b"), definition("c"));
    header.secret_headers = vec!["X-Key".to_owned()];
    signed_in.oauth = Some(OAuthSettings::default());
    let mut command = StdioCommand { command: "serve".to_owned(), ..StdioCommand::default() };
    command.secret_env = vec!["TOKEN".to_owned()];
    let variable = ConnectorDefinition::stdio(Slug::verbatim("d"), "D", command);
    for (definition, warning) in [(plain, false), (header, true), (signed_in, true), (variable, true)] {
        let mut machine = Machine::new();
        machine.keychain.problem = Some("there is no keychain");
        manifest(&machine).insert(&definition).await.unwrap();
        let opened = chosen(&machine).await;
        let said =
            "The vault holds none of the secrets that connectors.json names: they may be in the keychain.";
        assert_eq!((opened.store.kind(), opened.warning), ("vault", warning), "{}", opened.notice);
        assert_eq!(opened.notice.contains(said), warning, "{}", opened.notice);
    }
}

#[tokio::test]
async fn a_keychain_that_is_taken_though_a_vault_holds_secrets_is_warned_of() {
    let machine = Machine::new();
    let folder = machine.folder.path();
    let vault = VaultStore::new(&crate::Paths::new(folder.join("state"), folder.join("vault.key")));
    vault.open().await.unwrap();
    assert!(!chosen(&machine).await.warning);
    vault.put(&key("connector:a:tokens"), &"value".into()).await.unwrap();
    let opened = chosen(&machine).await;
    assert_eq!((opened.store.kind(), opened.warning), ("keychain", true), "{}", opened.notice);
    let said =
        "There is a vault with secrets too, which is not used; start with `--secrets vault` to use it.";
    assert!(opened.notice.contains(said), "{}", opened.notice);

    // Where there is no keychain at another start, the vault is what was used before.
    let mut machine = machine;
    machine.keychain.problem = Some("there is no keychain");
    let mut definition = ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a");
    definition.oauth = Some(OAuthSettings::default());
    manifest(&machine).insert(&definition).await.unwrap();
    let opened = chosen(&machine).await;
    assert_eq!((opened.store.kind(), opened.warning), ("vault", false), "{}", opened.notice);
}
