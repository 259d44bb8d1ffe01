//! A `[[service]]` of the file as code uses it.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::checked::{Driver, RestartBudget, Service, Starter};
use super::convert::name;
use super::file;
use super::preset;
use super::probe::probe;
use super::reader::Reader;

/// A year, in seconds: no figure of ours is longer.
const YEAR_S: u64 = 31_536_000;

/// The suite's own units: a guard that stopped one of these would stop itself.
pub const OWN_UNITS: [&str; 5] = [
    "health-monitor.service",
    "master-fc.service",
    "master-ha-service.service",
    "slave-fc.service",
    "slave-ha-service.service",
];

/// The services, in the order of the file.
pub(super) fn services(reader: &mut Reader, tables: Vec<Spanned<file::Service>>) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    let mut units: BTreeMap<String, String> = BTreeMap::new();
    for (number, table) in tables.into_iter().enumerate() {
        let place = format!("service.{}", number + 1);
        let mut table = reader.table(&place, Some(table));
        let example = r#"name = "ambari-server""#;
        let given = reader.required(&place, &format!("{place}.name"), table.name.take(), example);
        let named = given.and_then(|given| name(reader, &format!("{place}.name"), given));
        let Some(named) = named else { continue };
        let service = service(reader, named.as_str(), &place, table);
        if let Driver::Systemd { unit } = &service.driver
            && let Some(other) = units.insert(unit.clone(), named.as_str().to_owned())
        {
            let text = format!(
                "services `{other}` and `{named}` have the same unit `{unit}`: remove one, or name another unit"
            );
            reader.fault(&[&format!("service.{named}.unit")], text);
        }
        services.push(service);
    }
    services
}

fn service(reader: &mut Reader, name: &str, place: &str, table: file::Service) -> Service {
    let key = |field: &str| format!("service.{name}.{field}");
    let started_by = match reader.value(&key("started_by"), table.started_by) {
        Some(file::Starter::MasterFc) => Starter::MasterFc,
        Some(file::Starter::MasterHaService) | None => Starter::MasterHaService,
    };
    let kind = reader.value(&key("driver"), table.driver).unwrap_or(file::Driver::Systemd);
    let driver = driver(reader, name, place, kind, table.unit, table.start);
    let after = reader.value(&key("after"), table.after).unwrap_or_default();
    let restart = restart(reader, &key("restart"), table.restart);
    let probes = table.probe.into_iter().enumerate();
    let probes = probes
        .filter_map(|(number, table)| probe(reader, &key(&format!("probe.{}", number + 1)), table))
        .collect();
    let pinned = reader.value(&key("pinned"), table.pinned);
    let pinned = pinned.and_then(|node| super::convert::name(reader, &key("pinned"), node));
    Service {
        name: name.to_owned(),
        started_by,
        pinned,
        after: after.into_iter().collect(),
        // What master-fc starts itself is what the others depend on, so that is what makes the cluster usable.
        announce: reader
            .value(&key("announce"), table.announce)
            .unwrap_or(started_by == Starter::MasterFc),
        critical: reader.value(&key("critical"), table.critical).unwrap_or(false),
        start_limit: reader.millis(
            &key("start_limit_ms"),
            table.start_limit_ms,
            preset::START_LIMIT,
        ),
        stop_limit: reader.millis(&key("stop_limit_ms"), table.stop_limit_ms, preset::STOP_LIMIT),
        restart,
        probes,
        // With a fault there is no configuration, but others may name this service rightly.
        driver: driver.unwrap_or(Driver::Command { start: Vec::new() }),
    }
}

