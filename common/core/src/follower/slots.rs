//! Restarts without a herd: a node takes one of a few slots in the failover quorum before it restarts its agent.
//!
//! A slot is an ephemeral record, so that a node which dies holds none for longer than its session. A few are looked at, from
//! one that chance picks: a look costs the ensemble far less than a write that is refused. Who finds them taken waits, each
//! time longer.

use std::time::Duration;

use super::jitter::Jitter;
use crate::node::Identity;
use crate::quorum::{ActionId, Ask, Event, Found, Op, Outcome, Refusal, Request, SessionId};
use crate::record::{self, FORMAT, Key, RestartSlot};
use crate::services::Ids;
use crate::time::Time;

/// How many slots are looked at in one try. While many nodes wait, whatever is given back is found by one of them at once; all
/// of them looking at all slots would be a herd of its own, in the very moment of a failover.
const LOOKS: u32 = 3;

/// The pause after these were found taken: about what one agent's restart takes, and longer with each try. With the longest, a
/// thousand nodes that wait ask the ensemble for a thousand looks a second, which is little, and the last of a few that wait
/// is not left behind for long.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// How this node stands to the slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Has none, and asks for none.
    Idle,
    /// Will look at `slot`, and at `left` in all.
    Next { slot: u32, left: u32 },
    /// Looks at it.
    Looking { slot: u32, left: u32, id: ActionId },
    /// Found it free.
    Free { slot: u32, left: u32 },
    /// Takes it.
    Taking { slot: u32, left: u32, id: ActionId },
    /// Those that were looked at were taken, or the quorum would not answer.
    Stuck,
    /// Waits before it looks at others.
    Pausing { until: Time },
    /// Has it.
    Held { slot: u32 },
    /// Gives it back.
    Freeing { slot: u32, id: Option<ActionId>, due: Time },
}

/// A node's claim to one of the slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slots {
    count: u32,
    data: String,
    wanted: bool,
    state: State,
    tries: u32,
}

impl Slots {
    pub(super) fn new(count: u32, me: Identity) -> Self {
        let data = record::write(&RestartSlot { format: FORMAT, by: me });
        Self { count, data, wanted: false, state: State::Idle, tries: 0 }
    }

    /// A slot is wanted, or no longer.
    pub(super) fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether this node may restart its agent now.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// When to come back without an event.
    pub(super) fn due(&self) -> Option<Time> {
        match self.state {
            State::Pausing { until } => Some(until),
            State::Freeing { id: None, due, .. } => Some(due),
            State::Idle
            | State::Next { .. }
            | State::Looking { .. }
            | State::Free { .. }
            | State::Taking { .. }
            | State::Stuck
            | State::Held { .. }
            | State::Freeing { .. } => None,
        }
    }

    /// What is to be asked next, if anything.
    pub(super) fn next_request(
        &mut self,
        now: Time,
        session: SessionId,
        ids: &mut Ids,
        jitter: &mut Jitter,
    ) -> Option<Ask> {
        self.step(now, jitter);
        let request = match self.state {
            State::Next { slot, left } => {
                let id = ids.draw();
                self.state = State::Looking { slot, left, id };
                return Some(Ask { id, session, request: Request::Read(Key::Restart(slot)) });
            }
            State::Free { slot, left } => {
                let id = ids.draw();
                self.state = State::Taking { slot, left, id };
                let create = Op::Create { key: Key::Restart(slot), data: self.data.clone() };
                (id, create)
            }
            State::Freeing { slot, id: None, due } if now >= due => {
                let id = ids.draw();
                self.state = State::Freeing { slot, id: Some(id), due };
                // Asked in this session only, and while that lives the record is ours.
                (id, Op::Delete { key: Key::Restart(slot), version: None })
            }
            State::Idle
            | State::Looking { .. }
            | State::Taking { .. }
            | State::Stuck
            | State::Pausing { .. }
            | State::Held { .. }
            | State::Freeing { .. } => return None,
        };
        let (id, op) = request;
        Some(Ask { id, session, request: Request::Write(vec![op]) })
    }

