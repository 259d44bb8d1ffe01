//! slave-fc: makes its node follow the active. Hosts file first, agent second.
//!
//! It goes by `active` alone, at the phases that mean that the old holder is out, and never by a lower epoch than it has
//! followed. What it cannot make out changes nothing: the last alias stays, and the agent with it. Whether the agent has to
//! be restarted is not remembered as a task but told from two facts, what the hosts file says now and what it said when the
//! agent was last started; so a crash between the two steps loses nothing, and an edit that is put right restarts nobody.

mod agent;
mod behind;
mod hosts;
mod jitter;
mod keeper;
mod slots;
mod tell;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::agent::Agent;
use self::behind::Behind;
use self::hosts::Hosts;
use self::jitter::Jitter;
use self::keeper::Keeper;
pub use self::keeper::{AGENT, GUARD, as_service};
use self::slots::Slots;
use crate::config::checked::{Config, Follow, Service};
use crate::epoch::{Epoch, Incarnation};
use crate::known::{Content, Known};
use crate::node::{Identity, NodeName};
use crate::presence::Presence;
use crate::quorum::{ActionId, Ask, Event as QuorumEvent};
use crate::record::{Active, AdoptOrder, Key, Phase};
use crate::say::{Kind, Line};
use crate::services::{Ids, Report, ServiceAction};
use crate::time::Time;

/// How often things are looked at anew on a node that follows nobody.
const PERIOD_WITHOUT: Duration = Duration::from_secs(10);

/// Whom a node follows. Also what stands in `/var/lib/headship/followed`, of which only slave-fc is the writer: a lower epoch
/// of the same incarnation is never followed, over a reboot either, and the alias is put right without a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Followed {
    /// The life of the cluster.
    pub incarnation: Incarnation,
    /// The term.
    pub epoch: Epoch,
    /// Its holder.
    pub node: NodeName,
    /// Where the alias points for it.
    pub address: IpAddr,
}

/// `/run/headship/agent`: what the agent was last started with, or was about to be. It lies in memory, as it is about a process: after a reboot
/// the agent starts anew, with what the hosts file says then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentNote {
    /// Where the alias pointed then; none if it pointed nowhere.
    pub address: Option<IpAddr>,
    /// The epoch that it was restarted for; 0 if slave-fc never restarted it.
    pub epoch: Epoch,
}

/// What lies on the node when a slave-fc starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Found {
    /// `/var/lib/headship/followed`.
    pub followed: Option<Followed>,
    /// `/run/headship/agent`.
    pub note: Option<AgentNote>,
    /// Where the hosts file says the alias points, if it says so.
    pub alias: Option<IpAddr>,
}

/// What happens to a slave-fc.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The failover quorum reports something.
    Quorum(QuorumEvent),
    /// The hosts file was looked at and, if need be, rewritten.
    HostsPut {
        /// The id of the action.
        id: ActionId,
        /// What had to be changed, or would have to be, line by line (nothing, if it was right); or why it is not right.
        outcome: Result<Vec<String>, String>,
    },
    /// `/run/headship/agent` was written, or could not be.
    AgentNoted {
        /// The id of the action.
        id: ActionId,
        /// What went wrong.
        error: Option<String>,
    },
    /// The drivers report something of the agent, or of slave-ha-service.
    Service(Report),
    /// Somebody wants everything compared anew now, as each period does.
    LookAnew,
}

/// What a slave-fc wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the failover quorum.
    Ask(Ask),
    /// See to it that in the hosts file the alias stands for this address (`hosts_file::rewrite`), and for nothing else.
    PutHosts {
        /// Comes back with the outcome.
        id: ActionId,
        /// The alias.
        alias: String,
        /// Where it shall point.
        address: IpAddr,
        /// Change nothing, and tell only what would have to be changed.
        only_look: bool,
    },
    /// Replace `/run/headship/agent`.
    NoteAgent {
        /// Comes back with the outcome.
        id: ActionId,
        /// Its content.
        note: AgentNote,
    },
    /// Replace `/var/lib/headship/followed`, durably. Nothing waits for it, and a later one replaces one that is not done yet.
    Remember(Followed),
    /// Order something of the agent, or of slave-ha-service.
    Service(ServiceAction),
    /// Say this in the log.
    Say(Line),
}

/// The root machine of slave-fc.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    follow: Option<Follow>,
    headnodes: BTreeMap<NodeName, IpAddr>,
    me: Identity,
    jitter: Jitter,
    ids: Ids,
    actions: VecDeque<Action>,
    active: Known<Active>,
    /// Which other life of the cluster an operator has said to follow.
    adopt: Known<AdoptOrder>,
    presence: Presence,
    /// Whom to follow, as `active` said when it last said anything that is followed.
    target: Option<Followed>,
    /// What keeps `active` from being followed as it is now.
    doubt: Option<Doubt>,
    /// Whether it shows an earlier office than the one that is followed, and how long a taker waits.
    behind: Option<Behind>,
    wait: Duration,
    hosts: Hosts,
    agent: Option<Agent>,
    guard: Option<Keeper>,
    slots: Slots,
    poll_due: Time,
    wake: Option<Time>,
    decided: Time,
    why: String,
}

