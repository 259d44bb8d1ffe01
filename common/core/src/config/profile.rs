//! Profiles: the HA services that a cluster type has, as a piece of configuration that lies beneath what people write.
//!
//! One table holds the matrix of all types; the text for one of them is made of it. How that is merged with the files is
//! the business of `source`, and what its values mean that of everybody who reads them: a profile can say nothing that a
//! user could not write, and everything that it says can be written over.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::convert::is_host_and_port;
use super::preset;
use crate::node::NodeName;

/// `cluster_type = `
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ClusterType {
    Hadoop,
    Spark,
    Hbase,
    Kafka,
    InteractiveQuery,
}

use ClusterType::{Hadoop, Hbase, InteractiveQuery, Kafka, Spark};

impl ClusterType {
    const ALL: [Self; 5] = [Hadoop, Spark, Hbase, Kafka, InteractiveQuery];

    /// As people write it.
    const fn name(self) -> &'static str {
        match self {
            Hadoop => "hadoop",
            Spark => "spark",
            Hbase => "hbase",
            Kafka => "kafka",
            InteractiveQuery => "interactive-query",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A service of the matrix.
struct Row {
    name: &'static str,
    /// As the packages of Apache Ambari and Apache Bigtop call it.
    unit: &'static str,
    port: u16,
    /// What is answered with 200 as soon as it serves: its port is open some seconds before.
    path: &'static str,
    types: &'static [ClusterType],
}

/// The matrix. Where Kerberos is, all but the first stay on one headnode.
const MATRIX: [Row; 4] = [
    Row {
        name: FIRST,
        unit: "ambari-server.service",
        port: 8080,
        path: "/",
        types: &ClusterType::ALL,
    },
    Row {
        name: "timeline-server",
        unit: "hadoop-yarn-timelineserver.service",
        port: 8188,
        path: "/ws/v1/timeline",
        types: &ALL_BUT_KAFKA,
    },
    Row {
        name: "job-history",
        unit: "hadoop-mapreduce-historyserver.service",
        port: 19888,
        path: "/ws/v1/history/info",
        types: &ALL_BUT_KAFKA,
    },
    Row {
        name: "livy",
        unit: "livy-server.service",
        port: 8998,
        path: "/version",
        types: &[Spark],
    },
];

const ALL_BUT_KAFKA: [ClusterType; 4] = [Hadoop, Spark, Hbase, InteractiveQuery];

/// The service that master-fc starts, and that office is announced with; it moves in each cluster.
const FIRST: &str = "ambari-server";

/// A profile: its name, and its text.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) text: String,
}

/// The profile that goes with what is written; `None` if no cluster type is. One that there is not has the services of all,
/// lest what is written over them counts as faults as well: with that name there is no configuration anyway.
pub(super) fn of(written: &DeTable<'_>) -> Option<Profile> {
    let name = written.get("cluster_type")?.get_ref().as_str().unwrap_or_default();
    let written = Written(written);
    let text = rows(ClusterType::of(name)).map(|row| written.service(row)).collect();
    Some(Profile { name: name.replace(char::is_control, " "), text })
}

/// The units of each profile that is named in these texts, whatever faults they have; of all, where it is not understood which.
pub fn named_units(texts: &[String]) -> BTreeSet<&'static str> {
    let lines = texts.iter().flat_map(|text| text.lines());
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    let named = lines.flat_map(|line| line.split("cluster_type").skip(1));
    let rows = named.flat_map(|rest| {
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start).unwrap_or_default();
        let quoted = ['"', '\''].map(|quote| value.strip_prefix(quote)?.split(quote).next());
        rows(quoted.into_iter().flatten().next().and_then(ClusterType::of))
    });
    rows.map(|row| row.unit).collect()
}

/// What a type has; every service for none.
fn rows(of: Option<ClusterType>) -> impl Iterator<Item = &'static Row> {
    MATRIX.iter().filter(move |row| of.is_none_or(|of| row.types.contains(&of)))
}

/// What people wrote, as far as a profile goes by it.
struct Written<'a>(&'a DeTable<'a>);

