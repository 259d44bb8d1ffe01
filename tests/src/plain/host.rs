//! One "host": its daemons and services as plain processes, with files and a loopback address of its own.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use headship_core::follower::AgentNote;
use headship_core::lease::Permit;
use rustix::process::{Pid, Signal, kill_process};

use super::{PlainError, system};
use crate::lab::{LabError, Preset, wait_until};

/// An HA service of the cluster.
#[derive(Clone, Copy, Debug)]
struct Service {
    name: &'static str,
    port: u16,
    started_by: &'static str,
    after: &'static [&'static str],
}

const SERVICES: [Service; 4] = [
    Service { name: "ambari-server", port: 8080, started_by: "master-fc", after: &[] },
    Service {
        name: "timeline-server",
        port: 8188,
        started_by: "master-ha-service",
        after: &["ambari-server"],
    },
    Service {
        name: "job-history",
        port: 19888,
        started_by: "master-ha-service",
        after: &["timeline-server"],
    },
    Service {
        name: "livy",
        port: 8998,
        started_by: "master-ha-service",
        after: &["ambari-server"],
    },
];

/// The names of the HA services.
#[must_use]
pub fn services() -> [&'static str; 4] {
    SERVICES.map(|service| service.name)
}

/// An address at which this port is free is taken as one that nobody uses.
pub(super) const PROBED_PORT: u16 = 8080;

/// What starts with a host. master-ha-service is started by master-fc, in office.
const DAEMONS: [&str; 4] = ["slave-ha-service", "slave-fc", "health-monitor", "master-fc"];

/// What must have been built.
const PROGRAMS: [&str; 8] = [
    "slave-ha-service",
    "slave-fc",
    "health-monitor",
    "master-fc",
    "master-ha-service",
    "gate",
    "headship",
    "lab-service",
];

/// Every process of a host has this in its environment, and so do its children; it holds the host's folder.
const MARK: &str = "HEADSHIP_PLAIN_HOST";

/// How long the kernel may take to end killed processes.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// One headnode.
#[derive(Debug)]
pub struct Host {
    name: &'static str,
    address: Ipv4Addr,
    dir: PathBuf,
    programs: PathBuf,
    service_log: PathBuf,
    /// To be reaped when they have ended.
    daemons: Mutex<Vec<Child>>,
}

pub(super) fn require_built(programs: &Path) -> Result<(), PlainError> {
    let missing: Vec<String> = PROGRAMS
        .iter()
        .map(|program| programs.join(program))
        .filter(|file| !file.is_file())
        .map(|file| file.display().to_string())
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(PlainError::NotBuilt { missing }) }
}

/// Whether nothing of a process is left but its name: only then have its locks gone, too. Its memory goes first, and its
/// first thread may go before the others.
fn has_ended(pid: Pid) -> bool {
    let dir = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let Ok(stat) = fs::read_to_string(dir.join("stat")) else { return true };
    let is_zombie = stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']));
    is_zombie && fs::read_dir(dir.join("task")).map_or(true, |threads| threads.count() <= 1)
}

