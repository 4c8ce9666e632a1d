//! Cuts the writing of files short: by an error, as of a full disk, or by the death of the process.
//!
//! [`survives_every_fault`] is for every kind of file that is written through [`atomic::replace`](crate::atomic::replace).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::Step;
use crate::lock::FileLock;

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fail,
    Die,
}

/// By the file that is written, so that tests do not disturb each other.
static FAULTS: Mutex<Option<HashMap<PathBuf, (Step, Fault)>>> = Mutex::new(None);

fn inject(target: &Path, fault: Option<(Step, Fault)>) {
    let mut faults = FAULTS.lock().unwrap();
    let faults = faults.get_or_insert_default();
    match fault {
        Some(fault) => drop(faults.insert(target.to_owned(), fault)),
        None => drop(faults.remove(target)),
    }
}

pub(crate) fn reached(target: &Path, step: Step) -> io::Result<()> {
    let fault = FAULTS.lock().unwrap().as_ref().and_then(|faults| faults.get(target).copied());
    match fault {
        Some((at, Fault::Fail)) if at == step => Err(io::ErrorKind::StorageFull.into()),
        // As by `kill -9`: nothing is cleaned up.
        Some((at, Fault::Die)) if at == step => std::process::abort(),
        _ => Ok(()),
    }
}

type Happens = Box<dyn Fn() + Send>;

/// What happens when a file is about to be read, by the file.
static READERS: Mutex<Option<HashMap<PathBuf, Happens>>> = Mutex::new(None);

/// Has whoever reads the file wait for `happens` first, as for a slow disk.
pub(crate) fn when_read(file: &Path, happens: impl Fn() + Send + 'static) {
    READERS.lock().unwrap().get_or_insert_default().insert(file.to_owned(), Box::new(happens));
}

pub(crate) fn reading(file: &Path) {
    let happens = READERS.lock().unwrap().as_mut().and_then(|readers| readers.remove(file));
    if let Some(happens) = happens {
        happens();
    }
}

/// The steps, and whether the new content is in place after each.
const STEPS: [(Step, bool); 7] = [
    (Step::Created, false),
    (Step::Written, false),
    (Step::Synced, false),
    (Step::Linked, false),
    (Step::BackedUp, false),
    (Step::Renamed, true),
    (Step::Durable, true),
];

/// A kind of file.
pub(crate) struct Subject {
    /// The file that is replaced, in a folder of its own.
    pub(crate) file: fn(&Path) -> PathBuf,
    /// Its lock.
    pub(crate) lock: fn(&Path) -> PathBuf,
    /// Makes it say `n`, with nothing in memory from before; fails without a change.
    pub(crate) write: fn(&Path, u64) -> Result<(), String>,
    /// What it says, 0 if it is not there; also with nothing in memory from before.
    pub(crate) read: fn(&Path) -> u64,
    /// True if the version before is kept.
    pub(crate) keeps_previous: bool,
    /// The path of an ignored test that calls [`die`], in this test program.
    pub(crate) child: &'static str,
}

const FOLDER: &str = "CONNECTORS_STORE_FAULT_FOLDER";
const STEP: &str = "CONNECTORS_STORE_FAULT_STEP";

/// For the test that is run as a process of its own: writes 3 and dies of it. Does nothing if somebody runs ignored tests by
/// hand.
pub(crate) fn die(subject: &Subject) {
    let (Some(folder), Ok(step)) = (std::env::var_os(FOLDER), std::env::var(STEP)) else { return };
    let folder = PathBuf::from(folder);
    let step = STEPS[step.parse::<usize>().unwrap()].0;
    inject(&(subject.file)(&folder), Some((step, Fault::Die)));
    (subject.write)(&folder, 3).unwrap();
    panic!("has survived {step:?}");
}

fn killed(subject: &Subject, folder: &Path, step: usize) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", subject.child, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(STEP, step.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    // Killed by a signal, which is not how a failed test ends.
    assert_eq!((status.success(), status.code()), (false, if cfg!(unix) { None } else { status.code() }));
}

fn temporary_files(file: &Path) -> Vec<String> {
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".tmp")).collect()
}

