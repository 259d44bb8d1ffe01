//! The second step: the agent is restarted where it was started with another alias than the hosts file has now.
//!
//! What it is started with is put on record once it is seen stopped, before it is started: whoever starts it from then on
//! starts it with that alias or a later one, so that a crash at any moment costs no second restart.

use std::net::IpAddr;
use std::time::Duration;

use super::keeper::Keeper;
use super::{Action, AgentNote, Follower};
use crate::config::checked::Service;
use crate::epoch::Epoch;
use crate::quorum::ActionId;
use crate::say::Kind;
use crate::services::Order;
use crate::time::Time;

/// How long a node keeps its slot at most: an agent that does not stop or start must not hold up the others. It is longer
/// than the stop limit, so that the slot is kept while a stop may still end well.
const SLOT_LIMIT: Duration = Duration::from_secs(60);

/// The pause before the note is written again after it could not be.
const NOTE_PAUSE: Duration = Duration::from_secs(10);

/// How far a restart is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Restart {
    /// None is due, or it has not begun.
    No,
    /// It waits for a slot.
    Waiting,
    /// The agent is being stopped.
    Stopping {
        /// Since when.
        since: Time,
    },
    /// It is being started, with what is noted.
    Starting {
        /// Since when the restart is under way.
        since: Time,
    },
}

/// The node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Agent {
    pub(super) keeper: Keeper,
    pub(super) restart: Restart,
    /// Whether it is restarted at once, as on headnodes: the others wait for their turn.
    at_once: bool,
    /// What it was last started with, or is being started with.
    pub(super) note: AgentNote,
    /// What the hosts file said when this process began: what an agent starts with that is started before the file is looked at.
    found: Option<IpAddr>,
    /// Whether it was last seen running.
    up: bool,
    /// It is not up, or has come up since the hosts file was last seen to be right: should that turn out to have been edited, nobody
    /// knows what it has read, or is reading.
    pub(super) doubtful: bool,
    /// What of that is on record.
    written: Option<AgentNote>,
    writing: Option<(ActionId, AgentNote)>,
    write_due: Time,
    /// Why the note could not be written.
    error: Option<String>,
}

impl Agent {
    /// `note` is what is on record; without it the agent was started with what the hosts file says now, `alias`.
    pub(super) fn new(
        service: Service,
        period: Duration,
        at_once: bool,
        note: Option<AgentNote>,
        alias: Option<IpAddr>,
    ) -> Self {
        Self {
            keeper: Keeper::new("the agent", service, period),
            restart: Restart::No,
            at_once,
            written: note.clone(),
            note: note.unwrap_or_else(|| AgentNote { address: alias, epoch: Epoch::default() }),
            found: alias,
            up: false,
            doubtful: true,
            writing: None,
            write_due: Time::default(),
            error: None,
        }
    }

    /// Whether it is on record what the agent was started with, or cannot be: the alias of a node is worth more than the
    /// certainty that its agent is restarted if we die at this very moment.
    pub(super) fn is_noted(&self) -> bool {
        let cannot_be = self.error.is_some() && self.writing.is_none();
        self.written.as_ref() == Some(&self.note) || cannot_be
    }

    /// Another office is followed: what could not be noted is tried at once, before the hosts file says something else.
    pub(super) fn turn(&mut self) {
        self.write_due = Time::default();
    }
}

impl Follower {
    pub(super) fn keep_agent(&mut self, now: Time) {
        self.turn_restart(now);
        self.note_agent(now);
        let Some(agent) = &mut self.agent else { return };
        let orders = agent.keeper.decide(now, &mut self.ids);
        let starts = orders.iter().any(|action| action.order == Order::Start);
        if starts && agent.restart == Restart::No && self.hosts.applied.is_none() {
            agent.note.address = agent.found;
        }
        self.actions.extend(orders.into_iter().map(Action::Service));
        let (news, up) = (agent.keeper.news(now), agent.keeper.runs(now));
        let came_up = up && !agent.up;
        agent.up = up;
        agent.doubtful |= came_up || !up;
        if came_up {
            self.hosts.verify();
            self.keep_hosts(now);
        }
        if let Some((kind, text)) = news {
            self.say(kind, text, None);
        }
        // A start that just ended may have brought the restart further.
        self.turn_restart(now);
        self.note_agent(now);
    }