impl Written<'_> {
    /// A service as the profile says it. What would contradict a key that is written over it is left out.
    fn service(&self, row: &Row) -> String {
        let is_first = row.name == FIRST;
        let esp = self.0.get("esp").and_then(|it| it.get_ref().as_bool()).unwrap_or(false);
        let pinned = match self.own(row.name, "pinned") {
            Some(node) => Some(node).filter(|node| !node.is_empty()),
            None => self.first_headnode().filter(|_| esp && !is_first),
        };
        let mut lines = vec!["[[service]]".to_owned(), put("name", row.name)];
        // A program of one's own has none.
        if self.own(row.name, "driver").is_none_or(|driver| driver == "systemd") {
            lines.push(put("unit", row.unit));
        }
        if is_first {
            lines.push(put("started_by", "master-fc"));
        } else if let Some(node) = pinned {
            lines.push(put("pinned", node));
        } else {
            lines.push(format!("after = [{FIRST:?}]"));
        }
        lines.push("[[service.probe]]".to_owned());
        let host = if is_first { LOOPBACK.to_owned() } else { self.host(pinned) };
        let address = put("address", &format!("{host}:{}", row.port));
        // With Kerberos the others may ask for a ticket, which a probe has not, and answer 401 instead of 200 or not.
        if esp && !is_first {
            lines.extend([put("kind", "tcp"), address]);
        } else {
            lines.extend([put("kind", "http"), address, put("path", row.path)]);
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Where a service is asked on the headnode that it runs on. Hadoop's servers may listen on the alias alone, or on their
    /// headnode's own name: on the wrong one they could not even start.
    fn host(&self, pinned: Option<&str>) -> String {
        let host = match pinned {
            Some(node) => self.address(node).map(str::to_owned),
            None => self.alias(),
        };
        let host = host.map(|host| if host.contains(':') { format!("[{host}]") } else { host });
        // What is no address is told where it stands.
        host.filter(|host| is_host_and_port(&format!("{host}:1")))
            .unwrap_or_else(|| LOOPBACK.to_owned())
    }

    /// The alias, where nodes follow.
    fn alias(&self) -> Option<String> {
        let follow = self.0.get("follow")?.get_ref().as_table()?;
        let alias = text(follow, "alias").unwrap_or(preset::ALIAS);
        NodeName::try_from(alias).ok().map(|alias| alias.to_string())
    }

    fn first_headnode(&self) -> Option<&str> {
        let name = self.headnodes().find_map(|headnode| text(headnode, "name"))?;
        NodeName::try_from(name).is_ok().then_some(name)
    }

    fn address(&self, node: &str) -> Option<&str> {
        let mut headnodes = self.headnodes();
        text(headnodes.find(|headnode| text(headnode, "name") == Some(node))?, "address")
    }

    fn headnodes(&self) -> impl Iterator<Item = &DeTable<'_>> {
        self.list("headnode")
    }

    /// What is written over a key of this service.
    fn own(&self, service: &str, key: &str) -> Option<&str> {
        let mut services = self.list("service");
        text(services.find(|it| text(it, "name") == Some(service))?, key)
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &DeTable<'_>> {
        let list = self.0.get(key).and_then(|list| list.get_ref().as_array());
        list.into_iter().flatten().filter_map(|item| item.get_ref().as_table())
    }
}

/// Where what listens on all addresses is asked.
const LOOPBACK: &str = "127.0.0.1";

fn text<'a>(table: &'a DeTable<'_>, key: &str) -> Option<&'a str> {
    table.get(key).map(toml::Spanned::get_ref).and_then(DeValue::as_str)
}

fn put(key: &str, value: &str) -> String {
    format!("{key} = {}", Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(texts: &[&str]) -> Vec<&'static str> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        named_units(&texts).into_iter().collect()
    }

    #[test]
    fn a_type_is_written_as_it_is_read() {
        for it in ClusterType::ALL {
            let read = ClusterType::deserialize(Value::from(it.name())).unwrap();
            assert_eq!(read, it);
        }
    }

    #[test]
    fn the_units_of_a_profile_are_known_from_a_text_with_faults() {
        let of_kafka = ["ambari-server.service"];
        assert_eq!(units(&["oops = \ncluster_type = \"kafka\"\n[[service]"]), of_kafka);
        assert_eq!(units(&["cluster_type='kafka'"]), of_kafka);
        assert_eq!(units(&["cluster_type = \"hadoop\""]).len(), 3);
        assert_eq!(units(&["cluster_type = \"kafka\"", "cluster_type = \"hadoop\""]).len(), 3);
        for all in ["cluster_type = \"sparc\"", "\"cluster_type\" = \"kafka\"", "cluster_type"] {
            assert_eq!(units(&[all]).len(), 4, "{all}");
        }
        assert!(units(&["# cluster_type = \"spark\"\ncluster = \"spark\""]).is_empty());
    }
}
