//! Services of actions: whether their programs are there, and what resource agents say of themselves.
//!
//! An agent is asked for its `meta-data` only, which starts, stops and changes nothing.

mod metadata;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use headship_core::actions::{Action, Means, Recipe, agent_path};
use headship_core::ambari::Component;
use headship_core::config::Config;
use headship_core::config::checked::{Driver, Programs, Service};
use headship_daemon::Exit;
use headship_drivers::ambari;
use tokio::process::Command;
use tokio::time::timeout;

use self::metadata::MetaData;
use super::host::{services, where_named};
use super::{Area, Finding};
use crate::args::Place;

/// How long an agent may take to describe itself: it does no more than print a text.
const LIMIT: Duration = Duration::from_secs(10);

/// What was seen of one service of actions.
#[derive(Debug)]
pub(super) struct Seen {
    service: String,
    /// Where it stands in the configuration.
    at: String,
    /// What is wrong with a program of it, or with its login.
    unfit: Option<String>,
    /// What its agent says of itself, or what is wrong with that; none if it has none.
    told: Option<Result<MetaData, String>>,
}

/// Looks at all of them that may run on this headnode.
pub(super) async fn look(config: &Config, place: &Place) -> Vec<Seen> {
    let mut seen = Vec::new();
    if !config.is_headnode() {
        return seen;
    }
    for service in services(config) {
        if let Driver::Actions(actions) = &service.driver {
            seen.push(look_at(service, &actions.programs, place).await);
        }
    }
    seen
}

async fn look_at(service: &Service, programs: &Programs, place: &Place) -> Seen {
    let at = where_named(&place.config, "name", &service.name);
    let at = at.map_or_else(String::new, |at| format!("{at}: "));
    let (unfit, told) = match programs {
        Programs::Command { start, stop, status } => {
            let mut programs = [start, stop, status].into_iter().filter_map(|it| it.first());
            (programs.find_map(|program| unfit(program)), None)
        }
        Programs::Ambari(component) => (ambari::lacks(component), None),
        Programs::Ocf { root, provider, agent, .. } => {
            let path = agent_path(root, provider, agent);
            match unfit(&path) {
                Some(why) => (Some(why), None),
                None => (None, Some(ask(root, &path).await)),
            }
        }
    };
    Seen { service: service.name.clone(), at, unfit, told }
}

/// Why it cannot be run, if so.
fn unfit(program: &str) -> Option<String> {
    match fs::metadata(program) {
        Err(error) => Some(format!("`{program}` cannot be run: {error}")),
        Ok(it) if it.is_file() && it.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => Some(format!("`{program}` is no executable file")),
    }
}

async fn ask(root: &str, path: &str) -> Result<MetaData, String> {
    let output = Command::new(path)
        .arg("meta-data")
        .env("OCF_ROOT", root)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(LIMIT, output).await {
        Ok(Ok(output)) if output.status.success() => output,
        Ok(Ok(output)) => return Err(format!("its `meta-data` ended with {}", output.status)),
        Ok(Err(error)) => return Err(format!("`{path}` cannot be run: {error}")),
        Err(_) => return Err(format!("its `meta-data` took longer than {LIMIT:?}")),
    };
    metadata::parse(&String::from_utf8_lossy(&output.stdout))
}

/// What follows from it.
pub(super) fn findings(config: &Config, seen: &[Seen]) -> Vec<Finding> {
    let of = |seen: &Seen| {
        let service = services(config).find(|service| service.name == seen.service);
        service.map_or_else(Vec::new, |service| of_service(service, seen))
    };
    seen.iter().flat_map(of).collect()
}

fn of_service(service: &Service, seen: &Seen) -> Vec<Finding> {
    let (name, at) = (&service.name, &seen.at);
    if let Some(Means::Ambari(component)) = Recipe::of(service).as_ref().map(Recipe::means) {
        return of_component(name, component, seen);
    }
    if let Some(why) = &seen.unfit {
        let text = format!("{at}service `{name}`: {why}: install it, or correct the configuration");
        return vec![Area::Host.fault(Exit::Configuration, text)];
    }
    let metadata = match &seen.told {
        None => return vec![Area::Host.ok(format!("service `{name}`: its programs are there"))],
        Some(Ok(metadata)) => metadata,
        Some(Err(why)) => {
            let text = format!(
                "{at}service `{name}`: nobody knows what its agent can do: {why}; install it anew"
            );
            return vec![Area::Host.fault(Exit::Configuration, text)];
        }
    };
    let mut found = parameters(service, metadata, at);
    found.extend(limits(service, metadata));
    if found.is_empty() {
        found.push(Area::Host.ok(format!("service `{name}`: its agent knows what it is told")));
    }
    found
}

/// Whether Ambari would let us in is seen when it is asked; that it can do as it likes is seen here.
fn of_component(name: &str, component: &Component, seen: &Seen) -> Vec<Finding> {
    let at = &seen.at;
    let mut found = Vec::new();
    found.push(match &seen.unfit {
        Some(why) => Area::Host.fault(Exit::Configuration, format!("{at}service `{name}`: {why}")),
        None => Area::Host.ok(format!("service `{name}`: there is a login for Ambari")),
    });
    if !component.is_gated() {
        found.push(Area::Host.warning(format!(
            "{at}service `{name}`: its driver is advisory, as nothing refuses what an Ambari agent starts late or by itself, which is only found and stopped afterwards: give `{}` a unit that its scripts start, and write `unit` instead of `process`",
            component.name
        )));
    }
    found
}

fn parameters(service: &Service, metadata: &MetaData, at: &str) -> Vec<Finding> {
    let Driver::Actions(actions) = &service.driver else { return Vec::new() };
    let Programs::Ocf { parameters, .. } = &actions.programs else { return Vec::new() };
    let fault = |text: String| Area::Host.fault(Exit::Configuration, format!("{at}{text}"));
    let name = &service.name;
    let known: Vec<&str> = metadata.parameters.iter().map(|it| it.name.as_str()).collect();
    let unknown = parameters.keys().filter(|given| !known.contains(&given.as_str()));
    let unknown = unknown.map(|given| {
        fault(format!(
            "service `{name}`: its agent has no parameter `{given}`: write one of `{}`",
            known.join("`, `")
        ))
    });
    let missing = metadata.parameters.iter().filter(|it| it.required);
    let missing = missing.filter(|it| !parameters.contains_key(&it.name)).map(|it| {
        fault(format!(
            "service `{name}`: its agent needs the parameter `{0}`: add it to `parameters`",
            it.name
        ))
    });
    unknown.chain(missing).collect()
}

/// Limits that are shorter than what the agent asks for.
fn limits(service: &Service, metadata: &MetaData) -> Vec<Finding> {
    let Some(recipe) = Recipe::of(service) else { return Vec::new() };
    let actions = [
        ("start", Action::Start, "start_limit_ms"),
        ("stop", Action::Stop, "stop_limit_ms"),
        ("monitor", Action::Monitor, "monitor_limit_ms"),
    ];
    let mut found = Vec::new();
    for (word, action, key) in actions {
        let (given, asked) = (recipe.limit(action), metadata.limits.get(word));
        if let Some(asked) = asked.filter(|asked| **asked > given) {
            found.push(Area::Host.warning(format!(
                "service `{}`: its agent asks for {asked:?} to {word}, and gets {given:?}: raise `{key}`, unless you know better",
                service.name
            )));
        }
    }
    found
}

#[cfg(test)]
mod tests;
