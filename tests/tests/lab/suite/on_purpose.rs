//! What tests do wrong themselves: the only stretches of time in which HA services may run on two headnodes.

use std::cell::RefCell;

use headship_tests::lab::overlap::Overlap;

/// Stretches of a lab's time, from and to, in which a test itself had services run where they must not.
#[derive(Debug, Default)]
pub(crate) struct OnPurpose(RefCell<Vec<(u64, u64)>>);

impl OnPurpose {
    pub(super) fn add(&self, from: u64, to: u64) {
        self.0.borrow_mut().push((from, to));
    }

    /// Whether an overlap began and ended in one of them.
    pub(super) fn covers(&self, overlap: &Overlap) -> bool {
        let stretches = self.0.borrow();
        stretches.iter().any(|(from, to)| *from <= overlap.began() && overlap.until() <= *to)
    }
}
