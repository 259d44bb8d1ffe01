//! `headship is-active`: whether a headnode is active, as an exit code, for scripts and health checks of others.

use anyhow::Result;
use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_daemon::Exit;

use crate::args::{IsActive, Place};
use crate::refusal::{Refusal, Refuse};
use crate::standing::{self, Condition};
use crate::view::Records;
use crate::{cluster, output};

/// Runs the command. Says nothing but what keeps it from an answer.
pub(crate) async fn run(config: &Config, place: &Place, arguments: &IsActive) -> Result<Exit> {
    let node = arguments.node.as_ref().unwrap_or(&config.node);
    let (exit, complaint) = if config.headnodes.iter().any(|headnode| headnode.name == *node) {
        match cluster::once(config, place.timeout).await {
            Ok(records) => judge(&records, node),
            Err(why) => (Exit::QuorumAway, Some(why)),
        }
    } else {
        (Exit::NotThisNode, Some(standing::no_headnode(config, node)))
    };
    if let Some(complaint) = complaint {
        output::complain(&complaint);
    }
    Ok(exit)
}

impl Refuse for IsActive {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        output::complain(&refusal.sentence);
        Ok(refusal.exit)
    }
}

/// The exit code, and why there is no answer if so.
fn judge(records: &Records, node: &NodeName) -> (Exit, Option<String>) {
    match standing::holder(records) {
        Ok(holder) if holder.node == node => (Exit::Ok, None),
        Ok(_) => (Exit::NotActive, None),
        Err(conclusion) => {
            let exit = conclusion.condition.exit();
            let unknown = conclusion.condition != Condition::NobodyActive;
            (exit, unknown.then_some(conclusion.sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    use headship_core::known::Content;
    use headship_core::record::{Corrupt, Phase};

    use super::*;
    use crate::tests::{node, records};

    #[test]
    fn one_is_active_and_the_other_is_not() {
        assert_eq!(judge(&records(), &node("hn0")), (Exit::Ok, None));
        assert_eq!(judge(&records(), &node("hn1")), (Exit::NotActive, None));
    }

    #[test]
    fn while_nobody_is_active_neither_is() {
        let mut records = records();
        if let Content::Record(active) = &mut records.active {
            active.phase = Phase::BecomingStandby;
        }
        assert_eq!(judge(&records, &node("hn0")), (Exit::NobodyActive, None));
        assert_eq!(judge(&records, &node("hn1")), (Exit::NobodyActive, None));
    }

    #[test]
    fn what_nobody_can_read_is_no_answer_and_is_said() {
        let mut records = records();
        records.active = Content::Corrupt(Corrupt::Newer { path: "active".to_owned(), format: 2 });
        let (exit, complaint) = judge(&records, &node("hn0"));
        assert_eq!(exit, Exit::Failed);
        assert!(complaint.unwrap().contains("`active` has format 2"));
    }
}
