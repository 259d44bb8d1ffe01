//! A service in maintenance: what is left undone, what is forgotten when that ends, and what may hang since then.

use std::collections::VecDeque;

use super::Entry;
use super::fall::Fallen;
use crate::services::{Ids, Order, ServiceAction};
use crate::time::Time;

impl Entry {
    /// By whom and why it is in maintenance, if it is.
    pub(in crate::services) fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    /// Begins, goes on with or ends maintenance. When it ends, the service counts as one that nobody has started yet: what
    /// happened to it meanwhile is no failure.
    pub(in crate::services) fn leave_alone(&mut self, why: Option<&String>) {
        if self.alone.is_some() != why.is_some() {
            self.restarts.clear();
            self.in_vain = 0;
            self.started = false;
            self.not_before = Time::default();
            self.unserved_since = None;
            self.probes.forget();
            self.why.clear();
            self.fallen = Fallen::No;
        }
        self.alone = why.cloned();
    }

    /// In maintenance nothing is ordered; what was ordered before may still end.
    pub(in crate::services) fn stand_back(&mut self, now: Time) {
        if self.is_start_overdue(now) {
            self.under_way = None;
        }
    }

    /// A start that no order of ours is about, seen under way since some time: it has as long as one of ours.
    pub(super) fn end_start_if_overdue(
        &mut self,
        now: Time,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) {
        let (since, limit) = (*self.unserved_since.get_or_insert(now), self.spec.start_limit);
        if now.since(since) >= limit {
            self.why = format!("it did not start within {} s", limit.as_secs());
            self.unserved_since = None;
            self.order(now, Order::Stop, ids, actions);
        }
    }
}
