//! The suite without namespaces, systemd and root: two "hosts" of plain processes on loopback addresses, a real ensemble.
//!
//! What a machine that runs no lab can still show: election, failover after a crash, switchover, and that no HA service
//! runs twice. A crash is the end of every process of a host at once. It is no loss of power: the kernel lives on, closes
//! the connections of the dead, and the run folder stays. Cables cannot be cut here either. Both need the lab.

mod host;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::ensemble::{self, Ensemble, EnsembleError};
use crate::lab::overlap::Overlap;
use crate::lab::service_log::ServiceLog;
use crate::lab::{LabError, Preset};

pub use host::{Host, services};

/// The names of the headnodes.
pub const NAMES: [&str; 2] = ["hn0", "hn1"];

/// Why there is no cluster of plain processes, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The ensemble.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// The service log, a name, a limit.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The system refused something.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Programs of the suite are missing.
    #[error("not built: {}; build the whole workspace first", missing.join(", "))]
    NotBuilt {
        /// The files that are missing.
        missing: Vec<String>,
    },
}

/// Two headnodes and three ZooKeeper servers, all of them plain processes. They end with this value, and with the thread
/// that made it, however it ends.
#[derive(Debug)]
pub struct Plain {
    // Ended in this order.
    hosts: Vec<Host>,
    ensemble: Ensemble,
    dir: TempDir,
}

impl Plain {
    /// Starts the ensemble with the preset's tick, then the daemons of both hosts, from the folder `programs`.
    ///
    /// # Errors
    /// Java or ZooKeeper is not installed, the programs are not built, or the system refuses.
    pub fn start(programs: &Path, preset: Preset) -> Result<Self, PlainError> {
        Self::start_with(programs, preset, "")
    }

    /// The same, with this at the end of each host's configuration.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(programs: &Path, preset: Preset, more: &str) -> Result<Self, PlainError> {
        host::require_built(programs)?;
        let dir = TempDir::with_prefix("headship-plain-").map_err(system("make a folder"))?;
        ServiceLog::create(&service_log(dir.path()))?;
        let ensemble = Ensemble::start(Duration::from_millis(preset.tick_ms().into()))?;
        let mut addresses: Vec<(&'static str, Ipv4Addr)> = Vec::new();
        for name in NAMES {
            let address = ensemble::free_address(host::PROBED_PORT)
                .map_err(system("find a free loopback address"))?;
            addresses.push((name, address));
        }
        let mut hosts = Vec::new();
        for (name, address) in addresses.clone() {
            let host = Host::new(name, address, dir.path(), programs);
            host.furnish(&ensemble.servers(), preset, &addresses, more)
                .map_err(system(format!("write the files of {name}")))?;
            host.launch()?;
            hosts.push(host);
        }
        Ok(Self { hosts, ensemble, dir })
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The failover quorum's servers, to take them away and to bring them back.
    pub fn ensemble(&mut self) -> &mut Ensemble {
        &mut self.ensemble
    }

    /// The client addresses of the failover quorum's servers.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        self.ensemble.servers()
    }

    /// The host of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&self, name: &str) -> Result<&Host, PlainError> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.ok_or_else(|| PlainError::Lab(LabError::NoSuchHost(name.to_owned())))
    }

    /// What the HA services told of themselves so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn service_log(&self) -> Result<ServiceLog, PlainError> {
        Ok(ServiceLog::read(&service_log(self.dir.path()))?)
    }

    /// Every proof that HA services ran on two hosts at once; none is what must hold.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn overlaps(&self) -> Result<Vec<Overlap>, PlainError> {
        Ok(self.service_log()?.overlaps())
    }
}

fn service_log(dir: &Path) -> PathBuf {
    dir.join("service-log")
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> PlainError {
    let what = what.into();
    move |source| PlainError::System { what, source }
}
