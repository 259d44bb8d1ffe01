//! The lab: seven systemd hosts on one machine: two headnodes, two workers, and a real ZooKeeper ensemble of three. With
//! the suite, all of them follow the active headnode.
//!
//! A host is a network namespace and a systemd in a container of its own, over a small Debian. Power, cables and processes
//! are taken from outside, so that nothing on a host has to play along. The lab knows how the suite is installed (by its
//! packages), and nothing of what it does.
//!
//! ```no_run
//! use headship_tests::lab::{Lab, Options};
//! let lab = Lab::up(&Options::for_tests(), &mut |line| eprintln!("{line}"))?;
//! lab.host("hn0")?.power_off()?;
//! lab.host("hn0")?.power_on()?;
//! assert!(lab.service_log()?.overlaps().is_empty());
//! lab.down()?;
//! # Ok::<(), headship_tests::lab::LabError>(())
//! ```

pub mod agent;
mod base;
mod cgroup;
mod command;
mod disk;
pub mod ensemble;
mod error;
pub mod files;
mod fuse;
mod host;
mod hung_mount;
mod limits;
pub mod livy;
mod network;
mod options;
pub mod overlap;
pub mod packages;
mod place;
pub mod power;
mod processes;
pub mod real;
pub mod runner;
pub mod service;
pub mod service_log;
mod watchdog;
pub mod web;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

pub use command::{wait_for, wait_until};
pub use disk::Disk;
pub use ensemble::Preset;
pub use error::{LabError, Result};
pub use host::{Host, SERVICE_LOG_INSIDE, SHARED_INSIDE};
pub use hung_mount::{HUNG_MOUNT, can_hang_mounts};
pub use options::{Options, Settings};
pub use place::{CACHE_DIR, DEFAULT_DIR, HOSTS, HostSpec, Place, Role};
pub use real::Services;
pub use rustix::process::Signal;

use error::Tried;
use files::Sources;
use overlap::Overlap;
use packages::{Below, Format, Layers, Packages};
use service_log::ServiceLog;

/// How long the ensemble may take from power to service. It takes some seconds.
const ENSEMBLE_LIMIT: Duration = Duration::from_secs(60);

/// Units of the lab's HA services.
pub const HA_UNITS: [&str; 4] =
    ["ambari-server.service", "timeline-server.service", "job-history.service", "livy.service"];

/// Why nothing can be frozen beyond kill.
const NO_HARD_FREEZER: &str = "it mounts no version 1 freezer";

/// A lab that is up. Dropping it leaves it up.
#[derive(Clone, Debug)]
pub struct Lab {
    place: Place,
    settings: Settings,
}

/// Whether this machine can run a lab.
///
/// # Errors
/// Why not, in one sentence.
pub fn available() -> std::result::Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    for program in ["ip", "nft", "nsenter", "setsid", "systemd-nspawn", "mmdebstrap"] {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
        });
        if !found {
            return Err(format!("`{program}` is missing: run tests/lab/install-packages"));
        }
    }
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !systems.lines().any(|line| line.ends_with("\toverlay")) {
        return Err("its kernel has no overlay file system".to_owned());
    }
    let trial = format!("hslab-try-{}", std::process::id());
    let tried = cgroup::create(&trial).and_then(|_| cgroup::kill_and_remove(&trial));
    tried.map_err(|error| format!("it grants no control groups: {error}"))?;
    let tried = command::run("ip", &["netns", "add", &trial])
        .and_then(|_| command::run("ip", &["netns", "del", &trial]));
    tried.map(drop).map_err(|error| format!("it grants no network namespaces: {error}"))
}

/// Whether [`Host::freeze_beyond_kill`] is possible on this machine.
///
/// # Errors
/// Why not, in one sentence.
pub fn can_freeze_beyond_kill() -> std::result::Result<(), String> {
    let freezer = cgroup::hard_freezer("");
    freezer.map(drop).ok_or_else(|| NO_HARD_FREEZER.to_owned())
}

