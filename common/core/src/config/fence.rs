//! The `[[fence]]` tables of the file as code uses them.
//!
//! A method that says Yes though nothing happened costs more than none: what always succeeds, what cannot tell two
//! headnodes apart, and what leaves the host running is refused here. Whether the programs are there is seen on the host.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::checked::{FenceKind, FenceMethod, Fencing, Headnode};
use super::convert::name;
use super::reader::Reader;
use super::{file, preset};
use crate::fencing::{agent, always_succeeds};
use crate::node::NodeName;

/// Where fence agents are installed.
const AGENTS: &str = "/usr/sbin";

/// The methods, in the order of the file.
pub(super) fn fencing(
    reader: &mut Reader,
    tables: Vec<Spanned<file::Fence>>,
    (budget, dead_after): (Duration, Duration),
    headnodes: &[Headnode],
) -> Fencing {
    let before = reader.count();
    let mut methods = Vec::new();
    for (number, table) in tables.into_iter().enumerate() {
        let place = format!("fence.{}", number + 1);
        let mut table = reader.table(&place, Some(table));
        let given = reader.required(
            &place,
            &format!("{place}.name"),
            table.name.take(),
            r#"name = "ipmi""#,
        );
        let named = given.and_then(|given| name(reader, &format!("{place}.name"), given));
        let Some(named) = named else { continue };
        reader.also_known(&format!("{place}.name"), format!("fence.{named}.name"));
        let key = Key { name: named.as_str(), place: &place };
        methods.extend(method(reader, &key, table, headnodes));
    }
    let fencing = Fencing { methods, budget, dead_after };
    if reader.count() == before {
        check_budget(reader, &fencing, headnodes);
    }
    fencing
}

/// The names under which places of one method are known.
struct Key<'a> {
    name: &'a str,
    place: &'a str,
}

impl Key<'_> {
    fn of(&self, field: &str) -> String {
        format!("fence.{}.{field}", self.name)
    }
}

fn method(
    reader: &mut Reader,
    key: &Key<'_>,
    mut table: file::Fence,
    headnodes: &[Headnode],
) -> Option<FenceMethod> {
    let example = r#"method = "fence_agent""#;
    let kind = reader.required(key.place, &key.of("method"), table.method.take(), example)?;
    let limit = table.limit_ms.take();
    let limit = reader.millis(&key.of("limit_ms"), limit, preset::FENCE_LIMIT);
    refuse_foreign(reader, key, kind, &table);
    let kind = match kind {
        file::Method::FenceAgent => agent(reader, key, table, headnodes)?,
        file::Method::Ssh => {
            let arguments = reader.value(&key.of("arguments"), table.arguments);
            FenceKind::Ssh { arguments: arguments.unwrap_or_default() }
        }
        file::Method::Command => command(reader, key, table.command)?,
    };
    Some(FenceMethod { name: key.name.to_owned(), limit, kind })
}

/// What belongs to another kind of method is a misunderstanding, not a spare.
fn refuse_foreign(reader: &mut Reader, key: &Key<'_>, kind: file::Method, table: &file::Fence) {
    let agent = ("fence_agent", file::Method::FenceAgent);
    let (ssh, command) = (("ssh", file::Method::Ssh), ("command", file::Method::Command));
    let fields = [
        ("agent", agent, table.agent.as_ref().map(|it| it.offset)),
        ("parameters", agent, table.parameters.as_ref().map(|it| it.offset)),
        ("secrets_file", agent, table.secrets_file.as_ref().map(|it| it.offset)),
        ("node", agent, table.node.as_ref().map(|it| it.offset)),
        ("arguments", ssh, table.arguments.as_ref().map(|it| it.offset)),
        ("command", command, table.command.as_ref().map(|it| it.offset)),
    ];
    for (field, (word, of), offset) in fields {
        if let Some(offset) = offset.filter(|_| of != kind) {
            let name = key.of(field);
            let text =
                format!("`{name}` is for `method = \"{word}\"`: remove it, or change the method");
            reader.fault_at(offset, text);
        }
    }
}

fn agent(
    reader: &mut Reader,
    key: &Key<'_>,
    table: file::Fence,
    headnodes: &[Headnode],
) -> Option<FenceKind> {
    let agent_key = key.of("agent");
    let example = r#"agent = "fence_ipmilan""#;
    let agent = reader.required(key.place, &agent_key, table.agent, example);
    let program = agent.and_then(|agent| program(reader, &agent_key, &agent));
    let secrets_key = key.of("secrets_file");
    let secrets_file = reader.value(&secrets_key, table.secrets_file);
    if let Some(file) = secrets_file.as_ref().filter(|file| !file.starts_with('/')) {
        let text = format!(
            "`{secrets_key}` cannot be `{file}`: write the absolute path of a file that only root can read"
        );
        reader.fault(&[&secrets_key], text);
    }
    let shared_key = key.of("parameters");
    let shared = reader.value(&shared_key, table.parameters).unwrap_or_default();
    let shared = parameters(reader, &shared_key, &[&shared_key], shared);
    let nodes = nodes(reader, key, table.node, &shared, headnodes);
    Some(FenceKind::Agent { program: program?, secrets_file, nodes })
}

