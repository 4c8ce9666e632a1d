//! The vault as the file that it is.

use secrecy::SecretString;

use super::scripted::*;
use crate::secrets::SecretPlace::{Keychain, Vault};
use crate::secrets::*;

/// A process whose keychain is scripted and whose vault is a file.
fn with_a_file(machine: &Machine, fate: &Arc<Fate>) -> (Arc<Places>, VaultStore) {
    let folder = machine.folder.path();
    let vault =
        VaultStore::new(&crate::Paths::new(folder.join("state"), folder.join("config").join("vault.key")));
    let (keychain, made) = (machine.keychain.with_fate(fate), vault.clone());
    let make = move |place| -> Result<Arc<dyn Keeper>, CredentialError> {
        Ok(match place {
            Keychain => Arc::new(keychain.clone()),
            Vault => Arc::new(made.clone()),
        })
    };
    let places = Arc::new(Places::new(&folder.join("state"), make));
    places.settle(Keychain, 0);
    (places, vault)
}

#[tokio::test]
async fn a_move_that_fails_leaves_no_vault_that_was_not_there_before() {
    let mut steps = 0;
    loop {
        let machine = Machine::new();
        machine.fill(Keychain, &SECRETS).await;
        let fate = Arc::new(Fate { fails_from: Some(steps), ..Fate::default() });
        let (places, vault) = with_a_file(&machine, &fate);
        match places.move_to(Vault, own()).await {
            Ok(_) => break,
            Err(_) => assert!(!vault.exists(), "step {steps}"),
        }
        assert_eq!(machine.keychain.content().await, map(&SECRETS), "step {steps}");
        // One that was there stays.
        vault.open().await.unwrap();
        places.move_to(Vault, own()).await.unwrap_err();
        assert!(vault.exists(), "step {steps}");
        steps += 1;
    }
    assert_eq!(steps, 1 + SECRETS.len(), "the keys, and each secret");
}

#[tokio::test]
async fn nothing_is_moved_and_no_vault_made_while_it_is_not_known_whose_secrets_are_whose() {
    let machine = Machine::new();
    machine.fill(Keychain, &SECRETS).await;
    let (places, vault) = with_a_file(&machine, &Arc::default());
    let source = std::io::ErrorKind::PermissionDenied.into();
    let unreadable = StorageError::Io { action: "read", file: "connectors.json".to_owned(), source };
    let expected = format!("nothing is moved while it is not known which secrets are yours: {unreadable}");
    let error = places.move_to(Vault, async { Err(unreadable) }).await.unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(machine.keychain.content().await, map(&SECRETS));
    assert_eq!((vault.exists(), places.marker.read().unwrap()), (false, None));
}

#[tokio::test]
async fn a_vault_that_is_not_in_use_gets_no_passphrase_and_is_not_made() {
    let machine = Machine::new();
    let (places, vault) = with_a_file(&machine, &Arc::default());
    let secrets = Secrets(Arc::new(Inner {
        places: Some(Arc::clone(&places)),
        vault: Some(vault.clone()),
        asked_for: None,
        said: Mutex::new(Said { place: None, why: String::new(), besides: String::new(), warning: false }),
    }));
    for passphrase in [None, Some(SecretString::from("p"))] {
        let error = secrets.set_passphrase(passphrase).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "secrets are in the keychain, not in a vault; move them there first, then set its passphrase"
        );
        assert!(!vault.exists());
    }
    places.settle(Vault, 0);
    secrets.set_passphrase(None).await.unwrap();
    assert_eq!(vault.key_source().await, Some("key_file"));
}
