//! Where things are on this machine.

use std::env::VarError;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// The state root: `$CAR_HOME`, which has to be absolute, else `.car` in the user's home folder.
///
/// Nothing is created. An empty or blank `CAR_HOME` counts as unset.
pub fn state_root() -> Result<PathBuf, PathsError> {
    state_root_from(&|name| std::env::var_os(name), std::env::home_dir())
}

/// What is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathsError {
    /// A relative state root would move with the working directory.
    #[error("CAR_HOME is `{}`, which is not absolute; set it to an absolute path, or unset it", .0.display())]
    Relative(PathBuf),
    /// There is no home folder to fall back on.
    #[error("the home folder of this user is not known; set CAR_HOME to an absolute path")]
    NoHome,
    /// A passphrase that cannot be what the user meant.
    #[error("CONNECTORS_VAULT_PASSPHRASE is not valid UTF-8")]
    Passphrase,
    /// A credential that a service manager provides cannot be read.
    #[error("the credential {} cannot be used: {problem}", .path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// Why, without its content.
        problem: String,
    },
}

/// Everything that the stores of one state root need to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Paths {
    /// The state root.
    pub state_root: PathBuf,
    /// The vault's key file; never in the state root, so that a copy of that folder gives nothing away.
    pub key_file: PathBuf,
    /// The vault's passphrase, used instead of the key file.
    pub passphrase: Option<SecretString>,
    /// True if `key_file` is one that a service manager provides: it is never created, and who may read it is the manager's to say.
    pub key_is_provided: bool,
}

