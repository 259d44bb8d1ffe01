//! The whole configuration written out, each value with where it comes from.
//!
//! As TOML it can be read again: without the profile and whatever else it was made of it gives the same configuration. So
//! nothing that code goes by is missing. What follows other values, or the host, stands behind a `#`, as in the sample.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Map;
use toml::Value;

use super::checked::{
    Actions, Config, Driver, FenceKind, FenceMethod, Follow, Probe, ProbeKind, Programs, Service,
    Starter,
};
use super::origins::Origins;
use crate::time::millis;

/// How far comments are moved to the right at most.
const COLUMN: usize = 56;

/// A configuration as code uses it, and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Where its values come from.
    pub origins: Origins,
}

impl Effective {
    /// As TOML, with the origin of each value behind it.
    pub fn to_toml(&self) -> String {
        let mut text =
            "# What headship goes by on this node. Behind each value: where it is written.\n"
                .to_owned();
        if let Some(profile) = self.origins.profile() {
            text.push_str(&format!(
                "# The services of the profile `{profile}` are written out, in place of `cluster_type` and `esp`.\n"
            ));
        }
        for (service, origin) in self.origins.left_out() {
            text.push_str(&format!("# `{service}` is left out: {origin}\n"));
        }
        self.sections().iter().for_each(|section| section.write(&mut text));
        text
    }

    /// As JSON, with the keys that it has as TOML.
    pub fn to_json(&self) -> serde_json::Value {
        let mut root = Map::new();
        for section in self.sections() {
            let table = section.to_json();
            let put_last = |list: &mut serde_json::Value| {
                if let Some(list) = list.as_array_mut() {
                    list.push(table.clone().into());
                }
            };
            let list = || serde_json::Value::Array(Vec::new());
            match section.header {
                Header::Top => root.extend(table),
                Header::Table(name) => drop(root.insert(name.to_owned(), table.into())),
                Header::Item(name) => put_last(root.entry(name).or_insert_with(list)),
                Header::Probe => {
                    let services = root.get_mut("service").and_then(|list| list.as_array_mut());
                    let service = services.and_then(|list| list.last_mut()?.as_object_mut());
                    if let Some(service) = service {
                        put_last(service.entry("probe").or_insert_with(list));
                    }
                }
            }
        }
        root.into()
    }

    /// Where each value comes from, by its full name.
    pub fn told_origins(&self) -> BTreeMap<String, String> {
        let sections = self.sections().into_iter();
        let entries = sections.flat_map(|section| {
            let name = section.name;
            section.entries.into_iter().map(move |entry| (full(&name, &entry.key()), entry.origin))
        });
        entries.collect()
    }

    fn sections(&self) -> Vec<Section> {
        let Self { config, origins } = self;
        let mut page = Page { origins, sections: Vec::new() };
        page.cluster(config);
        if let Some(follow) = &config.follow {
            page.follow(follow);
        }
        page.timing(config);
        page.health(config);
        config.fencing.methods.iter().for_each(|method| page.fence(method));
        let services = config.services.iter().chain(&config.pinned);
        services.for_each(|service| page.service(service));
        page.sections
    }
}

/// How a table is opened.
#[derive(Clone, Copy)]
enum Header {
    Top,
    Table(&'static str),
    Item(&'static str),
    Probe,
}

/// A table.
struct Section {
    header: Header,
    /// Its full name, as faults have it.
    name: String,
    entries: Vec<Entry>,
}

/// A value in a table.
struct Entry {
    path: Vec<String>,
    value: Value,
    origin: String,
    /// Whether it stands behind a `#`.
    aside: bool,
}

impl Entry {
    fn key(&self) -> String {
        self.path.join(".")
    }

    fn line(&self) -> String {
        let bare = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let quoted = |part: &String| {
            if bare(part) { part.clone() } else { Value::from(part.as_str()).to_string() }
        };
        let key: Vec<String> = self.path.iter().map(quoted).collect();
        let aside = if self.aside { "#" } else { "" };
        format!("{aside}{} = {}", key.join("."), self.value)
    }
}

impl Section {
    fn write(&self, text: &mut String) {
        text.push_str(&match self.header {
            Header::Top => "\n".to_owned(),
            Header::Table(name) => format!("\n[{name}]\n"),
            Header::Item(name) => format!("\n[[{name}]]\n"),
            Header::Probe => "[[service.probe]]\n".to_owned(),
        });
        let lines: Vec<String> = self.entries.iter().map(Entry::line).collect();
        let widths = lines.iter().map(|line| line.chars().count());
        let width = widths.filter(|width| *width <= COLUMN).max().unwrap_or_default();
        for (line, entry) in lines.iter().zip(&self.entries) {
            text.push_str(&format!("{line:<width$}  # {}\n", entry.origin));
        }
    }

    fn to_json(&self) -> Map<String, serde_json::Value> {
        let mut table = Map::new();
        for Entry { path, value, .. } in &self.entries {
            let value = serde_json::to_value(value).unwrap_or_default();
            match path.as_slice() {
                [outer, inner] => {
                    let nested = table.entry(outer).or_insert_with(|| Map::new().into());
                    if let Some(nested) = nested.as_object_mut() {
                        nested.insert(inner.clone(), value);
                    }
                }
                path => drop(table.insert(path.concat(), value)),
            }
        }
        table
    }
}

fn full(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

/// The tables, as far as they are written out.
struct Page<'a> {
    origins: &'a Origins,
    sections: Vec<Section>,
}

impl Page<'_> {
    fn open(&mut self, header: Header, name: String) {
        self.sections.push(Section { header, name, entries: Vec::new() });
    }

    fn table(&mut self, name: &'static str) {
        self.open(Header::Table(name), name.to_owned());
    }

    fn name(&self) -> &str {
        self.sections.last().map_or("", |section| section.name.as_str())
    }

    fn push(&mut self, entry: Entry) {
        if let Some(section) = self.sections.last_mut() {
            section.entries.push(entry);
        }
    }

    /// A value of the table that was opened last.
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        let origin = self.origins.of(&[&full(self.name(), key)]);
        let path = key.split('.').map(str::to_owned).collect();
        self.push(Entry { path, value: value.into(), origin, aside: false });
    }

