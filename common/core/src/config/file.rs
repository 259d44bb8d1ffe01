//! The configuration as people write it: everything may be absent, nothing may be unknown.
//!
//! Nothing is judged here. A value of a wrong type does not end the reading: it stays behind as the parser's complaint,
//! so that all faults of a file can be told at once.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// A value that stands in a file: where, and either what it is or why it is not understood.
#[derive(Debug)]
pub(super) struct Given<T> {
    pub(super) offset: usize,
    pub(super) value: Result<T, String>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Spanned::<toml::Value>::deserialize(deserializer).map_err(D::Error::custom)?;
        let offset = raw.span().start;
        let value = T::deserialize(raw.into_inner())
            .map_err(|error: toml::de::Error| error.message().to_owned());
        Ok(Self { offset, value })
    }
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) cluster: Option<Given<String>>,
    pub(super) node: Option<Given<String>>,
    pub(super) failover_quorum: Option<Spanned<Quorum>>,
    pub(super) apache_quorum: Option<Spanned<ApacheQuorum>>,
    pub(super) hadoop: Option<Spanned<Hadoop>>,
    pub(super) headnode: Vec<Spanned<Headnode>>,
    pub(super) timing: Option<Spanned<Timing>>,
    pub(super) health: Option<Spanned<Health>>,
    pub(super) follow: Option<Spanned<Follow>>,
    pub(super) ambari: Option<Spanned<Ambari>>,
    pub(super) fence: Vec<Spanned<Fence>>,
    pub(super) service: Vec<Spanned<Service>>,
}

/// `[failover_quorum]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quorum {
    pub(super) servers: Option<Given<Vec<String>>>,
    pub(super) tick_ms: Option<Given<u64>>,
    pub(super) sync_limit: Option<Given<u32>>,
}

/// `[apache_quorum]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApacheQuorum {
    pub(super) servers: Option<Given<Vec<String>>>,
    pub(super) hdfs: Option<Given<String>>,
    pub(super) yarn: Option<Given<String>>,
    pub(super) hbase: Option<Given<String>>,
}

/// `[hadoop]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hadoop {
    pub(super) conf: Option<Given<String>>,
    pub(super) livy_conf: Option<Given<String>>,
}

/// `[[headnode]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Headnode {
    pub(super) name: Option<Given<String>>,
    pub(super) address: Option<Given<String>>,
}

/// `[timing]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timing {
    pub(super) preset: Option<Given<Preset>>,
    pub(super) lease_ms: Option<Given<u64>>,
    pub(super) session_ms: Option<Given<u64>>,
    pub(super) renew_ms: Option<Given<u64>>,
    pub(super) kill_ms: Option<Given<u64>>,
    pub(super) grace_ms: Option<Given<u64>>,
    pub(super) period_ms: Option<Given<u64>>,
    pub(super) lonely_after_ms: Option<Given<u64>>,
    pub(super) stay_out_ms: Option<Given<u64>>,
    pub(super) fence_budget_ms: Option<Given<u64>>,
    pub(super) dead_after_ms: Option<Given<u64>>,
}

/// Which figures hold where none are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Preset {
    /// For an ensemble of its own with a tick of 500 ms.
    #[default]
    Normal,
    /// For an ensemble of its own with a tick of 100 ms.
    Fast,
    /// For an ensemble as ZooKeeper ships it, with a tick of 2 s.
    Tolerant,
}

/// `[health]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Health {
    pub(super) interval_ms: Option<Given<u64>>,
    pub(super) silent_after_ms: Option<Given<u64>>,
    pub(super) rise: Option<Given<u32>>,
    pub(super) fall: Option<Given<u32>>,
    pub(super) disk_free_mib: Option<Given<u64>>,
    pub(super) memory_available_mib: Option<Given<u64>>,
}