    /// What follows from what is wanted, and from time.
    fn step(&mut self, now: Time, jitter: &mut Jitter) {
        match self.state {
            State::Idle if self.wanted => self.state = self.first(jitter),
            State::Pausing { until } if self.wanted && now >= until => {
                self.state = self.first(jitter);
            }
            State::Next { .. } | State::Free { .. } | State::Stuck | State::Pausing { .. }
                if !self.wanted =>
            {
                (self.state, self.tries) = (State::Idle, 0);
            }
            State::Held { slot } if !self.wanted => {
                self.tries = 0;
                self.state = State::Freeing { slot, id: None, due: now };
            }
            State::Stuck => {
                let pause = PAUSE.saturating_mul(1 << self.tries.min(10)).min(PAUSE_MAX);
                self.tries = self.tries.saturating_add(1);
                self.state = State::Pausing { until: now.after(jitter.less(pause)) };
            }
            State::Idle
            | State::Next { .. }
            | State::Looking { .. }
            | State::Free { .. }
            | State::Taking { .. }
            | State::Pausing { .. }
            | State::Held { .. }
            | State::Freeing { .. } => {}
        }
    }

    /// The first of those that are looked at in one try.
    fn first(&self, jitter: &mut Jitter) -> State {
        State::Next { slot: jitter.pick(self.count), left: self.count.min(LOOKS) }
    }

    /// The one after a slot that is taken.
    fn after(&self, slot: u32, left: u32) -> State {
        match left.saturating_sub(1) {
            0 => State::Stuck,
            left => {
                let slot = slot.saturating_add(1).checked_rem(self.count).unwrap_or_default();
                State::Next { slot, left }
            }
        }
    }

    /// Takes an event.
    pub(super) fn handle(&mut self, now: Time, event: &Event, session: Option<SessionId>) {
        match event {
            Event::Connected { .. } | Event::Changed(_) => {}
            // Whether a slot was taken or given back is seen when it is looked at again.
            Event::Disconnected => match self.state {
                State::Looking { slot, left, .. } | State::Taking { slot, left, .. } => {
                    self.state = State::Next { slot, left };
                }
                State::Freeing { slot, id: Some(_), due } => {
                    self.state = State::Freeing { slot, id: None, due };
                }
                State::Idle
                | State::Next { .. }
                | State::Free { .. }
                | State::Stuck
                | State::Pausing { .. }
                | State::Held { .. }
                | State::Freeing { id: None, .. } => {}
            },
            Event::SessionLost => self.state = State::Idle,
            Event::Read { id, key: _, found } => self.looked(*id, found, session),
            Event::Wrote { id, outcome } => self.wrote(now, *id, outcome),
        }
    }

    fn looked(&mut self, asked: ActionId, found: &Found, session: Option<SessionId>) {
        let State::Looking { slot, left, id } = self.state else { return };
        if id != asked {
            return;
        }
        self.state = match found {
            Found::Missing => State::Free { slot, left },
            // A write of ours that ended unknown had taken it.
            Found::Data { owner, .. } if owner.is_some() && *owner == session => {
                State::Held { slot }
            }
            Found::Data { .. } => self.after(slot, left),
            Found::Unread => State::Stuck,
        };
    }

    fn wrote(&mut self, now: Time, written: ActionId, outcome: &Outcome) {
        match self.state {
            State::Taking { slot, left, id } if id == written => {
                self.state = match outcome {
                    Outcome::Done { .. } => State::Held { slot },
                    Outcome::Refused { why: Refusal::Exists, .. } => self.after(slot, left),
                    Outcome::Unknown => State::Next { slot, left },
                    Outcome::Refused { .. } => State::Stuck,
                };
            }
            State::Freeing { slot, id: Some(id), .. } if id == written => {
                self.state = match outcome {
                    Outcome::Done { .. } | Outcome::Refused { why: Refusal::Missing, .. } => {
                        State::Idle
                    }
                    Outcome::Refused { .. } | Outcome::Unknown => {
                        State::Freeing { slot, id: None, due: now.after(PAUSE) }
                    }
                };
            }
            State::Idle
            | State::Next { .. }
            | State::Looking { .. }
            | State::Free { .. }
            | State::Taking { .. }
            | State::Stuck
            | State::Pausing { .. }
            | State::Held { .. }
            | State::Freeing { .. } => {}
        }
    }
}
