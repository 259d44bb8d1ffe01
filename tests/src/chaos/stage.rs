//! Where a burst plays: the hosts by their roles, and the steps of its faults, carried out on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::overlap::Overlap;
use crate::lab::power::Manner;
use crate::lab::service_log;
use crate::lab::{HUNG_MOUNT, Host, Lab, LabError, Result, Signal};
use crate::suite;

use super::bound::Timing;
use super::kind::Kind;
use super::log::Log;
use super::plan::{Fault, Machine};
use super::step::{Device, Line, Needs, Order, Send, Step, Until};

/// How long a command may take on a host that may be cut, frozen or without power meanwhile.
const COMMAND_LIMIT: &str = "30";

/// What `timeout` ends with when it had to end a command.
const TIMED_OUT: i32 = 124;

/// How long a command is given again that must be carried out at last.
const INSIST_FOR: Duration = Duration::from_secs(60);

/// The pause between two kills of what is killed again and again: shorter than a daemon needs to be of use.
const KILL_EVERY: Duration = Duration::from_millis(50);

/// How long before D a host that is to wake before D wakes.
const BEFORE_D: Duration = Duration::from_millis(500);

/// How long a host that was fenced is left without power.
const OFF_FOR: Duration = Duration::from_secs(4);

/// How often it is looked whether one was.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who is what when a burst begins.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    active: Host,
    standby: Host,
    leader: Host,
    followers: [Host; 2],
}

impl Roles {
    /// Looks them up; says what is missing.
    pub(super) fn find(lab: &Lab) -> std::result::Result<Self, String> {
        let (active, standby) = suite::pair(lab.headnodes())?;
        let leader = lab.leader().ok_or("no server leads")?;
        let mut followers = lab.servers();
        followers.retain(|server| server.name() != leader.name());
        let followers = followers.try_into().map_err(|_servers| "there are not two followers")?;
        Ok(Self { active, standby, leader, followers })
    }

    /// The host in a role.
    pub(super) fn host(&self, machine: Machine) -> &Host {
        let [follower, other] = &self.followers;
        match machine {
            Machine::Active => &self.active,
            Machine::Standby => &self.standby,
            Machine::Leader => &self.leader,
            Machine::Follower => follower,
            Machine::OtherFollower => other,
        }
    }
}

/// A time in which nothing ran on a host, though its processes were there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Still {
    pub(super) host: &'static str,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Still {
    /// Whether this is why a service found another host's services there when it started: they hold their locks as long
    /// as they exist, and did not run.
    pub(super) fn explains(&self, overlap: &Overlap) -> bool {
        match overlap {
            Overlap::Witnessed(event) => {
                event.host != self.host && (self.from..=self.to).contains(&event.at)
            }
            Overlap::Intervals { .. } => false,
        }
    }
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undone {
    /// Whoever was told refused.
    #[error("refused")]
    Refused,
    /// The lab could not.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All that it is was done.
    Bit,
    /// Some of it was.
    InPart,
    /// It was an order, and was refused.
    Refused,
    /// Nothing of it could be done.
    NotDone,
}

impl Outcome {
    /// Of a fault of so many steps, of which so many were done and so many refused.
    const fn of(steps: usize, done: usize, refused: usize) -> Self {
        match (done, refused) {
            (0, 0) => Self::NotDone,
            (0, _) => Self::Refused,
            (done, _) if done < steps => Self::InPart,
            (_, _) => Self::Bit,
        }
    }
}

