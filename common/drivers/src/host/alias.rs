//! Which unit a name stands for, told from the unit files alone: before systemd answers, and if it never does.
//!
//! systemd's own answer is better, and takes its place. This is for a guard that starts while PID 1 or D-Bus hangs, and must
//! know what to kill.

use std::fs;
use std::path::{Path, PathBuf};

/// Where unit files are, first the folder that overrides the others.
const FOLDERS: [&str; 8] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// How many links are followed: aliases of aliases are rare, and a circle must end.
const LINKS: usize = 8;

/// The unit's own name where `name` is an alias; `name` itself otherwise.
pub(crate) fn own_name(name: &str) -> String {
    own_name_below(&FOLDERS.map(PathBuf::from), name)
}

fn own_name_below(folders: &[PathBuf], name: &str) -> String {
    let mut own = name.to_owned();
    for _ in 0..LINKS {
        match target(folders, &own) {
            Some(next) if next != own => own = next,
            Some(_) | None => break,
        }
    }
    own
}

/// The name of the unit file that the file of `name` is a link to. A link to what is no unit file's place is none: it
/// masks the unit (`/dev/null`), or brings its file in from elsewhere under this name.
fn target(folders: &[PathBuf], name: &str) -> Option<String> {
    let exists = |folder: &&PathBuf| folder.join(name).symlink_metadata().is_ok();
    let folder = folders.iter().find(exists)?;
    let target = folder.join(fs::read_link(folder.join(name)).ok()?);
    let place = target.parent()?;
    let same = |folder: &PathBuf| {
        folder == place || real(folder).is_some_and(|it| Some(it) == real(place))
    };
    folders.iter().any(same).then(|| target.file_name()?.to_str().map(str::to_owned)).flatten()
}

fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_alias_is_followed_to_the_file_of_its_unit() {
        let dir = tempfile::tempdir().unwrap();
        let folders = ["etc", "usr"].map(|name| dir.path().join(name));
        folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let [etc, usr] = &folders;
        fs::write(usr.join("y.service"), "").unwrap();
        fs::write(dir.path().join("other.service"), "").unwrap();
        symlink(usr.join("y.service"), etc.join("absolute.service")).unwrap();
        symlink("y.service", usr.join("relative.service")).unwrap();
        symlink("relative.service", usr.join("chain.service")).unwrap();
        symlink("/dev/null", etc.join("masked.service")).unwrap();
        symlink(dir.path().join("other.service"), etc.join("linked.service")).unwrap();
        symlink("circle.service", etc.join("circle.service")).unwrap();
        symlink("y.service", usr.join("overridden.service")).unwrap();
        fs::write(etc.join("overridden.service"), "").unwrap();
        for alias in ["absolute.service", "relative.service", "chain.service"] {
            assert_eq!(own_name_below(&folders, alias), "y.service", "{alias}");
        }
        for own in ["y", "masked", "linked", "circle", "overridden", "unheard-of"] {
            let own = format!("{own}.service");
            assert_eq!(own_name_below(&folders, &own), own);
        }
    }
}
