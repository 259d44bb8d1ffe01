//! The order of services, and the faults that only show when all of them are seen together.

use std::collections::BTreeSet;

use super::checked::{Driver, Headnode, Service, Starter};
use super::reader::Reader;

/// Whether some service announces the active.
pub(super) fn announced(reader: &mut Reader, services: &[Service]) {
    if !services.iter().any(|service| service.announce && service.pinned.is_none()) {
        // Where somebody said so, if anywhere.
        let keys = ["announce", "pinned"].map(|field| {
            services.iter().map(move |service| format!("service.{}.{field}", service.name))
        });
        let keys: Vec<String> = keys.into_iter().flatten().collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).chain(["service.1"]).collect();
        let text = "no service announces the active, so nobody would ever be active: set `announce = true`, or `started_by = \"master-fc\"`, for the service that the others depend on";
        reader.fault(&keys, text.to_owned());
    }
}

/// What cannot be said of a pinned service, which has no part in office, and what cannot wait for each other.
pub(super) fn pinned(reader: &mut Reader, services: &[Service], headnodes: &[Headnode]) {
    for service in services {
        if let Some(node) = &service.pinned {
            pinned_alone(reader, service, node.as_str(), headnodes);
        }
        for earlier in services.iter().filter(|other| service.after.contains(&other.name)) {
            if earlier.pinned != service.pinned {
                let key = format!("service.{}.after", service.name);
                let text = format!(
                    "service `{}` cannot come after `{}`: they need not run on the same headnode; remove it from `after`, or give both the same `pinned`",
                    service.name, earlier.name
                );
                reader.fault(&[&key], text);
            }
        }
    }
}

fn pinned_alone(reader: &mut Reader, service: &Service, node: &str, headnodes: &[Headnode]) {
    let key = |field: &str| format!("service.{}.{field}", service.name);
    if !headnodes.iter().any(|headnode| headnode.name.as_str() == node) {
        let names: Vec<&str> = headnodes.iter().map(|headnode| headnode.name.as_str()).collect();
        let text = format!(
            "`{}` names `{node}`, which is no headnode: write one of `{}`",
            key("pinned"),
            names.join("`, `")
        );
        reader.fault(&[&key("pinned")], text);
    }
    let in_office = [
        ("announce", service.announce),
        ("critical", service.critical),
        ("started_by", service.started_by == Starter::MasterFc),
    ];
    for (field, _) in in_office.into_iter().filter(|(_, said)| *said) {
        let text = format!(
            "service `{}` is pinned to `{node}` and has no part in office: remove `{field}`, or let the service move (`pinned = \"\"`)",
            service.name
        );
        reader.fault(&[&key(field), &key("pinned")], text);
    }
    match service.driver {
        Driver::Systemd { .. } => {}
        Driver::Command { .. } | Driver::Actions(_) => {
            let text = format!(
                "service `{}` is pinned, and what is no unit runs under a permit only: give it a systemd unit, or let it move (`pinned = \"\"`)",
                service.name
            );
            reader.fault(&[&key("driver"), &key("pinned")], text);
        }
    }
}

/// The services, each after all that it names in `after`; what master-fc starts comes first, and otherwise the order of
/// the file is kept.
pub(super) fn services(reader: &mut Reader, services: Vec<Service>) -> Vec<Service> {
    let mut known = true;
    for service in &services {
        known &= after(reader, service, &services);
    }
    if !known {
        return services;
    }
    let mut ordered: Vec<Service> = Vec::new();
    let mut waiting = services;
    waiting.sort_by_key(|service| service.started_by == Starter::MasterHaService);
    while !waiting.is_empty() {
        let placed = |name: &String| ordered.iter().any(|service| service.name == *name);
        let Some(next) = waiting.iter().position(|service| service.after.iter().all(placed)) else {
            let cycle = cycle(&waiting);
            let key = format!("service.{}.after", cycle.first().map_or("", |name| name.as_str()));
            let text = format!(
                "services wait for each other in a circle ({}): remove one of them from `after`",
                cycle.join(" after ")
            );
            reader.fault(&[&key], text);
            break;
        };
        ordered.push(waiting.remove(next));
    }
    ordered.append(&mut waiting);
    ordered
}

/// Whether all that a service names in `after` can come before it.
fn after(reader: &mut Reader, service: &Service, services: &[Service]) -> bool {
    let key = format!("service.{}.after", service.name);
    let mut known = true;
    for name in &service.after {
        let Some(earlier) = services.iter().find(|other| other.name == *name) else {
            let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
            let text = format!(
                "`{key}` names `{name}`, which is no service: write one of `{}`, or remove it",
                names.join("`, `")
            );
            reader.fault(&[&key], text);
            known = false;
            continue;
        };
        if service.started_by == Starter::MasterFc && earlier.started_by == Starter::MasterHaService
        {
            let text = format!(
                "service `{}` cannot come after `{name}`: master-fc starts it before master-ha-service starts anything; remove it from `after`, or change `started_by` of one of them",
                service.name
            );
            reader.fault(&[&key], text);
            known = false;
        }
    }
    known
}

/// A circle among services of which each waits for another one of them: its first name is its last as well.
fn cycle(waiting: &[Service]) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = waiting.first();
    while let Some(service) = next {
        path.push(&service.name);
        if !seen.insert(&service.name) {
            break;
        }
        next = waiting.iter().find(|other| service.after.contains(&other.name));
    }
    let last = path.last().copied().unwrap_or_default();
    path.iter().skip_while(|name| **name != last).map(|name| (*name).to_owned()).collect()
}
