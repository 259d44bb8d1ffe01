//! One host: a systemd of its own, with its own disk, network, control groups, machine id and boot id.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal};

use super::cgroup;
use super::command::{finish, output, wait_until};
use super::error::{LabError, Result, Tried};
use super::files::write_file;
use super::network;
use super::place::{HostSpec, Place, Role};

/// Where the HA services' shared log appears inside the hosts.
pub const SERVICE_LOG_INSIDE: &str = "/var/log/lab-service";

/// Where the folder that both headnodes share appears inside them.
pub const SHARED_INSIDE: &str = "/srv/shared";

/// How long a host may take to boot or to shut down. It takes a second; several at once on two busy cores take longer.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// How long nspawn may take to notice that its host is gone, before it is ended as well.
const NSPAWN_LIMIT: Duration = Duration::from_secs(2);

const RUN_HOST: &str = include_str!("../../lab/run-host");

/// A host of a lab. Cheap to copy; holds no state of its own, so that it is never out of date.
#[derive(Clone, Debug)]
pub struct Host {
    place: Place,
    spec: HostSpec,
}

impl Host {
    /// The host of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(place: &Place, name: &str) -> Result<Self> {
        Ok(Self { place: place.clone(), spec: HostSpec::named(name)? })
    }

    pub(crate) const fn new(place: Place, spec: HostSpec) -> Self {
        Self { place, spec }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Name, role and address.
    #[must_use]
    pub const fn spec(&self) -> HostSpec {
        self.spec
    }

    /// Its address on the lab's network.
    #[must_use]
    pub fn address(&self) -> String {
        self.place.address(self.spec)
    }

    // ---- disk ----

    /// Mounts the host's disk over what lies `below`, the topmost first, and gives it its identity.
    pub(crate) fn make_disk(&self, below: &[PathBuf]) -> Result<()> {
        let disk = self.disk_dir();
        fs::create_dir_all(&disk).tried(|| format!("create `{}`", disk.display()))?;
        // Of its own, so that it can be full alone.
        mount("headship-lab-disk", &disk, "tmpfs", MountFlags::empty(), None)
            .tried(|| format!("mount a memory file system on `{}`", disk.display()))?;
        let [upper, work, root] =
            ["upper", "work", "root"].map(|part| self.place.disk(self.spec, part));
        for dir in [&upper, &work, &root] {
            fs::create_dir_all(dir).tried(|| format!("create `{}`", dir.display()))?;
        }
        mount_overlay(below, &upper, &work, &root)?;
        write_file(
            &root,
            "/etc/machine-id",
            format!("{}\n", self.place.machine_id(self.spec)).as_bytes(),
            0o444,
        )?;
        write_file(&root, "/etc/hostname", format!("{}\n", self.name()).as_bytes(), 0o644)?;
        write_file(&root, "/etc/hosts", self.place.hosts_text().as_bytes(), 0o644)
    }

    pub(super) fn disk_dir(&self) -> PathBuf {
        self.place.disk_dir(self.spec)
    }

    /// Unmounts the disk, and its contents go.
    fn drop_disk(&self) {
        for mounted in [self.root(), self.disk_dir()] {
            // Not mounted is what is wanted, too.
            unmount(mounted, UnmountFlags::DETACH).ok();
        }
    }

    /// The host's root directory as seen from this machine; `/run` and `/tmp` of a booted host are not in it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.place.disk(self.spec, "root")
    }

    /// Writes a file on the host, booted or not. A booted host's `/run` is reached as well.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_file(&self, path: &str, contents: &str) -> Result<()> {
        write_file(&self.visible_root(), path, contents.as_bytes(), 0o644)
    }

    /// Reads a file on the host, booted or not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_file(&self, path: &str) -> Result<String> {
        let file = self.visible_root().join(path.trim_start_matches('/'));
        fs::read_to_string(&file).tried(|| format!("read `{path}` on {}", self.name()))
    }

    /// The host's root directory as a process of this machine reaches it, with `/run` and `/tmp` if it is booted.
    #[must_use]
    pub fn visible_root(&self) -> PathBuf {
        self.pid1().map_or_else(
            || self.root(),
            |pid| PathBuf::from(format!("/proc/{}/root", pid.as_raw_nonzero())),
        )
    }

    // ---- power ----

    /// Whether the host's PID 1 runs.
    #[must_use]
    pub fn has_power(&self) -> bool {
        self.pid1().is_some()
    }

    /// Switches the host on and waits until it has booted.
    ///
    /// # Errors
    /// It has power already, or does not finish booting.
    pub fn power_on(&self) -> Result<()> {
        self.switch_on()?;
        self.wait_booted()
    }

    /// Switches the host on; returns at once, while it boots.
    ///
    /// # Errors
    /// It has power already, or a part of it cannot be set up.
    pub fn switch_on(&self) -> Result<()> {
        let _turn = self.at_the_plug()?;
        if self.has_power() {
            return Err(LabError::PoweredOn(self.name().to_owned()));
        }
        // What a host leaves behind that shut down by itself.
        self.clear_remains()?;
        network::plug(&self.place, self.spec)?;
        let loop_groups = cgroup::create(&self.loop_group())?;
        let host_groups = cgroup::create(&self.group())?;
        let console_file = self.place.console_file(self.spec);
        let console = fs::OpenOptions::new().create(true).append(true).open(&console_file);
        let console = console.tried(|| format!("open `{}`", console_file.display()))?;
        let errors = console.try_clone().tried(|| format!("open `{}`", console_file.display()))?;
        let mut command = Command::new("setsid");
        command.args([
            "--fork",
            "sh",
            "-c",
            RUN_HOST,
            "run-host",
            &words(&loop_groups),
            &words(&host_groups),
        ]);
        command.args(self.nspawn_line()).stdin(Stdio::null()).stdout(console).stderr(errors);
        let status = command.status().tried(|| "start `setsid`".to_owned())?;
        if !status.success() {
            return Err(LabError::Command {
                line: "setsid".to_owned(),
                status: status.to_string(),
                stderr: String::new(),
            });
        }
        wait_until(&format!("{} has a PID 1", self.name()), BOOT_LIMIT, || self.has_power())
    }

    fn nspawn_line(&self) -> Vec<String> {
        let mut line = vec![
            "systemd-nspawn".to_owned(),
            "--quiet".to_owned(),
            format!("--directory={}", self.root().display()),
            // Unique on this machine, for nspawn's own files; the host calls itself by its short name.
            format!("--machine={}", self.place.netns(self.spec)),
            format!("--hostname={}", self.name()),
            format!("--network-namespace-path=/run/netns/{}", self.place.netns(self.spec)),
            format!("--bind={}:{SERVICE_LOG_INSIDE}", self.place.service_log_dir().display()),
            // Not among nspawn's defaults, and root has them on a machine.
            "--capability=CAP_IPC_LOCK,CAP_NET_ADMIN".to_owned(),
            "--register=no".to_owned(),
            "--keep-unit".to_owned(),
            "--console=read-only".to_owned(),
            "--link-journal=no".to_owned(),
            "--resolv-conf=off".to_owned(),
            "--timezone=off".to_owned(),
            "--boot".to_owned(),
        ];
        if self.spec.role == Role::Headnode {
            line.push(format!("--bind={}:{SHARED_INSIDE}", self.place.shared_dir().display()));
        }
        line
    }

    /// Waits until systemd says that it has finished booting, whether or not all units came up.
    ///
    /// # Errors
    /// It does not, within a minute.
    pub fn wait_booted(&self) -> Result<()> {
        let socket = |pid: Pid| {
            PathBuf::from(format!("/proc/{}/root/run/dbus/system_bus_socket", pid.as_raw_nonzero()))
        };
        let sentence = format!("{} has finished booting", self.name());
        wait_until(&sentence, BOOT_LIMIT, || {
            self.pid1().is_some_and(|pid| socket(pid).exists())
                && self.boot_is_finished().unwrap_or(false)
        })
    }

    fn boot_is_finished(&self) -> Result<bool> {
        let answer = self.output(&["timeout", "10", "systemctl", "is-system-running", "--wait"])?;
        let state = String::from_utf8_lossy(&answer.stdout);
        Ok(["running", "degraded"].contains(&state.trim()))
    }

    /// Pulls the plug: the cable goes dead first, then everything on the host is killed at once. No process has a chance
    /// to say good-bye, and no peer hears that a connection was closed.
    ///
    /// # Errors
    /// It has no power.
    pub fn power_off(&self) -> Result<()> {
        let _turn = self.at_the_plug()?;
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        network::set_link(&self.place, self.spec, false)?;
        cgroup::signal(&[pid1], Signal::KILL);
        self.let_nspawn_end();
        self.clear_remains()
    }

    /// One at a time has a hand at the plug: the fence device is a process of its own.
    fn at_the_plug(&self) -> Result<fs::File> {
        let file = self.place.plug_file(self.spec);
        let plug = fs::File::create(&file).tried(|| format!("create `{}`", file.display()))?;
        flock(&plug, FlockOperation::LockExclusive)
            .tried(|| format!("lock `{}`", file.display()))?;
        Ok(plug)
    }

    /// nspawn tidies up after itself when its host is gone; if it does not in time, it is killed with the rest.
    fn let_nspawn_end(&self) {
        wait_until("nspawn has ended", NSPAWN_LIMIT, || {
            self.processes().is_empty()
                && cgroup::units_group(&self.loop_group())
                    .is_none_or(|g| cgroup::processes(&g).is_empty())
        })
        .ok();
    }

    /// Kills the host, so that nothing of it is left to speak of; for the end of the lab.
    pub(crate) fn discard(&self) {
        if let Some(pid1) = self.pid1() {
            cgroup::signal(&[pid1], Signal::KILL);
            self.let_nspawn_end();
        }
        self.drop_disk();
    }

    fn clear_remains(&self) -> Result<()> {
        cgroup::kill_and_remove(&self.loop_group())?;
        cgroup::kill_and_remove(&self.group())?;
        network::unplug(&self.place, self.spec);
        Ok(())
    }

    /// Reboots the host as an administrator would, and waits until it is up again.
    ///
    /// # Errors
    /// It has no power, or does not come back.
    pub fn reboot(&self) -> Result<()> {
        let before = self.boot_id()?;
        // The connection to systemd may break before the answer comes: what counts is the next boot.
        self.output(&["systemctl", "reboot"])?;
        wait_until(&format!("{} boots again", self.name()), BOOT_LIMIT, || {
            self.boot_id().is_ok_and(|id| id != before)
        })?;
        self.wait_booted()
    }

    /// The kernel's name for the current boot, as the host sees it.
    ///
    /// # Errors
    /// It has no power.
    pub fn boot_id(&self) -> Result<String> {
        // Not through /proc/PID/root: a process's own mount namespace decides which boot id it sees.
        self.run(&["cat", "/proc/sys/kernel/random/boot_id"]).map(|id| id.trim().to_owned())
    }

    // ---- cable ----

    /// Cuts the host's cable. It stays cut over power cycles, until [`Host::heal`].
    ///
    /// # Errors
    /// The interface refuses.
    pub fn cut(&self) -> Result<()> {
        network::cut(&self.place, self.spec)
    }

    /// Cuts the host off from one other, in both directions.
    ///
    /// # Errors
    /// The packet filter refuses.
    pub fn cut_from(&self, other: &Self) -> Result<()> {
        network::deafen(&self.place, self.spec, other.spec)?;
        network::deafen(&self.place, other.spec, self.spec)
    }

    /// Lets nothing that `other` sends reach this host; what this host sends still arrives there.
    ///
    /// # Errors
    /// The packet filter refuses.
    pub fn deafen_to(&self, other: &Self) -> Result<()> {
        network::deafen(&self.place, self.spec, other.spec)
    }

    /// Ends [`Host::cut`], and no other cut.
    ///
    /// # Errors
    /// The interface refuses.
    pub fn mend(&self) -> Result<()> {
        network::mend(&self.place, self.spec)
    }

    /// Ends [`Host::deafen_to`].
    ///
    /// # Errors
    /// The packet filter refuses.
    pub fn hear(&self, other: &Self) -> Result<()> {
        network::hear(&self.place, self.spec, other.spec)
    }

    /// Loses this share of what arrives, in percent, at random; 0 loses nothing.
    ///
    /// # Errors
    /// The packet filter refuses.
    pub fn lose(&self, percent: u8) -> Result<()> {
        network::lose(&self.place, self.spec, percent)
    }

    /// Lets what arrives through at this pace only, in kilobits a second, so that it comes late; 0 is no limit.
    ///
    /// # Errors
    /// The kernel has no such queue.
    pub fn slow(&self, kbit: u32) -> Result<()> {
        network::slow(&self.place, self.spec, kbit)
    }

    /// Ends every cut in which this host has a part.
    ///
    /// # Errors
    /// The interface or the packet filter refuses.
    pub fn heal(&self) -> Result<()> {
        network::heal(&self.place, self.spec)
    }

    /// Whether the cable carries anything.
    #[must_use]
    pub fn link_is_up(&self) -> bool {
        network::link_is_up(&self.place, self.spec)
    }

    /// Which cuts are in force, for people.
    #[must_use]
    pub fn cuts_text(&self) -> String {
        network::cuts_text(&self.place, self.spec)
    }

    // ---- commands ----

    /// Runs a command on the host and returns what it printed.
    ///
    /// # Errors
    /// The host has no power, or the command ends with another status than 0.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        finish(&mut self.command(command)?)
    }

    /// Runs a command on the host, whatever its end.
    ///
    /// # Errors
    /// The host has no power, or the command cannot be started.
    pub fn output(&self, command: &[&str]) -> Result<Output> {
        let line = command.join(" ");
        output(&mut self.command(command)?).tried(|| format!("run `{line}` on {}", self.name()))
    }

    /// The command, ready to run on the host as root.
    ///
    /// # Errors
    /// The host has no power.
    pub fn command(&self, command: &[&str]) -> Result<Command> {
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        let mut line = Command::new("nsenter");
        line.args([
            "--all",
            "--target",
            &pid1.as_raw_nonzero().to_string(),
            "--",
            "env",
            "-i",
            "HOME=/root",
            "TERM=dumb",
        ]);
        line.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        line.args(command);
        Ok(line)
    }

    /// As [`Host::run`], with a program and the files of this machine: its processes, network and names are the host's.
    ///
    /// # Errors
    /// The host has no power, or the command ends with another status than 0.
    pub fn run_from_outside(&self, command: &[&str]) -> Result<String> {
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        let mut line = Command::new("nsenter");
        line.args(["--pid", "--uts", "--ipc", "--net", "--target"]);
        line.arg(pid1.as_raw_nonzero().to_string()).arg("--").args(command);
        finish(&mut line)
    }

    /// As [`Host::run`], but on the disk of a host that has not booted.
    pub(crate) fn run_on_disk(&self, command: &[&str]) -> Result<String> {
        finish(Command::new("chroot").arg(self.root()).args(command))
    }

    pub(super) fn group(&self) -> String {
        format!("{}/{}", self.place.prefix(), self.name())
    }

    pub(super) fn hung_marker(&self) -> PathBuf {
        self.place.hung_file(self.spec)
    }

    fn loop_group(&self) -> String {
        format!("{}/{}.loop", self.place.prefix(), self.name())
    }
}

fn words(groups: &[PathBuf]) -> String {
    groups.iter().map(|group| group.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// Mounts an overlay on `root`: `upper` takes what is written, over what lies `below`, the topmost first.
pub(crate) fn mount_overlay(
    below: &[PathBuf],
    upper: &Path,
    work: &Path,
    root: &Path,
) -> Result<()> {
    let below: Vec<String> = below.iter().map(|layer| layer.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        below.join(":"),
        upper.display(),
        work.display()
    );
    let options = std::ffi::CString::new(options)
        .map_err(|error| LabError::Unavailable(error.to_string()))?;
    mount("overlay", root, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .tried(|| format!("mount an overlay on `{}`", root.display()))
}

/// Makes a directory that every user of a host may write to, as `/tmp`.
pub(crate) fn open_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).tried(|| format!("create `{}`", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o1777))
        .tried(|| format!("open `{}`", path.display()))
}
