//! What may not last, looked at as time passes and not only when somebody does something.

use std::time::Duration;

use headship_core::controller::Controller;
use headship_core::epoch::Epoch;

use super::host::HostId;
use super::world::World;

/// How often it is looked at.
const PACE: Duration = Duration::from_millis(10);

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
