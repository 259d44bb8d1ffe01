//! From the file to the configuration that code uses: defaults, and the faults of single values.
//!
//! How values must relate to each other is in `relations` (timing) and `order` (services).

use std::collections::BTreeSet;
use std::time::Duration;

use super::checked::{Config, Headnode, HealthLimits, Quorum, Service, Timing};
use super::file::{self, File};
use super::reader::Reader;
use super::{ambari, fence, follow, hadoop, order, preset, relations, service};
use crate::node::NodeName;
use crate::time::millis;

/// What a name in the configuration may be made of: it becomes part of paths, unit names and log lines.
const NAME: &str = "letters, digits, `-`, `_` and `.`, at most 64 of them";

/// The configuration, or `None` with faults in `reader`. There may be faults beside a result, too.
pub(super) fn config(reader: &mut Reader, file: File, host: NodeName) -> Option<Config> {
    let cluster = reader.required("", "cluster", file.cluster, r#"cluster = "main""#);
    let cluster = cluster.and_then(|cluster| name(reader, "cluster", cluster));
    let node = match reader.value("node", file.node) {
        Some(given) => name(reader, "node", given),
        None => Some(host),
    };
    let before = reader.count();
    let quorum = quorum(reader, file.failover_quorum);
    let (timing, budget, dead_after) = timing(reader, file.timing);
    if reader.count() == before {
        relations::timing(reader, &quorum, &timing);
    }
    let apache_quorum = hadoop::apache_quorum(reader, file.apache_quorum, &quorum);
    let hadoop = hadoop::hadoop(reader, file.hadoop);
    let health = health(reader, file.health);
    let (before, written) = (reader.count(), dead_after.is_some());
    let default = preset::dead_after(&timing, &health);
    let dead_after = reader.millis("timing.dead_after_ms", dead_after, default);
    if written && reader.count() == before {
        relations::dead_after(reader, dead_after, &timing, &health);
    }
    let headnodes = headnodes(reader, file.headnode);
    let ambari = ambari::ambari(reader, file.ambari, cluster.as_ref(), (node.as_ref(), &headnodes));
    let before = reader.count();
    let services = service::services(reader, file.service, &ambari);
    if reader.count() == before {
        order::announced(reader, &services);
    }
    let services = order::services(reader, services);
    let fencing = fence::fencing(reader, file.fence, (budget, dead_after), &headnodes);
    let follow = follow::follow(reader, file.follow, &headnodes, &services);
    order::pinned(reader, &services, &headnodes);
    let (pinned, services) =
        services.into_iter().partition(|service: &Service| service.pinned.is_some());
    Some(Config {
        cluster: cluster?.as_str().to_owned(),
        node: node?,
        headnodes,
        quorum,
        apache_quorum,
        hadoop,
        timing,
        health,
        follow,
        fencing,
        services,
        pinned,
    })
}

/// A name that stands at `key`.
pub(super) fn name(reader: &mut Reader, key: &str, name: String) -> Option<NodeName> {
    match NodeName::try_from(name.as_str()) {
        Ok(name) => Some(name),
        Err(_) => {
            reader.fault(&[key], format!("`{key}` cannot be `{name}`: write {NAME}"));
            None
        }
    }
}

/// Whether this is a host and a port.
pub(super) fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// How the servers of an ensemble are written.
const EXAMPLE: &str = r#"servers = ["zk0:2181", "zk1:2181", "zk2:2181"]"#;

/// Whether the servers at `key` are some, each a host and a port, and each once.
pub(super) fn check_servers(reader: &mut Reader, key: &str, servers: &[String]) {
    if servers.is_empty() {
        reader.fault(&[key], format!("`{key}` is empty: write `{EXAMPLE}`"));
    }
    let mut seen = BTreeSet::new();
    for server in servers {
        if !is_host_and_port(server) {
            let text = format!("`{key}` cannot contain `{server}`: write `host:port`");
            reader.fault(&[key], text);
        } else if !seen.insert(server) {
            let text = format!("`{key}` contains `{server}` twice: remove one");
            reader.fault(&[key], text);
        }
    }
}

fn quorum(reader: &mut Reader, table: Option<toml::Spanned<file::Quorum>>) -> Quorum {
    const SERVERS: &str = "failover_quorum.servers";
    let table = reader.table("failover_quorum", table);
    let servers = reader.required("failover_quorum", SERVERS, table.servers, EXAMPLE);
    if let Some(servers) = &servers {
        check_servers(reader, SERVERS, servers);
    }
    Quorum {
        servers: servers.unwrap_or_default(),
        tick: reader.millis("failover_quorum.tick_ms", table.tick_ms, preset::TICK),
        sync_limit: reader.number(
            "failover_quorum.sync_limit",
            table.sync_limit,
            preset::SYNC_LIMIT,
            1..=1000,
        ),
    }
}

/// The figures of the lease, how long all fence methods may take together, and what is written of `dead_after_ms`.
fn timing(
    reader: &mut Reader,
    table: Option<toml::Spanned<file::Timing>>,
) -> (Timing, Duration, Option<file::Given<u64>>) {
    let table = reader.table("timing", table);
    let preset = reader.value("timing.preset", table.preset).unwrap_or_default();
    let default = preset::timing(preset);
    // Zero is a grace like any other: then services are killed at D without being asked to stop before.
    let grace = millis(default.grace);
    let budget =
        reader.millis("timing.fence_budget_ms", table.fence_budget_ms, preset::FENCE_BUDGET);
    let timing = Timing {
        lease: reader.millis("timing.lease_ms", table.lease_ms, default.lease),
        session: reader.millis("timing.session_ms", table.session_ms, default.session),
        renew: reader.millis("timing.renew_ms", table.renew_ms, default.renew),
        kill: reader.millis("timing.kill_ms", table.kill_ms, default.kill),
        grace: Duration::from_millis(reader.number(
            "timing.grace_ms",
            table.grace_ms,
            grace,
            0..=86_400_000,
        )),
        period: reader.millis("timing.period_ms", table.period_ms, default.period),
        lonely_after: reader.millis(
            "timing.lonely_after_ms",
            table.lonely_after_ms,
            default.lonely_after,
        ),
        stay_out: reader.millis("timing.stay_out_ms", table.stay_out_ms, default.stay_out),
    };
    (timing, budget, table.dead_after_ms)
}

fn health(reader: &mut Reader, table: Option<toml::Spanned<file::Health>>) -> HealthLimits {
    let table = reader.table("health", table);
    let default = preset::health();
    let before = reader.count();
    let limits = HealthLimits {
        interval: reader.millis("health.interval_ms", table.interval_ms, default.interval),
        silent_after: reader.millis(
            "health.silent_after_ms",
            table.silent_after_ms,
            default.silent_after,
        ),
        rise: reader.number("health.rise", table.rise, default.rise, 1..=1000),
        fall: reader.number("health.fall", table.fall, default.fall, 1..=1000),
        disk_free_mib: reader
            .value("health.disk_free_mib", table.disk_free_mib)
            .unwrap_or(default.disk_free_mib),
        memory_available_mib: reader
            .value("health.memory_available_mib", table.memory_available_mib)
            .unwrap_or(default.memory_available_mib),
    };
    if reader.count() == before {
        relations::health(reader, &limits);
    }
    limits
}

fn headnodes(reader: &mut Reader, tables: Vec<toml::Spanned<file::Headnode>>) -> Vec<Headnode> {
    let given = tables.len();
    let mut headnodes: Vec<Headnode> = Vec::new();
    for (number, table) in tables.into_iter().enumerate() {
        let key = format!("headnode.{}", number + 1);
        let table = reader.table(&key, Some(table));
        let (name_key, address_key) = (format!("{key}.name"), format!("{key}.address"));
        let given_name = reader.required(&key, &name_key, table.name, r#"name = "hn0""#);
        let headnode = given_name.and_then(|given| name(reader, &name_key, given));
        let address =
            reader.required(&key, &address_key, table.address, r#"address = "10.0.0.10""#);
        let (Some(name), Some(address)) = (headnode, address) else { continue };
        if address.is_empty() || address.contains(char::is_whitespace) {
            let text =
                format!("`{address_key}` cannot be `{address}`: write an address or a host name");
            reader.fault(&[&address_key], text);
        }
        if let Some(other) = headnodes.iter().find(|other| other.address == address) {
            let text = format!(
                "headnode `{name}` has the address of headnode `{}`, `{address}`: give each its own",
                other.name
            );
            reader.fault(&[&address_key], text);
        }
        headnodes.push(Headnode { name, address });
    }
    if given < 2 {
        let text = format!(
            "a cluster needs two headnodes, and here is {}: add a `[[headnode]]` with `name` and `address`",
            if given == 0 { "none" } else { "one" }
        );
        reader.fault(&["headnode.1"], text);
    }
    headnodes
}
