//! Files that others have put there, opened without being kept waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The content of a regular file, whatever links lead to it; `None` if it has more than `limit` bytes. The caller's thread
/// waits for the disk (or a server that stands in for it), and for no other process.
///
/// # Errors
///
/// Those of opening and reading; [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = open(path)?;
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

/// Opens a regular file, whose reader waits for the disk alone. What it is is asked of the open file: between a look at its path and opening it, another can be put
/// there.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;

        // A pipe without a writer is opened at once, and a terminal does not become this process's own.
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), Some(b"four".to_vec()));
        assert_eq!(read(&path, 3).unwrap(), None);
        assert_eq!(read(&path, u64::MAX).unwrap(), Some(b"four".to_vec()));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&folder.path().join("file"), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_but_a_regular_file_is_read_and_nobody_is_waited_for() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink(&pipe, &link).unwrap();
        for path in [pipe.as_path(), link.as_path(), folder.path(), Path::new("/dev/null")] {
            // On a thread of its own: were the pipe waited for, the test would not end.
            let (done, answer) = std::sync::mpsc::channel();
            let path = path.to_owned();
            std::thread::spawn(move || done.send(read(&path, 4).map_err(|error| error.to_string())));
            let answer = answer.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
            assert_eq!(answer, Err("it is not a regular file".to_owned()));
        }
    }
}