/// The agent's program.
fn program(reader: &mut Reader, key: &str, agent: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let file = agent.rsplit('/').next().unwrap_or_default();
    let path = if agent.starts_with('/') {
        agent.to_owned()
    } else if agent.starts_with("fence_") && agent.chars().all(plain) {
        format!("{AGENTS}/{agent}")
    } else {
        let text = format!(
            "`{key}` cannot be `{agent}`: write the name of a fence agent, such as `fence_ipmilan`, or an absolute path"
        );
        reader.fault(&[key], text);
        return None;
    };
    let why = if always_succeeds(std::slice::from_ref(&path)) {
        "which always succeeds, so every host would count as switched off"
    } else if let Some(why) = agent::leaves_the_host_running(file) {
        why
    } else {
        return Some(path);
    };
    let text =
        format!("`{key}` cannot be `{agent}`, {why}: write an agent that switches hosts off");
    reader.fault(&[key], text);
    None
}

/// What an agent is told, as texts. Faults are told of the first place of `at` that stands in the file.
fn parameters(
    reader: &mut Reader,
    key: &str,
    at: &[&str],
    given: file::Parameters,
) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (name, value) in given {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Float(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => {
                let text = format!(
                    "`{key}.{name}` is no text, whole number, `true` or `false`: write one of them"
                );
                reader.fault(at, text);
                continue;
            }
        };
        let why = if agent::is_secret(&name) {
            Some("is a secret, and everybody may read this file: write it to `secrets_file`")
        } else {
            agent::refused(&name, &text)
        };
        match why {
            Some(why) => reader.fault(at, format!("`{key}.{name}` {why}")),
            None => drop(texts.insert(name, text)),
        }
    }
    texts
}

/// What the agent is told about each headnode. Two that it is told the same about would be one to it: a Yes about either would
/// be one about both.
fn nodes(
    reader: &mut Reader,
    key: &Key<'_>,
    given: Option<file::Given<BTreeMap<String, file::Parameters>>>,
    shared: &BTreeMap<String, String>,
    headnodes: &[Headnode],
) -> BTreeMap<NodeName, BTreeMap<String, String>> {
    let node_key = key.of("node");
    if given.is_none() {
        let names: Vec<String> =
            headnodes.iter().map(|it| format!("node.{} = {{ plug = \"…\" }}", it.name)).collect();
        let text = format!(
            "fence method `{}` does not say what its agent knows the headnodes by: add `{}`",
            key.name,
            names.join("`, `")
        );
        reader.fault(&[key.place], text);
    }
    let at = [&*node_key, key.place];
    let mut nodes: BTreeMap<NodeName, BTreeMap<String, String>> = BTreeMap::new();
    for (node, own) in reader.value(&node_key, given).unwrap_or_default() {
        let own = parameters(reader, &format!("{node_key}.{node}"), &at, own);
        let Some(headnode) = headnodes.iter().find(|it| it.name.as_str() == node) else {
            let text = format!(
                "`{node_key}.{node}`: `{node}` is no headnode: correct the name, or remove it"
            );
            reader.fault(&at, text);
            continue;
        };
        let told: BTreeMap<String, String> =
            shared.iter().chain(&own).map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some((other, _)) = nodes.iter().find(|(_, other)| **other == told) {
            let text = format!(
                "fence method `{}` is told the same about `{other}` and `{}`, so it could not tell which to switch off: give each its own `plug` or `ip`",
                key.name, headnode.name
            );
            reader.fault(&at, text);
        }
        nodes.insert(headnode.name.clone(), told);
    }
    nodes
}

fn command(
    reader: &mut Reader,
    key: &Key<'_>,
    given: Option<file::Given<Vec<String>>>,
) -> Option<FenceKind> {
    let command_key = key.of("command");
    let example = r#"command = ["/usr/local/sbin/fence", "argument"]"#;
    let command = reader.required(key.place, &command_key, given, example)?;
    if always_succeeds(&command) {
        let text = format!(
            "`{command_key}` always succeeds, so every host would count as switched off and two headnodes would run the services: write a program that makes sure of it, or remove the method; without one the lease is waited out, which is safe"
        );
        reader.fault(&[&command_key], text);
    } else if !command.first().is_some_and(|program| program.starts_with('/')) {
        let text = format!(
            "`{command_key}` does not begin with the absolute path of a program: write `[\"/path/to/program\", \"argument\"]`"
        );
        reader.fault(&[&command_key], text);
    }
    Some(FenceKind::Command { command })
}

/// A method for which no time is left would never be asked.
fn check_budget(reader: &mut Reader, fencing: &Fencing, headnodes: &[Headnode]) {
    let longest = |headnode: &Headnode| {
        let methods = fencing.methods.iter().filter(|method| method.fences(&headnode.name));
        methods.fold(Duration::ZERO, |sum, method| sum.saturating_add(method.limit))
    };
    let longest = headnodes.iter().map(longest).max().unwrap_or_default();
    if longest > fencing.budget {
        let text = format!(
            "the fence methods of one headnode may take {longest:?}, longer than all together are given ({:?}): lower their `limit_ms`, or raise `timing.fence_budget_ms`",
            fencing.budget
        );
        reader.fault(&["timing.fence_budget_ms", "fence.1"], text);
    }
}