/// A burst under way.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) lab: &'a Lab,
    pub(super) roles: Roles,
    pub(super) log: &'a Log,
    pub(super) timing: Timing,
    /// When its first fault began.
    pub(super) began: Instant,
    /// Which headnodes stood still as a whole until they lost their power, from when to when.
    pub(super) still: Mutex<Vec<Still>>,
    /// Rules of cuts are read and written as a whole.
    network: Mutex<()>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(lab: &'a Lab, roles: Roles, log: &'a Log, timing: Timing) -> Self {
        let (still, network) = (Mutex::default(), Mutex::default());
        Self { lab, roles, log, timing, began: Instant::now(), still, network }
    }

    /// Carries a fault out, from its beginning to its end. Returns when it began, on the clock of the service log, and what
    /// became of it.
    pub(super) fn suffer(&self, fault: &Fault) -> (u64, Outcome) {
        sleep_until(self.began + fault.begins);
        let began = service_log::now();
        let name = self.roles.host(fault.at).name();
        self.log.write(&format!("begins on {name}: {fault}"));
        let (mut end, mut begun) = (self.began + fault.ends, Vec::new());
        let (mut done, mut refused) = (0, 0);
        let steps = fault.steps();
        for step in steps.iter().copied() {
            let undone = match self.carry_out(step) {
                Ok(earlier) => {
                    end = earlier.map_or(end, |earlier| end.min(earlier));
                    done += 1;
                    begun.push(step);
                    continue;
                }
                Err(undone) => undone,
            };
            self.log.write(&format!("not done on {name}: {step:?}: {undone}"));
            refused += usize::from(matches!(undone, Undone::Refused));
            if matches!(step, Step::Order(..)) {
                // It may have come through all the same.
                begun.push(step);
            }
        }
        if fault.kind == Kind::DaemonGone {
            self.kill_until(end, fault);
        }
        sleep_until(end);
        for step in begun.iter().rev().filter_map(|step| step.undo()) {
            if let Err(error) = self.carry_out(step) {
                self.log.write(&format!("not ended on {name}: {step:?}: {error}"));
            }
        }
        self.log.write(&format!("ended on {name}: {}", fault.kind.name()));
        (began, Outcome::of(steps.len(), done, refused))
    }

    fn kill_until(&self, end: Instant, fault: &Fault) {
        while Instant::now() < end {
            thread::sleep(KILL_EVERY);
            for step in fault.steps() {
                // It is not there: what is wanted.
                self.carry_out(step).ok();
            }
        }
    }

    /// Carries a step out. Returns a time at which it has to end, if it knows of one.
    fn carry_out(&self, step: Step) -> std::result::Result<Option<Instant>, Undone> {
        let host = |machine| self.roles.host(machine);
        let network = || self.network.lock().unwrap_or_else(PoisonError::into_inner);
        let _network = step.is_of_the_network().then(network);
        let done = match step {
            Step::PowerOff(at) => host(at).power_off(),
            Step::PowerOn(at) => self.power_on(host(at)),
            Step::Freeze(at, until) => return Ok(self.freeze(host(at), until)?),
            Step::Thaw(at) => host(at).thaw_all(),
            Step::PowerCycle(at) => {
                match host(at).power_off() {
                    // It was fenced meanwhile.
                    Ok(()) | Err(LabError::PoweredOff(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                self.stands_still_no_more(host(at));
                self.power_on(host(at))
            }
            Step::Signal(at, unit, Send::Kill) => host(at).kill(unit, Signal::KILL),
            Step::Signal(at, unit, Send::Stop) => host(at).freeze(unit),
            Step::Signal(at, unit, Send::Go) => host(at).thaw(unit),
            Step::FreezePid1(at) => host(at).freeze_pid1(),
            Step::ThawPid1(at) => host(at).thaw_pid1(),
            Step::FreezeBeyondKill(at, unit) => host(at).freeze_beyond_kill(unit),
            Step::ThawBeyondKill(at) => host(at).thaw_beyond_kill(),
            Step::Cling(service, clings) => self.cling(service, clings),
            Step::HangMount(at, service) => self.hang_mount(host(at), service),
            Step::EndHungMount(at, service) => self.end_hung_mount(host(at), service),
            Step::Device(manner) => self.device(manner),
            Step::Fill(at, disk) => host(at).fill(disk),
            Step::Empty(at, disk) => host(at).empty(disk),
            Step::Order(at, Order { line, .. }) => {
                return self.order(host(at), line).map(|()| None);
            }
            Step::Cut(at) => host(at).cut(),
            Step::Mend(at) => host(at).mend(),
            Step::Deafen { at, from } => host(at).deafen_to(host(from)),
            Step::Hear { at, from } => host(at).hear(host(from)),
            Step::CutFromItsServer(at) => host(at).cut_from(&self.server_of(host(at))?),
            Step::CutFromLeader => self.cut_from_leader(),
            Step::HearServers(at) => {
                Machine::SERVERS.into_iter().try_for_each(|server| join(host(at), host(server)))
            }
            Step::JoinServers => self.join_servers(),
            Step::Lose(at, percent) => host(at).lose(percent),
            Step::Slow(at, kbit) => host(at).slow(u32::from(kbit)),
        };
        done?;
        Ok(None)
    }

    /// The cuts that are in force come back with its power.
    fn power_on(&self, host: &Host) -> Result<()> {
        let _network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        if host.has_power() { Ok(()) } else { host.switch_on() }
    }

    fn join_servers(&self) -> Result<()> {
        let servers = self.lab.servers();
        let pairs = servers.iter().flat_map(|one| servers.iter().map(move |other| (one, other)));
        pairs.into_iter().try_for_each(|(one, other)| one.hear(other))
    }

    fn cut_from_leader(&self) -> Result<()> {
        let server = self.server_of(&self.roles.active)?;
        let leader = self.lab.leader().ok_or_else(|| missing("no server leads"))?;
        self.log.write(&format!(
            "the active's master-fc is connected to {}, {} leads",
            server.name(),
            leader.name()
        ));
        let mut others = self.lab.servers();
        others.retain(|other| {
            other.name() != server.name()
                && (server.name() == leader.name() || other.name() == leader.name())
        });
        others.iter().try_for_each(|other| server.cut_from(other))
    }

    /// The server that a headnode's master-fc is connected to.
    fn server_of(&self, headnode: &Host) -> Result<Host> {
        let sockets = headnode.run(&[
            "timeout",
            COMMAND_LIMIT,
            "ss",
            "--no-header",
            "--tcp",
            "--numeric",
            "--processes",
            "state",
            "established",
            "dport = :2181",
        ])?;
        let of_master_fc = sockets.lines().filter(|line| line.contains("\"master-fc\""));
        let peers: Vec<&str> =
            of_master_fc.filter_map(|line| line.split_whitespace().nth(3)).collect();
        let mut servers = self.lab.servers().into_iter();
        let found = servers.find(|server| {
            peers.iter().any(|peer| peer.strip_suffix(":2181") == Some(&server.address()))
        });
        found.ok_or_else(|| missing("its master-fc is connected to no server"))
    }

    /// Freezes a host as a whole, until a time at which it is still sure that its services are gone before another's start.
    fn freeze(&self, host: &Host, until: Until) -> Result<Option<Instant>> {
        host.freeze_all()?;
        let now = service_log::now();
        let limit = match (until, suite::deadline(host)) {
            (Until::Lost, _) => {
                let still = Still { host: host.name(), from: now, to: u64::MAX };
                self.still.lock().unwrap_or_else(PoisonError::into_inner).push(still);
                return Ok(None);
            }
            (Until::BeforeD, Some(deadline)) => deadline.saturating_sub(nanos(BEFORE_D)),
            (Until::PastD, Some(deadline)) => deadline + nanos(self.timing.kill / 4),
            // Nothing runs that anybody would have to wait for.
            (Until::BeforeD | Until::PastD, None) if suite::runs_none(host) => return Ok(None),
            (Until::BeforeD | Until::PastD, None) => {
                host.thaw_all()?;
                return Err(missing("no permit says until when its services may run"));
            }
        };
        Ok(Some(Instant::now() + Duration::from_nanos(limit.saturating_sub(now))))
    }

    fn stands_still_no_more(&self, host: &Host) {
        let mut still = self.still.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = still.iter_mut().filter(|it| it.host == host.name() && it.to == u64::MAX);
        ended.for_each(|it| it.to = service_log::now());
    }

    /// Wherever the service runs while it lasts.
    fn cling(&self, service: &str, clings: bool) -> Result<()> {
        let behaviour = if clings { "refuse_term = true" } else { "" };
        let headnodes = [&self.roles.active, &self.roles.standby];
        headnodes
            .into_iter()
            .filter(|host| host.has_power())
            .try_for_each(|host| self.lab.set_behaviour(host.name(), service, behaviour))
    }

    fn hang_mount(&self, host: &Host, service: &str) -> Result<()> {
        host.mount_hung()?;
        let behaviour = format!("refuse_term = true\nlooks_at = \"{HUNG_MOUNT}/file\"");
        self.lab.set_behaviour(host.name(), service, &behaviour)
    }

    fn end_hung_mount(&self, host: &Host, service: &str) -> Result<()> {
        // A host that went down for it boots without.
        self.lab.set_behaviour(host.name(), service, "")?;
        host.unmount_hung()
    }

    fn device(&self, manner: Device) -> Result<()> {
        // `off`, whether it is off, and that once more, which no agent is asked in less.
        let delay = u64::try_from(self.timing.lie().as_millis() / 3).unwrap_or(u64::MAX);
        self.lab.set_power_manner(&match manner {
            Device::Works => Manner::default(),
            Device::Fails => Manner { fails: true, ..Manner::default() },
            Device::Hangs => Manner { hangs: true, ..Manner::default() },
            Device::Lies => Manner { lies: true, delay_ms: delay, ..Manner::default() },
        })
    }

    /// Until `over`, gives a host its power back some time after the fence device took it, as an operator would; but not
    /// while a fault keeps it without.
    pub(super) fn switch_fenced_on(&self, faults: &[Fault], over: &AtomicBool) {
        let begin = service_log::now();
        let keeps_off = |fault: &Fault, host: &Host| {
            matches!(fault.kind, Kind::PowerLoss | Kind::FreezeLost)
                && self.roles.host(fault.at).name() == host.name()
                && Instant::now() < self.began + fault.ends
        };
        while !over.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
            let due = service_log::now().saturating_sub(nanos(OFF_FOR));
            let log = self.lab.power_log(begin);
            for host in self.lab.headnodes() {
                let fenced = log.iter().rev().find(|it| it.is_off() && it.host == host.name());
                let waits = fenced.is_some_and(|off| off.done < due) && !host.has_power();
                if waits && !faults.iter().any(|fault| keeps_off(fault, &host)) {
                    let back = self
                        .power_on(&host)
                        .map_or_else(|why| why.to_string(), |()| "on".to_owned());
                    self.log
                        .write(&format!("{} was fenced, and is switched on: {back}", host.name()));
                }
            }
        }
    }

    fn order(&self, host: &Host, line: Line) -> std::result::Result<(), Undone> {
        let active = self.roles.active.name();
        let command =
            ["timeout", COMMAND_LIMIT, "sh", "-c", line.script, "chaos", line.word, active];
        let begun = Instant::now();
        loop {
            let given = host.output(&command);
            let told = match &given {
                Ok(output) => {
                    let said = [&output.stdout[..], &output.stderr].concat();
                    let said = String::from_utf8_lossy(&said);
                    format!("{}: {}", output.status, said.trim().replace('\n', " / "))
                }
                Err(error) => error.to_string(),
            };
            let name = host.name();
            self.log.write(&format!(
                "told {name} `{} {}`: {told}",
                first_line(line.script),
                line.word
            ));
            let code = given.map(|output| output.status.code());
            let undone = match code {
                Ok(Some(0)) => return Ok(()),
                Ok(Some(_)) if line.needs == Needs::Nothing => return Ok(()),
                Ok(None | Some(TIMED_OUT)) => Undone::Lab(missing("no answer in time")),
                Ok(Some(_)) => Undone::Refused,
                Err(error) => Undone::Lab(error),
            };
            if line.needs != Needs::SuccessAtLast || begun.elapsed() > INSIST_FOR {
                return Err(undone);
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

fn first_line(script: &str) -> &str {
    script.lines().next().unwrap_or_default()
}

fn join(one: &Host, other: &Host) -> Result<()> {
    one.hear(other)?;
    other.hear(one)
}

fn missing(what: &str) -> LabError {
    LabError::Unavailable(what.to_owned())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn sleep_until(when: Instant) {
    thread::sleep(when.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::service_log::ServiceLog;

    #[test]
    fn a_fault_bit_only_if_all_of_it_was_done() {
        assert_eq!(Outcome::of(3, 3, 0), Outcome::Bit);
        assert_eq!(Outcome::of(3, 2, 0), Outcome::InPart);
        assert_eq!(Outcome::of(3, 1, 2), Outcome::InPart);
        assert_eq!(Outcome::of(1, 0, 1), Outcome::Refused);
        assert_eq!(Outcome::of(2, 0, 0), Outcome::NotDone);
    }

    #[test]
    fn a_host_that_stands_still_explains_a_witness_elsewhere_and_nothing_else() {
        let log = "1000 hn0 livy 57 start\n5000 hn0 livy 57 alive\n4000 hn1 livy 9 start\n4000 hn1 livy 9 witness\n";
        let overlaps = ServiceLog::parse(log).unwrap().overlaps();
        let explained = |host, from, to| {
            let still = Still { host, from, to };
            overlaps.iter().map(|overlap| still.explains(overlap)).collect::<Vec<_>>()
        };
        assert_eq!(explained("hn0", 3000, 6000), [false, true]);
        assert_eq!(explained("hn1", 3000, 6000), [false, false]);
        assert_eq!(explained("hn0", 4500, 6000), [false, false]);
    }
}
