//! The token of one launch, and the file that clients read it from.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// Folder of the token file, as car-server names it.
const FOLDER: &str = "ai.parslee.car";

/// Name of the token file.
const FILE: &str = "auth-token";

/// 32 random bytes, as 43 characters of base64url.
pub struct Token(SecretString);

impl Token {
    /// A fresh token.
    pub fn generate() -> Self {
        let mut bytes = [0_u8; 32];
        rand::fill(&mut bytes);
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// True if `other` is this token. Takes the same time wherever they differ.
    pub fn is(&self, other: &SecretString) -> bool {
        self.expose().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
    }

    /// The token as text.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// A token file that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// There is no place for it.
    #[error("the home folder of this user is not known; set CAR_HOME to an absolute path")]
    NoHome,
    /// Its place would move with the working directory.
    #[error("CAR_HOME is `{}`, which is not absolute; set it to an absolute path, or unset it", .0.display())]
    Relative(PathBuf),
    /// The platform refuses.
    #[error("cannot write the token file {}: {source}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Where the token file is: in `$CAR_HOME`, else in `$XDG_RUNTIME_DIR`, else in the user's configuration folder.
pub fn token_path() -> Result<PathBuf, TokenFileError> {
    token_path_from(&|name| std::env::var_os(name), std::env::home_dir())
}

fn token_path_from(
    env: &dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Result<PathBuf, TokenFileError> {
    let folder =
        |name| env(name).filter(|value| !value.to_string_lossy().trim().is_empty()).map(PathBuf::from);
    let base = match folder("CAR_HOME") {
        Some(root) if root.is_absolute() => root,
        Some(root) => return Err(TokenFileError::Relative(root)),
        // The XDG specification has relative values ignored.
        None => match folder("XDG_RUNTIME_DIR").filter(|folder| folder.is_absolute()) {
            Some(folder) => folder,
            None => user_folder(folder("LOCALAPPDATA"), home)?,
        },
    };
    Ok(base.join(FOLDER).join(FILE))
}

fn user_folder(local_app_data: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, TokenFileError> {
    if cfg!(windows)
        && let Some(folder) = local_app_data
    {
        return Ok(folder);
    }
    let home = home.filter(|home| home.is_absolute()).ok_or(TokenFileError::NoHome)?;
    Ok(if cfg!(target_os = "macos") {
        home.join("Library").join("Application Support")
    } else if cfg!(windows) {
        home.join("AppData").join("Local")
    } else {
        home.join(".config")
    })
}

/// The token file of this process.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Writes the token, readable by this user alone, in one step: whoever reads sees a whole token, the old or the new.
    pub fn write(path: PathBuf, token: &Token) -> Result<Self, TokenFileError> {
        match write(&path, token) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(TokenFileError::Io { file: path, source }),
        }
    }

    /// Removes the file, unless another process has put its own token there meanwhile.
    pub fn remove(self, token: &Token) {
        let is_ours =
            std::fs::read(&self.path).is_ok_and(|held| held.ct_eq(token.expose().as_bytes()).into());
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "cannot remove the token file");
        }
    }
}

/// What the temporary files begin and end with that become a token file.
const TEMPORARY: (&str, &str) = (".auth-token.", ".tmp");

/// Held by whoever writes a token, so that nobody takes what is being written for a leftover.
const LOCK: &str = ".auth-token.lock";

fn write(path: &Path, token: &Token) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_private(folder)?;
    // Released when its file is closed. Written is without it, too, where there is none to be had.
    let lock = lock(&folder.join(LOCK));
    match &lock {
        Ok(_) => remove_leftovers(folder)?,
        Err(error) => tracing::debug!(%error, "leftover temporary files are not looked for"),
    }
    let (prefix, suffix) = TEMPORARY;
    // Created with mode 0600 where there are modes.
    let mut file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder)?;
    file.write_all(token.expose().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    file.lock()?;
    Ok(file)
}

/// Removes the temporary files of processes that died while they wrote a token. The caller holds the lock.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let (prefix, suffix) = TEMPORARY;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_leftover =
            entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix));
        if is_leftover {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_43_characters_of_base64url_and_never_the_same() {
        let (one, other) = (Token::generate(), Token::generate());
        assert_eq!(one.expose().len(), 43);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(one.expose(), other.expose());
        assert!(one.is(&SecretString::from(one.expose())));
        assert!(!one.is(&SecretString::from(other.expose())));
        assert!(!one.is(&SecretString::from("")));
        assert_eq!(format!("{one:?}"), "Token([redacted])");
    }

    #[cfg(unix)]
    fn path(variables: &[(&str, &str)]) -> Result<PathBuf, TokenFileError> {
        let env = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        token_path_from(&env, Some("/u".into()))
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_where_car_server_puts_it() {
        let runtime = ("XDG_RUNTIME_DIR", "/run/user/7");
        let at = |variables: &[(&str, &str)]| path(variables).unwrap().to_str().unwrap().to_owned();
        assert_eq!(at(&[("CAR_HOME", "/car"), runtime]), "/car/ai.parslee.car/auth-token");
        assert_eq!(at(&[("CAR_HOME", ""), runtime]), "/run/user/7/ai.parslee.car/auth-token");
        assert_eq!(at(&[runtime]), "/run/user/7/ai.parslee.car/auth-token");
        let config = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".config" };
        let expected = format!("/u/{config}/ai.parslee.car/auth-token");
        assert_eq!(at(&[]), expected);
        assert_eq!(at(&[("XDG_RUNTIME_DIR", "relative")]), expected);
        assert!(matches!(path(&[("CAR_HOME", "car")]), Err(TokenFileError::Relative(_))));
        assert!(matches!(token_path_from(&|_| None, None), Err(TokenFileError::NoHome)));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_and_its_folder_are_the_users_alone() {
        use std::os::unix::fs::PermissionsExt;

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a").join(FOLDER).join(FILE);
        let token = Token::generate();
        let file = TokenFile::write(path.clone(), &token).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), token.expose());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&home.path().join("a")), 0o700);
        file.remove(&token);
        assert!(!path.exists());
    }

    #[test]
    fn the_token_of_another_process_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FOLDER).join(FILE);
        let (ours, theirs) = (Token::generate(), Token::generate());
        let file = TokenFile::write(path.clone(), &ours).unwrap();
        TokenFile::write(path.clone(), &theirs).unwrap();
        file.remove(&ours);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), theirs.expose());
    }

    #[test]
    fn what_a_process_has_left_that_died_while_it_wrote_a_token_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        for name in [".auth-token.x1Y2.tmp", ".auth-token.note", "other.tmp"] {
            std::fs::write(folder.join(name), "token").unwrap();
        }
        TokenFile::write(folder.join(FILE), &Token::generate()).unwrap();
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".auth-token.lock", ".auth-token.note", "auth-token", "other.tmp"]);
    }

    #[test]
    fn processes_that_start_at_once_all_write_their_token() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FOLDER).join(FILE);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        TokenFile::write(path.clone(), &Token::generate()).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read(&path).unwrap().len(), 43);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(FOLDER), "a file where the folder should be").unwrap();
        let path = home.path().join(FOLDER).join(FILE);
        let error = TokenFile::write(path.clone(), &Token::generate()).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
