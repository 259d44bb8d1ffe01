//! Why the lease is our own: a session's timeout used as one, through a follower.
//!
//! Decides one question, apart from the large model: a client's ping is answered by its follower at
//! once, but the leader, which ends sessions, learns of it only with the follower's next answer to
//! a ping of its own. So the client's D = t(n) + T can lie after the end of its session. A renew
//! is a write, which the leader itself decides, and the taker counts from it; it is sent, decided
//! and answered at three different times, of which D may count from the first only.

use stateright::{Model, Property};

/// The session timeout T, and the lease, in ticks.
const TIMEOUT: u8 = 4;

/// One active on a follower, one taker, one leader.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// D counts from renewals, and a taker waits from the last of them.
    pub own_lease: bool,
    /// D counts from the sending of a renewal; otherwise from its answer.
    pub from_sending: bool,
    /// How many faults may happen.
    pub most_faults: u8,
}

/// A renewal under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Renewal {
    /// Ticks since it was sent.
    age: u8,
    /// The leader has decided it.
    decided: bool,
}

/// Where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Standing {
    /// Ticks until the active's D; nothing runs there at 0.
    left: u8,
    /// The active has been answered a ping in this tick.
    answered: bool,
    /// The renewal that the active waits for.
    renewal: Option<Renewal>,
    /// The follower holds a touch that the leader does not know of.
    held: bool,
    /// Ticks since the leader was touched.
    idle: u8,
    /// Ticks since the last renewal was decided.
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
    /// The active's ping is answered by its follower.
    Pong,
    /// The follower hands its touch on to the leader.
    HandOn,
    /// The active sends a renewal.
    Send,
    /// The leader decides it.
    Decide,
    /// The active learns of it.
    Learn,
    /// The follower loses the leader.
    LoseFollower,
    /// The active finds another follower, and forgets what it waited for.
    Reconnect,
    /// The active loses its network.
    Cut,
    /// The leader ends the session.
    Expire,
    /// The taker starts the services.
    Take,
}

impl Touch {
    /// With a session's timeout as lease: the active is answered in each tick, unless something is wrong, and what the
    /// follower holds is handed on.
    fn pings(at: &Standing, steps: &mut Vec<Step>) {
        if !at.answered && !at.cut && at.session {
            steps.push(Step::Pong);
        }
        if at.held && !at.follower_lost {
            steps.push(Step::HandOn);
        }
    }

    /// With a lease of our own: each part of a renewal may take any time.
    fn renewals(at: &Standing, steps: &mut Vec<Step>) {
        match at.renewal {
            None if at.session && !at.cut && !at.follower_lost => steps.push(Step::Send),
            // What is on its way to the leader arrives there even if the active is cut off.
            Some(Renewal { decided: false, .. }) if at.session => steps.push(Step::Decide),
            Some(Renewal { decided: true, .. }) if !at.cut && !at.follower_lost => {
                steps.push(Step::Learn);
            }
            None | Some(_) => {}
        }
    }
}

impl Model for Touch {
    type State = Standing;
    type Action = Step;

    fn init_states(&self) -> Vec<Standing> {
        vec![Standing {
            left: TIMEOUT,
            answered: false,
            renewal: None,
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
        if !self.own_lease {
            Self::pings(at, steps);
        }
        if at.follower_lost && !at.cut {
            steps.push(Step::Reconnect);
        }
        if at.session && at.idle > TIMEOUT {
            steps.push(Step::Expire);
        } else if steps.is_empty() {
            steps.push(Step::Tick);
        }
        if self.own_lease {
            Self::renewals(at, steps);
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
        let free = !self.own_lease || at.still >= TIMEOUT;
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
                if let Some(renewal) = &mut next.renewal {
                    renewal.age = (renewal.age + 1).min(TIMEOUT);
                }
            }
            Step::Pong => (next.answered, next.left, next.held) = (true, TIMEOUT, true),
            Step::HandOn => (next.held, next.idle) = (false, 0),
            Step::Send => next.renewal = Some(Renewal { age: 0, decided: false }),
            Step::Decide => {
                next.renewal = at.renewal.map(|renewal| Renewal { decided: true, ..renewal });
                (next.idle, next.still) = (0, 0);
            }
            Step::Learn => {
                let age = at.renewal.filter(|_| self.from_sending).map_or(0, |sent| sent.age);
                next.left = at.left.max(TIMEOUT - age);
                next.renewal = None;
            }
            Step::LoseFollower => {
                next.follower_lost = true;
                next.held = false;
                next.faults_left -= 1;
            }
            Step::Reconnect => {
                (next.follower_lost, next.answered, next.renewal) = (false, false, None);
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
