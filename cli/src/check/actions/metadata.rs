//! What a resource agent says of itself: its parameters, and how long its actions may take.

use std::collections::BTreeMap;
use std::time::Duration;

use roxmltree::{Document, Node, ParsingOptions};

/// More than the longest description has by far.
const NODES_MAX: u32 = 100_000;

/// An agent's description, as far as it is used here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MetaData {
    pub(super) parameters: Vec<Parameter>,
    /// How long each action may take by the agent's advice; the longest where it has several.
    pub(super) limits: BTreeMap<String, Duration>,
}

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// Whether it must be given.
    pub(super) required: bool,
}

/// Reads a description. By custom it names a document type, which is not fetched.
pub(super) fn parse(text: &str) -> Result<MetaData, String> {
    let options = ParsingOptions { nodes_limit: NODES_MAX, allow_dtd: true, ..Default::default() };
    let document = Document::parse_with_options(text, options);
    let document = document.map_err(|error| {
        format!("its `meta-data` is no XML ({})", error.to_string().replace(char::is_control, " "))
    })?;
    let root = document.root_element();
    if !root.has_tag_name("resource-agent") {
        return Err("its `meta-data` describes no resource agent".to_owned());
    }
    let all = |tag: &'static str| root.descendants().filter(move |it| it.has_tag_name(tag));
    let mut limits: BTreeMap<String, Duration> = BTreeMap::new();
    for action in all("action") {
        if let (Some(name), Some(limit)) = (action.attribute("name"), limit(&action)) {
            let longest = limits.entry(name.to_owned()).or_default();
            *longest = limit.max(*longest);
        }
    }
    if !["start", "stop", "monitor"].iter().all(|it| all("action").any(|of| is_named(&of, it))) {
        return Err("its `meta-data` lacks `start`, `stop` or `monitor`".to_owned());
    }
    let parameters = all("parameter").filter_map(|it| {
        let name = it.attribute("name")?.to_owned();
        Some(Parameter { required: is_required(&it), name })
    });
    Ok(MetaData { parameters: parameters.collect(), limits })
}

fn is_named(node: &Node<'_, '_>, name: &str) -> bool {
    node.attribute("name") == Some(name)
}

/// Agents differ in how they say yes; and one with a default is there in any case.
fn is_required(parameter: &Node<'_, '_>) -> bool {
    let says = parameter.attribute("required").unwrap_or_default();
    let default = parameter.descendants().find_map(|it| it.attribute("default"));
    matches!(says, "1" | "true" | "yes") && default.unwrap_or_default().is_empty()
}

/// `20s`, `20`, `500ms` or `1min`, as agents write it.
fn limit(action: &Node<'_, '_>) -> Option<Duration> {
    let text = action.attribute("timeout")?.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit.trim() {
        "" | "s" | "sec" => Duration::from_secs(number),
        "ms" | "msec" => Duration::from_millis(number),
        "m" | "min" => Duration::from_secs(number.saturating_mul(60)),
        "h" | "hr" => Duration::from_secs(number.saturating_mul(3600)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = r#"<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="IPaddr2" version="1.0">
<parameters>
<parameter name="ip" unique="1" required="1"><content type="string" default="" /></parameter>
<parameter name="nic"><content type="string"/></parameter>
<parameter name="state" required="1"><content type="string" default="/run/x" /></parameter>
</parameters>
<actions>
<action name="start" timeout="20s" />
<action name="stop" timeout="1min" />
<action name="monitor" depth="0" timeout="20" interval="10s" />
<action name="monitor" depth="10" timeout="30s" />
<action name="meta-data" timeout="5xyz" />
</actions>
</resource-agent>"#;

    #[test]
    fn parameters_and_limits_are_read_in_all_the_ways_that_agents_write_them() {
        let told = parse(AGENT).unwrap();
        let parameters: Vec<(&str, bool)> =
            told.parameters.iter().map(|it| (it.name.as_str(), it.required)).collect();
        assert_eq!(parameters, [("ip", true), ("nic", false), ("state", false)]);
        let limits = [("monitor", 30), ("start", 20), ("stop", 60)];
        let limits = limits.map(|(name, it)| (name.to_owned(), Duration::from_secs(it)));
        assert_eq!(told.limits, BTreeMap::from(limits));
    }

    #[test]
    fn what_is_broken_or_no_agent_is_said() {
        let why = |text: &str| parse(text).unwrap_err();
        assert!(why(&AGENT[..200]).starts_with("its `meta-data` is no XML ("));
        assert!(why("").starts_with("its `meta-data` is no XML ("));
        assert_eq!(why("<a/>"), "its `meta-data` describes no resource agent");
        let half = AGENT.replace("\"stop\"", "\"halt\"");
        assert_eq!(why(&half), "its `meta-data` lacks `start`, `stop` or `monitor`");
        // Entities that grow: refused, not expanded.
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">
            <!ENTITY d "&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;">]><x>&f;&f;&f;&f;</x>"#;
        assert!(parse(bomb).is_err());
    }
}
