//! What a node does, in one sentence, and in its record.

use super::agent::Restart;
use super::{Followed, Follower};
use crate::record::{self, AgentState, FORMAT, NodeState, Rest};
use crate::time::Time;

impl Follower {
    pub(super) fn tell(&mut self, now: Time) {
        let (follows, why) = self.assess(now);
        self.why = why.clone();
        if self.follow.is_none() {
            return;
        }
        if self.presence.session().is_none() {
            self.why.push_str("; the failover quorum is out of sight");
        }
        let applied = self.hosts.applied.as_ref();
        let state = NodeState {
            format: FORMAT,
            by: self.me.clone(),
            incarnation: applied.map(|applied| applied.incarnation.clone()),
            epoch: applied.map(|applied| applied.epoch).unwrap_or_default(),
            active: applied.map(|applied| applied.node.clone()),
            agent: self.agent.as_ref().map(|agent| AgentState {
                observed: agent.keeper.observed(now).as_str().to_owned(),
                epoch: agent.note.epoch,
            }),
            follows,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            why,
            rest: Rest::new(),
        };
        self.presence.publish(record::write(&state));
    }

    /// Whether the node follows, and what it does, in a sentence without figures that change by themselves.
    fn assess(&self, now: Time) -> (bool, String) {
        let guard = self.guard.as_ref().and_then(|guard| guard.fault(now));
        let also = guard.map(|fault| format!("; {fault}")).unwrap_or_default();
        let (follows, what) = self.assess_following(now);
        (follows, format!("{what}{also}"))
    }

    fn assess_following(&self, now: Time) -> (bool, String) {
        let Some(follow) = &self.follow else {
            return (false, "follows nobody: the configuration has no `[follow]`".to_owned());
        };
        if let Some(machine) = self.presence.conflict() {
            let text = format!(
                "another machine ({machine}) shows itself under this node's name: give each its own"
            );
            return (false, text);
        }
        let alias = &follow.alias;
        if let Some(doubt) = &self.doubt {
            return (false, format!("`{alias}` stays as it is: {}", doubt.text));
        }
        let Some(target) = &self.target else {
            return (false, format!("no active is known yet: `{alias}` stays as it is"));
        };
        if let Some(why) = &self.hosts.error {
            let file = &follow.hosts_file;
            return (
                false,
                format!("`{file}` cannot be written for epoch {}: {why}", target.epoch),
            );
        }
        if self.hosts.applied.as_ref() != Some(target) {
            return (false, format!("writes `{}` for epoch {}", follow.hosts_file, target.epoch));
        }
        let Followed { epoch, node, .. } = target;
        let points = format!("`{alias}` is {node} (epoch {epoch})");
        match self.agent_fault(now) {
            Some(fault) => (false, format!("{points}; {fault}")),
            None => (true, points),
        }
    }

    /// Why the agent is not where it should be, if it is not.
    fn agent_fault(&self, now: Time) -> Option<String> {
        let agent = self.agent.as_ref()?;
        let doing = match agent.restart {
            Restart::Waiting => "the agent waits for its turn to be restarted",
            Restart::Stopping { .. } => "the agent is being stopped, to be restarted",
            Restart::Starting { .. } => "the agent is being started anew",
            Restart::No if self.restart_due().is_some() => "the agent is to be restarted",
            Restart::No if agent.keeper.runs(now) => return None,
            Restart::No => "the agent does not run yet",
        };
        Some(agent.keeper.fault(now).unwrap_or_else(|| doing.to_owned()))
    }
}
