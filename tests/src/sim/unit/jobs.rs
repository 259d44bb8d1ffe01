//! Jobs of systemd: starts through the gate, stops, and what those hear who wait for them.

use headship_core::quorum::ActionId;
use headship_core::services::{Ended, Report};

use super::{Ends, STOP_LIMIT, State, TOLD, UnitStep, Waiter};
use crate::sim::host::{DaemonId, HostId, Input, Kind, Life};
use crate::sim::machine::Heard;
use crate::sim::world::World;

impl World {
    pub(super) fn start_job(
        &mut self,
        host: HostId,
        name: &str,
        waiter: Option<(DaemonId, u64, ActionId)>,
    ) {
        let unit = self.unit_mut(host, name);
        unit.starters.extend(waiter.map(|(daemon, process, id)| Waiter { daemon, process, id }));
        match unit.state {
            State::Running => self.end_jobs(host, name, true, &Ended::Done),
            State::Gate | State::Exec | State::Starting | State::Again => {}
            State::Dead | State::Stopping => {
                let first = !unit.start_queued;
                unit.start_queued = true;
                if unit.state == State::Dead && first {
                    let at = self.now + self.between(300, 5000);
                    self.plan_unit(at, host, name, UnitStep::Turn);
                }
                self.signal(host, name);
            }
        }
    }

    pub(super) fn run_start_job(&mut self, host: HostId, name: &str) {
        let unit = self.unit_mut(host, name);
        if !unit.start_queued || unit.state != State::Dead {
            return;
        }
        unit.start_queued = false;
        unit.turn += 1;
        unit.failed = None;
        unit.state = State::Gate;
        let turn = unit.turn;
        let at = self.now + self.between(2000, 12_000);
        self.plan_unit(at, host, name, UnitStep::GateLooks(turn));
    }

    pub(super) fn gate_looks(&mut self, host: HostId, name: &str) {
        let now = self.now;
        let (gated, on) = (self.unit(host, name).gated, !self.setup.broken.no_gate);
        let state = self.host(host);
        let permit = state.run.permit.clone();
        let verdict = state.run.gate(&state.boot_id(), state.clock.at(now));
        if let Err(refusal) = &verdict
            && gated
            && on
        {
            self.notice_unit(host, name, &format!("refused by the gate: {refusal}"));
            self.gate_refused(refusal);
            let unit = self.unit_mut(host, name);
            (unit.state, unit.failed) = (State::Dead, Some("refused by the gate".to_owned()));
            unit.turn += 1;
            let ended = Ended::Failed { why: refusal.clone(), by_gate: true };
            self.end_jobs(host, name, true, &ended);
            self.signal(host, name);
            return;
        }
        let unit = self.unit_mut(host, name);
        unit.state = State::Exec;
        unit.epoch = permit.map(|permit| permit.epoch);
        let turn = unit.turn;
        let at = now + self.between(500, 6000);
        self.plan_unit(at, host, name, UnitStep::Executed(turn));
    }

    pub(super) fn executed(&mut self, host: HostId, name: &str) {
        let now = self.now;
        let unit = self.unit_mut(host, name);
        unit.state = State::Starting;
        unit.executed.push(now);
        let (turn, manner, gated) = (unit.turn, unit.manner.clone(), unit.gated);
        if gated {
            self.check_exec(host, name);
            self.notice_unit(host, name, "started");
        } else {
            let duty = DaemonId { host, kind: Kind::Duty };
            self.host_mut(host).daemon_mut(Kind::Duty).wanted = true;
            self.start_daemon(duty);
            if self.life(duty) == Life::Down {
                return; // It exited at once.
            }
        }
        self.signal(host, name);
        let step = if manner.cannot_start { UnitStep::Dies(turn) } else { UnitStep::Ready(turn) };
        self.plan_unit(self.now + manner.start, host, name, step);
    }

    pub(super) fn ready(&mut self, host: HostId, name: &str) {
        let now = self.now;
        let told_at = self.host(host).bus_back.max(now) + TOLD;
        let unit = self.unit_mut(host, name);
        (unit.state, unit.sound_since) = (State::Running, now);
        unit.told_at = told_at;
        let (turn, dies) = (unit.turn, unit.manner.dies_after);
        if let Some(after) = dies {
            self.plan_unit(now + after, host, name, UnitStep::Dies(turn));
        }
        self.end_jobs(host, name, true, &Ended::Done);
        self.signal(host, name);
    }

    pub(super) fn stop_job(
        &mut self,
        host: HostId,
        name: &str,
        waiter: Option<(DaemonId, u64, ActionId)>,
    ) {
        let replaced = Ended::Failed { why: "a stop replaced it".to_owned(), by_gate: false };
        let now = self.now;
        let unit = self.unit_mut(host, name);
        unit.start_queued = false;
        unit.stoppers.extend(waiter.map(|(daemon, process, id)| Waiter { daemon, process, id }));
        match unit.state {
            State::Dead => {
                unit.failed = None;
                self.end_jobs(host, name, false, &Ended::Done);
                self.end_jobs(host, name, true, &replaced);
            }
            State::Gate | State::Exec | State::Again => {
                self.end_jobs(host, name, true, &replaced);
                self.dead(host, name, None);
            }
            State::Starting | State::Running => {
                unit.state = State::Stopping;
                unit.turn += 1;
                let (turn, manner, gated) = (unit.turn, unit.manner.clone(), unit.gated);
                let stop = if manner.ends != Ends::WhenAsked { STOP_LIMIT } else { manner.stop };
                self.plan_unit(now + stop, host, name, UnitStep::Stopped(turn));
                self.end_jobs(host, name, true, &replaced);
                self.signal(host, name);
                if !gated {
                    let duty = DaemonId { host, kind: Kind::Duty };
                    let process = self.process(duty);
                    self.input(duty, process, Input::Told(Heard::Stop));
                }
            }
            State::Stopping => {}
        }
    }

    /// The jobs of a kind (starts, or stops) end; who waits for them is told.
    pub(super) fn end_jobs(&mut self, host: HostId, name: &str, starts: bool, ended: &Ended) {
        let unit = self.unit_mut(host, name);
        let waiters = std::mem::take(if starts { &mut unit.starters } else { &mut unit.stoppers });
        for Waiter { daemon, process, id } in waiters {
            let at = self.over_the_bus(host);
            let report = Report::Ended { id, ended: ended.clone() };
            self.input_at(at, daemon, process, Input::Told(Heard::Report(report)));
        }
    }
}
