//! A hosts file that nothing can take the place of, written where it is: one write of bytes of ours (`hosts_file::Patch`),
//! which is on record in a file of its own before it begins.
//!
//! A kill or a loss of power may cut such a write short, where it crosses the end of a page. The record is what tells the
//! next run which bytes are ours then; without it, half of a marker could be anybody's, and would be refused. It holds our
//! few bytes and not the whole file: no other byte is ever written over, so no other can be half written.
//!
//! Between the last look and the write lies one call of the kernel, and nothing that it offers closes that gap (a lease
//! would; it takes code that is forbidden here). What somebody appends in it stays, whatever we write. Who replaces the
//! whole content in it, in place, may find our bytes in theirs: that is seen, said, and what is there then is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use headship_core::hosts_file::{self, Patch};
use headship_core::say::Kind;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{HostsError, Moment, NEW, Seen, inode, length, see, set_aside, with_ending};
use crate::host::files::{self, Durable};

/// What is on record in the folder of what outlives a reboot.
const BEGUN: &str = "hosts.begun";
/// How what is kept there is called, should our bytes have come into somebody else's.
const KEPT: &str = "hosts.kept";

/// A write that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    hosts_file: PathBuf,
    patch: Patch,
}

/// What is left to do of a write that was begun; its record goes as soon as there is nothing.
pub(super) fn left_over(path: &Path, seen: &Seen, keep: &Path) -> Option<Patch> {
    let record = keep.join(BEGUN);
    let begun: Begun = match files::read(&record) {
        Ok(begun) => begun?,
        Err(error) => {
            fault(&error);
            forget(&record);
            return None;
        }
    };
    let same = begun.hosts_file == path;
    let left = same.then(|| hosts_file::mend(&seen.text, &begun.patch)).flatten();
    if left.is_none() {
        forget(&record);
    }
    left
}

fn forget(record: &Path) {
    if let Err(error) = files::remove(record) {
        fault(&error);
    }
}

fn fault(error: &files::FileError) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    let source = source.unwrap_or_default();
    tracing::error!(MESSAGE_ID = Kind::FileFault.id(), "{error}{source}");
}

/// Writes `patch` into the file, if that is as it was `seen` still. Whether it is as wanted afterwards, the next look tells;
/// `right` is what tells if our lines are whole.
pub(super) fn write(
    path: &Path,
    seen: &Seen,
    patch: &Patch,
    keep: &Path,
    right: impl Fn(&[u8]) -> bool,
    meanwhile: &mut dyn FnMut(Moment),
) -> Result<(), HostsError> {
    let file = open(path, patch).map_err(unwritable)?;
    let begun = Begun { hosts_file: path.to_owned(), patch: patch.clone() };
    if let Err(error) = files::write(&keep.join(BEGUN), &begun, Durable::Yes) {
        // The node has to follow all the same: at worst a marker is refused later, if this very write is cut short.
        fault(&error);
    }
    meanwhile(Moment::Begun);
    let same = |data: &fs::Metadata| seen.file.as_ref().map(inode) == Some(inode(data));
    if !file.metadata().is_ok_and(|data| same(&data)) || !seen.is_still(path) {
        return Ok(());
    }
    meanwhile(Moment::Found);
    if patch.appends() {
        (&file).write_all(&patch.new).map_err(unwritable)?;
    } else {
        file.write_all_at(&patch.new, length(patch.at)).map_err(unwritable)?;
    }
    meanwhile(Moment::Written);
    let now = see(path)?;
    if now.text != patch.applied(&seen.text) && patch.is_in(&now.text) && !right(&now.text) {
        tell_written_over(path, patch, &now.text, keep);
    }
    file.sync_all().map_err(unwritable)
}

fn unwritable(source: io::Error) -> HostsError {
    let what = if source.kind() == io::ErrorKind::PermissionDenied {
        "write it, which may be immutable or only be appended to (`lsattr`)"
    } else {
        "write it"
    };
    HostsError::Kernel { what, source }
}

/// The file, to be written where the kernel finds its end at the moment of the write, or at a place in it.
fn open(path: &Path, patch: &Patch) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    // In any case: what can only be appended to could never be moved afterwards.
    let anywhere = options.open(path)?;
    if !patch.appends() {
        return Ok(anywhere);
    }
    // Space for all of it, if the file system can tell; if not, the write will.
    let space = (length(patch.at), length(patch.new.len()));
    match rustix::fs::fallocate(&anywhere, FallocateFlags::KEEP_SIZE, space.0, space.1) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    OpenOptions::new().read(true).append(true).open(path)
}

/// Somebody wrote the whole file anew between our look and our write: what is there now is kept, and said.
fn tell_written_over(path: &Path, patch: &Patch, now: &[u8], keep: &Path) {
    let first = keep.join(KEPT);
    let new = with_ending(&first, NEW);
    let kept = fs::write(&new, now).and_then(|()| set_aside(&first, &new));
    let kept = match kept {
        Ok(kept) => format!("all of it, with those, is in `{}`", kept.display()),
        Err(error) => format!("it cannot be kept: {error}"),
    };
    let (path, at, bytes) = (path.display(), patch.at, patch.new.len());
    tracing::error!(
        MESSAGE_ID = Kind::EditLost.id(),
        "somebody else wrote `{path}` anew at the same moment, and {bytes} bytes of theirs, from byte {at} on, may be written over; {kept}"
    );
}

#[cfg(test)]
mod tests;
