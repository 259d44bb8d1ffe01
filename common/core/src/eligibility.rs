//! health-monitor: this headnode's verdict, published as heartbeats.
//!
//! A check is `must` (without it the services cannot run here) or `prefer` (another headnode would do better). One bad
//! reading changes nothing: a check turns bad after `fall` bad readings in a row and good again after `rise` good ones. No
//! data is never `must`: a monitor that cannot look must not take the cluster's last headnode away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::checked::HealthLimits;
use crate::known::Known;
use crate::node::Identity;
use crate::presence::Presence;
use crate::quorum::{Ask, Event as QuorumEvent};
use crate::record::{self, FORMAT, Health, Key, Rest, Settings, Verdict};
use crate::say::{Kind, Line};
use crate::services::Ids;
use crate::time::Time;

/// What is wanted free on `/run` where that is a file system of its own: it lies in memory, is small on a small host, and
/// takes a permit and some sockets, not a database.
const RUN_FREE_MIB: u64 = 8;

/// How much a check weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Without it the services cannot run here.
    Must,
    /// Another headnode would do better.
    Prefer,
}

/// What was measured on the host; how good that is, is decided here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Measured {
    /// File systems that the services write to, by mount point.
    pub disks: BTreeMap<String, Disk>,
    /// Available memory in MiB, if it could be read.
    pub memory_available_mib: Option<u64>,
    /// The HA services whose units cannot be started, each with why, if systemd could be asked.
    pub missing_units: Option<BTreeMap<String, String>>,
    /// The services that the permit of this host leaves alone, as they are in maintenance: nobody would start them.
    pub alone: BTreeSet<String>,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Free space in MiB.
    pub free_mib: u64,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// One reading of one check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reading {
    check: String,
    weight: Weight,
    good: Option<bool>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Check {
    weight: Weight,
    bad: bool,
    row: u32,
    text: String,
}

/// What happens to a health-monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The failover quorum reports something.
    Quorum(QuorumEvent),
    /// The answer to `Action::Measure`.
    Measured(Measured),
    /// Somebody wants everything compared anew now, as each period does.
    LookAnew,
}

/// What a health-monitor wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the failover quorum.
    Ask(Ask),
    /// Measure the host; one at a time.
    Measure,
    /// Say this in the log.
    Say(Line),
}

/// The root machine of health-monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthMonitor {
    limits: HealthLimits,
    me: Identity,
    ids: Ids,
    actions: VecDeque<Action>,
    presence: Presence,
    /// What is in maintenance, for a headnode that has no permit to read it in.
    settings: Known<Settings>,
    checks: BTreeMap<String, Check>,
    measuring: bool,
    /// Heartbeats sent since the last measurement came back.
    unanswered: u32,
    seq: u64,
    verdict: Verdict,
    due: Time,
}

impl HealthMonitor {
    /// A health-monitor that has just started.
    pub fn new(limits: HealthLimits, me: Identity) -> Self {
        Self {
            limits,
            presence: Presence::new(Key::Health(me.node.clone()), me.machine.clone()),
            settings: Known::new(Key::Settings),
            me,
            ids: Ids::default(),
            actions: VecDeque::new(),
            checks: BTreeMap::new(),
            measuring: false,
            unanswered: 0,
            seq: 0,
            verdict: Verdict::Reluctant,
            due: Time::default(),
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Quorum(event) => self.quorum(now, &event),
            Event::LookAnew => self.due = now,
            Event::Measured(mut measured) => {
                self.measuring = false;
                self.unanswered = 0;
                // As last read: out of sight of the quorum maintenance does not end.
                let settings = self.settings.record();
                let services = settings.map(|settings| settings.maintenance.services.keys());
                measured.alone.extend(services.into_iter().flatten().cloned());
                let readings = readings(&measured, &self.limits);
                // What was mounted and is no more: whatever is written there now lies on another file system.
                self.checks.retain(|check, _| readings.iter().any(|read| read.check == *check));
                let before = self.judgement();
                readings.into_iter().for_each(|reading| self.take(reading));
                self.judge();
                // What only reads differently goes with the next heartbeat: each write wakes every headnode.
                if self.judgement() != before {
                    self.beat();
                }
            }
        }
        self.handle_timeout(now);
    }

    fn quorum(&mut self, now: Time, event: &QuorumEvent) {
        if self.presence.handle(event) {
            return;
        }
        self.settings.hear(now, event);
    }

