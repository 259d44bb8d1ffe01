//! A service that shall not run: how it is stopped, and when that is proven.

use std::collections::VecDeque;

use super::Entry;
use crate::services::{Ids, Observed, Order, ServiceAction};
use crate::time::Time;

/// How far stopping is since it became desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StopProgress {
    /// A stop order is to end well first.
    StopWanted,
    /// A stop order ended well, or the gate was shut and none may be needed.
    LookWanted,
    /// A look asked for after that found it down, and no start queued.
    Verified,
}

impl Entry {
    pub(in crate::services) fn is_verified(&self) -> bool {
        self.stop == StopProgress::Verified
    }

    /// Whether somebody just asked for its start and the gate is about to refuse it: nothing runs, and nothing is ordered.
    pub(in crate::services) fn is_at_the_gate(&self, now: Time) -> bool {
        self.observed == Observed::Starting
            && self.stop == StopProgress::LookWanted
            && self.under_way.is_none()
            && now < self.not_before
    }

    /// With the gate shut a look that finds it down, and no start queued, is proof without a stop order.
    pub(in crate::services) fn look_anew(&mut self) {
        self.stop = StopProgress::LookWanted;
        self.look = None;
        self.look_due = Time::default();
    }

    pub(super) fn verify_anew(&mut self) {
        self.look_anew();
        self.stop = StopProgress::StopWanted;
    }

    pub(in crate::services) fn distrust(&mut self) {
        self.verify_anew();
        self.gone = false;
        // The pause after a stop that failed must not hold back the kill.
        self.not_before = Time::default();
    }

    pub(in crate::services) fn keep_stopped(
        &mut self,
        now: Time,
        kill_at: Time,
        needed: bool,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) {
        let overdue =
            self.stopping_since.is_some_and(|since| now.since(since) >= self.spec.stop_limit);
        let out_of_grace = now >= kill_at || overdue;
        let killing = self.under_way.as_ref().is_some_and(|doing| doing.order == Order::Kill);
        if self.is_verified() || now < self.not_before || killing {
            return;
        }
        if out_of_grace && !self.gone {
            self.order(now, Order::Kill, ids, actions);
            return;
        }
        // Once the stop is done only the look is missing; if that finds it up again, somebody started it: stop it anew.
        let up_again = matches!(self.observed, Observed::Running | Observed::Starting);
        if self.under_way.is_none()
            && (!needed || out_of_grace)
            && (self.stop == StopProgress::StopWanted || up_again)
        {
            self.stopping_since.get_or_insert(now);
            self.stop = StopProgress::StopWanted;
            self.order(now, Order::Stop, ids, actions);
        }
    }
}
