//! Files with secrets: read only if nobody but their owner can read them, too.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use rustix::process::geteuid;

/// How much of such a file is read: more lines than anybody has secrets.
const MOST: u64 = 64 * 1024;

/// The file's text, or why it is of no use, which begins with its name.
pub(crate) fn read(path: &str) -> Result<String, String> {
    let cannot = |why: String| format!("`{path}` {why}");
    let unreadable = |error: std::io::Error| cannot(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file, not of its name: that may be another one by now.
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(why) = open_to_others(&metadata) {
        return Err(cannot(format!("{why}: `chown root` and `chmod 600` it")));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn open_to_others(metadata: &Metadata) -> Option<&'static str> {
    if !metadata.is_file() {
        Some("is no file")
    } else if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        Some("does not belong to root")
    } else if metadata.mode() & 0o077 != 0 {
        Some("is open to others than its owner")
    } else {
        None
    }
}