    /// Lets time pass. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        if now >= self.due {
            self.due = now.after(self.limits.interval);
            self.seq = self.seq.saturating_add(1);
            self.presence.look_again_if_stuck();
            self.settings.outdate();
            if self.measuring {
                self.unanswered = self.unanswered.saturating_add(1);
                self.judge();
            } else {
                self.measuring = true;
                self.actions.push_back(Action::Measure);
            }
            self.beat();
        }
        self.actions.extend(self.presence.next_request(&mut self.ids).map(Action::Ask));
        if let Some(session) = self.presence.session()
            && let Some((id, request)) = self.settings.next_read(&mut self.ids)
        {
            self.actions.push_back(Action::Ask(Ask { id, session, request }));
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        Some(self.due)
    }

    /// The verdict, and the reasons for it.
    pub fn status(&self) -> (Verdict, Vec<String>) {
        let mut reasons: Vec<(Weight, String)> = (self.checks.values().filter(|check| check.bad))
            .map(|check| (check.weight, check.text.clone()))
            .collect();
        reasons.sort();
        let mut reasons: Vec<String> = reasons.into_iter().map(|(_, text)| text).collect();
        if self.checks.is_empty() {
            reasons.push("nothing was measured yet".to_owned());
        } else if self.unanswered >= self.limits.fall {
            reasons.push(format!("the last {} measurements did not end", self.unanswered));
        }
        (self.verdict, reasons)
    }

    /// The verdict and the checks that count as bad, whatever they read.
    fn judgement(&self) -> (Verdict, Vec<String>) {
        let bad = self.checks.iter().filter(|(_, check)| check.bad);
        (self.verdict, bad.map(|(name, _)| name.clone()).collect())
    }

    fn take(&mut self, reading: Reading) {
        let Reading { check, weight, good, text } = reading;
        let fresh = Check { weight, bad: false, row: 0, text: String::new() };
        let first = !self.checks.contains_key(&check);
        let state = self.checks.entry(check).or_insert(fresh);
        // While a check still counts as bad, it weighs what its bad reading weighed.
        if good != Some(true) {
            state.weight = weight;
        }
        state.text = text;
        match good {
            Some(good) if first => state.bad = !good,
            Some(good) if good == state.bad => {
                state.row = state.row.saturating_add(1);
                if state.row >= if good { self.limits.rise } else { self.limits.fall } {
                    (state.bad, state.row) = (!good, 0);
                }
            }
            Some(_) => state.row = 0,
            None => {}
        }
    }

    fn judge(&mut self) {
        let heaviest =
            self.checks.values().filter(|check| check.bad).map(|check| check.weight).min();
        let verdict = match heaviest {
            Some(Weight::Must) => Verdict::Ineligible,
            Some(Weight::Prefer) => Verdict::Reluctant,
            None if self.checks.is_empty() || self.unanswered >= self.limits.fall => {
                Verdict::Reluctant
            }
            None => Verdict::Eligible,
        };
        if verdict != self.verdict {
            self.verdict = verdict;
            let (_, reasons) = self.status();
            let (kind, word) = match verdict {
                Verdict::Eligible => (Kind::Eligible, "eligible"),
                Verdict::Reluctant => (Kind::Reluctant, "reluctant"),
                Verdict::Ineligible => (Kind::Ineligible, "ineligible"),
            };
            let why = if reasons.is_empty() {
                "all checks are good".to_owned()
            } else {
                reasons.join("; ")
            };
            self.actions.push_back(Action::Say(Line {
                kind,
                text: format!("{word}: {why}"),
                epoch: None,
            }));
        }
    }

    /// Shows the verdict, as of now.
    fn beat(&mut self) {
        let (verdict, reasons) = self.status();
        let checks =
            self.checks.iter().map(|(name, check)| (name.clone(), check.text.clone())).collect();
        let by = self.me.clone();
        let health = Health {
            format: FORMAT,
            by,
            seq: self.seq,
            verdict,
            reasons,
            checks,
            rest: Rest::new(),
        };
        self.presence.publish(record::write(&health));
    }
}

/// Each check's reading.
fn readings(measured: &Measured, limits: &HealthLimits) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (mount, disk) in &measured.disks {
        let (must, free) = (disk.read_only || disk.free_mib == 0, disk.free_mib);
        let wanted = limits.disk_free_mib;
        let wanted = if mount == "/run" { wanted.min(RUN_FREE_MIB) } else { wanted };
        let text = if disk.read_only {
            format!("{mount} is mounted read-only")
        } else {
            format!("{mount} has {free} MiB free, {wanted} are wanted")
        };
        readings.push(Reading {
            check: format!("disk {mount}"),
            weight: if must { Weight::Must } else { Weight::Prefer },
            good: Some(!must && free >= wanted),
            text,
        });
    }
    let wanted = limits.memory_available_mib;
    readings.push(Reading {
        check: "memory".to_owned(),
        weight: Weight::Prefer,
        good: measured.memory_available_mib.map(|free| free >= wanted),
        text: measured.memory_available_mib.map_or_else(
            || "available memory is unknown".to_owned(),
            |free| format!("{free} MiB of memory are available, {wanted} are wanted"),
        ),
    });
    readings.push(units(measured));
    readings
}

fn units(measured: &Measured) -> Reading {
    let missing = measured.missing_units.as_ref().map(|missing| {
        let missed = missing.iter().filter(|(service, _)| !measured.alone.contains(*service));
        missed.map(|(_, why)| why.as_str()).collect::<Vec<_>>()
    });
    Reading {
        check: "units".to_owned(),
        weight: Weight::Must,
        good: missing.as_ref().map(Vec::is_empty),
        text: match missing.as_deref() {
            None => "systemd could not be asked for the units".to_owned(),
            Some([]) => "all units are there".to_owned(),
            Some(missing) => missing.join("; "),
        },
    }
}

#[cfg(test)]
mod tests;