/// Why `active` is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Doubt {
    text: String,
    /// Whether somebody has to mend something; otherwise it passes by itself.
    lasts: bool,
}

impl Follower {
    /// A slave-fc that has just started. `agent` and `guard` are the node's agent and slave-ha-service as something to keep
    /// running, where they are. Each node passes another number as `seed`, so that nodes do not move in step.
    pub fn new(
        config: &Config,
        me: Identity,
        found: Found,
        agent: Option<Service>,
        guard: Option<Service>,
        seed: u64,
    ) -> Self {
        let period = config.timing.period;
        let follow = config.follow.clone();
        let headnodes: BTreeMap<NodeName, IpAddr> = (config.headnodes.iter())
            .filter_map(|headnode| Some((headnode.name.clone(), headnode.ip()?)))
            .collect();
        // A line of ours that says something else was written before whom it follows was on disk: then `active` has to tell.
        let as_remembered = |followed: &Followed| {
            follow.is_some() && found.alias.is_none_or(|alias| alias == followed.address)
        };
        // The headnode may have got another address since; then the configuration knows better.
        let target = found.followed.clone().filter(as_remembered).map(|followed| {
            let address = headnodes.get(&followed.node).copied().unwrap_or(followed.address);
            Followed { address, ..followed }
        });
        let at_once = config.is_headnode();
        let agent = agent
            .filter(|_| follow.is_some())
            .map(|service| Agent::new(service, period, at_once, found.note, found.alias));
        let slots = follow.as_ref().map_or(1, |follow| follow.restart_slots);
        Self {
            headnodes,
            jitter: Jitter::new(seed),
            ids: Ids::default(),
            actions: VecDeque::new(),
            active: Known::new(Key::Active),
            adopt: Known::new(Key::Adopt),
            presence: Presence::new(Key::Node(me.node.clone()), me.machine.clone()),
            target,
            doubt: None,
            behind: None,
            wait: config.timing.wait(),
            hosts: Hosts::new(found.followed),
            agent,
            guard: guard.map(|service| Keeper::new("slave-ha-service", service, period)),
            slots: Slots::new(slots, me.clone()),
            follow,
            me,
            poll_due: Time::default(),
            wake: None,
            decided: Time::default(),
            why: "just started".to_owned(),
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Quorum(event) => self.quorum(now, &event),
            Event::LookAnew => self.poll_due = now,
            Event::HostsPut { id, outcome } => self.hosts_put(now, id, outcome),
            Event::AgentNoted { id, error } => self.agent_noted(now, id, error),
            Event::Service(report) => {
                if let Some(agent) = &mut self.agent {
                    agent.keeper.handle(now, report.clone());
                }
                if let Some(guard) = &mut self.guard {
                    guard.handle(now, report);
                }
            }
        }
        self.decide(now);
    }

