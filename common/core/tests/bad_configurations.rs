//! The exact words for each bad configuration (`bad-configurations.txt`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking that it failed")]

use headship_core::config::{self, Config, Faults};
use headship_core::node::NodeName;

const CASES: &str = include_str!("bad-configurations.txt");

const GOOD: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181", "zk1:2181", "zk2:2181"]
[[headnode]]
name = "hn0"
address = "10.0.0.10"
[[headnode]]
name = "hn1"
address = "10.0.0.11"
[[service]]
name = "livy"
unit = "livy.service"
[[service]]
name = "ambari-server"
unit = "ambari-server.service"
started_by = "master-fc"
"#;

fn load(fragments: &[(String, String)]) -> Result<Config, Faults> {
    config::load(fragments, NodeName::try_from("hn0").unwrap())
}

/// The fragments of a case: files behind `[[NAME.toml]]`.
fn fragments(input: &str) -> Vec<(String, String)> {
    let mut fragments: Vec<(String, String)> = Vec::new();
    for line in input.lines() {
        let file = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix(".toml]]"));
        match (file, fragments.last_mut()) {
            (Some(file), _) => fragments.push((format!("{file}.toml"), String::new())),
            (None, Some((_, text))) => {
                text.push_str(if line == "GOOD" { GOOD.trim_end() } else { line });
                text.push('\n');
            }
            (None, None) => panic!("`{line}` stands before any file"),
        }
    }
    fragments
}

#[test]
fn each_bad_configuration_gets_its_exact_faults() {
    let (head, cases) = CASES.split_once("\n==== ").unwrap();
    let mut rewritten = head.to_owned();
    let mut different = Vec::new();
    for case in cases.split("\n==== ") {
        let (name, body) = case.split_once('\n').unwrap();
        let (input, expected) = body.split_once("\n----\n").unwrap_or((body, ""));
        let input = input.trim_end();
        let said = load(&fragments(input)).expect_err(name).to_string();
        if said != expected.trim_end() {
            different.push(format!("{name}:\n{said}"));
        }
        rewritten.push_str(&format!("\n==== {name}\n{input}\n----\n{said}\n"));
    }
    if !different.is_empty() && std::env::var_os("HEADSHIP_REWRITE").is_some() {
        rewrite(&rewritten);
    }
    assert!(different.is_empty(), "HEADSHIP_REWRITE=1 accepts:\n{}", different.join("\n\n"));
}

#[expect(clippy::disallowed_methods, reason = "a test may rewrite its own expectations")]
fn rewrite(text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad-configurations.txt");
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_good_configuration_of_the_cases_is_good() {
    let config = load(&[("headship.toml".to_owned(), GOOD.to_owned())]).unwrap();
    let names: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["ambari-server", "livy"], "what master-fc starts comes first");
}