impl Lab {
    /// Brings a lab up: hosts booted, ensemble serving. `say` hears a line for each step that takes long.
    ///
    /// # Errors
    /// One is up already, this machine cannot run one, or a part does not come up; then nothing of it is left.
    pub fn up(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Self> {
        available().map_err(LabError::Unavailable)?;
        let lab =
            Self { place: Place::new(&options.dir, options.number), settings: options.settings() };
        if lab.hosts().iter().any(|host| !host.processes().is_empty()) {
            return Err(LabError::AlreadyUp { dir: options.dir.clone() });
        }
        options.sources.check(&options.sources.read(&options.lists(Role::Headnode))?)?;
        let packages = (!options.bare)
            .then(|| Packages::build(&options.sources, Format::Deb, None))
            .transpose()?;
        limits::raise(say);
        let base = base::provide(&options.cache, say)?;
        let real = match options.services {
            Services::Light => None,
            Services::Real => Some(real::provide(&options.cache, &options.sources, say)?),
        };
        // What a lab left behind that crashed half way, or that a reboot of this machine ended.
        lab.clear()?;
        let below = Below { base: &base, real: real.as_deref() };
        let built = lab.build(options, &below, packages.as_ref(), say);
        if built.is_err() {
            lab.clear()?;
        }
        built.map(|()| lab)
    }

    fn build(
        &self,
        options: &Options,
        below: &Below<'_>,
        packages: Option<&Packages>,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        self.lay_ground()?;
        if !options.bare {
            self.start_power(&options.sources)?;
            say("installing the packages");
        }
        let layers = &Layers::install(&self.place, below, packages)?;
        say(&format!("booting {}", HOSTS.map(|host| host.name).join(", ")));
        let hosts = self.hosts();
        thread::scope(|scope| {
            let start = |host| scope.spawn(move || self.boot(host, options, layers));
            let booting: Vec<_> = hosts.iter().map(start).collect();
            booting.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        ensemble::wait_serving(&self.servers(), ENSEMBLE_LIMIT)
    }

    /// Everything that all hosts share.
    fn lay_ground(&self) -> Result<()> {
        let disks = self.place.disks_dir();
        let (console, shared) = (self.place.dir().join("console"), self.place.shared_dir());
        for dir in [&disks, &console, &self.place.cuts_dir(), &shared] {
            fs::create_dir_all(dir).tried(|| format!("create `{}`", dir.display()))?;
        }
        let file = self.place.settings_file();
        let text = serde_json::to_string_pretty(&self.settings)
            .map_err(|error| LabError::Unavailable(error.to_string()))?;
        fs::write(&file, text).tried(|| format!("write `{}`", file.display()))?;
        ServiceLog::create(&self.place.service_log_dir())?;
        // In memory: quick, and an overlay works on it even where this machine's own root is one.
        mount("headship-lab", &disks, "tmpfs", MountFlags::empty(), None)
            .tried(|| format!("mount a memory file system on `{}`", disks.display()))?;
        network::create_bridge(&self.place)
    }

    fn boot(&self, host: &Host, options: &Options, layers: &Layers) -> Result<()> {
        let role = host.spec().role;
        host.make_disk(layers.below(role))?;
        if !options.bare || role != Role::Quorum {
            self.furnish(host, options)?;
        }
        if role == Role::Quorum {
            self.furnish_server(host, &options.sources)?;
        }
        host.power_on()
    }

    /// Installs what is the lab's own, and the suite's configuration, on a host that takes part in it.
    fn furnish(&self, host: &Host, options: &Options) -> Result<()> {
        let sources = &options.sources;
        sources.install(&sources.read(&options.lists(host.spec().role))?, &host.root())?;
        if options.bare {
            // What serves at the alias finds it here, as nobody moves it.
            let hosts = format!("{}{} headnodehost\n", self.place.hosts_text(), host.address());
            return host.write_file("/etc/hosts", &hosts);
        }
        let configuration = sources.repository.join("tests/lab/headship.toml");
        let text = fs::read_to_string(&configuration)
            .tried(|| format!("read `{}`", configuration.display()))?;
        let text = text.replace("10.79.0.", &self.place.network());
        host.write_file("/etc/headship/headship.toml", &text)?;
        host.write_file("/etc/headship/conf.d/50-timing.toml", &self.settings.timing_fragment())?;
        if options.services == Services::Real {
            host.write_file("/etc/headship/conf.d/55-real.toml", &real::fragment(sources)?)?;
        }
        for (name, text) in &options.fragments {
            let text = text.replace("10.79.0.", &self.place.network());
            host.write_file(&format!("/etc/headship/conf.d/{name}.toml"), &text)?;
        }
        Ok(())
    }

    fn furnish_server(&self, host: &Host, sources: &Sources) -> Result<()> {
        sources.install(&sources.read(&["tests/lab/quorum.files"])?, &host.root())?;
        host.write_file("/etc/zookeeper/zoo.cfg", &ensemble::zoo_cfg(self.settings.tick_ms))?;
        let id =
            ensemble::my_id(host).ok_or_else(|| LabError::NoSuchHost(host.name().to_owned()))?;
        host.write_file("/var/lib/zookeeper/myid", &format!("{id}\n"))?;
        host.run_on_disk(&["env", "SYSTEMD_OFFLINE=1", "systemctl", "enable", ensemble::UNIT])
            .map(drop)
    }

    /// The lab that is up in `dir`.
    ///
    /// # Errors
    /// There is none.
    pub fn attach(dir: &Path) -> Result<Self> {
        let settings = read_settings(dir).ok_or_else(|| LabError::NotUp { dir: dir.to_owned() })?;
        Ok(Self { place: Place::new(dir, settings.number), settings })
    }

    /// Ends the lab, and removes everything of it.
    ///
    /// # Errors
    /// Something of it resists.
    pub fn down(&self) -> Result<()> {
        self.clear()
    }

    /// Ends the lab in `dir`, whole or half, and removes everything of it. `number` is used where `dir` does not tell it.
    ///
    /// # Errors
    /// Something of it resists.
    pub fn down_in(dir: &Path, number: u8) -> Result<()> {
        let number = read_settings(dir).map_or(number, |settings| settings.number);
        let options = Options { number, bare: true, ..Options::for_people() };
        Self { place: Place::new(dir, number), settings: options.settings() }.clear()
    }

    fn clear(&self) -> Result<()> {
        for host in self.hosts() {
            host.discard();
        }
        cgroup::kill_and_remove(&self.place.prefix())?;
        network::remove_all(&self.place);
        // Not mounted is what is wanted, too.
        unmount(self.place.disks_dir(), UnmountFlags::DETACH).ok();
        for part in [
            self.place.disks_dir(),
            self.place.service_log_dir(),
            self.place.cuts_dir(),
            self.place.shared_dir(),
            self.place.dir().join("console"),
        ] {
            if part.exists() {
                fs::remove_dir_all(&part).tried(|| format!("remove `{}`", part.display()))?;
            }
        }
        let settings = self.place.settings_file();
        if settings.exists() {
            fs::remove_file(&settings).tried(|| format!("remove `{}`", settings.display()))?;
        }
        // Only if nothing else is kept there.
        fs::remove_dir(self.place.dir()).ok();
        Ok(())
    }

    /// Where its state is, and how its things are named.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// What it was brought up with.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// All hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        HOSTS.into_iter().map(|spec| Host::new(self.place.clone(), spec)).collect()
    }

    /// The headnodes.
    #[must_use]
    pub fn headnodes(&self) -> Vec<Host> {
        self.hosts().into_iter().filter(|host| host.spec().role == Role::Headnode).collect()
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> Vec<Host> {
        self.hosts().into_iter().filter(|host| host.spec().role == Role::Worker).collect()
    }

    /// The ZooKeeper servers.
    #[must_use]
    pub fn servers(&self) -> Vec<Host> {
        self.hosts().into_iter().filter(|host| host.spec().role == Role::Quorum).collect()
    }

    /// The host of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&self, name: &str) -> Result<Host> {
        Host::named(&self.place, name)
    }

    /// The server that leads the ensemble; `None` while none does.
    #[must_use]
    pub fn leader(&self) -> Option<Host> {
        ensemble::leader(&self.servers())
    }

    /// What the HA services told of themselves so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn service_log(&self) -> Result<ServiceLog> {
        ServiceLog::read(&self.place.service_log_dir())
    }

    /// Where agents registered so far, in the order of time.
    #[must_use]
    pub fn registrations(&self) -> Vec<agent::Registration> {
        agent::registrations(&self.place.service_log_dir())
    }

    /// Every proof that HA services ran on two headnodes at once, at or after `since`; none is what must hold.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn overlaps_since(&self, since: u64) -> Result<Vec<Overlap>> {
        let overlaps = self.service_log()?.overlaps();
        Ok(overlaps.into_iter().filter(|overlap| overlap.until() >= since).collect())
    }