    /// Lets time pass. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.decide(now);
    }

    /// What to do next. Actions are to be carried out in this order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let keepers = self.agent.iter().map(|agent| &agent.keeper).chain(&self.guard);
        let timers = keepers.filter_map(Keeper::poll_timeout);
        timers.chain([self.poll_due]).chain(self.wake).filter(|at| *at > self.decided).min()
    }

    /// The last epoch that the hosts file is known to be of.
    pub fn epoch(&self) -> Option<Epoch> {
        self.hosts.remembered.as_ref().map(|followed| followed.epoch)
    }

    /// What the node does and why, in one sentence.
    pub fn status(&self) -> &str {
        &self.why
    }

    fn decide(&mut self, now: Time) {
        self.decided = now;
        self.wake = None;
        // Here and not on a timer alone: a process that was away may hear of an event first.
        if now >= self.poll_due {
            let poll = self.follow.as_ref().map_or(PERIOD_WITHOUT, |follow| follow.poll);
            self.poll_due = now.after(self.jitter.less(poll));
            self.outdate();
            self.presence.look_again();
            self.hosts.verify();
        }
        self.look_whom_to_follow(now);
        self.note_agent(now);
        self.keep_hosts(now);
        self.keep_agent(now);
        self.keep_guard(now);
        self.tell(now);
        self.ask(now);
    }

    fn quorum(&mut self, now: Time, event: &QuorumEvent) {
        if self.presence.handle(event) {
            return;
        }
        match event {
            QuorumEvent::Connected { .. } => self.outdate(),
            QuorumEvent::Disconnected | QuorumEvent::SessionLost => {
                self.active.disconnected();
                self.adopt.disconnected();
                self.behind = None;
            }
            QuorumEvent::Changed(key) if key == self.active.key() => self.active.outdate(),
            QuorumEvent::Changed(_) | QuorumEvent::Wrote { .. } => {}
            QuorumEvent::Read { id, key: _, found } => {
                self.active.take(now, *id, found);
                self.adopt.take(now, *id, found);
            }
        }
        self.slots.handle(now, event, self.presence.session());
    }

    fn outdate(&mut self) {
        self.active.outdate();
        self.adopt.outdate();
    }

    /// Whether `active` tells of another life of the cluster than the one that is followed.
    fn is_foreign(&self, active: &Active) -> bool {
        let target = self.target.as_ref().or(self.hosts.remembered.as_ref());
        target.is_some_and(|target| target.incarnation != active.incarnation)
    }

    /// Whether that is what an operator has said to follow. That its headnodes follow it shows by the office in it.
    fn is_adopted(&self, active: &Active) -> bool {
        let order = self.adopt.record().filter(|order| order.incarnation == active.incarnation);
        order.is_some_and(|order| order.refusal().is_none())
    }

    /// Takes over what `active` says, if it is to be followed.
    fn look_whom_to_follow(&mut self, now: Time) {
        let put_back = self.is_put_back(now);
        let doubt = match self.whom_to_follow(put_back) {
            Ok(Some(target)) => {
                if self.target.as_ref() != Some(&target) {
                    self.hosts.turn();
                    self.agent.iter_mut().for_each(Agent::turn);
                }
                if put_back {
                    let text = format!(
                        "the failover quorum was put back to an older state: `active` has shown epoch {} for {:.1} s, after this node followed a later one, and is followed",
                        target.epoch,
                        self.wait.as_secs_f64()
                    );
                    self.say(Kind::AliasInDoubt, text, Some(target.epoch));
                }
                self.target = Some(target);
                None
            }
            Ok(None) => None,
            Err(doubt) => Some(doubt),
        };
        if let Some(Doubt { text, lasts: true }) = doubt.as_ref().filter(|_| doubt != self.doubt) {
            self.say(Kind::AliasInDoubt, format!("the alias stays as it is: {text}"), None);
        }
        self.doubt = doubt;
    }

    /// Whom `active` tells to follow; nobody, if it only leaves things as they are.
    fn whom_to_follow(&self, put_back: bool) -> Result<Option<Followed>, Doubt> {
        let lasting = |text| Err(Doubt { text, lasts: true });
        let active = match self.active.content() {
            Content::Unread | Content::Missing => return Ok(None),
            Content::Corrupt(why) => return lasting(why.to_string()),
            Content::Record(active) => active,
        };
        // A claim says nothing of who will hold office; and where it is being given up, the last alias is as good as any.
        let held = match active.phase {
            Phase::BecomingActive | Phase::Active => active.claimant.is_none(),
            Phase::BecomingStandby | Phase::Ceded { .. } => false,
        };
        let Some(holder) = active.holder.as_ref().filter(|_| held) else { return Ok(None) };
        let target = self.target.as_ref().or(self.hosts.remembered.as_ref());
        let adopted = self.is_adopted(active);
        let same = |target: &&Followed| target.incarnation == active.incarnation;
        if let Some(target) = target.filter(|target| same(target) || !adopted) {
            if target.incarnation != active.incarnation {
                return lasting(format!(
                    "`active` is of incarnation {}, and this node follows incarnation {}: see that the failover quorum is the right one, and use `headship adopt` if it is",
                    active.incarnation, target.incarnation
                ));
            }
            if active.epoch < target.epoch && !put_back {
                let text = format!(
                    "`active` shows epoch {}, and this node has followed epoch {} already",
                    active.epoch, target.epoch
                );
                return Err(Doubt { text, lasts: false });
            }
        }
        match self.headnodes.get(&holder.node) {
            Some(address) => Ok(Some(Followed {
                incarnation: active.incarnation.clone(),
                epoch: active.epoch,
                node: holder.node.clone(),
                address: *address,
            })),
            None => lasting(format!(
                "{} holds epoch {}, and is no headnode of this node's configuration: add it",
                holder.node, active.epoch
            )),
        }
    }

    fn keep_guard(&mut self, now: Time) {
        let Some(guard) = &mut self.guard else { return };
        self.actions.extend(guard.decide(now, &mut self.ids).into_iter().map(Action::Service));
        if let Some((kind, text)) = guard.news(now) {
            self.say(kind, text, None);
        }
    }

    fn ask(&mut self, now: Time) {
        if self.follow.is_none() {
            return;
        }
        self.actions.extend(self.presence.next_request(&mut self.ids).map(Action::Ask));
        let Some(session) = self.presence.session() else { return };
        if let Some((id, request)) = self.active.next_read(&mut self.ids) {
            self.actions.push_back(Action::Ask(Ask { id, session, request }));
        }
        // Of no use otherwise, and read by every node.
        if self.active.record().is_some_and(|active| self.is_foreign(active))
            && let Some((id, request)) = self.adopt.next_read(&mut self.ids)
        {
            self.actions.push_back(Action::Ask(Ask { id, session, request }));
        }
        let asked = self.slots.next_request(now, session, &mut self.ids, &mut self.jitter);
        self.actions.extend(asked.map(Action::Ask));
        if let Some(due) = self.slots.due() {
            self.wake_at(due);
        }
    }

    /// Asks to be woken at `at` at the latest.
    fn wake_at(&mut self, at: Time) {
        if at > self.decided {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    fn say(&mut self, kind: Kind, text: String, epoch: Option<Epoch>) {
        self.actions.push_back(Action::Say(Line { kind, text, epoch }));
    }
}

#[cfg(test)]
mod tests;
