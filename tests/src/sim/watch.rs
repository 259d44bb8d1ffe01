//! What may not last, looked at as time passes and not only when somebody does something.

use std::time::Duration;

use headship_core::controller::Controller;
use headship_core::epoch::Epoch;

use super::host::{DaemonId, HostId, Kind, Life};
use super::unit::{Reply, State, Unit};
use super::world::World;

/// How often it is looked at.
const PACE: Duration = Duration::from_millis(10);

/// How long a service is left down at most with nothing in its way: the longest pause before a restart (45 s), the period in which
/// everything is compared anew (10 s), and what the bus takes to answer.
const LEFT_DOWN: Duration = Duration::from_secs(65);

/// For how long a service counts as restarted often, and how often that is: the budgets of the services here.
const OFTEN: (usize, Duration) = (3, Duration::from_secs(600));

impl World {
    /// Looks at every host, now and then.
    pub(super) fn watch(&mut self) {
        if self.now < self.checker.look_at {
            return;
        }
        self.checker.look_at = self.now + PACE;
        if !self.setup.broken.no_end_check {
            self.host_ids().into_iter().for_each(|host| self.check_end(host));
        }
        self.headnode_ids().into_iter().for_each(|host| self.check_put_right(host));
    }

    /// Invariant 7: what is down and should run is started, whatever event was missed.
    fn check_put_right(&mut self, host: HostId) {
        let Some(service) = self.left_down(host) else {
            self.checker.left_down.remove(&host);
            return;
        };
        let now = self.now;
        let since = *self.checker.left_down.entry(host).or_insert(now);
        if now > since + LEFT_DOWN {
            let (name, left) = (self.host(host).name.clone(), (now - since).as_secs());
            self.violation(format!(
                "invariant 7: {service} is down on {name}, which is active, for {left} s with nothing in its way"
            ));
        }
    }

    /// A service that is down on an active host though everybody who would start it is well, and it could be.
    fn left_down(&self, host: HostId) -> Option<String> {
        let state = self.host(host);
        let (run, now) = (&state.run, state.clock.at(self.now));
        let well = |kind| self.life(DaemonId { host, kind }) == Life::Running;
        let served = self.role(host) == "active"
            && !state.is_dumb()
            && [Kind::Controller, Kind::Guard, Kind::Duty].into_iter().all(well)
            && self.now >= state.bus_back
            && run.fault.is_none()
            && run.gate(&state.boot_id(), now).is_ok();
        if !served || state.units.values().any(|unit| self.is_excused(unit)) {
            return None;
        }
        let alone = |name: &str| run.permit.as_ref().is_some_and(|it| it.alone.contains_key(name));
        let down =
            state.units.iter().find(|(name, unit)| unit.state == State::Dead && !alone(name));
        down.map(|(name, _)| name.clone())
    }

    /// Whether others may wait for this unit, or it may not be started: it is on its way, is not well, or was restarted often.
    fn is_excused(&self, unit: &Unit) -> bool {
        let manner = &unit.manner;
        let (times, within) = OFTEN;
        let lately = unit.executed.iter().filter(|at| self.now < **at + within).count();
        unit.moves()
            || manner.cannot_start
            || manner.dies_after.is_some()
            || manner.reply != Reply::Right
            || lately >= times
    }

    /// The only headnode on which anything runs, if it holds the office of epoch 1.
    pub(super) fn winner(&self) -> Option<String> {
        let hosts = self.host_ids().into_iter();
        let running: Vec<HostId> = hosts.filter(|host| self.running_on(*host).is_some()).collect();
        let [winner] = running.as_slice() else { return None };
        let first = self.controller(*winner)?.held()?.0 == Epoch(1);
        first.then(|| self.host(*winner).name.to_string())
    }

    /// Invariant 6: what was started under a permit is gone by its D plus kill time, or the host is; with the same margin
    /// that a taker waits. It holds whether or not anybody takes over. Of a host that stands still nothing can be asked until it
    /// goes on. D is what a taker counts from: the newest renewal, whether or not the permit of it could be written.
    fn check_end(&mut self, host: HostId) {
        let held = self.controller(host).and_then(Controller::held);
        let run = &mut self.host_mut(host).run;
        run.last_deadline = held.or(run.last_deadline);
        let state = self.host(host);
        let Some(permit) = state.run.last_permit.as_ref().filter(|_| !state.is_dumb()) else {
            return;
        };
        let epoch = permit.epoch;
        let renewed = state.run.last_deadline.filter(|(of, _)| *of == epoch);
        let end = permit.end();
        let deadline = renewed.map_or(end, |(_, at)| at.max(end));
        let kill = Duration::from_millis(permit.kill_ms);
        let now = state.clock.at(self.now);
        if now <= deadline.after(kill + kill / 10) {
            return;
        }
        if let Some(service) = self.running_on(host) {
            let (name, late) = (self.host(host).name.clone(), now.since(deadline).as_secs_f64());
            self.violation(format!(
                "invariant 6: {service} still runs on {name} {late:.3} s after the deadline of epoch {epoch}"
            ));
        }
    }
}
