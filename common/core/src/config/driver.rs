//! The driver of a `[[service]]`, with what it needs to stop the service on this host without asking anybody.

use std::collections::BTreeMap;

use super::ambari::{self, Ambari};
use super::checked::{Actions, Driver, Programs};
use super::reader::Reader;
use super::{file, preset};

/// The suite's own units: a guard that stopped one of these would stop itself.
pub const OWN_UNITS: [&str; 5] = [
    "health-monitor.service",
    "master-fc.service",
    "master-ha-service.service",
    "slave-fc.service",
    "slave-ha-service.service",
];

/// How services without a process are written.
const THREE: &str = "its three programs are `start`, `stop` and `status`";

/// Where resource agents are installed, on every distribution.
const OCF_ROOT: &str = "/usr/lib/ocf";

/// The names under which places of one service are known.
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    pub(super) place: &'a str,
}

impl Key<'_> {
    pub(super) fn of(&self, field: &str) -> String {
        format!("service.{}.{field}", self.name)
    }
}

/// The driver; `None` with a fault in `reader`.
pub(super) fn driver(
    reader: &mut Reader,
    key: &Key<'_>,
    table: &mut file::Service,
    server: &Ambari,
) -> Option<Driver> {
    let kind = reader.value(&key.of("driver"), table.driver.take());
    let kind = kind.unwrap_or(file::Driver::Systemd);
    let has_actions = kind == file::Driver::Ocf || table.stop.is_some() || table.status.is_some();
    refuse_foreign(reader, key, kind, table);
    let driver = match kind {
        file::Driver::Systemd => {
            let unit = unit(reader, key, table.unit.take())?;
            return Some(Driver::Systemd { unit });
        }
        file::Driver::Command if !has_actions => {
            refuse_idle_figures(reader, key, table);
            return Some(Driver::Command { start: start(reader, key, table)? });
        }
        file::Driver::Command => three(reader, key, table),
        file::Driver::Ocf => ocf(reader, key, table),
        file::Driver::Ambari => ambari::component(reader, key, table, server)
            .map(|component| Programs::Ambari(Box::new(component))),
    };
    let default = match kind {
        file::Driver::Ambari => preset::LOOK_INTERVAL,
        file::Driver::Systemd | file::Driver::Command | file::Driver::Ocf => {
            preset::MONITOR_INTERVAL
        }
    };
    let (interval, limit) = (key.of("monitor_interval_ms"), key.of("monitor_limit_ms"));
    let interval = reader.millis(&interval, table.monitor_interval_ms.take(), default);
    let limit = reader.millis(&limit, table.monitor_limit_ms.take(), preset::MONITOR_LIMIT);
    Some(Driver::Actions(Actions { programs: driver?, interval, limit }))
}

/// What belongs to another driver is a misunderstanding, not a spare.
fn refuse_foreign(reader: &mut Reader, key: &Key<'_>, kind: file::Driver, table: &file::Service) {
    let systemd = ("systemd", file::Driver::Systemd);
    let (command, ocf) = (("command", file::Driver::Command), ("ocf", file::Driver::Ocf));
    let ambari = ("ambari", file::Driver::Ambari);
    let of_unit = if kind == ambari.1 { ambari } else { systemd };
    let fields = [
        ("unit", of_unit, table.unit.as_ref().map(|it| it.offset)),
        ("start", command, table.start.as_ref().map(|it| it.offset)),
        ("stop", command, table.stop.as_ref().map(|it| it.offset)),
        ("status", command, table.status.as_ref().map(|it| it.offset)),
        ("agent", ocf, table.agent.as_ref().map(|it| it.offset)),
        ("parameters", ocf, table.parameters.as_ref().map(|it| it.offset)),
        ("component", ambari, table.component.as_ref().map(|it| it.offset)),
        ("process", ambari, table.process.as_ref().map(|it| it.offset)),
    ];
    for (field, (word, of), offset) in fields {
        if let Some(offset) = offset.filter(|_| of != kind) {
            let name = key.of(field);
            let text =
                format!("`{name}` is for `driver = \"{word}\"`: remove it, or change the driver");
            reader.fault_at(offset, text);
        }
    }
    if kind == file::Driver::Systemd {
        refuse_idle_figures(reader, key, table);
    }
}

/// A process is not asked whether it runs.
fn refuse_idle_figures(reader: &mut Reader, key: &Key<'_>, table: &file::Service) {
    let fields = [
        ("monitor_interval_ms", table.monitor_interval_ms.as_ref().map(|it| it.offset)),
        ("monitor_limit_ms", table.monitor_limit_ms.as_ref().map(|it| it.offset)),
    ];
    for (field, offset) in fields {
        if let Some(offset) = offset {
            let name = key.of(field);
            let text = format!(
                "`{name}` is for `driver = \"ocf\"` or `\"ambari\"`, and for a `command` with `status`: remove it"
            );
            reader.fault_at(offset, text);
        }
    }
}

