//! Chaos: a lab with the real suite and a real ensemble, and faults by chance, several at a time, for as long as one likes.
//!
//! Faults come in bursts. After each, every fault has ended, the services' own log is asked whether HA services ever ran on
//! two headnodes at once, and the cluster has to be in order again within a limit: every daemon back by itself, one headnode
//! active with all services, the other ready, every node following. What comes when is a function of the seed; what comes of it
//! is real.

mod bound;
mod error;
mod evidence;
mod kind;
mod log;
mod needless;
mod order;
mod outage;
mod plan;
mod report;
mod stage;
mod step;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::power::FENCE;
use crate::lab::service_log;
use crate::lab::{self, Lab, LabError};
use crate::suite;

pub use bound::Timing;
pub use error::ChaosError;
pub use kind::Kind;
pub use plan::{Burst, Daemon, Fault, Machine, Plan};
pub use report::Report;

use log::Log;
use needless::{Hit, Renewals};
use report::{Ended, Seen};
use stage::{Outcome, Roles, Stage, Still};

/// How long the cluster may take to be in order after a burst: boots on busy cores, a failover by waiting, and a headnode
/// that joins only because nobody else does.
const ORDER_LIMIT: Duration = Duration::from_secs(120);

/// Services are killed and stopped here more often than any budget of restarts allows, and that is none of the suite's
/// faults.
const BUDGETS: &str = r#"
[[service]]
name = "ambari-server"
restart = { times = 100, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "timeline-server"
restart = { times = 100, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "job-history"
restart = { times = 100, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "livy"
restart = { times = 100, within_s = 120, back_off_s = [0, 0, 1] }
"#;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lab to bring up.
    pub lab: lab::Options,
    /// The seed of the schedule.
    pub seed: u64,
    /// For how long bursts begin.
    pub lasts: Duration,
    /// How many bursts there are at most.
    pub runs: usize,
    /// Whether the suite is configured with the lab's fence agent.
    pub fence: bool,
    /// These kinds alone, one at a time, at the active and for long; all kinds if empty.
    pub only: Vec<Kind>,
    /// Where the log is kept, and all that is known of a failure.
    pub dir: PathBuf,
    /// Set by whoever wants no further burst.
    pub enough: Arc<AtomicBool>,
}

/// Brings a lab up, and lets faults loose in it until the time is over or something is wrong. `say` hears a line a burst.
///
/// # Errors
/// HA services ran on two headnodes, a headnode was fenced needlessly, the cluster did not come back in order or by itself, a
/// fault cost more than it may, the options do not fit each other, or the lab failed. All that is known is kept in the folder
/// then, the table of what was seen until then among it, and the lab is ended in any case.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, ChaosError> {
    let Options { seed, dir, .. } = options;
    let plan = plan(options)?;
    let folder = |source| ChaosError::Folder { dir: dir.clone(), source };
    fs::create_dir_all(dir).map_err(folder)?;
    let log = Log::create(&dir.join("log")).map_err(folder)?;
    let of_lab = |source| ChaosError::Lab { burst: 0, dir: dir.clone(), source };
    let mut options = options.clone();
    options.lab.fragments.push(("60-chaos".to_owned(), BUDGETS.to_owned()));
    let (preset, fence) = (options.lab.preset, options.fence);
    if fence {
        options.lab.fragments.push(("70-fence".to_owned(), FENCE.to_owned()));
    }
    let with = if fence { "a fence agent" } else { "no fence agent" };
    let only = &options.only;
    log.write(&format!("seed {seed}, preset {}, {with}, kinds {only:?}", preset.name()));
    let lab = Lab::up(&options.lab, say).map_err(of_lab)?;
    let mut run = Run {
        lab: &lab,
        log: &log,
        options: &options,
        timing: Timing::of(preset),
        report: Report { fence, ..Report::default() },
        still: Vec::new(),
        stoppers_hit: 0,
    };
    let ended = run.bursts(plan, say);
    run.report.ended = match &ended {
        Ok(()) => Ended::Well,
        Err(error) => Ended::Failed(error.to_string()),
    };
    if let Err(error) = &ended {
        log.write(&format!("FAILED: {error}"));
    }
    // Whatever cannot be written or ended any more is worth saying only if nothing else went wrong.
    let (table, down) = (run.table(), lab.down());
    ended?;
    table?;
    down.map_err(of_lab)?;
    Ok(run.report)
}

fn plan(options: &Options) -> Result<Plan, ChaosError> {
    let Options { seed, only, lab, fence, .. } = options;
    if only.is_empty() {
        return Ok(Plan::new(*seed, lab.preset, *fence));
    }
    let plan = Plan::only(*seed, lab.preset, *fence, only);
    plan.map_err(|(kind, why)| ChaosError::Unfit { kind: kind.name(), why })
}

/// A run under way.
struct Run<'a> {
    lab: &'a Lab,
    log: &'a Log,
    options: &'a Options,
    timing: Timing,
    report: Report,
    still: Vec<Still>,
    /// Until when guard or master-fc of a host were hit last, on the clock of the service log.
    stoppers_hit: u64,
}