impl Paths {
    /// The given places, and no passphrase.
    pub fn new(state_root: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            state_root: state_root.into(),
            key_file: key_file.into(),
            passphrase: None,
            key_is_provided: false,
        }
    }

    /// From the environment: [`state_root`]; the passphrase `CONNECTORS_VAULT_PASSPHRASE`, or else the systemd credential
    /// `connectors-vault-passphrase`; and as key file the systemd credential `connectors-vault-key`, or else
    /// `connectors/vault.key` in the user's configuration folder (`$XDG_CONFIG_HOME` or `~/.config`; macOS
    /// `~/Library/Application Support`; Windows `%LOCALAPPDATA%`). systemd's credentials are in `$CREDENTIALS_DIRECTORY`.
    pub fn from_env() -> Result<Self, PathsError> {
        let env = |name: &str| std::env::var_os(name);
        let home = std::env::home_dir();
        let state_root = state_root_from(&env, home.clone())?;
        let key_file = config_folder(&env, home)?.join("connectors").join("vault.key");
        let passphrase = match std::env::var("CONNECTORS_VAULT_PASSPHRASE") {
            Ok(passphrase) => Some(passphrase),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => return Err(PathsError::Passphrase),
        };
        let paths = Self::new(state_root, key_file).with_passphrase(passphrase.map(SecretString::from));
        match env("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) {
            Some(folder) => paths.with_credentials(Path::new(&folder)),
            None => Ok(paths),
        }
    }

    /// Takes what a service manager provides in `folder`: the passphrase, unless there is one, and the key file.
    fn with_credentials(mut self, folder: &Path) -> Result<Self, PathsError> {
        let key_file = folder.join("connectors-vault-key");
        if key_file.exists() {
            (self.key_file, self.key_is_provided) = (key_file, true);
        }
        if self.passphrase.is_some() {
            return Ok(self);
        }
        let path = folder.join("connectors-vault-passphrase");
        let passphrase = match std::fs::read_to_string(&path) {
            Ok(text) => SecretString::from(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self),
            Err(error) => return Err(PathsError::Credential { path, problem: error.to_string() }),
        };
        // Editors and `echo` end a file with a line break.
        let text = passphrase.expose_secret();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(PathsError::Credential { path, problem: "it is empty".to_owned() });
        }
        let passphrase = SecretString::from(text);
        Ok(self.with_passphrase(Some(passphrase)))
    }

    /// Protects the vault by a passphrase, if there is one. An empty one counts as none.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: Option<SecretString>) -> Self {
        self.passphrase = passphrase.filter(|passphrase| !passphrase.expose_secret().is_empty());
        self
    }

    /// The manifest, `connectors.json`.
    pub fn manifest(&self) -> PathBuf {
        self.state_root.join("connectors.json")
    }

    /// The proposals that the user does not want, `rejected_proposals.json`.
    pub fn rejected_proposals(&self) -> PathBuf {
        self.state_root.join("rejected_proposals.json")
    }

    /// The vault, `connectors.vault`.
    pub fn vault(&self) -> PathBuf {
        self.state_root.join("connectors.vault")
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn state_root_from(env: Env<'_>, home: Option<PathBuf>) -> Result<PathBuf, PathsError> {
    let set = env("CAR_HOME").filter(|value| !value.to_string_lossy().trim().is_empty());
    match set.map(PathBuf::from) {
        Some(root) if root.is_absolute() => Ok(root),
        Some(root) => Err(PathsError::Relative(root)),
        None => Ok(absolute_home(home)?.join(".car")),
    }
}

fn config_folder(env: Env<'_>, home: Option<PathBuf>) -> Result<PathBuf, PathsError> {
    let variable = if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_CONFIG_HOME" };
    // The XDG specification has relative values ignored.
    let set = env(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    match set {
        Some(folder) => Ok(folder),
        None if cfg!(target_os = "macos") => {
            Ok(absolute_home(home)?.join("Library").join("Application Support"))
        }
        None => Ok(absolute_home(home)?.join(".config")),
    }
}

fn absolute_home(home: Option<PathBuf>) -> Result<PathBuf, PathsError> {
    home.filter(|home| home.is_absolute()).ok_or(PathsError::NoHome)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn root(car_home: Option<&str>, home: Option<&str>) -> Result<PathBuf, PathsError> {
        state_root_from(&|_| car_home.map(OsString::from), home.map(PathBuf::from))
    }

    #[test]
    fn car_home_wins_and_has_to_be_absolute() {
        assert_eq!(root(Some("/tmp/car"), Some("/u")), Ok("/tmp/car".into()));
        assert_eq!(root(Some("car"), Some("/u")), Err(PathsError::Relative("car".into())));
    }

    #[test]
    fn without_car_home_the_state_root_is_in_the_home_folder() {
        assert_eq!(root(None, Some("/u")), Ok("/u/.car".into()));
        assert_eq!(root(Some(" "), Some("/u")), Ok("/u/.car".into()));
        assert_eq!(root(None, None), Err(PathsError::NoHome));
    }

    #[test]
    fn the_passphrase_of_the_environment_wins_over_that_of_the_service_manager_and_either_over_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let with = |set: Option<&str>| {
            let paths = Paths::new("/s", "/k").with_passphrase(set.map(SecretString::from));
            let paths = paths.with_credentials(folder.path())?;
            let passphrase = paths.passphrase.map(|passphrase| passphrase.expose_secret().to_owned());
            Ok((passphrase, paths.key_file, paths.key_is_provided))
        };
        assert_eq!(with(None), Ok((None, "/k".into(), false)));

        let (passphrase, key) =
            (folder.path().join("connectors-vault-passphrase"), folder.path().join("connectors-vault-key"));
        std::fs::write(&passphrase, "from systemd \r\n").unwrap();
        std::fs::write(&key, "").unwrap();
        assert_eq!(with(None), Ok((Some("from systemd ".to_owned()), key.clone(), true)));
        assert_eq!(with(Some("set")), Ok((Some("set".to_owned()), key, true)));

        std::fs::write(&passphrase, "\n").unwrap();
        let problem = "it is empty".to_owned();
        assert_eq!(with(None), Err(PathsError::Credential { path: passphrase.clone(), problem }));
        std::fs::write(&passphrase, b"\xff").unwrap();
        assert!(matches!(with(None), Err(PathsError::Credential { .. })));
    }

    #[test]
    fn an_empty_passphrase_is_none() {
        let paths = Paths::new("/s", "/k").with_passphrase(Some(SecretString::from("")));
        assert!(paths.passphrase.is_none());
    }
}
