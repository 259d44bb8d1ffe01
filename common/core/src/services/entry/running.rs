//! A service that shall run: when it is started, or started anew, and when it is given up.

use std::collections::VecDeque;

use super::Entry;
use crate::services::{Ids, Observed, Order, ServiceAction};
use crate::time::Time;

impl Entry {
    pub(in crate::services) fn is_given_up(&self, now: Time) -> bool {
        self.started
            && self.observed.is_down()
            && self.under_way.is_none()
            && self.budget_spent(now)
    }

    pub(in crate::services) fn restarts_in_window(&self, now: Time) -> usize {
        self.restarts.iter().filter(|at| now.since(**at) < self.spec.restart.within).count()
    }

    /// Starts that each last until their limit may not fit into the window together: what never serves runs out of its
    /// budget all the same, and is tried again a window later.
    fn budget_spent(&self, now: Time) -> bool {
        let restarts = u32::try_from(self.restarts_in_window(now)).unwrap_or(u32::MAX);
        let times = self.spec.restart.times;
        restarts >= times || restarts > 0 && self.in_vain >= times
    }

    /// Whether it serves, or still has time to begin to.
    fn is_serving_in_time(&mut self, now: Time) -> bool {
        if self.serves() {
            self.unserved_since = None;
            self.in_vain = 0;
            self.why.clear();
            return true;
        }
        now.since(*self.unserved_since.get_or_insert(now)) < self.spec.start_limit
    }

    pub(super) fn is_start_overdue(&self, now: Time) -> bool {
        self.under_way.as_ref().is_some_and(|doing| {
            doing.order == Order::Start && now.since(doing.since) >= self.spec.start_limit
        })
    }

    pub(in crate::services) fn keep_running(
        &mut self,
        now: Time,
        waits_for: Option<&String>,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) {
        if self.observed == Observed::Running && self.is_start_overdue(now) {
            // It was down when the start was ordered, and was seen to run since: only the answer is missing.
            self.under_way = None;
        }
        if self.under_way.is_some() {
            if self.is_start_overdue(now) {
                self.why = format!("it did not start within {} s", self.spec.start_limit.as_secs());
                self.order(now, Order::Stop, ids, actions);
            }
        } else if let Some(why) = self.probes.failure() {
            self.probes.forget();
            self.why = why;
            self.order(now, Order::Stop, ids, actions);
        } else if self.observed == Observed::Running {
            self.started = true;
            if self.is_serving_in_time(now) {
                self.ask_probes(now, ids, actions);
            } else {
                let limit = self.spec.start_limit.as_secs();
                self.why = format!("it runs, and did not serve within {limit} s");
                self.unserved_since = None;
                self.order(now, Order::Stop, ids, actions);
            }
        } else if self.observed.is_down() {
            self.start_or_say_why_not(now, waits_for, ids, actions);
        } else if self.observed == Observed::Starting {
            // By hand, or from before maintenance: a start that hangs would be waited for until systemd's own limit.
            self.end_start_if_overdue(now, ids, actions);
        } else if self.observed == Observed::Stopping {
            // Somebody stops it; or it has ended, and what it left is there still, which would be waited for in vain.
            self.stop_if_overdue(now, ids, actions);
        }
    }

    /// What is about to stop has as long for it as an ordered stop; then it is stopped once more, so that it can be started.
    fn stop_if_overdue(&mut self, now: Time, ids: &mut Ids, actions: &mut VecDeque<ServiceAction>) {
        let (since, limit) = (*self.unserved_since.get_or_insert(now), self.spec.stop_limit);
        if now.since(since) >= limit {
            self.why = format!("it did not stop within {} s", limit.as_secs());
            self.unserved_since = None;
            self.order(now, Order::Stop, ids, actions);
        }
    }

    fn start_or_say_why_not(
        &mut self,
        now: Time,
        waits_for: Option<&String>,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) {
        if let Some(name) = waits_for {
            self.why = format!("it waits for {name}");
        } else if self.started && self.budget_spent(now) {
            if !self.why.starts_with("given up") {
                self.why = format!("given up after {}: {}", self.budget_text(), self.why);
            }
        } else if now >= self.not_before {
            if self.started {
                self.restarts.retain(|at| now.since(*at) < self.spec.restart.within);
                self.restarts.push(now);
                self.in_vain = self.in_vain.saturating_add(1);
            }
            self.started = true;
            self.gone = false;
            self.order(now, Order::Start, ids, actions);
        }
    }

    fn budget_text(&self) -> String {
        let (times, within) = (self.spec.restart.times, self.spec.restart.within.as_secs());
        if self.in_vain > 0 && self.in_vain >= times {
            return format!("{} restarts after which it never served", self.in_vain);
        }
        format!("{times} restarts in {within} s")
    }

    fn ask_probes(&mut self, now: Time, ids: &mut Ids, actions: &mut VecDeque<ServiceAction>) {
        for (index, id) in self.probes.ask(now, ids) {
            let (service, order) = (self.spec.name.clone(), Order::Probe(index));
            actions.push_back(ServiceAction { id, service, order });
        }
    }
}
