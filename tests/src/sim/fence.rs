//! Fencing as the simulation knows it: a fence agent that truly cuts a host's power, or does not; ssh; and knocking at hosts,
//! over a network of their own beside that to the quorum.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use headship_core::config::checked::FenceKind;
use headship_core::epoch::Epoch;
use headship_core::fencing::knock::{Back, Knocked};
use headship_core::fencing::{Answer, Victim};
use headship_core::lease::Permit;
use headship_core::quorum::ActionId;
use headship_core::record::{self, Challenge, Key, Lease};
use headship_core::time::Time;

use super::clock::micros;
use super::command::seconds;
use super::host::{DaemonId, HostId, Input};
use super::machine::Heard;
use super::net::Way;
use super::unit::State;
use super::world::{Happening, World};

/// How often a host that does not answer is knocked at.
const KNOCK: Duration = Duration::from_millis(100);

/// How long ssh takes to find out that nobody is there.
const SSH: Duration = Duration::from_millis(800);

/// How long the fence device takes for a word.
const SOON: Duration = Duration::from_millis(200);

/// A network that was put right, or a host that came back, is not noticed at once by who knocks.
const NOTICED: Duration = Duration::from_millis(1500);

/// The word by which a fence without need is known among the violations.
pub(super) const NEEDLESSLY: &str = "needlessly";

/// How the fence device, or its agent, behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It cuts the power, and says so after this long.
    Cuts(Duration),
    /// It says that the host is on, and does nothing.
    SaysNo,
    /// It does not come back.
    Hangs,
    /// Its device is out of reach.
    IsAway,
    /// It says that the host is off after this long, and does nothing.
    Lies(Duration),
    /// The same as soon as nothing can run there any more, so that no lie brings two actives: who went by it finds it out.
    LiesLate,
}

/// The fence device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) manner: Manner,
    /// Who waits for an answer.
    asked: Vec<(DaemonId, u64, ActionId)>,
    /// The epoch whose holder was challenged last, until it renews.
    doubted: Option<Epoch>,
    /// Whom some operator says to be off, knowing that it lives and that nothing runs there.
    pub(super) slandered: BTreeSet<HostId>,
    /// What came of all that.
    pub(super) count: Count,
}

/// How often a holder was doubted, and fenced. Without need nobody may be: that is a violation, and ends a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// A holder that was challenged renewed, and kept its office.
    pub answered: u64,
    /// A fence method was asked about a headnode.
    pub asked: u64,
    /// A headnode was switched off.
    pub cuts: u64,
}

impl Default for Device {
    fn default() -> Self {
        let manner = Manner::Cuts(Duration::from_millis(500));
        let (asked, slandered) = (Vec::new(), BTreeSet::new());
        Self { manner, asked, doubted: None, slandered, count: Count::default() }
    }
}

/// A fence method that is being asked, or a host that is being knocked at.
#[derive(Clone, Debug)]
pub(super) enum FenceStep {
    /// The agent is done.
    Agent { by: (DaemonId, u64, ActionId), victim: Victim, manner: Manner, in_time: bool },
    /// ssh is done.
    Ssh { by: (DaemonId, u64, ActionId), victim: Victim },
    /// A knock arrives, or is tried again.
    Knock { by: (DaemonId, u64, ActionId), host: HostId, end: Duration },
}

impl World {
    /// Commands about the fence device.
    pub(super) fn fence_command(&mut self, words: &[&str]) -> Result<(), String> {
        self.device.manner = match words {
            ["cuts", "in", span] => Manner::Cuts(seconds(span)?),
            ["says", "no"] => Manner::SaysNo,
            ["hangs"] => Manner::Hangs,
            ["is", "away"] => Manner::IsAway,
            ["lies", "in", span] => Manner::Lies(seconds(span)?),
            ["lies", "late"] => Manner::LiesLate,
            _ => return Err("unknown words".to_owned()),
        };
        Ok(())
    }

    /// A master-fc wants to know whether a headnode answers.
    pub(super) fn knock_at(&mut self, id: DaemonId, action: ActionId, node: &str, limit: Duration) {
        let Some(host) = self.host_by_name(node) else { return };
        let by = (id, self.process(id), action);
        let end = self.now + limit;
        let way = self.latency();
        self.after(way, Happening::Fence(FenceStep::Knock { by, host, end }));
    }