/// Whatever happens at whatever step, on a file that is new or not: the old or the new content is there, the lock is free, and
/// no temporary file is left once somebody has read it.
pub(crate) fn survives_every_fault(subject: &Subject) {
    let steps = STEPS.iter().enumerate();
    let taken = steps
        .filter(|(_, (step, _))| subject.keeps_previous || !matches!(step, Step::Linked | Step::BackedUp));
    for (index, &(step, is_in_place)) in taken {
        for before in [0, 2] {
            // There is nothing to back up of a new file.
            if before == 0 && matches!(step, Step::Linked | Step::BackedUp) {
                continue;
            }
            for fault in [Fault::Fail, Fault::Die] {
                let at = format!("{fault:?} at {step:?}, after {before}");
                let folder = tempfile::tempdir().unwrap();
                let folder = folder.path();
                let file = (subject.file)(folder);
                for n in 1..=before {
                    (subject.write)(folder, n).unwrap();
                }
                match fault {
                    Fault::Fail => {
                        inject(&file, Some((step, fault)));
                        let outcome = (subject.write)(folder, 3);
                        inject(&file, None);
                        // That the previous version could not be kept is no reason not to go on.
                        let is_fatal = matches!(step, Step::Created | Step::Written | Step::Synced);
                        assert_eq!(outcome.is_err(), is_fatal, "{at}: {outcome:?}");
                        assert_eq!((subject.read)(folder), if is_fatal { before } else { 3 }, "{at}");
                    }
                    Fault::Die => {
                        killed(subject, folder, index);
                        let is_left = matches!(step, Step::Created | Step::Written | Step::Synced);
                        assert!(!is_left || !temporary_files(&file).is_empty(), "{at}: too early");
                        let lock = (subject.lock)(folder);
                        assert!(FileLock::try_acquire(&lock).unwrap().is_some(), "{at}: still locked");
                        assert_eq!((subject.read)(folder), if is_in_place { 3 } else { before }, "{at}");
                    }
                }
                assert_eq!(temporary_files(&file), [""; 0], "{at}");
                (subject.write)(folder, 4).unwrap();
                assert_eq!((subject.read)(folder), 4, "{at}");
                assert_eq!(temporary_files(&file), [""; 0], "{at}");
            }
        }
    }
}