    /// Tells an HA service how to misbehave from now on; see [`service::Behaviour`] for the keys. An empty text makes it
    /// behave again, and so does a reboot.
    ///
    /// # Errors
    /// There is no such host, or it has no power.
    pub fn set_behaviour(&self, host: &str, service: &str, text: &str) -> Result<()> {
        self.host(host)?.write_file(&format!("/run/lab-service/{service}.conf"), text)
    }

    /// Has the power distribution behave, powers every host on, thaws what is frozen, heals every cable, starts every server, and makes the HA services
    /// behave (in a bare lab: stops them), so that the next test finds what the first did.
    ///
    /// # Errors
    /// A host or the ensemble does not come back.
    pub fn repair(&self) -> Result<()> {
        self.set_power_manner(&power::Manner::default())?;
        for host in self.hosts() {
            host.heal()?;
            if !host.has_power() {
                host.power_on()?;
            }
            host.thaw_everything()?;
        }
        for host in self.headnodes() {
            host.run(&["rm", "--recursive", "--force", "/run/lab-service"])?;
            if self.settings.bare {
                host.run(&[&["systemctl", "stop"], HA_UNITS.as_slice()].concat())?;
            }
        }
        for server in self.servers() {
            server.run(&["systemctl", "start", ensemble::UNIT])?;
        }
        ensemble::wait_serving(&self.servers(), ENSEMBLE_LIMIT)
    }
}

fn read_settings(dir: &Path) -> Option<Settings> {
    let text = fs::read_to_string(Place::new(dir, 0).settings_file()).ok()?;
    serde_json::from_str(&text).ok()
}
