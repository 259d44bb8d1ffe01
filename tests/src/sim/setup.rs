//! What a simulated cluster is like: how many headnodes, which timing, how its world misbehaves, which rules are off.

use std::collections::BTreeSet;
use std::time::Duration;

use headship_core::config::{self, Config};
use headship_core::node::NodeName;

/// How a simulated cluster is made.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something else that happens or does not"
)]
pub struct Setup {
    /// What all chance comes from.
    pub seed: u64,
    /// Two, or three.
    pub headnodes: usize,
    /// Whether they follow the active with hosts file and agent.
    pub follow: bool,
    /// How many nodes follow that are no headnodes; none unless headnodes follow.
    pub workers: usize,
    /// Whether the records are lost once, and those of another life of the cluster take their place.
    pub another_life: bool,
    /// Whether something happens that a cluster sees once in a long while.
    pub rare: bool,
    /// Whether a fence agent is configured, and ssh after it.
    pub fencing: Fencing,
    /// The preset of `[timing]`.
    pub preset: &'static str,
    /// Nothing is left to chance: every delay is the shortest.
    pub calm: bool,
    /// Everything that happens is logged, not only what a person wants to see.
    pub detailed: bool,
    /// How fast each host's clock is, in millionths.
    pub drift_ppm: Vec<i64>,
    /// How likely a hint that a record changed is lost.
    pub lost_hints: f64,
    /// How likely a machine is woken though nothing is due.
    pub extra_timeouts: f64,
    /// Which rules are dropped, to see that the checks find it.
    pub broken: Broken,
    /// The faults that do not happen, by their numbers.
    pub left_out: BTreeSet<u32>,
}

/// Which fence methods are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// None.
    No,
    /// A fence agent.
    Agent,
    /// A fence agent, and ssh after it.
    AgentAndSsh,
    /// ssh only.
    Ssh,
}

impl Fencing {
    fn text(self, headnodes: usize) -> String {
        let plugs = (0..headnodes).map(|n| format!("node.hn{n} = {{ plug = \"{n}\" }}\n"));
        let plugs: String = plugs.collect();
        let agent = format!(
            "[[fence]]\nname = \"pdu\"\nmethod = \"fence_agent\"\nagent = \"fence_sim\"\nlimit_ms = 5000\n{plugs}"
        );
        let ssh = "[[fence]]\nname = \"ssh\"\nmethod = \"ssh\"\nlimit_ms = 5000\n".to_owned();
        match self {
            Self::No => String::new(),
            Self::Agent => agent,
            Self::AgentAndSsh => agent + &ssh,
            Self::Ssh => ssh,
        }
    }
}

/// Rules of the protocol that are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub struct Broken {
    /// PID 1 asks nobody before a start.
    pub no_gate: bool,
    /// There is no slave-ha-service on any headnode.
    pub no_guard: bool,
    /// Nobody checks that services end in time, so that it shows what comes of it.
    pub no_end_check: bool,
    /// A host that is cut off from the quorum seems to answer nobody.
    pub no_knocks: bool,
    /// The headnodes are configured as if a kill took no time.
    pub no_kill_time: bool,
    /// And in truth it takes this long.
    pub kill_takes: Duration,
    /// A resume ends a keep at once, whether or not whoever acknowledged it has heard of that.
    pub resumes_at_once: bool,
    /// The acknowledgement of a keep is not conditional on `active`.
    pub keeps_past_active: bool,
    /// An ensemble is restored from a copy as soon as it is down.
    pub restores_at_once: bool,
    /// What a headnode's daemons show of themselves is seen by no other's master-fc.
    pub blind_to_signs: bool,
    /// That a service which has run has ended shows neither by a signal nor by a look.
    pub blind_to_ends: bool,
    /// The first headnode's clock is this much slow, and the second's as much fast, in millionths.
    pub drift_ppm: i64,
}

impl Setup {
    /// A calm cluster of two headnodes with the preset `normal`.
    pub fn calm() -> Self {
        Self {
            seed: 0,
            headnodes: 2,
            follow: false,
            workers: 0,
            another_life: false,
            rare: false,
            fencing: Fencing::No,
            preset: "normal",
            calm: true,
            detailed: false,
            drift_ppm: vec![0, 0, 0],
            lost_hints: 0.0,
            extra_timeouts: 0.0,
            broken: Broken::default(),
            left_out: BTreeSet::new(),
        }
    }

    /// The configuration of `node`.
    pub(super) fn config(&self, node: &NodeName) -> Config {
        let headnodes = (0..self.headnodes)
            .map(|n| format!("[[headnode]]\nname = \"hn{n}\"\naddress = \"10.0.0.1{n}\"\n"))
            .collect::<String>();
        let tick = self.tick().as_millis();
        let follow = if self.follow { "[follow]\nagent_unit = \"agent.service\"\n" } else { "" };
        let text = format!(
            "cluster = \"sim\"\n[failover_quorum]\nservers = [\"zk0:2181\", \"zk1:2181\", \"zk2:2181\"]\n\
             tick_ms = {tick}\n{headnodes}{follow}[timing]\npreset = \"{}\"\n{}{SERVICES}",
            self.preset,
            self.fencing.text(self.headnodes)
        );
        let mut config = config::load(&[("sim".to_owned(), text)], node.clone())
            .unwrap_or_else(|faults| unreachable!("the configuration of the simulation: {faults}"));
        if self.broken.no_kill_time {
            config.timing.kill = Duration::ZERO;
        }
        config
    }

    /// `tickTime` as the preset wants it.
    pub(super) fn tick(&self) -> Duration {
        Duration::from_millis(match self.preset {
            "fast" => 100,
            "tolerant" => 2000,
            _ => 500,
        })
    }
}

/// Two of them are soon given up, so that it happens within the faults of a seed: one that matters to the office, and one that
/// does not.
const SERVICES: &str = r#"
[[service]]
name = "ambari-server"
unit = "ambari-server.service"
started_by = "master-fc"
start_limit_ms = 60000
stop_limit_ms = 20000

[[service]]
name = "timeline"
unit = "timeline.service"
after = ["ambari-server"]
stop_limit_ms = 20000
restart = { times = 2, within_s = 60, back_off_s = [0, 2] }

[[service]]
name = "jobhistory"
unit = "jobhistory.service"
after = ["ambari-server"]
critical = true
stop_limit_ms = 20000
restart = { times = 3, within_s = 120, back_off_s = [0, 1, 5] }

[[service]]
name = "livy"
unit = "livy.service"
after = ["jobhistory"]
start_limit_ms = 60000
stop_limit_ms = 20000

[[service.probe]]
kind = "tcp"
address = "127.0.0.1:8998"
"#;
