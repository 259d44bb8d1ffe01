//! Why the lease is our own: a session's timeout used as one, through a follower.
//!
//! Decides one question, apart from the large model: a client's ping is answered by its follower at
//! once, but the leader, which ends sessions, learns of it only with the follower's next answer to
//! a ping of its own. So the client's D = t(n) + T can lie after the end of its session. A renew
//! is a write, which the leader itself prepares, and the taker counts from it.

use stateright::{Model, Property};

/// The session timeout T, and the lease, in ticks.
const TIMEOUT: u8 = 4;

/// One active on a follower, one taker, one leader.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// D counts from renewals, and a taker waits from the last of them.
    pub own_lease: bool,
    /// How many faults may happen.
    pub most_faults: u8,
}

/// Where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Standing {
    /// Ticks until the active's D; nothing runs there at 0.
    left: u8,
    /// The active has been answered in this tick.
    answered: bool,
    /// The follower holds a touch that the leader does not know of.
    held: bool,
    /// Ticks since the leader was touched.
    idle: u8,
    /// Ticks since the last renew was done.
    still: u8,
    /// The client's follower has lost the leader.
    follower_lost: bool,
    /// The active has lost its network.
    cut: bool,
    /// The session lives, and with it the lock.
    session: bool,
    /// The taker runs the services.
    taken: bool,
    faults_left: u8,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A tick passes.
    Tick,
    /// The active is answered by its follower: a ping, or with a lease of our own a renew.
    Answer,
    /// The follower hands its touch on to the leader.
    HandOn,
    /// The follower loses the leader.
    LoseFollower,
    /// The active finds another follower.
    Reconnect,
    /// The active loses its network.
    Cut,
    /// The leader ends the session.
    Expire,
    /// The taker starts the services.
    Take,
}

impl Touch {
    /// The active is answered in each tick, unless something is wrong.
    const fn answers(self, at: &Standing) -> bool {
        let reached = !at.follower_lost || !self.own_lease;
        !at.answered && !at.cut && at.session && reached
    }
}

impl Model for Touch {
    type State = Standing;
    type Action = Step;

    fn init_states(&self) -> Vec<Standing> {
        vec![Standing {
            left: TIMEOUT,
            answered: false,
            held: false,
            idle: 0,
            still: 0,
            follower_lost: false,
            cut: false,
            session: true,
            taken: false,
            faults_left: self.most_faults,
        }]
    }

    fn actions(&self, at: &Standing, steps: &mut Vec<Step>) {
        let hands_on = at.held && !at.follower_lost;
        if self.answers(at) {
            steps.push(Step::Answer);
        }
        if hands_on {
            steps.push(Step::HandOn);
        }
        if at.follower_lost && !at.cut {
            steps.push(Step::Reconnect);
        }
        if at.session && at.idle > TIMEOUT {
            steps.push(Step::Expire);
        } else if steps.is_empty() {
            steps.push(Step::Tick);
        }
        if at.session && at.idle == TIMEOUT {
            steps.push(Step::Expire);
        }
        if at.faults_left > 0 && !at.follower_lost {
            steps.push(Step::LoseFollower);
        }
        if at.faults_left > 0 && !at.cut {
            steps.push(Step::Cut);
        }
        let free = !self.own_lease || at.still > TIMEOUT;
        if !at.session && !at.taken && free {
            steps.push(Step::Take);
        }
    }

    fn next_state(&self, at: &Standing, step: Step) -> Option<Standing> {
        let mut next = *at;
        match step {
            Step::Tick => {
                next.left = at.left.saturating_sub(1);
                next.answered = false;
                next.idle = (at.idle + 1).min(TIMEOUT + 1);
                next.still = (at.still + 1).min(TIMEOUT + 1);
            }
            Step::Answer => {
                next.answered = true;
                next.left = TIMEOUT;
                if self.own_lease {
                    next.idle = 0;
                    next.still = 0;
                } else {
                    next.held = true;
                }
            }
            Step::HandOn => {
                next.held = false;
                next.idle = 0;
            }
            Step::LoseFollower => {
                next.follower_lost = true;
                next.held = false;
                next.faults_left -= 1;
            }
            Step::Reconnect => {
                next.follower_lost = false;
                next.answered = false;
            }
            Step::Cut => {
                next.cut = true;
                next.faults_left -= 1;
            }
            Step::Expire => next.session = false,
            Step::Take => next.taken = true,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(
            "a moving service runs on at most one headnode",
            |_, at: &Standing| at.left == 0 || !at.taken,
        )]
    }
}
