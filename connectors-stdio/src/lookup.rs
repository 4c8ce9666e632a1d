//! Finding the executable that a command names, and saying in a sentence why there is none.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use connectors_core::{TransportError, text};

/// Longest command or search path that a message quotes, in bytes.
const QUOTED: usize = 200;

/// Finds the executable of `command`: in the folders of `path` if it is a bare name, else where it says.
///
/// Done here and not by the system, because a bare name on Windows must also find `.cmd` and `.bat` files (which the
/// standard library quotes safely once it knows that it starts one), because an empty or relative entry in `PATH` would
/// find programs in the working directory, and because the message has to say what was searched. `extensions` are tried
/// on top of the name as it is; on Unix there are none.
pub(crate) fn find(
    command: &str,
    path: Option<&OsStr>,
    extensions: &[String],
) -> Result<PathBuf, TransportError> {
    let named = Path::new(command);
    let is_bare = named.components().count() == 1 && named.file_name() == Some(OsStr::new(command));
    let mut refused = None;
    let mut pick = |base: PathBuf| {
        candidates(base, extensions).into_iter().find(|file| match usability(file) {
            Usability::Executable => true,
            Usability::Missing => false,
            found => {
                refused.get_or_insert((found, file.clone()));
                false
            }
        })
    };
    let found = if is_bare {
        let folders = path.map(std::env::split_paths).into_iter().flatten();
        folders.filter(|folder| folder.is_absolute()).find_map(|folder| pick(folder.join(named)))
    } else {
        pick(named.to_owned())
    };
    found.ok_or_else(|| {
        not_started(match refused {
            Some((Usability::Folder, file)) if !is_bare => {
                format!("`{}` is a folder, not a program", quote(&file))
            }
            Some((Usability::Unreachable, file)) if !is_bare => {
                format!("`{}` cannot be reached: permission denied", quote(&file))
            }
            Some((Usability::NotExecutable, file)) => {
                format!(
                    "`{}` is not executable: allow it with `chmod +x`, or name its interpreter as command",
                    quote(&file)
                )
            }
            _ if is_bare => not_in_path(command, path),
            _ => format!("there is no program `{}`{}", quote(named), hint(command)),
        })
    })
}

/// Says why a program that was found did not start.
pub(crate) fn explain(program: &Path, error: io::Error) -> TransportError {
    let program = quote(program);
    let reason = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("`{program}` cannot be started: the interpreter that its first line names does not exist")
        }
        io::ErrorKind::PermissionDenied => format!("`{program}` cannot be started: permission denied"),
        io::ErrorKind::ArgumentListTooLong => {
            format!("`{program}` cannot be started: its arguments and environment are too long")
        }
        io::ErrorKind::InvalidInput => {
            format!("`{program}` cannot be started: it cannot be given one of its arguments")
        }
        _ => format!("`{program}` cannot be started: {error}"),
    };
    TransportError::NotStarted { reason, source: Some(Box::new(error)) }
}

fn not_started(reason: String) -> TransportError {
    TransportError::NotStarted { reason, source: None }
}

fn not_in_path(command: &str, path: Option<&OsStr>) -> String {
    let folders = path.map_or(0, |path| {
        std::env::split_paths(path).filter(|folder| !folder.as_os_str().is_empty()).count()
    });
    let command_shown = text::display(command, QUOTED);
    format!(
        "the command `{command_shown}` was not found in PATH ({folders} folders): install it, or enter its full path{}",
        hint(command)
    )
}

/// For what only a shell would understand.
fn hint(command: &str) -> &'static str {
    if command.starts_with('~') || command.contains('$') {
        "; `~` and variables are not expanded here"
    } else if command.contains(' ') {
        "; arguments are entered apart from the command"
    } else {
        ""
    }
}

fn quote(path: &Path) -> String {
    text::display(&path.to_string_lossy(), QUOTED)
}