/// `[follow]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Follow {
    pub(super) alias: Option<Given<String>>,
    pub(super) hosts_file: Option<Given<String>>,
    pub(super) agent_unit: Option<Given<String>>,
    pub(super) agent_command: Option<Given<Vec<String>>>,
    pub(super) restart_slots: Option<Given<u32>>,
    pub(super) poll_ms: Option<Given<u64>>,
    pub(super) bind_limit_ms: Option<Given<u64>>,
}

/// `[ambari]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ambari {
    pub(super) url: Option<Given<String>>,
    pub(super) cluster: Option<Given<String>>,
    pub(super) hosts: Option<Given<BTreeMap<String, String>>>,
    pub(super) credentials_file: Option<Given<String>>,
    pub(super) credential: Option<Given<String>>,
    pub(super) ca_file: Option<Given<String>>,
    pub(super) limit_ms: Option<Given<u64>>,
    pub(super) settle_ms: Option<Given<u64>>,
}

/// `[[fence]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fence {
    pub(super) name: Option<Given<String>>,
    pub(super) method: Option<Given<Method>>,
    pub(super) agent: Option<Given<String>>,
    pub(super) parameters: Option<Given<Parameters>>,
    pub(super) secrets_file: Option<Given<String>>,
    pub(super) node: Option<Given<BTreeMap<String, Parameters>>>,
    pub(super) arguments: Option<Given<Vec<String>>>,
    pub(super) command: Option<Given<Vec<String>>>,
    pub(super) limit_ms: Option<Given<u64>>,
}

/// `method = `
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    FenceAgent,
    Ssh,
    Command,
}

/// What an agent is told: texts, numbers, or `true` and `false`.
pub(super) type Parameters = BTreeMap<String, toml::Value>;

/// `[[service]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Service {
    pub(super) name: Option<Given<String>>,
    pub(super) driver: Option<Given<Driver>>,
    pub(super) unit: Option<Given<String>>,
    pub(super) start: Option<Given<Vec<String>>>,
    pub(super) stop: Option<Given<Vec<String>>>,
    pub(super) status: Option<Given<Vec<String>>>,
    pub(super) agent: Option<Given<String>>,
    pub(super) parameters: Option<Given<Parameters>>,
    pub(super) component: Option<Given<String>>,
    pub(super) process: Option<Given<String>>,
    pub(super) monitor_interval_ms: Option<Given<u64>>,
    pub(super) monitor_limit_ms: Option<Given<u64>>,
    pub(super) started_by: Option<Given<Starter>>,
    pub(super) after: Option<Given<Vec<String>>>,
    pub(super) announce: Option<Given<bool>>,
    pub(super) critical: Option<Given<bool>>,
    pub(super) pinned: Option<Given<String>>,
    pub(super) start_limit_ms: Option<Given<u64>>,
    pub(super) stop_limit_ms: Option<Given<u64>>,
    pub(super) restart: Option<Spanned<Restart>>,
    pub(super) probe: Vec<Spanned<Probe>>,
}

/// `driver = `
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Driver {
    Systemd,
    Command,
    Ocf,
    Ambari,
}

/// `started_by = `
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Starter {
    MasterFc,
    MasterHaService,
}

/// `restart = { … }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Restart {
    pub(super) times: Option<Given<u32>>,
    pub(super) within_s: Option<Given<u64>>,
    pub(super) back_off_s: Option<Given<Vec<u64>>>,
}

/// `[[service.probe]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Probe {
    pub(super) kind: Option<Given<ProbeKind>>,
    pub(super) address: Option<Given<String>>,
    pub(super) path: Option<Given<String>>,
    pub(super) status: Option<Given<u16>>,
    pub(super) body: Option<Given<String>>,
    pub(super) interval_ms: Option<Given<u64>>,
    pub(super) limit_ms: Option<Given<u64>>,
    pub(super) rise: Option<Given<u32>>,
    pub(super) fall: Option<Given<u32>>,
    pub(super) fall_unanswered: Option<Given<u32>>,
}

/// `kind = `
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProbeKind {
    Tcp,
    Http,
}
