//! The node's hosts file: read, and replaced so that nobody ever sees a part of it, with all that belongs to it.
//!
//! What is written is a function of what was read (`headship_core::hosts_file`). A file beside it takes its place, with its
//! mode, owner and extended attributes (of which one is the SELinux label); where that cannot be, because the file is a mount
//! point or has other names, it is written in place (`in_place`). Another editor may be at work at the same moment: what it
//! wrote since we read is read again, never written over.

mod in_place;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use headship_core::hosts_file::{self, Refused};
use headship_core::say::Kind;
use rustix::fs::{CWD, RenameFlags, XattrFlags};
use rustix::io::Errno;

/// How often it is begun anew because somebody else wrote meanwhile. Whoever writes that often is no editor.
const ATTEMPTS: u32 = 20;
/// The mode of a file that did not exist: everybody reads it.
const MODE: u32 = 0o644;
/// How long an empty file may stay so: whoever writes it anew in place has cut it off and is about to write.
const EMPTY: Duration = Duration::from_millis(50);
/// How long whoever had the old file open when another one took its place may take to write it: a shell that appends does it
/// at once.
const LATE: Duration = Duration::from_secs(1);
/// What ends the name of the file that is about to take the place.
const NEW: &str = ".headship-new";
/// What ends the name of a file that is not ours to remove: what an editor wrote while another one wrote, too. Behind the first
/// one stands a number.
const KEPT: &str = ".headship-kept";
/// What ends its name until it has that one.
const LATER: &str = ".headship-late";
/// How many such files may lie there: whoever does not look at so many looks at none.
const KEPT_MOST: u32 = 100;
/// Attributes that seal the old content: the kernel makes them anew.
const SEALS: [&str; 2] = ["security.ima", "security.evm"];

/// Why the hosts file is not as it should be. What others wrote into it stands there still.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// It is not sure which bytes are ours.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is no file.
    #[error("it is no plain file: put one in its place")]
    NoFile,
    /// It is a link to nothing.
    #[error("it is a link to `{target}`, which is not there: make that file, or remove the link")]
    Dangling {
        /// Where it leads.
        target: PathBuf,
    },
    /// Somebody else keeps writing it.
    #[error("somebody else writes it all the time: find out who")]
    Contended,
    /// The kernel refused.
    #[error("cannot {what}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// A file as it was read.
#[derive(Debug)]
struct Seen {
    text: Vec<u8>,
    /// None: there was no such file.
    file: Option<Metadata>,
}

/// How one attempt ended.
#[derive(Debug)]
enum Attempt {
    Done,
    /// Somebody else wrote meanwhile.
    Overtaken,
    /// It has to be written in place.
    InPlace,
}

/// Points at which another editor may get between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// It is empty, and gets some time.
    Empty,
    /// The file was read.
    Read,
    /// What is about to be written in place is on record.
    Begun,
    /// It was found to be the same still, and is about to be replaced or written in place.
    Found,
    /// It was written in place, and not looked at yet.
    Written,
    /// The files changed places, and what is beside it now was not looked at yet.
    Exchanged,
}

/// Where `alias` points by our own line of the file, if it says so.
pub fn current(path: &Path, alias: &str) -> Option<IpAddr> {
    let seen = see(&real(path).ok()?).ok()?;
    hosts_file::current(&seen.text, alias)
}

/// What `put` would have to change in the file at `path`.
pub fn differences(path: &Path, alias: &str, address: IpAddr) -> Result<Vec<String>, HostsError> {
    let seen = see(&real(path)?)?;
    Ok(hosts_file::rewrite(&seen.text, alias, address)?.diff)
}

/// Makes `alias` stand for `address` in the file at `path`, and tells what had to be changed. Blocks until the disk has it.
/// `keep` is a folder that outlives a reboot: a write in place is on record there while it lasts.
pub fn put(
    path: &Path,
    alias: &str,
    address: IpAddr,
    keep: &Path,
) -> Result<Vec<String>, HostsError> {
    put_with(path, alias, address, keep, &mut |_| {})
}

/// Like `put`; `meanwhile` is called at each of its moments.
fn put_with(
    path: &Path,
    alias: &str,
    address: IpAddr,
    keep: &Path,
    meanwhile: &mut dyn FnMut(Moment),
) -> Result<Vec<String>, HostsError> {
    let (mut written, mut waited) = (Vec::new(), false);
    for _ in 0..ATTEMPTS {
        let path = real(path)?;
        let seen = see(&path)?;
        if seen.file.is_some() && seen.text.is_empty() && !waited {
            waited = true;
            meanwhile(Moment::Empty);
            thread::sleep(EMPTY);
            continue;
        }
        let right = |text: &[u8]| hosts_file::current(text, alias) == Some(address);
        if let Some(rest) = in_place::left_over(&path, &seen, keep) {
            in_place::write(&path, &seen, &rest, keep, right, meanwhile)?;
            continue;
        }
        let new = hosts_file::rewrite(&seen.text, alias, address)?;
        if new.diff.is_empty() {
            return Ok(written);
        }
        meanwhile(Moment::Read);
        match replace(&path, &seen, &new.text, meanwhile)? {
            Attempt::Done => return Ok(new.diff),
            Attempt::Overtaken => {}
            Attempt::InPlace => {
                let patch = hosts_file::patch(&seen.text, alias, address)?;
                in_place::write(&path, &seen, &patch, keep, right, meanwhile)?;
                written = new.diff;
            }
        }
    }
    Err(HostsError::Contended)
}