/// The files that a name may mean. A name with one of the extensions means itself; where there are extensions, a
/// file without one is no program.
fn candidates(base: PathBuf, extensions: &[String]) -> Vec<PathBuf> {
    let has_one = |extension: &String| {
        let own = base.extension().and_then(OsStr::to_str);
        own.is_some_and(|own| extension.trim_start_matches('.').eq_ignore_ascii_case(own))
    };
    if extensions.is_empty() || extensions.iter().any(has_one) {
        return vec![base];
    }
    let with = |extension: &String| {
        let mut name = base.clone().into_os_string();
        name.push(extension);
        PathBuf::from(name)
    };
    extensions.iter().map(with).collect()
}

#[derive(Clone, Copy)]
enum Usability {
    Executable,
    NotExecutable,
    Folder,
    /// In a folder that this user may not look into.
    Unreachable,
    Missing,
}

fn usability(file: &Path) -> Usability {
    match std::fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Usability::Unreachable,
        Err(_) => Usability::Missing,
        Ok(found) if found.is_dir() => Usability::Folder,
        Ok(found) if is_executable(&found) => Usability::Executable,
        Ok(_) => Usability::NotExecutable,
    }
}

#[cfg(unix)]
fn is_executable(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder_with(name: &str, mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, "#!/nowhere/interpreter\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    fn reason(found: Result<PathBuf, TransportError>) -> String {
        let Err(TransportError::NotStarted { reason, .. }) = found else { panic!("{found:?}") };
        reason
    }

    #[test]
    fn a_bare_name_is_found_in_the_first_absolute_folder_that_can_run_it() {
        let (unusable, usable) = (folder_with("server", 0o644), folder_with("server", 0o755));
        let path =
            std::env::join_paths([Path::new(""), Path::new("."), unusable.path(), usable.path()]).unwrap();
        assert_eq!(find("server", Some(&path), &[]).unwrap(), usable.path().join("server"));
        let path = unusable.path().as_os_str();
        let text = reason(find("server", Some(path), &[]));
        assert!(text.ends_with(
            "server` is not executable: allow it with `chmod +x`, or name its interpreter as command"
        ));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            reason(find("no-such", Some(OsStr::new("/usr/bin:/bin")), &[])),
            "the command `no-such` was not found in PATH (2 folders): install it, or enter its full path"
        );
        assert_eq!(
            reason(find("npx -y pkg", None, &[])),
            "the command `npx -y pkg` was not found in PATH (0 folders): install it, or enter its full path; arguments are entered apart from the command"
        );
        assert_eq!(reason(find("/no/such", None, &[])), "there is no program `/no/such`");
        assert_eq!(
            reason(find("~/server", None, &[])),
            "there is no program `~/server`; `~` and variables are not expanded here"
        );
        assert_eq!(reason(find("/", None, &[])), "`/` is a folder, not a program");
    }

    #[test]
    fn an_extension_is_added_where_the_name_has_none_of_them() {
        let folder = folder_with("npx.cmd", 0o755);
        std::fs::write(folder.path().join("npx"), "for another shell").unwrap();
        let extensions = [".EXE".to_owned(), ".cmd".to_owned()];
        let path = Some(folder.path().as_os_str());
        assert_eq!(find("npx", path, &extensions).unwrap(), folder.path().join("npx.cmd"));
        assert_eq!(
            find("npx.CMD", path, &[".cmd".to_owned()]).is_ok(),
            folder.path().join("npx.CMD").exists()
        );
        assert_eq!(find("npx.cmd", path, &extensions).unwrap(), folder.path().join("npx.cmd"));
    }

    #[test]
    fn a_program_whose_interpreter_is_missing_says_so() {
        let folder = folder_with("server", 0o755);
        let program = folder.path().join("server");
        let error = std::process::Command::new(&program).spawn().unwrap_err();
        assert_eq!(
            explain(&program, error).to_string(),
            format!(
                "`{}` cannot be started: the interpreter that its first line names does not exist",
                program.display()
            )
        );
    }
}
