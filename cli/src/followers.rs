//! The nodes that follow the active: what the slave-fc of each shows, and who is behind.

use headship_core::node::NodeName;
use headship_core::quorum::Found;
use headship_core::record::{self, Active, Key, NodeState, Phase};

/// The folder of their records.
pub(crate) const FOLDER: &str = "nodes";
/// How many nodes that are behind are named in a sentence.
const NAMED: usize = 5;

/// One node, as its record tells.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) name: String,
    /// What it shows, or why nothing is known of it.
    pub(crate) seen: Result<NodeState, String>,
}

/// Who follows, and who does not and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) following: usize,
    pub(crate) all: usize,
    pub(crate) behind: Vec<(String, String)>,
}

impl Follower {
    /// A node by what was found at its record.
    pub(crate) fn new(node: NodeName, found: &Found) -> Self {
        let name = node.to_string();
        let seen = match found {
            Found::Data { data, .. } => {
                record::parse(&Key::Node(node), data).map_err(|corrupt| corrupt.to_string())
            }
            Found::Missing => Err(absent()),
            Found::Unread => Err("its record cannot be read".to_owned()),
        };
        Self { name, seen }
    }

    /// A headnode that shows nothing where others do.
    pub(crate) fn absent(name: String) -> Self {
        Self { name, seen: Err(absent()) }
    }

    /// Why the node is not where it should be, if so.
    pub(crate) fn behind(&self, active: Option<&Active>) -> Option<String> {
        let state = match &self.seen {
            Ok(state) => state,
            Err(why) => return Some(why.clone()),
        };
        if !state.follows {
            return Some(state.why.clone());
        }
        // While nobody holds office the last holder stays where it is.
        let active = active.filter(|active| {
            active.holder.is_some()
                && active.claimant.is_none()
                && !matches!(active.phase, Phase::Ceded { .. })
        })?;
        let other = state.incarnation.as_ref() != Some(&active.incarnation);
        (other || state.epoch != active.epoch)
            .then(|| format!("it is still at epoch {}", state.epoch))
    }
}

fn absent() -> String {
    "its slave-fc has no session".to_owned()
}

/// Who follows; nothing where no node shows that it does.
pub(crate) fn summary(followers: &[Follower], active: Option<&Active>) -> Option<Summary> {
    if followers.is_empty() {
        return None;
    }
    let behind = followers
        .iter()
        .filter_map(|follower| Some((follower.name.clone(), follower.behind(active)?)));
    let behind: Vec<(String, String)> = behind.collect();
    let all = followers.len();
    Some(Summary { following: all - behind.len(), all, behind })
}

impl Summary {
    /// Those that are behind by name, each with why; of many only the first ones.
    pub(crate) fn named(&self) -> String {
        let named: Vec<String> =
            self.behind.iter().take(NAMED).map(|(name, why)| format!("{name}: {why}")).collect();
        let more = self.behind.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", named.join("; "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use headship_core::quorum::Version;

    use super::*;
    use crate::tests::records;
    use crate::view;

    fn node(name: &str) -> NodeName {
        NodeName::try_from(name).unwrap()
    }

    /// What a node shows.
    pub(crate) fn follower(name: &str, epoch: u64, follows: bool, why: &str) -> Follower {
        let data = format!(
            r#"{{"format":1,"node":"{name}","machine":"m","boot":"b","process":"p","incarnation":"i","epoch":{epoch},
                "agent":{{"observed":"running","epoch":{epoch}}},"follows":{follows},"version":"0.1.0","why":"{why}","later":1}}"#
        );
        let found = Found::Data { data, version: Version(0), changed: 1, owner: None };
        Follower::new(node(name), &found)
    }

    fn told(followers: &[Follower]) -> Option<Summary> {
        summary(followers, view::record(&records().active))
    }

    #[test]
    fn who_is_at_the_epoch_of_the_active_follows() {
        let late = follower("wn7", 6, true, "");
        let ill = follower("wn8", 7, false, "the agent does not start");
        let summary = told(&[follower("wn0", 7, true, ""), late, ill]).unwrap();
        assert_eq!((summary.following, summary.all), (1, 3));
        assert_eq!(summary.named(), "wn7: it is still at epoch 6; wn8: the agent does not start");
    }

    #[test]
    fn while_nobody_holds_office_nobody_is_late() {
        let mut records = records();
        if let headship_core::known::Content::Record(active) = &mut records.active {
            active.phase = Phase::Ceded { to: None, until_ms: 0 };
        }
        let late = follower("wn7", 6, true, "");
        assert_eq!(late.behind(view::record(&records.active)), None);
    }

    #[test]
    fn of_many_only_the_first_are_named_and_of_none_nothing_is_told() {
        let many: Vec<Follower> =
            (0..40).map(|n| follower(&format!("wn{n}"), 7, n > 6, "its disk is full")).collect();
        let named = told(&many).unwrap().named();
        assert!(named.starts_with("wn0: its disk is full; wn1: "), "{named}");
        assert!(named.ends_with("wn4: its disk is full; and 2 more"), "{named}");
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn a_record_that_nobody_understands_is_a_node_that_does_not_follow() {
        let found = |data: &str| Found::Data {
            data: data.to_owned(),
            version: Version(0),
            changed: 1,
            owner: None,
        };
        let newer = Follower::new(node("wn0"), &found(r#"{"format":2,"follows":true}"#));
        assert!(newer.seen.unwrap_err().contains("has format 2"));
        let foreign = Follower::new(node("wn0"), &found("hello"));
        assert!(foreign.seen.unwrap_err().starts_with("`nodes/wn0` is not a record"));
    }
}
