//! Whether a fence program can be run on this host, and is one at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use headship_core::fencing::always_succeeds;

/// Why a program cannot be asked, as what it does: `cannot be run: …`. `None` if it can.
pub(super) fn unfit(program: &str) -> Option<String> {
    let path = Path::new(program);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(format!("cannot be run: `{program}`: {error}")),
    };
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Some(format!("cannot be run: `{program}` is no executable file"));
    }
    // A link to `true` succeeds as that does; what a program of many names does goes by the name of the link.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real.to_str().is_some_and(|real| always_succeeds(&[real.to_owned()])) {
        return Some(format!(
            "cannot be run: `{program}` is `true`, which succeeds whatever is the case"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_missing_or_no_program_cannot_be_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fence");
        let fit = || unfit(file.to_str().unwrap());
        assert!(fit().unwrap().starts_with("cannot be run: `"));
        fs::write(&file, "#!/bin/sh\nexit 1\n").unwrap();
        assert!(fit().unwrap().ends_with("is no executable file"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(fit(), None);
        assert!(unfit(dir.path().to_str().unwrap()).is_some());
    }

    #[test]
    fn true_is_known_under_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("fence");
        for real in ["/bin/true", "/usr/bin/true"] {
            symlink(real, &link).unwrap();
            let why = unfit(link.to_str().unwrap()).unwrap();
            assert!(why.ends_with("is `true`, which succeeds whatever is the case"), "{why}");
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(unfit("/bin/sh"), None);
    }
}