/// The file itself, behind links. A file that does not exist may be made.
fn real(path: &Path) -> Result<PathBuf, HostsError> {
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => Err(HostsError::Dangling { target }),
            Err(_) => Ok(path.to_owned()),
        },
        Err(source) => Err(HostsError::Kernel { what: "find it", source }),
    }
}

fn see(path: &Path) -> Result<Seen, HostsError> {
    let unreadable = |source| HostsError::Kernel { what: "read it", source };
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Seen { text: Vec::new(), file: None });
        }
        Err(source) => return Err(unreadable(source)),
    };
    // Before it is opened: to open a pipe would wait for whoever writes it.
    if !data.is_file() {
        return Err(HostsError::NoFile);
    }
    let bytes = usize::try_from(data.len()).unwrap_or(usize::MAX);
    if bytes > hosts_file::LARGEST {
        return Err(Refused::TooLarge { bytes }.into());
    }
    let mut file = File::open(path).map_err(unreadable)?;
    // Of the file that was opened: another one may have taken the place since.
    let data = file.metadata().map_err(unreadable)?;
    let mut text = Vec::with_capacity(bytes);
    file.read_to_end(&mut text).map_err(unreadable)?;
    Ok(Seen { text, file: Some(data) })
}

impl Seen {
    /// Whether the file at `path` is still this very one, with this very content.
    fn is_still(&self, path: &Path) -> bool {
        see(path).is_ok_and(|now| self.is(&now))
    }

    fn is(&self, other: &Self) -> bool {
        let which = |seen: &Self| seen.file.as_ref().map(inode);
        which(self) == which(other) && self.text == other.text
    }
}

