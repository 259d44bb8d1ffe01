//! The figures that hold where none are written. `protocol.md`, 5.

use std::time::Duration;

use super::checked::{HealthLimits, RestartBudget, Timing};
use super::file::Preset;

/// The ensemble's tick where none is written: that of the `zoo.cfg` that goes with `normal`.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// The ensemble's `syncLimit` where none is written: that of the `zoo.cfg` that ZooKeeper ships.
pub(super) const SYNC_LIMIT: u32 = 5;

/// How long a service's start may take: a management server with a large database needs a minute, and a start that is
/// cut off too early is worse than one that is waited for.
pub(super) const START_LIMIT: Duration = Duration::from_secs(180);

/// How long a service's graceful stop may take in a switchover; at D the control group is killed in any case.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How often a probe asks: a dead process is told by systemd at once, so a probe only finds the hung one.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// How long a probe waits for an answer.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Good answers before a service counts as serving: one is proof.
pub(super) const PROBE_RISE: u32 = 1;

/// Bad answers before a service counts as failed: one may be an accident.
pub(super) const PROBE_FALL: u32 = 3;

/// A minute with the figures above: no pause of a garbage collection that a service survives is longer.
pub(super) const PROBE_FALL_UNANSWERED: u32 = 15;

/// The status that an HTTP probe expects.
pub(super) const PROBE_STATUS: u16 = 200;

/// How often a service of actions is asked whether it runs: each time some shell is run, and an address that somebody removed
/// is found soon enough.
pub(super) const MONITOR_INTERVAL: Duration = Duration::from_secs(10);

/// How long that may take: what the common agents ask for.
pub(super) const MONITOR_LIMIT: Duration = Duration::from_secs(20);

/// How often is looked whether a component of Ambari runs: a look reads the kernel's memory and asks nobody.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request to Ambari may take: without its database it answers after 10 s.
pub(super) const AMBARI_LIMIT: Duration = Duration::from_secs(15);

/// How long after an abort an agent that lives has reported what it runs: every 20 s as it ships, and a second a component.
pub(super) const AMBARI_SETTLE: Duration = Duration::from_secs(25);

/// Where Hadoop keeps its elections in the Apache quorum, and its configuration on each node, unless somebody moved them.
pub(super) const HDFS_ZNODE: &str = "/hadoop-ha";
pub(super) const YARN_ZNODE: &str = "/yarn-leader-election";
pub(super) const HBASE_ZNODE: &str = "/hbase";
pub(super) const HADOOP_CONF: &str = "/etc/hadoop/conf";
pub(super) const LIVY_CONF: &str = "/etc/livy/conf";

/// The alias where none is written: the name that the agents of such clusters are installed with.
pub(super) const ALIAS: &str = "headnodehost";

/// The hosts file where none is written.
pub(super) const HOSTS_FILE: &str = "/etc/hosts";

/// How many agents may be restarting at a time where nothing is written: a registration costs the server a second or so
/// of work, and ten at a time bring a thousand nodes over within minutes.
pub(super) const RESTART_SLOTS: u32 = 10;

/// How often a node asks for the active without an event.
pub(super) const POLL: Duration = Duration::from_secs(10);

/// How long a new active waits for its own alias. slave-fc needs some ten milliseconds; what takes longer than this is
/// more likely broken than slow, and a service that cannot bind is tried again anyway.
pub(super) const BIND_LIMIT: Duration = Duration::from_secs(2);

/// How long one fence method may take: a management controller switches a host off in some seconds, a cloud in some ten.
pub(super) const FENCE_LIMIT: Duration = Duration::from_secs(20);

/// How long all fence methods may take together: who waits for longer is better off by asking an operator.
pub(super) const FENCE_BUDGET: Duration = Duration::from_secs(60);

/// After how long without any sign the holder of office counts as dead: two renewals or a heartbeat, whichever is longer. With
/// less, one that is late would be enough.
pub(super) fn dead_after(timing: &Timing, health: &HealthLimits) -> Duration {
    timing.renew.saturating_mul(2).max(health.interval)
}

/// The timing of a preset.
pub(super) fn timing(preset: Preset) -> Timing {
    // The grace of each is what the lease has left above the time in which an ensemble replaces its leader (`relations`):
    // more would stop healthy services for that.
    let (lease, session, renew, kill, grace) = match preset {
        Preset::Fast => (2000, 1000, 200, 500, 100),
        Preset::Normal => (6000, 4000, 500, 2000, 1500),
        Preset::Tolerant => (16_000, 10_000, 1000, 2000, 3000),
    };
    Timing {
        lease: Duration::from_millis(lease),
        session: Duration::from_millis(session),
        renew: Duration::from_millis(renew),
        kill: Duration::from_millis(kill),
        grace: Duration::from_millis(grace),
        // What no event tells is found within two of these.
        period: Duration::from_secs(10),
        // Longer than any preset's wait, so that an eligible headnode always comes first.
        lonely_after: Duration::from_secs(30),
        // Longer than any preset's lease: a peer that was out of sight for a moment still gets its turn.
        stay_out: Duration::from_secs(20),
    }
}

/// When a headnode is eligible.
pub(super) fn health() -> HealthLimits {
    HealthLimits {
        interval: Duration::from_secs(1),
        // Five heartbeats: a busy host that loses one or two is no reason to move.
        silent_after: Duration::from_secs(5),
        rise: 2,
        fall: 3,
        // What a service's log fills in an evening, and what a JVM needs to start at all.
        disk_free_mib: 512,
        memory_available_mib: 256,
    }
}

/// How often a service is restarted: at once for an accident, then with growing pauses for what needs time to recover.
pub(super) fn restart() -> RestartBudget {
    RestartBudget {
        times: 3,
        within: Duration::from_secs(600),
        back_off: [0, 5, 15, 45].map(Duration::from_secs).to_vec(),
    }
}