    /// A master-fc asks a fence method.
    pub(super) fn ask_fence(
        &mut self,
        id: DaemonId,
        action: ActionId,
        method: usize,
        victim: Victim,
        limit: Duration,
    ) {
        self.check_fence(id, &victim);
        self.device.count.asked += 1;
        let by = (id, self.process(id), action);
        self.device.asked.push(by);
        let config = self.config_for(id.host);
        let agent = config.fencing.methods.get(method).is_some_and(|it| match it.kind {
            FenceKind::Agent { .. } => true,
            FenceKind::Ssh { .. } | FenceKind::Command { .. } => false,
        });
        if !agent {
            self.after(SSH.min(limit), Happening::Fence(FenceStep::Ssh { by, victim }));
            return;
        }
        let manner = self.device.manner;
        let takes = match manner {
            Manner::Cuts(takes) | Manner::Lies(takes) => takes,
            Manner::Hangs => limit * 2,
            Manner::IsAway => Duration::from_millis(300),
            Manner::SaysNo => Duration::from_millis(200),
            Manner::LiesLate => self.until_harmless(victim.node.as_str()),
        };
        let in_time = takes < limit;
        let step = FenceStep::Agent { by, victim, manner, in_time };
        self.after(takes.min(limit), Happening::Fence(step));
    }

    /// A method's answer is not waited for any more, and what it started is ended: it does nothing from now on.
    pub(super) fn stop_fence(&mut self, id: DaemonId, action: ActionId) {
        self.device.asked.retain(|(by, _, asked)| (*by, *asked) != (id, action));
    }

    pub(super) fn fence_step(&mut self, step: FenceStep) {
        match step {
            FenceStep::Agent { by, victim, manner, in_time } => {
                let waits = self.device.asked.len();
                self.device.asked.retain(|asked| *asked != by);
                if self.device.asked.len() == waits {
                    return;
                }
                let answer = self.agent_answers(&victim, manner, in_time);
                self.tell_fence(by, answer);
            }
            FenceStep::Ssh { by, victim } => {
                self.device.asked.retain(|asked| *asked != by);
                let answer = self.ssh_answers(by.0.host, &victim);
                self.tell_fence(by, answer);
            }
            FenceStep::Knock { by, host, end } => self.knock_arrives(by, host, end),
        }
    }

    fn tell_fence(&mut self, (id, process, action): (DaemonId, u64, ActionId), answer: Answer) {
        self.input(id, process, Input::Told(Heard::Fenced { id: action, answer }));
    }

    fn agent_answers(&mut self, victim: &Victim, manner: Manner, in_time: bool) -> Answer {
        let unknown = |why: &str| Answer::Unknown { why: why.to_owned() };
        if !in_time {
            return unknown("`off` took longer than its limit and was killed");
        }
        let yes = Answer::Yes { how: "the fence agent's `status` says off".to_owned() };
        match manner {
            Manner::Cuts(_) => {
                if let Some(host) = self.host_by_name(victim.node.as_str()) {
                    self.cut_power(host);
                }
                yes
            }
            Manner::Lies(_) => yes,
            Manner::LiesLate if self.until_harmless(victim.node.as_str()) <= SOON => yes,
            Manner::LiesLate => unknown("`status` exited with 1"),
            Manner::SaysNo => Answer::No { why: "`status` says that it is on".to_owned() },
            Manner::IsAway => unknown("`status` exited with 1"),
            Manner::Hangs => unknown("it hangs"),
        }
    }

    /// In how long nothing of a host can run any more, as far as can be told now: its permit is over, and so is what ran by it.
    fn until_harmless(&self, node: &str) -> Duration {
        let Some(host) = self.host_by_name(node) else { return Duration::MAX };
        let state = self.host(host);
        let end = state.run.permit.as_ref().map_or_else(Time::default, Permit::end);
        let runs = state.units.values().any(|unit| unit.gated && unit.state != State::Dead);
        let left = end.since(state.clock.at(self.now));
        if runs && left.is_zero() { Duration::MAX } else { left.saturating_add(SOON) }
    }

    /// Whether somebody could say of a host that it is off, and be wrong without harm: nothing runs there or can be started, and
    /// nobody sees it.
    pub(super) fn is_harmless(&self, host: HostId) -> bool {
        self.until_harmless(self.host(host).name.as_str()) <= SOON
    }

    /// What is off stays off until somebody switches it on.
    fn cut_power(&mut self, host: HostId) {
        self.device.count.cuts += 1;
        let name = self.host(host).name.to_string();
        if self.host(host).powered {
            self.notice("agent", format!("{name} loses its power"));
            self.lose_power(host, None);
        }
        if !self.setup.calm {
            let pause = self.between(3_000_000, 40_000_000);
            self.after(pause, Happening::Command(format!("power on {name}")));
        }
    }

    fn ssh_answers(&mut self, from: HostId, victim: &Victim) -> Answer {
        let unknown = |why: &str| Answer::Unknown { why: why.to_owned() };
        let Some(host) = self.host_by_name(victim.node.as_str()) else { return unknown("?") };
        if !self.reaches(from, host) {
            return unknown("ssh exited with 255");
        }
        let boot = self.host(host).boot_id();
        if boot != victim.boot {
            return Answer::Yes { how: format!("it answers from boot {boot}") };
        }
        self.cut_power(host);
        unknown("it was told to power off and is silent, which is no proof")
    }

