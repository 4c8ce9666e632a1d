//! The choice of a place at a start.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::scripted::*;
use crate::secrets::SecretPlace::{Keychain, Vault};
use crate::secrets::*;

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
        let chosen = crate::open::auto(opening).await.unwrap();
        assert_eq!((chosen.store.kind(), chosen.notice.as_str()), (kind, notice));
        let proofs = machine.keychain.proofs.load(Ordering::SeqCst);
        assert_eq!((opened.load(Ordering::SeqCst), proofs), (1, 1), "{kind}");
    }
}