/// The same of a file that is made once: whole or not at all, and no temporary file is left once somebody has looked for it.
/// `read` gives 3 where there is one.
#[cfg(feature = "vault")]
pub(crate) fn never_replaced_survives_every_fault(subject: &Subject) {
    let steps = STEPS.iter().enumerate();
    for (index, &(step, is_in_place)) in
        steps.filter(|(_, (step, _))| !matches!(step, Step::Linked | Step::BackedUp))
    {
        for fault in [Fault::Fail, Fault::Die] {
            let at = format!("{fault:?} at {step:?}");
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            let file = (subject.file)(folder);
            match fault {
                Fault::Fail => {
                    inject(&file, Some((step, fault)));
                    (subject.write)(folder, 3).unwrap_err();
                    inject(&file, None);
                }
                Fault::Die => {
                    killed(subject, folder, index);
                    assert!(is_in_place || !temporary_files(&file).is_empty(), "{at}: too early");
                    let lock = (subject.lock)(folder);
                    assert!(FileLock::try_acquire(&lock).unwrap().is_some(), "{at}: still locked");
                }
            }
            assert_eq!((subject.read)(folder), if is_in_place { 3 } else { 0 }, "{at}");
            assert_eq!(temporary_files(&file), [""; 0], "{at}");
            let before = fs::read(&file).ok();
            (subject.write)(folder, 3).unwrap();
            assert_eq!((subject.read)(folder), 3, "{at}");
            assert!(before.is_none_or(|before| before == fs::read(&file).unwrap()), "{at}: made anew");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

mod manifest {
    use connectors_core::{ConfigStore, ConnectorDefinition, Slug};

    use super::*;
    use crate::ManifestStore;

    const SUBJECT: Subject = Subject {
        file: |folder| folder.join("connectors.json"),
        lock: |folder| folder.join("connectors.json.lock"),
        write: |folder, n| {
            let definition = ConnectorDefinition::http(Slug::verbatim("a"), n.to_string(), "https://a");
            let store = ManifestStore::new((SUBJECT.file)(folder));
            runtime().block_on(store.replace(&definition)).map_err(|error| error.to_string())
        },
        read: |folder| {
            let definitions = runtime().block_on(ManifestStore::new((SUBJECT.file)(folder)).load()).unwrap();
            definitions.first().map_or(0, |definition| definition.name.parse().unwrap())
        },
        keeps_previous: true,
        child: "faults::injected::manifest::writer",
    };

    #[test]
    #[ignore = "run by another test, as a process that dies"]
    fn writer() {
        die(&SUBJECT);
    }

    #[test]
    fn a_manifest_survives_every_fault() {
        survives_every_fault(&SUBJECT);
    }

    #[test]
    fn a_backup_that_fails_leaves_the_one_before_and_one_that_dies_the_one_before_or_the_present_version() {
        for (index, (step, _)) in STEPS.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            for n in 1..=2 {
                (SUBJECT.write)(folder, n).unwrap();
            }
            killed(&SUBJECT, folder, index);
            let backup = fs::read_to_string(folder.join("connectors.json.bak")).unwrap();
            let is_taken = matches!(step, Step::BackedUp | Step::Renamed | Step::Durable);
            let expected = format!("\"name\": \"{}\"", if is_taken { 2 } else { 1 });
            assert!(backup.contains(&expected), "{step:?}: {backup}");
        }
    }
}

#[cfg(feature = "vault")]
mod vault {
    use connectors_core::{CredentialKey, CredentialStore, Slug};
    use secrecy::{ExposeSecret, SecretString};

    use super::*;
    use crate::{Paths, VaultStore};

    fn store(folder: &Path) -> VaultStore {
        VaultStore::new(&Paths::new(folder.join("state"), folder.join("vault.key")))
    }

    fn key() -> CredentialKey {
        CredentialKey::tokens(&Slug::verbatim("a"))
    }

    const SUBJECT: Subject = Subject {
        file: |folder| folder.join("state").join("connectors.vault"),
        lock: |folder| folder.join("state").join("connectors.vault.lock"),
        write: |folder, n| {
            let value = SecretString::from(n.to_string());
            runtime().block_on(store(folder).put(&key(), &value)).map_err(|error| error.to_string())
        },
        read: |folder| {
            let value = runtime().block_on(store(folder).get(&key())).unwrap();
            value.map_or(0, |value| value.expose_secret().parse().unwrap())
        },
        keeps_previous: false,
        child: "faults::injected::vault::writer",
    };

    #[test]
    #[ignore = "run by another test, as a process that dies"]
    fn writer() {
        die(&SUBJECT);
    }

    #[test]
    fn a_vault_survives_every_fault() {
        survives_every_fault(&SUBJECT);
    }
}

mod rejections {
    use connectors_core::{ConnectorDefinition, Proposal, ProposalSource, Slug};

    use super::*;
    use crate::{Paths, TeamFile};

    fn team_file(folder: &Path) -> TeamFile {
        TeamFile::new(folder, &Paths::new(folder.join("state"), folder.join("vault.key")))
    }

    const SUBJECT: Subject = Subject {
        file: |folder| folder.join("state").join("rejected_proposals.json"),
        lock: |folder| folder.join("state").join("rejected_proposals.json.lock"),
        write: |folder, n| {
            let proposal = Proposal {
                definition: ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a"),
                hash: n.to_string(),
                file: String::new(),
                line: 1,
            };
            let remembered = runtime().block_on(team_file(folder).remember(&proposal, true));
            remembered.map_err(|error| error.to_string())
        },
        read: |folder| {
            let hashes = runtime().block_on(team_file(folder).rejected()).unwrap();
            hashes.iter().map(|hash| hash.parse().unwrap()).max().unwrap_or(0)
        },
        keeps_previous: false,
        child: "faults::injected::rejections::writer",
    };

    #[test]
    #[ignore = "run by another test, as a process that dies"]
    fn writer() {
        die(&SUBJECT);
    }

    #[test]
    fn the_rejected_proposals_survive_every_fault() {
        survives_every_fault(&SUBJECT);
    }
}