    /// A value that follows others, or the host, unless it is written.
    fn put_aside(&mut self, key: &str, value: impl Into<Value>, follows: &str) {
        let aside = !self.origins.is_written(&full(self.name(), key));
        self.put(key, value);
        let entries = self.sections.last_mut().map(|section| &mut section.entries);
        if let Some(entry) = entries.and_then(|entries| entries.last_mut()).filter(|_| aside) {
            (entry.aside, entry.origin) = (true, follows.to_owned());
        }
    }

    /// A table in which nothing need stand where it is itself: its place is that of the name beside it, if it has none.
    fn put_table(&mut self, key: &str, path: &[&str], value: BTreeMap<String, String>) {
        let names = [key, "name"].map(|key| full(self.name(), key));
        let origin = self.origins.of(&names.each_ref().map(String::as_str));
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.push(Entry { path, value: value.into(), origin, aside: false });
    }

    fn put_ms(&mut self, key: &str, span: Duration) {
        self.put(key, number(millis(span)));
    }

    fn cluster(&mut self, config: &Config) {
        self.open(Header::Top, String::new());
        self.put("cluster", &*config.cluster);
        self.put_aside("node", config.node.as_str(), "this host's name");
        self.table("failover_quorum");
        self.put("servers", config.quorum.servers.clone());
        self.put_ms("tick_ms", config.quorum.tick);
        self.put("sync_limit", config.quorum.sync_limit);
        if let Some(quorum) = &config.apache_quorum {
            self.table("apache_quorum");
            self.put("servers", quorum.servers.clone());
            self.put("hdfs", &*quorum.hdfs);
            self.put("yarn", &*quorum.yarn);
            self.put("hbase", &*quorum.hbase);
        }
        self.table("hadoop");
        self.put("conf", &*config.hadoop.conf);
        self.put("livy_conf", &*config.hadoop.livy_conf);
        for (number, headnode) in (1..).zip(&config.headnodes) {
            self.open(Header::Item("headnode"), format!("headnode.{number}"));
            self.put("name", headnode.name.as_str());
            self.put("address", &*headnode.address);
        }
    }

    fn follow(&mut self, follow: &Follow) {
        self.table("follow");
        self.put("alias", &*follow.alias);
        self.put("hosts_file", &*follow.hosts_file);
        match &follow.agent {
            Some(Driver::Systemd { unit }) => self.put("agent_unit", &**unit),
            Some(Driver::Command { start }) => self.put("agent_command", start.clone()),
            // An agent is never one of these.
            Some(Driver::Actions(_)) | None => {}
        }
        self.put("restart_slots", follow.restart_slots);
        self.put_ms("poll_ms", follow.poll);
        self.put_ms("bind_limit_ms", follow.bind_limit);
    }

    fn timing(&mut self, config: &Config) {
        let timing = &config.timing;
        self.table("timing");
        self.put_ms("lease_ms", timing.lease);
        self.put_ms("session_ms", timing.session);
        self.put_ms("renew_ms", timing.renew);
        self.put_ms("kill_ms", timing.kill);
        self.put_ms("grace_ms", timing.grace);
        self.put_ms("period_ms", timing.period);
        self.put_ms("lonely_after_ms", timing.lonely_after);
        self.put_ms("stay_out_ms", timing.stay_out);
        self.put_ms("fence_budget_ms", config.fencing.budget);
        // A default that is of no use, with heartbeats as seldom as that, would be a fault where it is written.
        let dead_after = number(millis(config.fencing.dead_after));
        self.put_aside("dead_after_ms", dead_after, "default: two renewals or a heartbeat");
    }

