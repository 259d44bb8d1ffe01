//! `lab`: seven systemd hosts on this machine, to look at, to break and to repair. See `headship_tests::lab`.
#![expect(clippy::print_stderr, reason = "a command line program")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use headship_tests::lab::ensemble::{self, Mode};
use headship_tests::lab::service_log::now;
use headship_tests::lab::{
    DEFAULT_DIR, Host, Lab, LabError, Options, Preset, Role, Services, Signal,
};
use rustix::time::{ClockId, clock_gettime};

/// Two headnodes and a three-server ZooKeeper ensemble as real systemd hosts on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// State directory of the lab.
    #[arg(long, global = true, default_value = DEFAULT_DIR, env = "HEADSHIP_LAB_DIR")]
    dir: PathBuf,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Bring the lab up: hn0 and hn1 with the suite, zk0 to zk2 serving.
    Up {
        /// Timing of the ensemble and the suite.
        #[arg(long, value_enum, default_value_t)]
        preset: Preset,
        /// Another tick than the preset's.
        #[arg(long, value_name = "MS")]
        tick_ms: Option<u32>,
        /// Leave the suite out.
        #[arg(long)]
        bare: bool,
        /// What the HA services are: small servers of the lab, or Hadoop's and Livy's own.
        #[arg(long, value_enum, default_value_t)]
        services: Services,
        /// Number of the lab: labs that are up together need different ones, and state directories of their own.
        #[arg(long, default_value_t = 0)]
        number: u8,
        /// Where the programs to install were built, if not beside this one.
        #[arg(long, value_name = "DIR")]
        programs: Option<PathBuf>,
    },
    /// End the lab and remove everything of it.
    Down,
    /// Show hosts, cables, ensemble and services.
    Status,
    /// Run a command on a host, or a shell.
    Sh {
        /// The host.
        host: String,
        /// Command and arguments, after `--`.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Send a signal to the processes of a unit or program.
    Kill {
        /// The host.
        host: String,
        /// Unit, or name of a program.
        what: String,
        /// The signal.
        #[arg(short, long, default_value = "KILL")]
        signal: String,
    },
    /// Stop a unit's or program's processes as if they hung; without one, the whole host.
    Freeze {
        /// The host.
        host: String,
        /// Unit, or name of a program.
        what: Option<String>,
        /// So that not even SIGKILL ends them; needs version 1's freezer.
        #[arg(long, requires = "what")]
        beyond_kill: bool,
    },
    /// End a freeze.
    Thaw {
        /// The host.
        host: String,
        /// Unit, or name of a program.
        what: Option<String>,
        /// As frozen.
        #[arg(long, requires = "what")]
        beyond_kill: bool,
    },
    /// Cut a host's cable, or only its way to one other host.
    Cut {
        /// The host.
        host: String,
        /// The other host.
        #[arg(long)]
        from: Option<String>,
        /// Only what the other sends is lost.
        #[arg(long, requires = "from")]
        one_way: bool,
    },
    /// End every cut in which a host has a part.
    Heal {
        /// The host.
        host: String,
    },
    /// Pull a host's plug, or put it back.
    Power {
        /// The host.
        host: String,
        /// Which.
        #[arg(value_enum)]
        power: Power,
    },
    /// Reboot a host in order.
    Reboot {
        /// The host.
        host: String,
    },
    /// Kill, start or stop a ZooKeeper server, its host untouched; `leader` stands for the one that leads.
    Zk {
        /// The host, or `leader`.
        host: String,
        /// What to do.
        #[arg(value_enum)]
        deed: Deed,
    },
    /// Tell an HA service how to misbehave: `key = value` lines; none makes it behave.
    Behave {
        /// The host.
        host: String,
        /// The service.
        service: String,
        /// Such as `stop_delay_ms = 3000`.
        lines: Vec<String>,
    },
    /// Tell the power distribution how to misbehave: `key = value` lines; none makes it behave. The fence agent fence_lab on the
    /// headnodes goes by it.
    Device {
        /// `lies = true`, `hangs = true`, `fails = true` or `delay_ms = 3000`.
        lines: Vec<String>,
    },
    /// Show what the HA services told of themselves, by the clock of the journals.
    Log,
    /// Show where each HA service ran, and fail if any two hosts ran some at once.
    Check,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Power {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Deed {
    Kill,
    Start,
    Stop,
}

fn main() -> ExitCode {
    match obey(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Order::Up { preset, tick_ms, bare, services, number, programs } = arguments.order {
        let dir = arguments.dir;
        let mut options =
            Options { dir, number, preset, tick_ms, bare, services, ..Options::for_people() };
        if let Some(programs) = programs {
            options.sources.programs = programs;
        }
        return up(&options);
    }
    if matches!(arguments.order, Order::Down) {
        Lab::down_in(&arguments.dir, 0)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lab = Lab::attach(&arguments.dir)?;
    match arguments.order {
        Order::Up { .. } | Order::Down => Ok(()),
        Order::Status => status(&lab),
        Order::Sh { host, command } => return shell(&lab.host(&host)?, &command),
        Order::Kill { host, what, signal } => {
            Ok(lab.host(&host)?.kill(&what, signal_named(&signal)?)?)
        }
        Order::Freeze { host, what, beyond_kill } => {
            freeze(&lab.host(&host)?, what.as_deref(), beyond_kill)
        }
        Order::Thaw { host, what, beyond_kill } => {
            thaw(&lab.host(&host)?, what.as_deref(), beyond_kill)
        }
        Order::Cut { host, from, one_way } => cut(&lab, &host, from.as_deref(), one_way),
        Order::Heal { host } => Ok(lab.host(&host)?.heal()?),
        Order::Power { host, power: Power::On } => Ok(lab.host(&host)?.power_on()?),
        Order::Power { host, power: Power::Off } => Ok(lab.host(&host)?.power_off()?),
        Order::Reboot { host } => Ok(lab.host(&host)?.reboot()?),
        Order::Zk { host, deed } => zookeeper(&lab, &host, deed),
        Order::Behave { host, service, lines } => {
            Ok(lab.set_behaviour(&host, &service, &lines.join("\n"))?)
        }
        Order::Device { lines } => {
            let manner = toml::from_str(&lines.join("\n"));
            Ok(lab.set_power_manner(&manner.context("this is no manner of the device")?)?)
        }
        Order::Log => log(&lab),
        Order::Check => return check(&lab),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn up(options: &Options) -> anyhow::Result<ExitCode> {
    let began = std::time::Instant::now();
    let lab = Lab::up(options, &mut |line| eprintln!("lab: {line}"))?;
    let Some(leader) = lab.leader() else { bail!("the ensemble lost its leader at once") };
    eprintln!(
        "lab: up after {:.1} s, tick {} ms, {} leads the ensemble; `lab status` shows it, `lab sh hn0` enters a host, `lab down` ends it",
        began.elapsed().as_secs_f32(),
        lab.settings().tick_ms,
        leader.name()
    );
    if options.bare {
        eprintln!("lab: bare: the suite is not installed, so nothing starts the HA services");
    }
    Ok(ExitCode::SUCCESS)
}

fn status(lab: &Lab) -> anyhow::Result<()> {
    let log = lab.service_log()?;
    let mut text = String::new();
    for host in lab.hosts() {
        let power = if host.has_power() { "on " } else { "off" };
        let boot = host.boot_id().unwrap_or_else(|_| "-".to_owned());
        let runs = match host.spec().role {
            Role::Headnode => {
                let services = log
                    .services()
                    .into_iter()
                    .filter(|service| host.runs(&format!("{service}.service")));
                services.collect::<Vec<_>>().join(" ")
            }
            Role::Quorum => match ensemble::mode(&host) {
                Some(Mode::Leader) => format!("zookeeper (leader)  {}", registered(lab, &host)),
                Some(Mode::Follower) => format!("zookeeper (follower)  {}", registered(lab, &host)),
                None => registered(lab, &host),
            },
            Role::Worker => registered(lab, &host),
        };
        writeln!(
            text,
            "{}  power {power}  cable {}  {}  boot {boot:.8}  {runs}",
            host.name(),
            host.cuts_text(),
            host.address()
        )?;
    }
    show(&text)
}

/// Where a host's agent registered last, if it ever did.
fn registered(lab: &Lab, host: &Host) -> String {
    let registrations = lab.registrations();
    let last = registrations.iter().rfind(|one| one.host == host.name());
    last.map_or_else(String::new, |last| format!("agent registered at {}", last.server))
}

fn shell(host: &Host, command: &[String]) -> anyhow::Result<ExitCode> {
    let line: Vec<&str> = if command.is_empty() {
        vec!["bash", "-l"]
    } else {
        command.iter().map(String::as_str).collect()
    };
    let mut command: Command = host.command(&line)?;
    let status = command.status().context("cannot start `nsenter`")?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn signal_named(name: &str) -> anyhow::Result<Signal> {
    Ok(match name.trim_start_matches("SIG") {
        "KILL" | "9" => Signal::KILL,
        "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "ABRT" | "6" => Signal::ABORT,
        "STOP" | "19" => Signal::STOP,
        "CONT" | "18" => Signal::CONT,
        "USR1" | "10" => Signal::USR1,
        "USR2" | "12" => Signal::USR2,
        other => bail!("no signal `{other}`: KILL, TERM, INT, HUP, ABRT, STOP, CONT, USR1 or USR2"),
    })
}

fn freeze(host: &Host, what: Option<&str>, beyond_kill: bool) -> anyhow::Result<()> {
    match what {
        None => host.freeze_all()?,
        Some(what) if beyond_kill => host.freeze_beyond_kill(what)?,
        Some(what) => host.freeze(what)?,
    }
    Ok(())
}

fn thaw(host: &Host, what: Option<&str>, beyond_kill: bool) -> anyhow::Result<()> {
    match what {
        None => host.thaw_all()?,
        Some(_) if beyond_kill => host.thaw_beyond_kill()?,
        Some(what) => host.thaw(what)?,
    }
    Ok(())
}

fn cut(lab: &Lab, host: &str, from: Option<&str>, one_way: bool) -> anyhow::Result<()> {
    let host = lab.host(host)?;
    match from {
        None => host.cut()?,
        Some(from) if one_way => host.deafen_to(&lab.host(from)?)?,
        Some(from) => host.cut_from(&lab.host(from)?)?,
    }
    Ok(())
}

fn zookeeper(lab: &Lab, host: &str, deed: Deed) -> anyhow::Result<()> {
    let host =
        if host == "leader" { lab.leader().context("no server leads")? } else { lab.host(host)? };
    if host.spec().role != Role::Quorum {
        bail!(LabError::NoSuchProcess {
            host: host.name().to_owned(),
            what: ensemble::UNIT.to_owned()
        });
    }
    match deed {
        Deed::Kill => host.kill(ensemble::UNIT, Signal::KILL)?,
        Deed::Start => drop(host.run(&["systemctl", "start", ensemble::UNIT])?),
        Deed::Stop => drop(host.run(&["systemctl", "stop", ensemble::UNIT])?),
    }
    show(&format!("{}\n", host.name()))
}

fn log(lab: &Lab) -> anyhow::Result<()> {
    let mut text = String::new();
    for event in lab.service_log()?.events() {
        writeln!(
            text,
            "{}  {} {} ({}) {}",
            clock_time(event.at),
            event.host,
            event.service,
            event.pid,
            event.what
        )?;
    }
    show(&text)
}

/// A point of the service log, which counts since this machine booted, as a time of day.
fn clock_time(at: u64) -> String {
    let real = clock_gettime(ClockId::Realtime);
    let nanos = |count: i64| u64::try_from(count).unwrap_or(0);
    let wall = nanos(real.tv_sec) * 1_000_000_000 + nanos(real.tv_nsec);
    time_of_day(wall.saturating_sub(now().saturating_sub(at)))
}

fn time_of_day(nanos: u64) -> String {
    let (seconds, millis) = (nanos / 1_000_000_000, nanos / 1_000_000 % 1000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03} UTC")
}

fn check(lab: &Lab) -> anyhow::Result<ExitCode> {
    let log = lab.service_log()?;
    let mut text = String::new();
    for interval in log.intervals() {
        writeln!(text, "{interval}")?;
    }
    let overlaps = log.overlaps();
    for overlap in &overlaps {
        writeln!(text, "OVERLAP: {overlap}")?;
    }
    if overlaps.is_empty() {
        text.push_str("no overlap: HA services ran on one host at a time\n");
    }
    show(&text)?;
    Ok(if overlaps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what was asked for. A reader that has seen enough and hung up is no error.
fn show(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_log_is_told_in_times_of_day() {
        let at = (86_400 + 18 * 3600 + 32 * 60 + 6) * 1_000_000_000 + 811_501_000;
        assert_eq!(time_of_day(at), "18:32:06.811 UTC");
    }
}
