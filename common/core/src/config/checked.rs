//! The configuration as code uses it: complete, and consistent in itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::ambari::{Body, Component};
use crate::lease::{self, KILL_AND_VERIFY};
use crate::node::NodeName;
use crate::time::millis;

/// How long systemd takes to notice that a watchdog fired and to start the program again (measured 250 ms).
const RESTART: Duration = Duration::from_millis(300);

/// What an ensemble needs beyond `syncLimit` ticks to commit again after its leader lost power: measured 0.4 to 0.6 s,
/// whatever the tick. The rest is for its clients, who find it again within a round over the servers.
const LEADER_CHANGE: Duration = Duration::from_secs(1);

/// How long a ZooKeeper server may be silent, as a part of the session timeout. When a server loses its power the others
/// serve again after a while; whoever was connected to it must have noticed by then, and may have waited in vain for one that
/// has not noticed yet: with a third, a renewal goes through before the grace in each preset. The client looks at its clock
/// eight times in that time, which is most of what it costs at rest.
const SILENCE_PART: u32 = 3;

/// But this long in any case: below, a busy server would be left for nothing.
const SILENCE_MIN: Duration = Duration::from_millis(250);

/// How long a server may take to be connected to, and to take up a session that it is given, as a part of that time: one that
/// serves answers at once, and one that lost its power, or hangs, must not cost a lease. More with each round, in case all
/// are merely busy.
pub const RESUME_PART: u32 = 4;

/// The pause after a round over all servers: a quorum that comes back should not wait for us.
pub const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// After how long a silent server is left for another one, with this session timeout.
pub fn silence(session: Duration) -> Duration {
    (session / SILENCE_PART).max(SILENCE_MIN)
}

/// How long a program takes from its start until it guards.
const READY: Duration = Duration::from_millis(200);

/// Everything a daemon needs to know. One file for all nodes of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The cluster's name: the folder below `/headship` in the failover quorum.
    pub cluster: String,
    /// The node this configuration was loaded on.
    pub node: NodeName,
    /// The headnodes, in the order of the file.
    pub headnodes: Vec<Headnode>,
    /// The failover quorum.
    pub quorum: Quorum,
    /// The Apache quorum; without it `headship status` shows nothing of what is elected there.
    pub apache_quorum: Option<ApacheQuorum>,
    /// Where Hadoop's configuration lies on this node.
    pub hadoop: Hadoop,
    /// The lease and what belongs to it.
    pub timing: Timing,
    /// When a headnode is eligible.
    pub health: HealthLimits,
    /// What the nodes do to follow the active; without it they do not follow.
    pub follow: Option<Follow>,
    /// How another headnode is fenced.
    pub fencing: Fencing,
    /// The moving HA services, in an order in which each comes after all that it names in `after`.
    pub services: Vec<Service>,
    /// The pinned ones, in such an order, too. They have no part in office, permits and promises.
    pub pinned: Vec<Service>,
}

impl Config {
    /// Whether the node this was loaded on is a headnode.
    pub fn is_headnode(&self) -> bool {
        self.headnodes.iter().any(|headnode| headnode.name == self.node)
    }

    /// The pinned services of this headnode.
    pub fn pinned_here(&self) -> impl Iterator<Item = &Service> {
        self.pinned.iter().filter(|service| service.pinned.as_ref() == Some(&self.node))
    }

    /// The pinned services of the other headnodes.
    pub fn pinned_elsewhere(&self) -> impl Iterator<Item = &Service> {
        self.pinned.iter().filter(|service| service.pinned.as_ref() != Some(&self.node))
    }

    /// The headnodes other than this one.
    pub fn peers(&self) -> impl Iterator<Item = &Headnode> {
        self.headnodes.iter().filter(|headnode| headnode.name != self.node)
    }
}

/// A headnode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Headnode {
    /// Its name.
    pub name: NodeName,
    /// Its address or host name.
    pub address: String,
}

impl Headnode {
    /// Its address as a number, if it is written as one. Where nodes follow it is.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// What the nodes do to follow the active.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follow {
    /// The name that stands for the active headnode.
    pub alias: String,
    /// The hosts file that says where it is.
    pub hosts_file: String,
    /// The agent that is restarted when the alias has moved, if there is one.
    pub agent: Option<Driver>,
    /// How many agents of nodes that are no headnodes may be restarting at a time.
    pub restart_slots: u32,
    /// How often the active is asked for, and the hosts file verified, without an event.
    pub poll: Duration,
    /// How long a new active waits for its own alias before it starts services all the same.
    pub bind_limit: Duration,
}

/// How another headnode is fenced. `protocol.md`, 7.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fencing {
    /// The methods, in the order in which they are asked.
    pub methods: Vec<FenceMethod>,
    /// How long all of them may take together.
    pub budget: Duration,
    /// How long everything of the holder's host must have stood still before it is fenced.
    pub dead_after: Duration,
}