    fn health(&mut self, config: &Config) {
        let health = &config.health;
        self.table("health");
        self.put_ms("interval_ms", health.interval);
        self.put_ms("silent_after_ms", health.silent_after);
        self.put("rise", health.rise);
        self.put("fall", health.fall);
        self.put("disk_free_mib", number(health.disk_free_mib));
        self.put("memory_available_mib", number(health.memory_available_mib));
    }

    fn fence(&mut self, method: &FenceMethod) {
        self.open(Header::Item("fence"), format!("fence.{}", method.name));
        self.put("name", &*method.name);
        match &method.kind {
            FenceKind::Agent { program, secrets_file, nodes } => {
                self.put("method", "fence_agent");
                self.put("agent", &**program);
                if let Some(file) = secrets_file {
                    self.put("secrets_file", &**file);
                }
                for (node, told) in nodes {
                    self.put_table("node", &["node", node.as_str()], told.clone());
                }
            }
            FenceKind::Ssh { arguments } => {
                self.put("method", "ssh");
                self.put("arguments", arguments.clone());
            }
            FenceKind::Command { command } => {
                self.put("method", "command");
                self.put("command", command.clone());
            }
        }
        self.put_ms("limit_ms", method.limit);
    }

    fn service(&mut self, service: &Service) {
        self.open(Header::Item("service"), format!("service.{}", service.name));
        self.put("name", &*service.name);
        self.put("enabled", true);
        self.driver(&service.driver);
        self.put(
            "started_by",
            match service.started_by {
                Starter::MasterFc => "master-fc",
                Starter::MasterHaService => "master-ha-service",
            },
        );
        self.put("after", texts(&service.after));
        self.put("announce", service.announce);
        self.put("critical", service.critical);
        self.put("pinned", service.pinned.as_ref().map_or("", |node| node.as_str()));
        self.put_ms("start_limit_ms", service.start_limit);
        self.put_ms("stop_limit_ms", service.stop_limit);
        let restart = &service.restart;
        self.put("restart.times", restart.times);
        self.put("restart.within_s", number(restart.within.as_secs()));
        let back_off = restart.back_off.iter().map(|pause| number(pause.as_secs()));
        self.put("restart.back_off_s", back_off.collect::<Vec<Value>>());
        for (number, probe) in (1..).zip(&service.probes) {
            self.open(Header::Probe, format!("service.{}.probe.{number}", service.name));
            self.probe(probe);
        }
    }

    fn driver(&mut self, driver: &Driver) {
        match driver {
            Driver::Systemd { unit } => {
                self.put("driver", "systemd");
                self.put("unit", &**unit);
            }
            Driver::Command { start } => {
                self.put("driver", "command");
                self.put("start", start.clone());
            }
            Driver::Actions(Actions { programs, interval, limit }) => {
                self.programs(programs);
                self.put_ms("monitor_interval_ms", *interval);
                self.put_ms("monitor_limit_ms", *limit);
            }
        }
    }

    fn programs(&mut self, programs: &Programs) {
        match programs {
            Programs::Command { start, stop, status } => {
                self.put("driver", "command");
                self.put("start", start.clone());
                self.put("stop", stop.clone());
                self.put("status", status.clone());
            }
            // Where agents are installed is the same everywhere.
            Programs::Ocf { root: _, provider, agent, parameters } => {
                self.put("driver", "ocf");
                self.put("agent", format!("{provider}:{agent}"));
                self.put_table("parameters", &["parameters"], parameters.clone());
            }
        }
    }

    fn probe(&mut self, probe: &Probe) {
        match &probe.kind {
            ProbeKind::Tcp { address } => {
                self.put("kind", "tcp");
                self.put("address", &**address);
            }
            ProbeKind::Http { address, path, status, body } => {
                self.put("kind", "http");
                self.put("address", &**address);
                self.put("path", &**path);
                self.put("status", i64::from(*status));
                if let Some(body) = body {
                    self.put("body", &**body);
                }
            }
        }
        self.put_ms("interval_ms", probe.interval);
        self.put_ms("limit_ms", probe.limit);
        self.put("rise", probe.rise);
        self.put("fall", probe.fall);
        self.put("fall_unanswered", probe.fall_unanswered);
    }
}

/// A number as TOML has it, which knows none that is larger.
fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn texts(texts: &BTreeSet<String>) -> Vec<String> {
    texts.iter().cloned().collect()
}
