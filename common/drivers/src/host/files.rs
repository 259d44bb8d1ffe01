//! Small files that are replaced whole: whoever reads one sees the old content or the new, never a part.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a file of ours could not be read or written. What stood there before stands there still.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is not what headship writes there.
    #[error("`{path}` is damaged: remove it if nothing else helps, headship writes it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be written or removed.
    #[error("cannot write `{path}`")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Everybody may read what headship writes down, whatever the mask of the daemon: who may look into a folder is a matter of
/// the folder.
const MODE: u32 = 0o644;

/// Whether a write must outlive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// It need not: the file lies in memory, or is of this boot only.
    No,
    /// It must: file and folder are synced, which may take as long as the disk does.
    Yes,
}

/// The JSON in `path`; `None` if there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::Unreadable { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| FileError::Damaged { path: path.to_owned(), source })
}

/// Replaces `path` by `content` as JSON.
pub(crate) fn write<T: Serialize>(
    path: &Path,
    content: &T,
    durable: Durable,
) -> Result<(), FileError> {
    let text =
        serde_json::to_vec(content).expect("contents hold only text, numbers and plain maps");
    write_text(path, &text, durable)
}

/// Replaces `path` by `text`.
pub(crate) fn write_text(path: &Path, text: &[u8], durable: Durable) -> Result<(), FileError> {
    // One name for the file that is being written, not a random one: each file has one writer, and what a killed writer
    // left behind is written over.
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    replace(path, &new, text, durable).map_err(|source| {
        // What is left of the attempt must not keep a full disk full. It is only a courtesy: the next attempt does it too.
        drop(fs::remove_file(&new));
        FileError::Unwritable { path: path.to_owned(), source }
    })
}

fn replace(path: &Path, new: &Path, text: &[u8], durable: Durable) -> io::Result<()> {
    let mut file = File::create(new)?;
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text)?;
    match durable {
        Durable::No => fs::rename(new, path),
        Durable::Yes => {
            file.sync_all()?;
            fs::rename(new, path)?;
            // The rename itself is durable only with the folder.
            let folder = path.parent().unwrap_or_else(|| Path::new("/"));
            File::open(folder)?.sync_all()
        }
    }
}

/// Removes `path`; it is no error if it is gone already.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::Unwritable { path: path.to_owned(), source }),
    }
}