    /// The hosts file was looked at and is right now; `edited` if it was not, though it had been. An agent that has come up
    /// meanwhile may have read what the editor left, and is restarted.
    pub(super) fn hosts_seen(&mut self, edited: bool, look_again: bool) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.doubtful) else { return };
        if edited {
            agent.note.address = None;
        }
        // What began before it came up says nothing of what it has read.
        agent.doubtful = !agent.up || (look_again && !edited);
    }

    /// The next step of a restart, if one is due.
    fn turn_restart(&mut self, now: Time) {
        let due = self.restart_due();
        let Some(agent) = &mut self.agent else { return };
        match agent.restart {
            Restart::No | Restart::Waiting => match due {
                // One that is down is started in any case: in its turn it would be started twice.
                Some(_) if agent.at_once || self.slots.is_held() || agent.keeper.is_down(now) => {
                    agent.keeper.stop(now);
                    agent.restart = Restart::Stopping { since: now };
                }
                Some(_) => {
                    agent.restart = Restart::Waiting;
                    self.slots.want(true);
                }
                None => {
                    agent.restart = Restart::No;
                    self.slots.want(false);
                }
            },
            Restart::Stopping { since } => {
                self.give_up_slot(now, since);
                let Some(agent) = &mut self.agent else { return };
                // It starts with what the file says now, which may be newer than what it was stopped for.
                let applied = self.hosts.applied.as_ref().filter(|_| agent.keeper.is_stopped());
                if let Some(applied) = applied {
                    agent.note = AgentNote { address: Some(applied.address), epoch: applied.epoch };
                    agent.restart = Restart::Starting { since };
                    agent.keeper.start();
                }
            }
            Restart::Starting { since } => {
                if agent.keeper.runs(now) {
                    let epoch = agent.note.epoch;
                    agent.restart = Restart::No;
                    self.slots.want(false);
                    let text = "the agent is restarted".to_owned();
                    self.say(Kind::AgentRestarted, text, Some(epoch));
                } else if due.is_some() && agent.keeper.is_down(now) {
                    // The alias has moved on before it could be started.
                    agent.keeper.stop(now);
                    agent.restart = Restart::Stopping { since };
                } else {
                    self.give_up_slot(now, since);
                }
            }
        }
    }

    /// The slot goes back after a while, whatever became of the agent.
    fn give_up_slot(&mut self, now: Time, since: Time) {
        let at = since.after(SLOT_LIMIT);
        if now >= at {
            self.slots.want(false);
        } else {
            self.wake_at(at);
        }
    }

    /// What the agent is to be restarted with, if it runs with something else. Never while the hosts file is not right.
    pub(super) fn restart_due(&self) -> Option<IpAddr> {
        let applied = self.hosts.applied.as_ref()?;
        let settled = self.target.as_ref() == Some(applied)
            && self.hosts.error.is_none()
            && !self.hosts.is_edited();
        let started_with = self.agent.as_ref()?.note.address;
        (settled && started_with != Some(applied.address)).then_some(applied.address)
    }

    pub(super) fn note_agent(&mut self, now: Time) {
        let Some(agent) = &mut self.agent else { return };
        if agent.writing.is_some() || agent.written.as_ref() == Some(&agent.note) {
            return;
        }
        if now < agent.write_due {
            let due = agent.write_due;
            return self.wake_at(due);
        }
        let id = self.ids.draw();
        agent.writing = Some((id, agent.note.clone()));
        self.actions.push_back(Action::NoteAgent { id, note: agent.note.clone() });
    }

    pub(super) fn agent_noted(&mut self, now: Time, id: ActionId, error: Option<String>) {
        let Some(agent) = &mut self.agent else { return };
        let Some((_, note)) = agent.writing.take_if(|(writing, _)| *writing == id) else { return };
        match error {
            None => {
                agent.written = Some(note);
                agent.error = None;
            }
            Some(why) => {
                agent.write_due = now.after(NOTE_PAUSE);
                let said = agent.error.as_ref() == Some(&why);
                agent.error = Some(why.clone());
                if !said {
                    let text = format!(
                        "it cannot be noted what the agent was started with: {why}; a restart of slave-fc may now leave out one of the agent"
                    );
                    self.say(Kind::AgentNoteFault, text, None);
                }
            }
        }
    }
}
