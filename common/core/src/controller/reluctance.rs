//! For how long a headnode would rather not hold office, after one that it could not serve.
//!
//! It takes part all the same where nobody fit does: see `fitness`.

use std::time::Duration;

use crate::epoch::Epoch;
use crate::time::Time;

/// How long a headnode that gave up a service counts as reluctant: long enough that two headnodes which both fail the same
/// way do not pass the office to and fro, and as long as the default window of a restart budget.
const AFTER_GIVING_UP: Duration = Duration::from_secs(600);

/// How long one that could not write its permit does at least, the first time: whatever filled the folder may be at it still.
/// When it happens again that doubles, up to what holds for a service; after as long without it, it counts as the first time.
const AFTER_PERMIT_FAULT: Duration = Duration::from_secs(10);

/// What this headnode could not do in office, as far as that still matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reluctance {
    why: String,
    /// Until then at least.
    until: Time,
    /// That is for a service that was given up.
    service: bool,
    /// The term whose permit could not be written, until something was written beside it.
    stuck: Option<Epoch>,
    /// How often in a row a permit could not be written.
    times: u32,
}

impl Reluctance {
    /// A service was given up; also repeatedly, as long as it is.
    pub(super) fn gave_up(&mut self, now: Time, why: String) {
        (self.why, self.until, self.service) = (why, now.after(AFTER_GIVING_UP), true);
    }

    /// Whoever holds office now has given up a service as well: it is not for this headnode, which failed alike, to take office
    /// back. Also repeatedly, as long as that is so.
    pub(super) fn holder_gave_up(&mut self, now: Time) {
        if self.service && now < self.until {
            self.until = now.after(AFTER_GIVING_UP);
        }
    }

    /// The permit of a term cannot be written; also repeatedly, as long as it cannot.
    pub(super) fn permit_stuck(&mut self, now: Time, epoch: Epoch, why: String) {
        if self.stuck != Some(epoch) {
            let again = now < self.until.after(AFTER_GIVING_UP);
            self.times = if again { self.times.saturating_add(1) } else { 1 };
        }
        let doubled =
            AFTER_PERMIT_FAULT.saturating_mul(2u32.saturating_pow(self.times.saturating_sub(1)));
        let pause = doubled.min(AFTER_GIVING_UP);
        self.service &= now < self.until;
        (self.why, self.stuck) = (why, Some(epoch));
        self.until = self.until.max(now.after(pause));
    }

    /// A permit was written.
    pub(super) fn permit_written(&mut self) {
        self.stuck = None;
    }

    /// Why this headnode would rather not hold office, if so. Out of office nobody writes permits, but the guard closes the term
    /// that was given up by a file beside them: `is_closed` tells that it could.
    pub(super) fn reason(&self, now: Time, is_closed: impl Fn(Epoch) -> bool) -> Option<&str> {
        let stuck = self.stuck.is_some_and(|epoch| !is_closed(epoch));
        (stuck || now < self.until).then_some(self.why.as_str())
    }

    /// Until when it lasts at least.
    pub(super) fn until(&self) -> Time {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn lasts(reluctance: &Reluctance, seconds: u64, closed: bool) -> bool {
        reluctance.reason(at(seconds), |_| closed).is_some()
    }

    /// A permit cannot be written from the first of these seconds to the second one.
    fn stuck(reluctance: &mut Reluctance, epoch: u64, from: u64, to: u64) {
        for second in from..=to {
            reluctance.permit_stuck(at(second), Epoch(epoch), "full".to_owned());
        }
    }

    #[test]
    fn a_permit_fault_counts_until_something_is_written_and_for_a_moment_at_least() {
        let mut reluctance = Reluctance::default();
        assert!(!lasts(&reluctance, 0, false));
        stuck(&mut reluctance, 1, 1000, 1004);
        assert!(lasts(&reluctance, 1013, true) && !lasts(&reluctance, 1014, true));
        assert!(lasts(&reluctance, 9999, false), "nothing shows that anything can be written");
        reluctance.permit_written();
        assert!(!lasts(&reluctance, 1014, false));
    }

    #[test]
    fn the_pause_grows_only_when_it_happens_again_soon() {
        let mut reluctance = Reluctance::default();
        stuck(&mut reluctance, 1, 1000, 1004);
        stuck(&mut reluctance, 3, 1100, 1104);
        assert!(lasts(&reluctance, 1123, true) && !lasts(&reluctance, 1124, true));
        for round in 0..8 {
            stuck(&mut reluctance, 5 + round, 2000 + 300 * round, 2000 + 300 * round);
        }
        let last = 2000 + 300 * 7;
        assert!(lasts(&reluctance, last + 599, true) && !lasts(&reluctance, last + 600, true));
        stuck(&mut reluctance, 20, last + 1200, last + 1200);
        assert!(lasts(&reluctance, last + 1209, true) && !lasts(&reluctance, last + 1210, true));
    }

    #[test]
    fn who_failed_alike_does_not_take_office_back_until_ten_minutes_after_it_works_there() {
        let mut reluctance = Reluctance::default();
        reluctance.holder_gave_up(at(900));
        assert!(!lasts(&reluctance, 901, false));
        reluctance.gave_up(at(1000), "gave up livy".to_owned());
        for second in [1100, 1599, 2100] {
            reluctance.holder_gave_up(at(second));
        }
        assert!(lasts(&reluctance, 2699, false) && !lasts(&reluctance, 2700, false));
        reluctance.holder_gave_up(at(2700));
        assert!(!lasts(&reluctance, 2701, false), "what is over does not come back");
    }

    #[test]
    fn a_service_that_was_given_up_counts_for_ten_minutes_whatever_is_written() {
        let mut reluctance = Reluctance::default();
        reluctance.gave_up(at(1000), "gave up livy".to_owned());
        stuck(&mut reluctance, 1, 1001, 1001);
        reluctance.permit_written();
        assert!(lasts(&reluctance, 1599, true) && !lasts(&reluctance, 1600, true));
    }
}
