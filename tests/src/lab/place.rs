//! Names: where a lab keeps its state, and what its hosts, bridges, addresses and control groups are called.
//!
//! Everything that the lab creates outside its state directory carries the lab's number, so that a demonstration and a
//! test run can stand side by side, and so that `lab down` finds everything again after a crash half way.

use std::path::{Path, PathBuf};

use super::error::{LabError, Result};

/// Where the lab of the command line keeps its state.
pub const DEFAULT_DIR: &str = "/var/lib/headship-lab";
/// Where base systems are kept between labs.
pub const CACHE_DIR: &str = "/var/cache/headship-lab";

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the suite and, one of them at a time, the HA services.
    Headnode,
    /// Runs one ZooKeeper server of the failover quorum, and an agent that follows the active headnode.
    Quorum,
    /// Runs an agent that follows the active headnode.
    Worker,
}

/// Name, role and address of a host: the same in every lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// Host name.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// Last byte of its address.
    pub octet: u8,
}

/// All hosts of a lab.
pub const HOSTS: [HostSpec; 7] = [
    HostSpec { name: "hn0", role: Role::Headnode, octet: 10 },
    HostSpec { name: "hn1", role: Role::Headnode, octet: 11 },
    HostSpec { name: "zk0", role: Role::Quorum, octet: 20 },
    HostSpec { name: "zk1", role: Role::Quorum, octet: 21 },
    HostSpec { name: "zk2", role: Role::Quorum, octet: 22 },
    HostSpec { name: "wn0", role: Role::Worker, octet: 30 },
    HostSpec { name: "wn1", role: Role::Worker, octet: 31 },
];

impl HostSpec {
    /// The host of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        HOSTS
            .into_iter()
            .find(|host| host.name == name)
            .ok_or_else(|| LabError::NoSuchHost(name.to_owned()))
    }
}

/// One lab's state directory and number.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
    number: u8,
}

impl Place {
    /// The lab with this state directory. Two labs that are up together need different numbers.
    #[must_use]
    pub fn new(dir: &Path, number: u8) -> Self {
        Self { dir: dir.to_owned(), number }
    }

    /// State directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of the lab on this machine.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Present while a lab is up, or half up.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// The shared log of the HA services, outside all hosts.
    #[must_use]
    pub fn service_log_dir(&self) -> PathBuf {
        self.dir.join("service-log")
    }

    /// A folder that both headnodes reach, as one of a cluster's file system: it outlives every host.
    #[must_use]
    pub fn shared_dir(&self) -> PathBuf {
        self.dir.join("shared")
    }

    /// What a host's console showed.
    #[must_use]
    pub fn console_file(&self, host: HostSpec) -> PathBuf {
        self.dir.join("console").join(host.name)
    }

    /// Where the hosts' disks are, and what is installed once for several of them, in memory.
    pub(crate) fn disks_dir(&self) -> PathBuf {
        self.dir.join("disks")
    }

    /// Mount point of the memory file system that is a host's disk.
    pub(crate) fn disk_dir(&self, host: HostSpec) -> PathBuf {
        self.disks_dir().join(host.name)
    }

    /// `upper`, `work` or `root` of a host's disk.
    pub(crate) fn disk(&self, host: HostSpec, part: &str) -> PathBuf {
        self.disk_dir(host).join(part)
    }

    /// `upper`, `work` or `root` of what is installed once for several hosts.
    pub(crate) fn layer(&self, name: &str, part: &str) -> PathBuf {
        self.disks_dir().join("layers").join(name).join(part)
    }

    /// Present while the cable of `host` is cut.
    pub(crate) fn cut_file(&self, host: HostSpec) -> PathBuf {
        self.cuts_dir().join(host.name)
    }

    /// Present while what `from` sends does not reach `at`.
    pub(crate) fn deaf_file(&self, at: HostSpec, from: HostSpec) -> PathBuf {
        self.cuts_dir().join(format!("{}.{}", at.name, from.name))
    }

    /// Holds which share of what arrives at `host` is lost, if any is.
    pub(crate) fn loss_file(&self, host: HostSpec) -> PathBuf {
        self.cuts_dir().join(format!("{}.loss", host.name))
    }

    /// Holds at which pace things arrive at `host`, if it is limited.
    pub(crate) fn pace_file(&self, host: HostSpec) -> PathBuf {
        self.cuts_dir().join(format!("{}.pace", host.name))
    }

    /// Holds what the power distribution does wrong, if anything.
    pub(crate) fn power_file(&self) -> PathBuf {
        self.cuts_dir().join("power.conf")
    }

    /// Present while a file system hangs on `host`.
    pub(crate) fn hung_file(&self, host: HostSpec) -> PathBuf {
        self.cuts_dir().join(format!("{}.hung", host.name))
    }

    /// Locked by whoever takes the power of `host` away, or gives it back.
    pub(crate) fn plug_file(&self, host: HostSpec) -> PathBuf {
        self.cuts_dir().join(format!("{}.plug", host.name))
    }

    /// What the power distribution was told, and did.
    pub(crate) fn power_log_file(&self) -> PathBuf {
        self.dir.join("console/power-log")
    }

    pub(crate) fn cuts_dir(&self) -> PathBuf {
        self.dir.join("cuts")
    }

    /// Prefix of all that is named machine-wide.
    pub(crate) fn prefix(&self) -> String {
        format!("hslab{}", self.number)
    }

    pub(crate) fn netns(&self, host: HostSpec) -> String {
        format!("{}-{}", self.prefix(), host.name)
    }

    /// Address of a host on the lab's own network.
    #[must_use]
    pub fn address(&self, host: HostSpec) -> String {
        self.address_of(host.octet)
    }

    /// What the addresses of all hosts begin with.
    pub(crate) fn network(&self) -> String {
        format!("10.79.{}.", self.number)
    }

    /// Address of this machine on the lab's own network.
    pub(crate) fn own_address(&self) -> String {
        self.address_of(1)
    }

    fn address_of(&self, octet: u8) -> String {
        format!("{}{octet}", self.network())
    }

    /// Stable over the life of the lab, different for every host and lab.
    pub(crate) fn machine_id(&self, host: HostSpec) -> String {
        format!("4ead5419000040008{:03x}{:012x}", self.number, host.octet)
    }

    pub(crate) fn mac(&self, host: HostSpec) -> String {
        format!("02:00:0a:4f:{:02x}:{:02x}", self.number, host.octet)
    }

    /// `/etc/hosts` of every host.
    pub(crate) fn hosts_text(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n");
        for host in HOSTS {
            text.push_str(&format!("{} {}\n", self.address(host), host.name));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_its_own_well_formed_machine_id() {
        let ids: std::collections::BTreeSet<_> = [0, 1]
            .into_iter()
            .flat_map(|number| {
                HOSTS.map(|host| Place::new(Path::new("/x"), number).machine_id(host))
            })
            .collect();
        assert_eq!(ids.len(), 2 * HOSTS.len());
        assert!(ids.iter().all(|id| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit())));
    }

    #[test]
    fn interface_names_fit_the_kernels_fifteen_bytes() {
        let place = Place::new(Path::new("/x"), u8::MAX);
        assert!(HOSTS.into_iter().all(|host| place.netns(host).len() <= 15));
    }
}
