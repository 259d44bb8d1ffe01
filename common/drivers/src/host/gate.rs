//! The start gate as the host carries it out: reads what `lease::gate` asks for, and nothing else.
//!
//! PID 1 runs it (the program `gate`) right before it executes an HA service; `master-ha-service` asks before each order.

use std::time::Duration;

use headship_core::lease::{self, GateRefusal};

use super::files::FileError;
use super::identity::IdentityError;
use super::run::RunDir;
use super::{clock, identity};

/// The program's exit code when it refuses. Its own, so that drivers can tell a refusal from a crash.
pub const REFUSED: u8 = 77;

/// Where the program is installed.
pub const GATE: &str = "/usr/lib/headship/gate";

/// Why a start is not let through.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The permit does not cover it.
    #[error(transparent)]
    Permit(#[from] GateRefusal),
    /// What must be read cannot be: nothing starts on a guess.
    #[error("nothing starts here: {error}{}", cause(.error))]
    Unreadable {
        /// Which file, and why.
        error: FileError,
    },
    /// The boot is not known.
    #[error("nothing starts here: {error}")]
    Boot {
        /// Which file, and why.
        error: IdentityError,
    },
}

/// Whether an HA service may start on this host now.
pub fn check(run: &RunDir) -> Result<(), Refused> {
    let unreadable = |error| Refused::Unreadable { error };
    let permit = run.permit().map_err(unreadable)?;
    let closed = run.closed().map_err(unreadable)?;
    let boot = identity::boot().map_err(|error| Refused::Boot { error })?;
    // The clock last: nothing slow stands between it and the answer.
    lease::gate(permit.as_ref(), closed.as_ref(), &boot, clock::now())?;
    Ok(())
}

/// Notes that the guard failed, and tells whether the host has to go down for it: `lease::guard_fails_again`.
pub fn guard_failed(run: &RunDir) -> Result<bool, FileError> {
    let now = clock::now();
    // A damaged permit may have been one, nobody knows for how long; a damaged note of an earlier failure is written anew.
    let window = match run.permit() {
        Ok(permit) => {
            permit.filter(|permit| now < permit.all_gone()).and_then(|permit| permit.window())
        }
        Err(_) => Some(Duration::MAX),
    };
    let last = run.guard_failed().unwrap_or_default();
    run.write_guard_failed(now)?;
    Ok(lease::guard_fails_again(window, last, now))
}

/// The gate's sentence is all that people see of it, so it holds the whole chain.
fn cause(error: &FileError) -> String {
    std::error::Error::source(error).map(|source| format!(" ({source})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::{Epoch, Incarnation};
    use headship_core::lease::{Closed, Permit};

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path());
        (dir, run)
    }

    fn permit(lasts: Duration) -> Permit {
        Permit {
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(7),
            boot: identity::boot().unwrap(),
            deadline: clock::now().after(lasts),
            lease_ms: 6000,
            kill_ms: 2000,
            grace_ms: 1500,
            alone: [].into(),
            kept: None,
        }
    }

    #[test]
    fn a_permit_of_this_boot_lets_through_until_its_deadline() {
        let (_dir, run) = run();
        assert!(matches!(check(&run), Err(Refused::Permit(GateRefusal::NoPermit))));
        run.write_permit(&permit(Duration::from_secs(60))).unwrap();
        check(&run).unwrap();
        run.write_permit(&permit(Duration::ZERO)).unwrap();
        assert!(matches!(check(&run), Err(Refused::Permit(GateRefusal::Expired { .. }))));
    }

    #[test]
    fn a_closed_epoch_is_refused_whatever_the_permit_says() {
        let (_dir, run) = run();
        run.write_permit(&permit(Duration::from_secs(60))).unwrap();
        let incarnation = Incarnation("i".to_owned());
        run.write_closed(&Closed { incarnation, epoch: Epoch(7) }).unwrap();
        assert!(matches!(check(&run), Err(Refused::Permit(GateRefusal::Closed(Epoch(7))))));
    }

    #[test]
    fn a_guard_that_fails_again_takes_down_only_a_host_with_a_permit() {
        let (_dir, run) = run();
        assert!(!guard_failed(&run).unwrap());
        assert!(!guard_failed(&run).unwrap());
        let over = clock::now().before(Duration::from_secs(10));
        run.write_permit(&Permit { deadline: over, ..permit(Duration::ZERO) }).unwrap();
        assert!(!guard_failed(&run).unwrap());
        run.write_permit(&permit(Duration::from_secs(60))).unwrap();
        assert!(guard_failed(&run).unwrap());
    }

    #[test]
    fn a_permit_with_a_keep_lets_through_past_its_deadline_and_no_guard_takes_its_host_down() {
        let (_dir, run) = run();
        let over = clock::now().before(Duration::from_secs(3600));
        let kept = Permit { deadline: over, kept: Some("k".to_owned()), ..permit(Duration::ZERO) };
        run.write_permit(&kept).unwrap();
        check(&run).unwrap();
        assert!(!guard_failed(&run).unwrap());
        assert!(!guard_failed(&run).unwrap());
        run.write_permit(&Permit { boot: "another".to_owned(), ..kept }).unwrap();
        assert!(matches!(check(&run), Err(Refused::Permit(GateRefusal::OtherBoot))));
    }

    #[test]
    fn a_damaged_closed_epoch_lets_nothing_through() {
        let (_dir, run) = run();
        run.write_permit(&permit(Duration::from_secs(60))).unwrap();
        std::fs::write(run.path().join("closed"), "?").unwrap();
        let refused = check(&run).unwrap_err();
        assert!(refused.to_string().contains("closed` is damaged"), "{refused}");
    }
}
