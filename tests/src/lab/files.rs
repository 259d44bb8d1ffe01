//! File lists: what is the lab's own on a host, one file a line. The packages are built from lists of the same form.
//!
//! A line is `SOURCE DESTINATION MODE`; `#` starts a comment. Sources are relative to the repository; `target/release/`
//! stands for wherever the programs were built.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::{LabError, Result, Tried};

/// Sources below this are programs, found where the build put them.
const BUILT: &str = "target/release/";

/// One file to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the list names it.
    pub source: String,
    /// Absolute path on the host.
    pub destination: String,
    /// Permission bits.
    pub mode: u32,
}

/// Reads a file list.
///
/// # Errors
/// It cannot be read, or a line is not `SOURCE DESTINATION MODE`.
pub fn read_list(file: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(file).tried(|| format!("read `{}`", file.display()))?;
    parse_list(&text).map_err(|(line, why)| LabError::Syntax { file: file.to_owned(), line, why })
}

fn parse_list(text: &str) -> std::result::Result<Vec<Entry>, (usize, String)> {
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> =
            line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let entry = match words.as_slice() {
            [] => continue,
            [source, destination, mode] => {
                parse_entry(source, destination, mode).map_err(|why| (number, why))?
            }
            _ => return Err((number, "expected `SOURCE DESTINATION MODE`".to_owned())),
        };
        if entries.iter().any(|other| other.destination == entry.destination) {
            return Err((number, format!("`{}` is installed twice", entry.destination)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn parse_entry(source: &str, destination: &str, mode: &str) -> std::result::Result<Entry, String> {
    if !destination.starts_with('/') || destination.split('/').any(|part| part == "..") {
        return Err(format!("destination `{destination}` is no absolute path"));
    }
    let mode = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o7777);
    let mode = mode.ok_or_else(|| "mode must be octal, such as 0755".to_owned())?;
    Ok(Entry { source: source.to_owned(), destination: destination.to_owned(), mode })
}

/// Where the sources of a list are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The repository.
    pub repository: PathBuf,
    /// What stands for `target/release/`.
    pub programs: PathBuf,
}

impl Sources {
    /// The file behind a list's source.
    #[must_use]
    pub fn find(&self, source: &str) -> PathBuf {
        source
            .strip_prefix(BUILT)
            .map_or_else(|| self.repository.join(source), |program| self.programs.join(program))
    }

    /// Reads file lists of the repository.
    ///
    /// # Errors
    /// One of them cannot be read, or a line is not `SOURCE DESTINATION MODE`.
    pub fn read(&self, lists: &[&str]) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for list in lists {
            entries.extend(read_list(&self.repository.join(list))?);
        }
        Ok(entries)
    }

    /// Refuses a list of which something is missing, naming all that is.
    ///
    /// # Errors
    /// [`LabError::NotBuilt`].
    pub fn check(&self, entries: &[Entry]) -> Result<()> {
        let missing: Vec<String> = entries
            .iter()
            .map(|entry| self.find(&entry.source))
            .filter(|file| !file.is_file())
            .map(|file| file.display().to_string())
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(LabError::NotBuilt { missing }) }
    }

    /// Installs the entries below `root`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn install(&self, entries: &[Entry], root: &Path) -> Result<()> {
        for entry in entries {
            let source = self.find(&entry.source);
            let contents = fs::read(&source).tried(|| format!("read `{}`", source.display()))?;
            write_file(root, &entry.destination, &contents, entry.mode)?;
        }
        Ok(())
    }
}

/// Writes a file below `root`, with the directories above it. A running program of that name is replaced, not written
/// into.
pub(crate) fn write_file(root: &Path, destination: &str, contents: &[u8], mode: u32) -> Result<()> {
    let target = root.join(destination.trim_start_matches('/'));
    let fresh = target.with_extension("headship-new");
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).tried(|| format!("create `{}`", parent.display()))?;
    }
    fs::write(&fresh, contents).tried(|| format!("write `{}`", fresh.display()))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(mode))
        .tried(|| format!("set the mode of `{}`", fresh.display()))?;
    fs::rename(&fresh, &target).tried(|| format!("write `{}`", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_source_destination_mode() {
        let entries = parse_list(
            "# comment\n\ntarget/release/gate  /usr/lib/headship/gate  0755 # the gate\n",
        )
        .unwrap();
        let expected = Entry {
            source: "target/release/gate".to_owned(),
            destination: "/usr/lib/headship/gate".to_owned(),
            mode: 0o755,
        };
        assert_eq!(entries, [expected]);
    }

    #[test]
    fn bad_lines_are_named_by_number_and_reason() {
        for (text, line, why) in [
            ("a /b\n", 1, "expected `SOURCE DESTINATION MODE`"),
            ("\na b 0644\n", 2, "destination `b` is no absolute path"),
            ("a /b/../c 0644\n", 1, "destination `/b/../c` is no absolute path"),
            ("a /b 0999\n", 1, "mode must be octal, such as 0755"),
            ("a /b 0644\nc /b 0644\n", 2, "`/b` is installed twice"),
        ] {
            assert_eq!(parse_list(text), Err((line, why.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn all_missing_programs_are_named_at_once() {
        let sources =
            Sources { repository: PathBuf::from("/repo"), programs: PathBuf::from("/built") };
        let entries = parse_list("target/release/a /a 0755\npackaging/b /b 0644\n").unwrap();
        let error = sources.check(&entries).unwrap_err();
        assert!(
            matches!(error, LabError::NotBuilt { missing } if missing == ["/built/a", "/repo/packaging/b"])
        );
    }

    #[test]
    fn whatever_is_to_be_installed_stands_in_one_list_and_goes_where_its_path_says() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lists = ["headnode", "node", "cli"];
        let lists = lists.map(|role| repository.join(format!("packaging/{role}.files")));
        let entries = lists.iter().flat_map(|list| read_list(list).unwrap());
        let mut listed: Vec<String> = Vec::new();
        for entry in entries {
            if let Some(path) = entry.source.strip_prefix("packaging/root") {
                assert_eq!(path, entry.destination);
                listed.push(path.to_owned());
            }
        }
        listed.sort();
        let mut to_install = files_below(&repository.join("packaging/root"), "");
        to_install.sort();
        assert_eq!(listed, to_install);
    }

    fn files_below(dir: &Path, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                found.extend(files_below(&entry.path(), &path));
            } else {
                found.push(path);
            }
        }
        found
    }
}
