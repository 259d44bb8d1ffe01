//! The immediate reboot of this host: the last resort when a service does not stop in time.

use std::convert::Infallible;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};

use super::run::RunDir;

/// Why the host was not rebooted.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// systemd does not start the services here: the host is not ours alone (a plain container, somebody's desk).
    #[error(
        "systemd does not start the services here, so this host is not ours to reboot: stop it by hand"
    )]
    NotOurs,
    /// The kernel refused.
    #[error("the kernel refused to reboot")]
    Refused(#[source] Errno),
}

/// Reboots at once: no unit is stopped, nothing is synced, for either could hang, which is what brought us here. In a
/// container it ends the container.
pub fn immediately(run: &RunDir) -> Result<Infallible, RebootError> {
    if !run.under_systemd() {
        return Err(RebootError::NotOurs);
    }
    reboot(RebootMode::RB_AUTOBOOT).map_err(RebootError::Refused)
}

/// Whether PID 1 is systemd, asked as sd_booted(3) does.
pub fn booted_by_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}