impl Host {
    pub(super) fn new(
        name: &'static str,
        address: Ipv4Addr,
        cluster: &Path,
        programs: &Path,
    ) -> Self {
        Self {
            name,
            address,
            dir: cluster.join(name),
            programs: programs.to_owned(),
            service_log: super::service_log(cluster),
            daemons: Mutex::new(Vec::new()),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its folder: `config`, `run`, `state`, `log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its hosts file.
    #[must_use]
    pub fn hosts_file(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What its agent was last started with, as slave-fc notes it.
    #[must_use]
    pub fn agent_note(&self) -> Option<AgentNote> {
        serde_json::from_slice(&fs::read(self.dir.join("run/agent")).ok()?).ok()
    }

    /// D, in nanoseconds on the clock of the service log, if it holds a permit.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let permit = fs::read(self.dir.join("run/permit")).ok()?;
        let permit: Permit = serde_json::from_slice(&permit).ok()?;
        Some(permit.deadline.as_micros() * 1000)
    }

    /// Writes its identity and its configuration.
    pub(super) fn furnish(
        &self,
        servers: &[String],
        preset: Preset,
        headnodes: &[(&'static str, Ipv4Addr)],
        more: &str,
    ) -> io::Result<()> {
        for part in ["config", "run", "state", "log", "control"] {
            fs::create_dir_all(self.dir.join(part))?;
        }
        // 32 hexadecimal digits that no other host has.
        let id = format!("{:08x}{:024x}\n", u32::from(self.address), std::process::id());
        fs::write(self.dir.join("machine-id"), id)?;
        fs::write(self.hosts_file(), "127.0.0.1 localhost\n")?;
        let text = format!("{}\n{more}", self.configuration(servers, preset, headnodes));
        fs::write(self.dir.join("config/headship.toml"), text)
    }

    fn configuration(
        &self,
        servers: &[String],
        preset: Preset,
        headnodes: &[(&'static str, Ipv4Addr)],
    ) -> String {
        let mut text = format!(
            "cluster = \"plain\"\nnode = \"{}\"\n\n[failover_quorum]\nservers = {servers:?}\ntick_ms = {}\n\n\
             [timing]\npreset = \"{}\"\n",
            self.name,
            preset.tick_ms(),
            preset.name(),
        );
        for (name, address) in headnodes {
            text.push_str(&format!("\n[[headnode]]\nname = \"{name}\"\naddress = \"{address}\"\n"));
        }
        // Its agent ends with us, and does nothing till then.
        let agent =
            ["/usr/bin/tail", "--follow", &format!("--pid={}", std::process::id()), "/dev/null"];
        text.push_str(&format!(
            "\n[follow]\nhosts_file = {:?}\nagent_command = {agent:?}\n",
            self.hosts_file()
        ));
        for service in SERVICES {
            let Service { name, port, started_by, after } = service;
            text.push_str(&format!(
                "\n[[service]]\nname = \"{name}\"\ndriver = \"command\"\nstart = {:?}\nstarted_by = \"{started_by}\"\n\
                 after = {after:?}\nstart_limit_ms = 10000\nstop_limit_ms = 10000\n\n\
                 [[service.probe]]\nkind = \"tcp\"\naddress = \"{}:{port}\"\ninterval_ms = 200\nlimit_ms = 200\n",
                self.start_command(service),
                self.address,
            ));
        }
        text
    }

    fn start_command(&self, service: Service) -> Vec<String> {
        let Service { name, port, .. } = service;
        let [program, log_dir, control_dir] =
            [self.programs.join("lab-service"), self.service_log.clone(), self.dir.join("control")]
                .map(|path| path.display().to_string());
        vec![
            program,
            name.to_owned(),
            port.to_string(),
            format!("--address={}", self.address),
            format!("--host={}", self.name),
            format!("--log-dir={log_dir}"),
            format!("--control-dir={control_dir}"),
            format!("--owner={}", std::process::id()),
        ]
    }

    /// Starts the daemons, as a boot does.
    ///
    /// # Errors
    /// The system refuses.
    pub fn launch(&self) -> Result<(), PlainError> {
        for daemon in DAEMONS {
            self.relaunch(daemon)?;
        }
        Ok(())
    }

    fn launch_daemon(&self, daemon: &str) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file(daemon))?;
        // The kernel ends it with us, even if we are killed; what it started ends by itself then.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(self.programs.join(daemon))
            .args(self.places())
            .arg("--state")
            .arg(self.dir.join("state"))
            .arg("--programs")
            .arg(&self.programs)
            .arg("--machine-id")
            .arg(self.dir.join("machine-id"))
            .env(MARK, &self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        if let Ok(mut daemons) = self.daemons.lock() {
            daemons.push(child);
        }
        Ok(())
    }

    /// The options that say where the files of this host are, as the daemons and `headship` know them.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let folder = |name: &str| self.dir.join(name).display().to_string();
        vec!["--config".to_owned(), folder("config"), "--run".to_owned(), folder("run")]
    }

    /// Starts a daemon that has ended.
    ///
    /// # Errors
    /// The system refuses.
    pub fn relaunch(&self, daemon: &str) -> Result<(), PlainError> {
        self.launch_daemon(daemon).map_err(system(format!("start {daemon} of {}", self.name)))
    }

    /// All that its daemons wrote, for people.
    #[must_use]
    pub fn said(&self) -> String {
        let mut text = String::new();
        for daemon in DAEMONS {
            let said = fs::read_to_string(self.log_file(daemon)).unwrap_or_default();
            text.push_str(&format!("---- {daemon} on {}\n{said}", self.name));
        }
        text
    }

    /// What a daemon wrote to its standard error, over all its lives.
    #[must_use]
    pub fn log_file(&self, daemon: &str) -> PathBuf {
        self.dir.join("log").join(daemon)
    }

    /// `headship` with these arguments, as on this host, ready to run.
    #[must_use]
    pub fn headship(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("headship"));
        command.args(arguments).args(self.places());
        command
    }

    /// Ends every process of it at once: SIGKILL, daemons and services alike.
    ///
    /// # Errors
    /// Something of it is still there after a while.
    pub fn crash(&self) -> Result<(), PlainError> {
        wait_until(&format!("no process of {} is left", self.name), GONE_LIMIT, || {
            let left = self.processes();
            for pid in &left {
                // It may have ended meanwhile, which is what is wanted.
                kill_process(*pid, Signal::KILL).ok();
            }
            self.reap();
            left.is_empty()
        })?;
        Ok(())
    }

    /// Ends a process of it by its program's name, and sees it gone: SIGKILL.
    ///
    /// # Errors
    /// None runs, or it does not go.
    pub fn kill(&self, program: &str) -> Result<(), PlainError> {
        let pid = self.signal(program, Signal::KILL)?;
        wait_until(&format!("the killed {program} is gone"), GONE_LIMIT, || {
            self.reap();
            has_ended(pid)
        })?;
        Ok(())
    }

    /// Lets a process of it stand still, by its program's name: SIGSTOP.
    ///
    /// # Errors
    /// None runs.
    pub fn freeze(&self, program: &str) -> Result<(), PlainError> {
        self.signal(program, Signal::STOP).map(drop)
    }

    /// Lets it go on: SIGCONT.
    ///
    /// # Errors
    /// None is there.
    pub fn thaw(&self, program: &str) -> Result<(), PlainError> {
        self.signal(program, Signal::CONT).map(drop)
    }

    fn signal(&self, program: &str, signal: Signal) -> Result<Pid, PlainError> {
        let of_program =
            |pid: &&Pid| self.command_line(**pid).iter().any(|word| word.ends_with(program));
        let processes = self.processes();
        let pid = *processes.iter().find(of_program).ok_or_else(|| LabError::NoSuchProcess {
            host: self.name.to_owned(),
            what: program.to_owned(),
        })?;
        kill_process(pid, signal)
            .map_err(|errno| system(format!("send {signal:?} to {program}"))(errno.into()))?;
        Ok(pid)
    }

    fn command_line(&self, pid: Pid) -> Vec<String> {
        let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        // A service's command line has its name as a word, a daemon's the path that ends with its name.
        words
            .split(|byte| *byte == 0)
            .take(2)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    /// Its living processes.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.dir.display());
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
        pids.filter(|pid| {
            // Empty for a process that has ended and waits to be reaped.
            let environment =
                fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .collect()
    }

    fn reap(&self) {
        if let Ok(mut daemons) = self.daemons.lock() {
            daemons.retain_mut(|daemon| matches!(daemon.try_wait(), Ok(None)));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nobody is left to be told.
        self.crash().ok();
    }
}