/// Which file it is, whatever its name.
fn inode(data: &Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

/// The file that has this name now; none if there is none.
fn inode_at(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().as_ref().map(inode)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Lets a new file take the place of the old one.
fn replace(
    path: &Path,
    seen: &Seen,
    text: &[u8],
    meanwhile: &mut dyn FnMut(Moment),
) -> Result<Attempt, HostsError> {
    // Other names of the file would keep the old content.
    if seen.file.as_ref().is_some_and(|file| file.nlink() > 1) {
        return Ok(Attempt::InPlace);
    }
    let new = with_ending(path, NEW);
    let mut ours = None;
    let attempt = match make(&new, seen.file.as_ref().map(|file| (path, file)), text, &mut ours) {
        Ok(()) => take_place(path, &new, seen, meanwhile),
        // The folder cannot be written, or the file's attributes not be copied; the file itself may be writable.
        // Its attributes went with the file, for example.
        Err(_) if !seen.is_still(path) => Ok(Attempt::Overtaken),
        Err(Beside::Impossible(_)) if seen.file.is_some() => Ok(Attempt::InPlace),
        Err(Beside::Impossible(error) | Beside::Failed(error)) => Err(error),
    };
    clear_away(path, &new, seen, ours);
    attempt.map_err(|source| HostsError::Kernel { what: "put a new file in its place", source })
}

/// Removes what is left of an attempt beside the file, which must not keep a full disk full; the next attempt does what fails.
/// Only what we made or have read may go: where files could not change places back, it is what an editor wrote.
fn clear_away(path: &Path, new: &Path, seen: &Seen, ours: Option<(u64, u64)>) {
    let left = inode_at(new);
    if left.is_none() || left == ours || seen.is_still(new) {
        let old = (left != ours).then(|| File::open(new).ok()).flatten();
        drop(fs::remove_file(new));
        if let Some(old) = old {
            look_again(path.to_owned(), old, seen.text.clone());
        }
        return;
    }
    tell_set_aside(path, set_aside(&with_ending(path, KEPT), new));
}

/// Keeps what somebody still writes into the old file, whose name is gone, after another one has taken its place.
fn look_again(path: PathBuf, mut old: File, seen: Vec<u8>) {
    thread::spawn(move || {
        thread::sleep(LATE);
        let mut text = Vec::new();
        if old.read_to_end(&mut text).is_ok() && text != seen {
            let late = with_ending(&path, LATER);
            let kept =
                fs::write(&late, &text).and_then(|()| set_aside(&with_ending(&path, KEPT), &late));
            tell_set_aside(&path, kept);
        }
    });
}

fn tell_set_aside(path: &Path, kept: io::Result<PathBuf>) {
    let path = path.display();
    match kept {
        Ok(kept) => tracing::warn!(
            MESSAGE_ID = Kind::EditSetAside.id(),
            "somebody else wrote `{path}` at the same moment, and what they wrote could not stay in its place: it is in `{}`, compare the two",
            kept.display()
        ),
        Err(error) => tracing::error!(
            MESSAGE_ID = Kind::EditLost.id(),
            "somebody else wrote `{path}` at the same moment, and what they wrote cannot be kept beside it: {error}"
        ),
    }
}

/// Gives the file at `new` the name `first`, or the next one that is free: what was set aside earlier is somebody's only copy.
fn set_aside(first: &Path, new: &Path) -> io::Result<PathBuf> {
    let names = (2..=KEPT_MOST).map(|number| with_ending(first, &format!(".{number}")));
    for kept in std::iter::once(first.to_owned()).chain(names) {
        match rustix::fs::renameat_with(CWD, new, CWD, &kept, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(kept),
            Err(Errno::EXIST) => {}
            // A file system that can only rename: nobody but slave-fc, of which there is one, makes these names.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if inode_at(&kept).is_none() {
                    fs::rename(new, &kept)?;
                    return Ok(kept);
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::Error::other(format!(
        "{KEPT_MOST} such files lie there already, look through them and remove them"
    )))
}

/// Why there is no new file beside the old one.
#[derive(Debug)]
enum Beside {
    /// There never will be.
    Impossible(io::Error),
    Failed(io::Error),
}

impl From<io::Error> for Beside {
    fn from(error: io::Error) -> Self {
        let for_good = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::Unsupported
        );
        if for_good { Self::Impossible(error) } else { Self::Failed(error) }
    }
}

impl From<Errno> for Beside {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// Makes the file that is to take the place, with all that belongs to the old one, and on disk. Which file that is stands in
/// `ours` as soon as it is there.
fn make(
    new: &Path,
    old: Option<(&Path, &Metadata)>,
    text: &[u8],
    ours: &mut Option<(u64, u64)>,
) -> Result<(), Beside> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    // Until it has its owner nobody else reads it.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    *ours = Some(inode(&file.metadata()?));
    file.write_all(text)?;
    let mode = match old {
        Some((path, data)) => {
            // In this order: a change of the owner drops bits of the mode, and one of the mode changes access lists.
            let made = file.metadata()?;
            // Our unit gives us no right to give files away; what is not ours is written in place then.
            if (made.uid(), made.gid()) != (data.uid(), data.gid()) {
                fchown(&file, Some(data.uid()), Some(data.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(data.mode() & 0o7777))?;
            return copy_attributes(path, &file).and_then(|()| Ok(file.sync_all()?));
        }
        None => MODE,
    };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file.sync_all()?)
}

fn copy_attributes(from: &Path, to: &File) -> Result<(), Beside> {
    let names = match attribute(|list| rustix::fs::listxattr(from, list)) {
        Ok(names) => names,
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    for name in names.filter(|name| !SEALS.iter().any(|seal| seal.as_bytes() == *name)) {
        let value = attribute(|value| rustix::fs::getxattr(from, name, value))?;
        rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// What an attribute call tells, however long it is: the kernel's own limit is 64 KiB.
fn attribute(read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 64 * 1024];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// The moment of the change. Where the file system can, the two files change places, so that what was there is looked at
/// once more after nobody can write it by its name any more.
fn take_place(
    path: &Path,
    new: &Path,
    seen: &Seen,
    meanwhile: &mut dyn FnMut(Moment),
) -> io::Result<Attempt> {
    let ours = inode_at(new);
    if !seen.is_still(path) {
        return Ok(Attempt::Overtaken);
    }
    meanwhile(Moment::Found);
    let way = if seen.file.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    match rustix::fs::renameat_with(CWD, new, CWD, path, way) {
        Ok(()) => {}
        Err(Errno::EXIST | Errno::NOENT) => return Ok(Attempt::Overtaken),
        Err(Errno::BUSY | Errno::XDEV) => return Ok(Attempt::InPlace),
        // An immutable file, which in place says so too; or a file system that can only rename.
        Err(Errno::PERM) => return Ok(Attempt::InPlace),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::rename(new, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Ok(Attempt::InPlace);
            }
            Err(error) => return Err(error),
        },
        Err(errno) => return Err(errno.into()),
    }
    meanwhile(Moment::Exchanged);
    if way == RenameFlags::EXCHANGE && new.exists() && !seen.is_still(new) {
        // An editor was faster by a moment: its file goes back, and is read anew.
        give_back(path, new, ours)?;
        return Ok(Attempt::Overtaken);
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(folder)?.sync_all()?;
    Ok(Attempt::Done)
}

/// Lets the file at `new` take its place at `path` again, where `put` was put instead of it. What comes out must be `put`;
/// if not, yet another editor wrote meanwhile, and as it was the last one its file has to stand there in the end.
fn give_back(path: &Path, new: &Path, mut put: Option<(u64, u64)>) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        let back = inode_at(new);
        rustix::fs::renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE)?;
        if inode_at(new) == put {
            break;
        }
        put = back;
    }
    Ok(())
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