fn unit(reader: &mut Reader, key: &Key<'_>, unit: Option<file::Given<String>>) -> Option<String> {
    if unit.is_none() {
        let name = key.name;
        let text = format!(
            "service `{name}` has no `unit`, so this host has no way of its own to stop it: add `unit = \"{name}.service\"`"
        );
        reader.fault(&[key.place], text);
    }
    checked_unit(reader, key, unit)
}

/// A unit that can be one of a service.
pub(super) fn checked_unit(
    reader: &mut Reader,
    key: &Key<'_>,
    unit: Option<file::Given<String>>,
) -> Option<String> {
    let unit_key = key.of("unit");
    let unit = reader.value(&unit_key, unit)?;
    if !is_service_unit(&unit) {
        let text = format!("`{unit_key}` cannot be `{unit}`: write a unit that ends in `.service`");
        reader.fault(&[&unit_key], text);
    } else if OWN_UNITS.contains(&unit.as_str()) {
        let text = format!(
            "`{unit_key}` cannot be `{unit}`: headship does not manage itself, name the unit of the service"
        );
        reader.fault(&[&unit_key], text);
    }
    Some(unit)
}

fn start(reader: &mut Reader, key: &Key<'_>, table: &mut file::Service) -> Option<Vec<String>> {
    let given = table.start.take();
    if given.is_none() {
        let text = format!(
            "service `{}` has no `start`, so there is nothing to run and nothing to stop: add `start = [\"/path/to/program\", \"argument\"]`",
            key.name
        );
        reader.fault(&[key.place], text);
    }
    program(reader, &key.of("start"), given)
}

fn program(
    reader: &mut Reader,
    key: &str,
    given: Option<file::Given<Vec<String>>>,
) -> Option<Vec<String>> {
    let program = reader.value(key, given)?;
    if !program.first().is_some_and(|program| program.starts_with('/')) {
        let text = format!(
            "`{key}` does not begin with the absolute path of a program: write `[\"/path/to/program\", \"argument\"]`"
        );
        reader.fault(&[key], text);
    }
    Some(program)
}

/// A command that starts something and goes: without a way to stop it and one to see it, nobody could tell what runs.
fn three(reader: &mut Reader, key: &Key<'_>, table: &mut file::Service) -> Option<Programs> {
    let (stop, status) = (table.stop.take(), table.status.take());
    for (field, missing, without) in [
        ("stop", stop.is_none(), "there is no way to stop it"),
        ("status", status.is_none(), "nobody could see whether it runs, nor that it is stopped"),
    ] {
        if missing {
            let text = format!(
                "service `{}` has no `{field}`, so {without}: {THREE}; one that stays in the foreground has `start` alone",
                key.name
            );
            reader.fault(&[key.place], text);
        }
    }
    let start = start(reader, key, table);
    let stop = program(reader, &key.of("stop"), stop);
    let status = program(reader, &key.of("status"), status);
    Some(Programs::Command { start: start?, stop: stop?, status: status? })
}

fn ocf(reader: &mut Reader, key: &Key<'_>, table: &mut file::Service) -> Option<Programs> {
    let agent_key = key.of("agent");
    let example = r#"agent = "heartbeat:IPaddr2""#;
    let agent = reader.required(key.place, &agent_key, table.agent.take(), example);
    let parameters_key = key.of("parameters");
    let given = reader.value(&parameters_key, table.parameters.take()).unwrap_or_default();
    let parameters = parameters(reader, &parameters_key, &[&parameters_key, key.place], given);
    let agent = agent?;
    let plain = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match agent.strip_prefix("ocf:").unwrap_or(&agent).split_once(':') {
        Some((provider, name)) if plain(provider) && plain(name) => Some(Programs::Ocf {
            root: OCF_ROOT.to_owned(),
            provider: provider.to_owned(),
            agent: name.to_owned(),
            parameters,
        }),
        Some(_) | None => {
            let text = format!(
                "`{agent_key}` cannot be `{agent}`: write the provider and the name of an agent, as in `heartbeat:IPaddr2`"
            );
            reader.fault(&[&agent_key], text);
            None
        }
    }
}

/// What an agent is told, as texts. Each becomes a variable of its environment, so its name has to be one.
fn parameters(
    reader: &mut Reader,
    key: &str,
    at: &[&str],
    given: file::Parameters,
) -> BTreeMap<String, String> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut texts = BTreeMap::new();
    for (name, value) in given {
        let text = match value {
            toml::Value::String(text) => Some(text).filter(|text| !text.contains('\0')),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Boolean(flag) => Some(flag.to_string()),
            toml::Value::Float(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => None,
        };
        match text {
            Some(text) if is_name(&name) => drop(texts.insert(name, text)),
            Some(_) => reader.fault(
                at,
                format!("`{key}.{name}` is no name of a parameter: write letters, digits and `_`"),
            ),
            None => reader.fault(
                at,
                format!(
                    "`{key}.{name}` is no text, whole number, `true` or `false`: write one of them"
                ),
            ),
        }
    }
    texts
}

pub(super) fn is_service_unit(unit: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    unit.strip_suffix(".service").is_some_and(|stem| !stem.is_empty() && !stem.ends_with('@'))
        && unit.chars().all(allowed)
}
