//! A `[[service]]` of the file as code uses it.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::ambari::Ambari;
use super::checked::{Driver, Programs, RestartBudget, Service, Starter};
use super::convert::name;
use super::driver::{self, Key};
use super::file;
use super::preset;
use super::probe::probe;
use super::reader::Reader;

/// A year, in seconds: no figure of ours is longer.
const YEAR_S: u64 = 31_536_000;

/// The services, in the order of the file.
pub(super) fn services(
    reader: &mut Reader,
    tables: Vec<Spanned<file::Service>>,
    ambari: &Ambari,
) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    let mut components: BTreeMap<String, String> = BTreeMap::new();
    let mut units: BTreeMap<String, String> = BTreeMap::new();
    for (number, table) in tables.into_iter().enumerate() {
        let place = format!("service.{}", number + 1);
        let mut table = reader.table(&place, Some(table));
        let example = r#"name = "ambari-server""#;
        let given = reader.required(&place, &format!("{place}.name"), table.name.take(), example);
        let named = given.and_then(|given| name(reader, &format!("{place}.name"), given));
        let Some(named) = named else { continue };
        let service = service(reader, named.as_str(), (&place, ambari), table);
        if let Some(unit) = service.driver.gated_unit()
            && let Some(other) = units.insert(unit.to_owned(), named.as_str().to_owned())
        {
            let text = format!(
                "services `{other}` and `{named}` have the same unit `{unit}`: remove one, or name another unit"
            );
            reader.fault(&[&format!("service.{named}.unit")], text);
        }
        if let Driver::Actions(actions) = &service.driver
            && let Programs::Ambari(component) = &actions.programs
            && let Some(other) =
                components.insert(component.name.clone(), named.as_str().to_owned())
        {
            let text = format!(
                "services `{other}` and `{named}` have the same component `{}`: remove one, or name another component",
                component.name
            );
            reader.fault(&[&format!("service.{named}.component")], text);
        }
        services.push(service);
    }
    services
}

fn service(
    reader: &mut Reader,
    name: &str,
    (place, ambari): (&str, &Ambari),
    mut table: file::Service,
) -> Service {
    let key = |field: &str| format!("service.{name}.{field}");
    let started_by = match reader.value(&key("started_by"), table.started_by.take()) {
        Some(file::Starter::MasterFc) => Starter::MasterFc,
        Some(file::Starter::MasterHaService) | None => Starter::MasterHaService,
    };
    let driver = driver::driver(reader, &Key { name, place }, &mut table, ambari);
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