    /// Whether a packet from one host to another is answered.
    fn reaches(&self, from: HostId, to: HostId) -> bool {
        let apart = self.net.apart.contains(&(from.min(to), from.max(to)));
        !apart && !self.host(to).is_dumb() && !self.host(from).is_dumb()
    }

    fn knock_arrives(&mut self, by: (DaemonId, u64, ActionId), host: HostId, end: Duration) {
        let (id, process, action) = by;
        let seems_cut = self.setup.broken.no_knocks
            && self.net.cut.iter().any(|(of, _, way)| *of == host && *way == Way::Up);
        let answers = self.reaches(id.host, host) && !seems_cut;
        if !answers && self.now < end {
            let next = (self.now + KNOCK).min(end);
            self.at(next, Happening::Fence(FenceStep::Knock { by, host, end }));
            return;
        }
        let knocked = if answers {
            Knocked { tcp: Back::Refusal, echo: Back::Answer }
        } else {
            Knocked { tcp: Back::Nothing, echo: Back::Nothing }
        };
        let way = self.latency();
        let heard = Heard::Knocked { id: action, knocked };
        self.input_at(self.now + way, id, process, Input::Told(heard));
    }

    /// A challenge was written.
    pub(super) fn holder_doubted(&mut self, data: &str) {
        let challenge = record::parse::<Challenge>(&Key::Challenge, data).ok();
        self.device.doubted = challenge.map(|challenge| challenge.epoch);
    }

    /// A renewal was written.
    pub(super) fn holder_renewed(&mut self, lease: &Lease) {
        if self.device.doubted == Some(lease.epoch) {
            self.device.doubted = None;
            self.device.count.answered += 1;
        }
    }

    /// Nobody asks for the power of a host that is up, answers, or renews.
    fn check_fence(&mut self, by: DaemonId, victim: &Victim) {
        let Some(host) = self.host_by_name(victim.node.as_str()) else { return };
        let state = self.host(host);
        if !state.powered || state.boot_id() != victim.boot {
            return;
        }
        let node = &victim.node;
        let long = self.now > self.net.reach_changed + NOTICED;
        let renewed = self.now.saturating_sub(self.checker.renewed_at);
        let dead_after = self.config_for(by.host).fencing.dead_after;
        let fault = if self.reaches(by.host, host) && long {
            Some(format!("{node} answers"))
        } else if renewed > NOTICED / 5 && renewed < dead_after * 9 / 10 {
            Some(format!("{node} renewed {:.3} s ago", renewed.as_secs_f64()))
        } else {
            None
        };
        if let Some(fault) = fault {
            let who = self.who(by);
            self.violation(format!("{who} fences {node} {NEEDLESSLY}: {fault}"));
        }
    }

    /// The fence device behaves otherwise from now on. Drawn apart from all else.
    pub(super) fn fault_of_fence(&mut self, host: HostId) {
        let mut rng = Rng::with_seed(self.setup.seed ^ micros(self.now) ^ 0xfe7ce);
        let (name, span) = (self.host(host).name.to_string(), rng.u64(200_000..20_000_000));
        let other = HostId(rng.usize(0..self.setup.headnodes));
        let other = self.host(other).name.to_string();
        let order = |text: &str| Happening::Command(text.to_owned());
        let (begin, end) = match rng.u32(0..10) {
            0 => ("fence agent says no".to_owned(), "fence agent cuts in 0.5s".to_owned()),
            1 => ("fence agent hangs".to_owned(), "fence agent cuts in 0.1s".to_owned()),
            2 => ("fence agent is away".to_owned(), "fence agent cuts in 2s".to_owned()),
            3 => ("fence agent cuts in 7s".to_owned(), "fence agent cuts in 0.3s".to_owned()),
            4 => (format!("cut {name} from {other}"), format!("heal {name}")),
            // As a whole, from servers and headnodes.
            5 | 6 => {
                self.after(Duration::ZERO, order(&format!("cut {name}")));
                (format!("cut {name} from {other}"), format!("heal {name}"))
            }
            7 => (format!("power off {name}"), format!("power on {name}")),
            // And lied about, until it is seen again.
            _ => {
                let (cut, apart) = (format!("cut {name}"), format!("cut {name} from {other}"));
                self.after(Duration::ZERO, order(&cut));
                self.after(Duration::ZERO, order(&apart));
                let heal = Duration::from_micros(rng.u64(5_000_000..12_000_000));
                self.after(heal, order(&format!("heal {name}")));
                ("fence agent lies late".to_owned(), "fence agent cuts in 0.5s".to_owned())
            }
        };
        self.after(Duration::ZERO, order(&begin));
        self.after(Duration::from_micros(span), order(&end));
    }
}