/// One fence method.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FenceMethod {
    /// Its name.
    pub name: String,
    /// How long it may take.
    pub limit: Duration,
    /// What it does.
    pub kind: FenceKind,
}

impl FenceMethod {
    /// Whether it can be asked about this headnode.
    pub fn fences(&self, node: &NodeName) -> bool {
        match &self.kind {
            FenceKind::Agent { nodes, .. } => nodes.contains_key(node),
            FenceKind::Ssh { .. } | FenceKind::Command { .. } => true,
        }
    }

    /// Whether it cuts a host's power and sees that it is cut: nothing less may be asked before an office is claimed.
    pub fn is_agent(&self) -> bool {
        match &self.kind {
            FenceKind::Agent { .. } => true,
            FenceKind::Ssh { .. } | FenceKind::Command { .. } => false,
        }
    }
}

/// What a fence method does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FenceKind {
    /// Asks a fence agent to switch the host off.
    Agent {
        /// The agent's program.
        program: String,
        /// The file with what is secret of its parameters.
        secrets_file: Option<String>,
        /// What it is told about each headnode that it can fence.
        nodes: BTreeMap<NodeName, BTreeMap<String, String>>,
    },
    /// Has the host power itself off, over ssh.
    Ssh {
        /// More arguments of ssh; its own cannot be overridden by them.
        arguments: Vec<String>,
    },
    /// A program of the operator's.
    Command {
        /// Program and arguments; never a shell line.
        command: Vec<String>,
    },
}

/// The failover quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// ZooKeeper servers as `host:port`.
    pub servers: Vec<String>,
    /// The ensemble's `tickTime`.
    pub tick: Duration,
    /// The ensemble's `syncLimit`, in ticks.
    pub sync_limit: u32,
}

/// The Apache quorum, in which Hadoop elects its NameNode, ResourceManager and HBase Master. It is read and never written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApacheQuorum {
    /// ZooKeeper servers as `host:port`.
    pub servers: Vec<String>,
    /// The folder below which each nameservice has one.
    pub hdfs: String,
    /// The folder below which each YARN cluster has one.
    pub yarn: String,
    /// HBase's folder.
    pub hbase: String,
}

/// Where Hadoop's configuration lies on this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hadoop {
    /// The folder of core-site.xml, yarn-site.xml and mapred-site.xml.
    pub conf: String,
    /// The folder of livy.conf.
    pub livy_conf: String,
}

impl Quorum {
    /// How long no write is acknowledged while the ensemble replaces a leader that lost power.
    pub fn leader_change(&self) -> Duration {
        self.tick.saturating_mul(self.sync_limit).saturating_add(LEADER_CHANGE)
    }
}

/// The lease and what belongs to it. `protocol.md`, 5.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a renewal lasts.
    pub lease: Duration,
    /// The ZooKeeper session timeout that is asked for; shorter than the lease.
    pub session: Duration,
    /// h: how often the holder renews.
    pub renew: Duration,
    /// How long after D everything must be gone.
    pub kill: Duration,
    /// How long before D the graceful stop begins; lies inside the lease.
    pub grace: Duration,
    /// How often everything is compared anew without an event.
    pub period: Duration,
    /// How long nobody is active before a reluctant headnode joins.
    pub lonely_after: Duration,
    /// How long the other headnodes stay out after a cession, if its successor may still come.
    pub stay_out: Duration,
}

impl Timing {
    /// The lease in whole milliseconds, as it stands in records.
    pub fn lease_ms(&self) -> u64 {
        millis(self.lease)
    }

    /// The kill time in whole milliseconds, as it stands in records.
    pub fn kill_ms(&self) -> u64 {
        millis(self.kill)
    }

    /// How long before D the graceful stop begins in a term with this lease. A lease that is shorter than the configured one
    /// is of an earlier configuration: this grace need not leave enough of it.
    pub fn grace_in(&self, lease: Duration) -> Duration {
        if lease < self.lease { self.grace.min(lease / 4) } else { self.grace }
    }

    /// How often the holder renews in a term with this lease.
    pub fn renew_in(&self, lease: Duration) -> Duration {
        if lease < self.lease { self.renew.min(lease / 4) } else { self.renew }
    }

    /// How long a client may be without a server when the one that it is connected to loses power: until it leaves it, and has
    /// tried one in vain.
    pub fn server_change(&self) -> Duration {
        let silence = silence(self.session);
        silence.saturating_add(silence / RESUME_PART).saturating_add(ROUND_PAUSE)
    }

    /// How long a taker waits if the old holder had the same figures.
    pub fn wait(&self) -> Duration {
        lease::wait(self.lease_ms(), self.kill_ms())
    }

    /// The kill time that makes it harmless if guard and master-fc die or freeze together across D, where the longer of
    /// their `WatchdogSec=` is `watchdog`. A shorter kill time covers one of the two being away, never both.
    pub fn kill_needed(watchdog: Duration) -> Duration {
        watchdog.saturating_add(RESTART).saturating_add(READY).saturating_add(KILL_AND_VERIFY)
    }
}