impl Run<'_> {
    fn bursts(&mut self, plan: Plan, say: &mut dyn FnMut(&str)) -> Result<(), ChaosError> {
        let Options { lasts, runs, .. } = self.options;
        let (begun, first) = (Instant::now(), service_log::now());
        self.in_order(0, first)?;
        let epoch = self.epoch();
        for (number, burst) in (1..).zip(plan).take(*runs) {
            if begun.elapsed() >= *lasts || self.options.enough.load(Ordering::Relaxed) {
                break;
            }
            let line = self.burst(number, &burst, first)?;
            say(&format!("{:5.1} min  burst {number}: {line}", minutes(begun.elapsed())));
            self.report.bursts = number;
            self.report.lasted = begun.elapsed();
            self.report.offices = self.epoch().saturating_sub(epoch);
            self.table()?;
        }
        Ok(())
    }

    /// Writes what is known until now: whatever ends the program, that much is kept.
    fn table(&self) -> Result<(), ChaosError> {
        let dir = &self.options.dir;
        // As a whole, so that no end comes in the middle of it.
        let next = dir.join("table.new");
        fs::write(&next, self.report.to_string())
            .and_then(|()| fs::rename(&next, dir.join("table")))
            .map_err(|source| ChaosError::Folder { dir: dir.clone(), source })
    }

    /// Plays a burst, judges it, and says how it went.
    fn burst(&mut self, number: usize, burst: &Burst, first: u64) -> Result<String, ChaosError> {
        let failed = |what| self.disorder(number, what);
        let roles = Roles::find(self.lab).map_err(failed)?;
        order::forget_failed_guards(self.lab).map_err(|source| self.of_lab(number, source))?;
        let from = service_log::now();
        self.log.write(&format!("burst {number}"));
        let stage = Stage::new(self.lab, roles, self.log, self.timing);
        let renewals = Renewals::default();
        let (ends, settled) = renewals.watched(self.lab, self.timing.lease, || {
            (self.play(&stage, burst), self.in_order(number, from))
        });
        self.still.append(&mut stage.still.lock().unwrap_or_else(PoisonError::into_inner));
        let mut hits = Vec::new();
        for (fault, (from, outcome)) in burst.faults.iter().zip(&ends) {
            self.report.count(fault.kind, *outcome);
            let (kind, host, from) = (fault.kind, stage.roles.host(fault.at).name(), *from);
            if matches!(outcome, Outcome::Bit | Outcome::InPart) {
                hits.push(Hit { kind, host, from });
            }
        }
        // Whatever else went wrong, these are what matters most.
        self.judge(number, from, first)?;
        self.report.fenced += self.fenced(number, &hits, &renewals, from)?;
        let settled = settled?;
        let outage = self.measure(number, burst, &ends, from, settled)?;
        if burst.faults.iter().any(|fault| fault.kind == Kind::AgentLies) {
            self.believe_agent(number)?;
        }
        let line = format!(
            "{}; longest outage {:.1} s, in order after {:.1} s",
            burst.faults.iter().map(|fault| fault.kind.name()).collect::<Vec<_>>().join(" + "),
            outage.as_secs_f32(),
            settled.as_secs_f32()
        );
        self.log.write(&line);
        Ok(line)
    }

    /// Notes what each fault that bit cost, and returns the burst's longest outage.
    fn measure(
        &mut self,
        number: usize,
        burst: &Burst,
        ends: &[(u64, Outcome)],
        from: u64,
        settled: Duration,
    ) -> Result<Duration, ChaosError> {
        let to = service_log::now();
        let services = self.lab.service_log().map_err(|source| self.of_lab(number, source))?;
        let outage = Duration::from_nanos(outage::longest(&services, from, to));
        let alone = burst.faults.len() == 1;
        for (fault, (began, outcome)) in burst.faults.iter().zip(ends) {
            if *outcome != Outcome::Bit {
                continue;
            }
            let recovery = Duration::from_nanos(outage::recovery(&services, *began, to));
            let bound = fault.bound(&self.timing, self.options.fence);
            let kind = fault.kind;
            self.report.seen.push(Seen { kind, alone, recovery, bound, outage, settled });
        }
        if let [fault] = burst.faults.as_slice() {
            self.hold_to_bound(number, fault, from, outage)?;
        }
        if burst.faults.iter().any(Fault::takes_stoppers) {
            self.stoppers_hit = to;
        }
        Ok(outage)
    }

    /// Of a fault that was alone and must not move services: whether it cost no more than a restart.
    fn hold_to_bound(
        &self,
        burst: usize,
        fault: &Fault,
        from: u64,
        outage: Duration,
    ) -> Result<(), ChaosError> {
        // A guard that fails again so soon has its host reboot, as it should.
        let window = self.timing.lease + self.timing.kill;
        let again = fault.takes_stoppers()
            && Duration::from_nanos(from.saturating_sub(self.stoppers_hit)) < window;
        let most = fault.most(&self.timing).filter(|most| outage > *most && !again);
        let Some(most) = most else { return Ok(()) };
        let Options { seed, dir, .. } = self.options;
        evidence::keep(self.lab, dir, age(from));
        let (fault, dir) = (fault.to_string(), dir.clone());
        Err(ChaosError::Costly { burst, seed: *seed, fault, outage, most, dir })
    }

    /// Has all faults of a burst happen, each in its time; returns when each began, and what became of it.
    fn play(&self, stage: &Stage<'_>, burst: &Burst) -> Vec<(u64, Outcome)> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            if self.options.fence {
                scope.spawn(|| stage.switch_fenced_on(&burst.faults, &over));
            }
            let faults = burst.faults.iter();
            let threads: Vec<_> = faults.map(|fault| scope.spawn(|| stage.suffer(fault))).collect();
            let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            over.store(true, Ordering::Relaxed);
            let ends = ends.into_iter();
            ends.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    /// How often a headnode was fenced since `from`; each has to have been kept from answering.
    fn fenced(
        &self,
        burst: usize,
        hits: &[Hit],
        renewals: &Renewals,
        from: u64,
    ) -> Result<usize, ChaosError> {
        let mut offs = self.lab.power_log(from);
        offs.retain(|it| it.order == "off");
        let needless = offs.iter().find(|off| {
            let silence = renewals.silence(&off.host, off.asked);
            let silent = silence >= self.timing.dead_after;
            self.log.write(&format!("{} was fenced; no renewal for {silence:.1?}", off.host));
            !needless::is_excused(hits, &off.host, off.asked, silent)
        });
        let Some(off) = needless else { return Ok(offs.len()) };
        let Options { seed, dir, .. } = self.options;
        evidence::keep(self.lab, dir, age(from));
        let host = off.host.clone();
        Err(ChaosError::Needless { burst, seed: *seed, host, dir: dir.clone() })
    }

    /// Whoever was lied to asks that agent no more: the operator who repaired it starts master-fc anew.
    fn believe_agent(&self, burst: usize) -> Result<(), ChaosError> {
        for host in self.lab.headnodes() {
            let restarted = host.run(&["systemctl", "restart", "master-fc"]);
            restarted.map_err(|source| self.of_lab(burst, source))?;
        }
        self.in_order(burst, service_log::now()).map(drop)
    }

    fn of_lab(&self, burst: usize, source: LabError) -> ChaosError {
        ChaosError::Lab { burst, dir: self.options.dir.clone(), source }
    }

    /// Heals what did not heal by itself, and waits until all is in order.
    fn in_order(&self, burst: usize, from: u64) -> Result<Duration, ChaosError> {
        let begun = Instant::now();
        if let Err(source) = order::heal(self.lab, self.log) {
            evidence::keep(self.lab, &self.options.dir, age(from));
            return Err(self.of_lab(burst, source));
        }
        if let Err(what) = units::wait(self.lab, self.log) {
            let Options { seed, dir, .. } = self.options;
            evidence::keep(self.lab, dir, age(from));
            return Err(ChaosError::Down { burst, seed: *seed, what, dir: dir.clone() });
        }
        match order::wait(self.lab, self.log, ORDER_LIMIT) {
            Ok(last) => {
                if let Some(last) = last {
                    self.log.write(&format!("the last to be in order: {last}"));
                }
                Ok(begun.elapsed())
            }
            Err(what) => {
                evidence::keep(self.lab, &self.options.dir, age(from));
                Err(self.disorder(burst, what))
            }
        }
    }

    fn disorder(&self, burst: usize, what: String) -> ChaosError {
        let Options { seed, dir, .. } = self.options;
        ChaosError::Disorder { burst, seed: *seed, limit: ORDER_LIMIT, what, dir: dir.clone() }
    }

    fn judge(&self, burst: usize, from: u64, first: u64) -> Result<(), ChaosError> {
        let Options { seed, dir, .. } = self.options;
        let overlaps = self.lab.overlaps_since(first);
        let mut overlaps = overlaps.map_err(|source| self.of_lab(burst, source))?;
        overlaps.retain(|overlap| !self.still.iter().any(|still| still.explains(overlap)));
        if overlaps.is_empty() {
            return Ok(());
        }
        evidence::keep(self.lab, dir, age(from));
        let what: Vec<String> = overlaps.iter().map(ToString::to_string).collect();
        Err(ChaosError::Overlap { burst, seed: *seed, what: what.join("; "), dir: dir.clone() })
    }

    /// The highest epoch of a permit.
    fn epoch(&self) -> u64 {
        let permits = self.lab.headnodes().into_iter().filter_map(|host| suite::permit(&host));
        permits.map(|permit| permit.epoch.0).max().unwrap_or(0)
    }
}

/// How many seconds ago it was.
fn age(from: u64) -> u64 {
    service_log::now().saturating_sub(from) / 1_000_000_000
}

fn minutes(span: Duration) -> f64 {
    span.as_secs_f64() / 60.0
}

/// A folder below `parent` that is not there yet, for this seed.
#[must_use]
pub fn fresh_folder(parent: &Path, seed: u64) -> PathBuf {
    let names = std::iter::once(format!("seed-{seed}"))
        .chain((2..).map(|number| format!("seed-{seed}-{number}")));
    let mut folders = names.map(|name| parent.join(name));
    folders.find(|folder| !folder.exists()).unwrap_or_else(|| parent.to_owned())
}
