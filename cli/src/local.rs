//! What this host knows by itself: the files of its run folder, each with its age. For when the quorum is out of sight.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use headship_drivers::host::run::RunDir;
use headship_drivers::host::{FileError, clock, identity};

use crate::view::{Daemon, Left, Local, Permit};

/// Reads the run folder.
pub(crate) fn look(run: &Path) -> Local {
    let folder = RunDir::new(run);
    Local {
        folder: run.display().to_string(),
        permit: permit(&folder).map_err(|error| chain(&error)),
        closed: folder
            .closed()
            .map(|closed| closed.map(|closed| (closed.epoch, age(&run.join("closed")))))
            .map_err(|error| chain(&error)),
        daemons: daemons(&folder).map_err(|error| chain(&error)),
    }
}

fn permit(folder: &RunDir) -> Result<Option<Permit>, FileError> {
    let Some(permit) = folder.permit()? else { return Ok(None) };
    let now = clock::now();
    let left = if permit.kept.is_some() {
        Left::Kept
    } else if now < permit.deadline {
        Left::Until(permit.deadline.since(now))
    } else {
        Left::Since(now.since(permit.deadline))
    };
    Ok(Some(Permit {
        epoch: permit.epoch,
        this_boot: identity::boot().is_ok_and(|boot| boot == permit.boot),
        age: age(&folder.path().join("permit")),
        left,
        kill: Duration::from_millis(permit.kill_ms),
    }))
}

fn daemons(folder: &RunDir) -> Result<Vec<Daemon>, FileError> {
    let lines = folder.statuses()?;
    let daemon = |line: headship_drivers::host::run::StatusLine| Daemon {
        name: line.daemon,
        line: line.line.trim().to_owned(),
        age: line.age,
    };
    Ok(lines.into_iter().map(daemon).collect())
}

/// How long ago a file was written; no time at all if that cannot be said.
fn age(file: &Path) -> Duration {
    let written = file.metadata().and_then(|data| data.modified()).ok();
    written.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

/// An error and its causes in one phrase.
fn chain(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::{Epoch, Incarnation};
    use headship_core::lease;

    use super::*;

    #[test]
    fn permit_closed_and_lines_are_told_with_their_age() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        run.create().unwrap();
        let incarnation = Incarnation("i".to_owned());
        let deadline = clock::now().after(Duration::from_secs(60));
        let boot = identity::boot().unwrap();
        let permit = lease::Permit {
            incarnation,
            epoch: Epoch(7),
            boot,
            deadline,
            lease_ms: 6000,
            kill_ms: 2000,
            grace_ms: 1500,
            alone: [].into(),
            kept: None,
        };
        run.write_permit(&permit).unwrap();
        let _lock = run.lock("master-fc").unwrap();
        run.write_status("master-fc", "active (epoch 7): holds office\n").unwrap();
        let local = look(folder.path());
        let permit = local.permit.unwrap().unwrap();
        assert!(permit.this_boot && permit.epoch == Epoch(7));
        assert!(matches!(permit.left, Left::Until(left) if left <= Duration::from_secs(60)));
        assert_eq!(local.closed, Ok(None));
        assert_eq!(local.daemons.unwrap()[0].line, "active (epoch 7): holds office");
    }

    #[test]
    fn a_host_without_the_folder_says_so() {
        let local = look(Path::new("/nonexistent/headship"));
        assert_eq!(local.permit, Ok(None));
        let why = local.daemons.unwrap_err();
        assert!(why.contains("`/nonexistent/headship`") && why.contains("No such file"), "{why}");
    }

    #[test]
    fn a_damaged_permit_is_no_permit_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("permit"), "?").unwrap();
        let why = look(folder.path()).permit.unwrap_err();
        assert!(why.contains("permit` is damaged"), "{why}");
    }
}