/// The driver, with what it needs to stop the service on this host without asking anybody.
fn driver(
    reader: &mut Reader,
    name: &str,
    place: &str,
    kind: file::Driver,
    unit: Option<file::Given<String>>,
    start: Option<file::Given<Vec<String>>>,
) -> Option<Driver> {
    let (unit_key, start_key) = (format!("service.{name}.unit"), format!("service.{name}.start"));
    match kind {
        file::Driver::Systemd => {
            if let Some(start) = start {
                reader.value(&start_key, Some(start));
                let text = format!(
                    "`{start_key}` is for `driver = \"command\"`: remove it, or change the driver"
                );
                reader.fault(&[&start_key], text);
            }
            if unit.is_none() {
                let text = format!(
                    "service `{name}` has no `unit`, so this host has no way of its own to stop it: add `unit = \"{name}.service\"`"
                );
                reader.fault(&[place], text);
            }
            let unit = reader.value(&unit_key, unit)?;
            if !is_service_unit(&unit) {
                let text = format!(
                    "`{unit_key}` cannot be `{unit}`: write a unit that ends in `.service`"
                );
                reader.fault(&[&unit_key], text);
            } else if OWN_UNITS.contains(&unit.as_str()) {
                let text = format!(
                    "`{unit_key}` cannot be `{unit}`: headship does not manage itself, name the unit of the service"
                );
                reader.fault(&[&unit_key], text);
            }
            Some(Driver::Systemd { unit })
        }
        file::Driver::Command => {
            if let Some(unit) = unit {
                reader.value(&unit_key, Some(unit));
                let text = format!(
                    "`{unit_key}` is for `driver = \"systemd\"`: remove it, or change the driver"
                );
                reader.fault(&[&unit_key], text);
            }
            if start.is_none() {
                let text = format!(
                    "service `{name}` has no `start`, so there is nothing to run and nothing to stop: add `start = [\"/path/to/program\", \"argument\"]`"
                );
                reader.fault(&[place], text);
            }
            let start = reader.value(&start_key, start)?;
            if !start.first().is_some_and(|program| program.starts_with('/')) {
                let text = format!(
                    "`{start_key}` does not begin with the absolute path of a program: write `[\"/path/to/program\", \"argument\"]`"
                );
                reader.fault(&[&start_key], text);
            }
            Some(Driver::Command { start })
        }
    }
}

pub(super) fn is_service_unit(unit: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    unit.strip_suffix(".service").is_some_and(|stem| !stem.is_empty() && !stem.ends_with('@'))
        && unit.chars().all(allowed)
}

fn restart(reader: &mut Reader, key: &str, table: Option<Spanned<file::Restart>>) -> RestartBudget {
    let table = reader.table(key, table);
    let default = preset::restart();
    let before = reader.count();
    let within_key = format!("{key}.within_s");
    let back_off_key = format!("{key}.back_off_s");
    let budget = RestartBudget {
        times: reader.number(&format!("{key}.times"), table.times, default.times, 0..=1000),
        within: Duration::from_secs(reader.number(
            &within_key,
            table.within_s,
            default.within.as_secs(),
            1..=YEAR_S,
        )),
        back_off: match reader.value(&back_off_key, table.back_off_s) {
            Some(pauses) => pauses.into_iter().map(Duration::from_secs).collect(),
            None => default.back_off,
        },
    };
    let Some(last) = budget.back_off.last() else {
        let text = format!(
            "`{back_off_key}` is empty: write the pause before each restart, such as `[0, 5, 15, 45]`"
        );
        reader.fault(&[&back_off_key], text);
        return budget;
    };
    let times = usize::try_from(budget.times).unwrap_or(usize::MAX);
    let pauses = budget.back_off.iter().chain(std::iter::repeat(last)).take(times);
    let longest = pauses.fold(Duration::ZERO, |sum, pause| sum.saturating_add(*pause));
    if reader.count() == before && longest >= budget.within {
        let text = format!(
            "{} restarts with these pauses take {longest:?}, so the budget of {:?} could never be exhausted: raise `within_s`, or lower `times` or `back_off_s`",
            budget.times, budget.within
        );
        reader.fault(&[&within_key, &back_off_key, key], text);
    }
    budget
}