/// When a headnode is eligible.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthLimits {
    /// How often health-monitor checks and sends a heartbeat.
    pub interval: Duration,
    /// After this long without a heartbeat there is no data.
    pub silent_after: Duration,
    /// Good readings in a row before a bad check counts as good again.
    pub rise: u32,
    /// Bad readings in a row before a good check counts as bad.
    pub fall: u32,
    /// Less free disk space than this on `/` or `/var`, in MiB, is bad (`must` at zero, `prefer` below the limit).
    pub disk_free_mib: u64,
    /// Less available memory than this, in MiB, is bad (`prefer`).
    pub memory_available_mib: u64,
}

/// One HA service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How it is started, stopped and seen.
    pub driver: Driver,
    /// Which program starts it on the active.
    pub started_by: Starter,
    /// The services that must run before it starts, and stop after it.
    pub after: BTreeSet<String>,
    /// Whether office is announced only when it serves.
    pub announce: bool,
    /// Whether the headnode yields to an eligible and ready peer when this service is given up.
    pub critical: bool,
    /// The headnode where it runs, and nowhere else; none for a service that moves with the office.
    pub pinned: Option<NodeName>,
    /// How long a start may take.
    pub start_limit: Duration,
    /// How long a graceful stop may take before the control group is killed.
    pub stop_limit: Duration,
    /// How often it is restarted before it is given up.
    pub restart: RestartBudget,
    /// What shows that it serves.
    pub probes: Vec<Probe>,
}

/// Which program starts a service on the active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Starter {
    /// master-fc itself, before master-ha-service (Ambari server).
    MasterFc,
    /// master-ha-service.
    MasterHaService,
}

/// How a service is started, stopped and seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// A systemd unit of its own.
    Systemd {
        /// The unit's name, with its ending.
        unit: String,
    },
    /// A command that runs in the foreground, as a transient unit with a slice and limits of its own.
    Command {
        /// Program and arguments; never a shell line.
        start: Vec<String>,
    },
    /// Programs that start it, stop it and tell whether it runs, each of which ends: what they leave need be no process. Or
    /// a server that has it done.
    Actions(Actions),
}

impl Driver {
    /// The unit that the gate stands before.
    pub fn gated_unit(&self) -> Option<&str> {
        match self {
            Self::Systemd { unit } => Some(unit),
            Self::Command { .. } => None,
            Self::Actions(actions) => match &actions.programs {
                Programs::Ambari(component) => match &component.body {
                    Body::Unit(unit) => Some(unit),
                    Body::Process(_) => None,
                },
                Programs::Command { .. } | Programs::Ocf { .. } => None,
            },
        }
    }
}

/// A service that is started, stopped and looked at by programs that end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actions {
    /// The programs.
    pub programs: Programs,
    /// How often it is asked whether it runs.
    pub interval: Duration,
    /// How long an answer to that may take.
    pub limit: Duration,
}

/// What performs the actions of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Programs {
    /// One each; headship-command(7).
    Command {
        /// Comes back when it is up.
        start: Vec<String>,
        /// Comes back when it is down.
        stop: Vec<String>,
        /// Tells whether it runs.
        status: Vec<String>,
    },
    /// A resource agent of the Open Cluster Framework, API 1.1.
    Ocf {
        /// Where agents are installed, `OCF_ROOT`.
        root: String,
        /// Whose it is, such as `heartbeat`.
        provider: String,
        /// Its name, such as `IPaddr2`.
        agent: String,
        /// What it is told.
        parameters: BTreeMap<String, String>,
    },
    /// An Ambari server, by REST.
    Ambari(Box<Component>),
}

/// How often a service is restarted before it is given up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestartBudget {
    /// Restarts allowed within the window.
    pub times: u32,
    /// The window; restarts older than this are forgotten.
    pub within: Duration,
    /// The pause before the first, second, … restart; the last one repeats.
    pub back_off: Vec<Duration>,
}

/// What shows that a service serves, beside the state of its unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// How often.
    pub interval: Duration,
    /// How long it may take; no answer in time is no data, not a bad answer, for `fall_unanswered` times.
    pub limit: Duration,
    /// Good answers in a row before it counts as serving.
    pub rise: u32,
    /// Bad answers in a row before it counts as failed.
    pub fall: u32,
    /// Askings in a row without an answer before it counts as failed: slow is not dead, but what hangs is found.
    pub fall_unanswered: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// A TCP connection is accepted.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A plain HTTP GET is answered with this status, and with a body that the pattern is found in.
    Http {
        /// `host:port`.
        address: String,
        /// The path, with its leading slash.
        path: String,
        /// The expected status code.
        status: u16,
        /// What the body has to match somewhere, if anything: a regular expression that `config` has compiled once.
        body: Option<String>,
    },
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address } => write!(f, "tcp probe of {address}"),
            Self::Http { address, path, .. } => write!(f, "http probe of {address}{path}"),
        }
    }
}
