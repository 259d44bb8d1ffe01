//! Takes out of the records what tells of an earlier office or boot: it is no word about now.
//!
//! The session of a headnode that lost its power outlives it by seconds, and with it all that its daemons last said.

use headship_core::known::Content;
use headship_core::node::Identity;

use crate::view::{Headnode, Records, record};

/// The records without what is past; each headnode that is spoken of only by such records says so.
pub(crate) fn without(mut records: Records) -> Records {
    let Some(active) = record(&records.active) else { return records };
    for headnode in &mut records.headnodes {
        let Some(state) = record(&headnode.state) else { continue };
        let by = state.by.clone();
        if state.is_past(active) {
            headnode.past = Some(state.was());
            headnode.state = Content::Missing;
            take_out(headnode, |of| of.same_boot(&by));
        } else {
            take_out(headnode, |of| !of.same_boot(&by));
        }
    }
    records
}

/// Takes out what the other daemons said of the headnode in the boots that are meant.
fn take_out(headnode: &mut Headnode, meant: impl Fn(&Identity) -> bool) {
    if record(&headnode.health).is_some_and(|health| meant(&health.by)) {
        headnode.health = Content::Missing;
    }
    if record(&headnode.services).is_some_and(|services| meant(&services.by)) {
        headnode.services = Content::Missing;
    }
    if record(&headnode.duty).is_some_and(|duty| meant(&duty.by)) {
        headnode.duty = Content::Missing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing;
    use crate::tests::{overtaken, records};

    #[test]
    fn what_is_of_now_stays() {
        let seen = without(records());
        for headnode in &seen.headnodes {
            assert_eq!(headnode.past, None);
            assert!(record(&headnode.state).is_some() && record(&headnode.services).is_some());
        }
    }

    #[test]
    fn who_lost_its_power_in_office_is_not_there() {
        let seen = without(overtaken());
        let lost = &seen.headnodes[0];
        assert!(lost.service("livy").is_none() && record(&lost.health).is_none());
        assert_eq!(
            standing::readiness(lost),
            Err("it was active in epoch 7 and has said nothing since it lost office".to_owned())
        );
        assert!(record(&seen.headnodes[1].services).is_some());
    }

    #[test]
    fn what_another_boot_left_behind_is_taken_out_beside_the_word_of_now() {
        let mut records = overtaken();
        if let Content::Record(services) = &mut records.headnodes[0].services {
            services.by.boot = "the next boot".to_owned();
        }
        let seen = without(records.clone());
        assert!(record(&seen.headnodes[0].services).is_some(), "it is newer than the state");
        if let Content::Record(state) = &mut records.headnodes[1].state {
            state.by.boot = "the next boot".to_owned();
        }
        if let Content::Record(active) = &mut records.active {
            active.holder.as_mut().unwrap().boot = "the next boot".to_owned();
        }
        let seen = without(records);
        assert!(record(&seen.headnodes[1].state).is_some());
        assert!(record(&seen.headnodes[1].services).is_none());
    }
}
