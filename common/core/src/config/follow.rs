//! `[follow]` of the file as code uses it.
//!
//! Whoever does not write the table does not want hosts files touched: then no node follows. An empty table is enough.

use std::net::IpAddr;

use toml::Spanned;

use super::checked::{Driver, Follow, Headnode, Service};
use super::convert::name;
use super::driver::{OWN_UNITS, is_service_unit};
use super::reader::Reader;
use super::{file, preset};

/// What the nodes do to follow; `None` if there is no such table.
pub(super) fn follow(
    reader: &mut Reader,
    table: Option<Spanned<file::Follow>>,
    headnodes: &[Headnode],
    services: &[Service],
) -> Option<Follow> {
    let table = reader.table("follow", Some(table?));
    let alias = reader.value("follow.alias", table.alias);
    let alias = alias.unwrap_or_else(|| preset::ALIAS.to_owned());
    check_alias(reader, &alias, headnodes);
    let hosts_file = reader.value("follow.hosts_file", table.hosts_file);
    let hosts_file = hosts_file.unwrap_or_else(|| preset::HOSTS_FILE.to_owned());
    if !hosts_file.starts_with('/') || hosts_file.ends_with('/') {
        let text = format!(
            "`follow.hosts_file` cannot be `{hosts_file}`: write the absolute path of a file, such as `/etc/hosts`"
        );
        reader.fault(&["follow.hosts_file"], text);
    }
    check_addresses(reader, headnodes);
    let agent = agent(reader, table.agent_unit, table.agent_command, services);
    let slots = preset::RESTART_SLOTS;
    Some(Follow {
        alias,
        hosts_file,
        agent,
        restart_slots: reader.number("follow.restart_slots", table.restart_slots, slots, 1..=1000),
        poll: reader.millis("follow.poll_ms", table.poll_ms, preset::POLL),
        bind_limit: reader.millis("follow.bind_limit_ms", table.bind_limit_ms, preset::BIND_LIMIT),
    })
}

fn check_alias(reader: &mut Reader, alias: &str, headnodes: &[Headnode]) {
    const KEY: &str = "follow.alias";
    if name(reader, KEY, alias.to_owned()).is_none() {
        return;
    }
    let taken = headnodes.iter().any(|headnode| headnode.name.as_str().eq_ignore_ascii_case(alias));
    let why = if taken {
        "is a headnode's own name, and an alias moves from one to the other"
    } else if alias.eq_ignore_ascii_case("localhost") {
        "is each host's name for itself"
    } else if alias.parse::<IpAddr>().is_ok() {
        "is an address"
    } else {
        return;
    };
    let text = format!("`{KEY}` cannot be `{alias}`, which {why}: write a name of its own");
    reader.fault(&[KEY], text);
}

/// A hosts file knows addresses only, and asking for a host name's at the moment of a failover may hang or be wrong.
fn check_addresses(reader: &mut Reader, headnodes: &[Headnode]) {
    for (number, headnode) in (1..).zip(headnodes) {
        let Headnode { name, address } = headnode;
        let why = match headnode.ip() {
            None if address.is_empty() => continue,
            Some(ip) if ip.is_unspecified() || ip.is_multicast() => "no host has",
            Some(_) => continue,
            None => "is a host name",
        };
        let text = format!(
            "headnode `{name}` has the address `{address}`, which {why}, and `[follow]` writes it into hosts files: write its IP address, or remove `[follow]`"
        );
        reader.fault(&[&format!("headnode.{number}.address"), "follow"], text);
    }
}

fn agent(
    reader: &mut Reader,
    unit: Option<file::Given<String>>,
    command: Option<file::Given<Vec<String>>>,
    services: &[Service],
) -> Option<Driver> {
    const UNIT: &str = "follow.agent_unit";
    const COMMAND: &str = "follow.agent_command";
    let unit = reader.value(UNIT, unit);
    let command = reader.value(COMMAND, command);
    if unit.is_some() && command.is_some() {
        let text = format!("`{UNIT}` and `{COMMAND}` both say what the agent is: remove one");
        reader.fault(&[COMMAND], text);
    }
    if let Some(unit) = &unit {
        let serves = |service: &&Service| service.driver.gated_unit() == Some(unit);
        let why = if !is_service_unit(unit) {
            "write a unit that ends in `.service`".to_owned()
        } else if OWN_UNITS.contains(&unit.as_str()) {
            "headship does not manage itself, name the unit of the agent".to_owned()
        } else if let Some(service) = services.iter().find(serves) {
            format!("it is the unit of service `{}`, name that of the agent", service.name)
        } else {
            return Some(Driver::Systemd { unit: unit.clone() });
        };
        reader.fault(&[UNIT], format!("`{UNIT}` cannot be `{unit}`: {why}"));
    }
    let start = command?;
    if !start.first().is_some_and(|program| program.starts_with('/')) {
        let text = format!(
            "`{COMMAND}` does not begin with the absolute path of a program: write `[\"/path/to/program\", \"argument\"]`"
        );
        reader.fault(&[COMMAND], text);
    }
    Some(Driver::Command { start })
}
