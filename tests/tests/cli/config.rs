//! `headship config show` as the program prints it. It asks no ensemble, so there is none.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::program;

const MAIN: &str = r#"cluster = "main"
cluster_type = "spark"
esp = true
failover_quorum.servers = ["zk0:2181"]
[[headnode]]
name = "hn0"
address = "10.0.0.10"
[[headnode]]
name = "hn1"
address = "10.0.0.11"
"#;

const OVER: &str = r#"[[service]]
name = "livy"
unit = "livy2.service"
[[service]]
name = "job-history"
enabled = false
"#;

fn show(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program());
    let output = command.args(["config", "show", "--config"]).arg(folder).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn as_json(folder: &TempDir) -> Value {
    serde_json::from_str(&show(folder.path(), &["--json"])).unwrap()
}

#[test]
fn what_is_shown_is_the_same_configuration_without_the_profile() {
    let (made, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(made.path().join("conf.d")).unwrap();
    fs::write(made.path().join("headship.toml"), MAIN).unwrap();
    fs::write(made.path().join("conf.d/10.toml"), OVER).unwrap();
    let json = as_json(&made);
    let services = json["configuration"]["service"].as_array().unwrap();
    let told = services.iter().map(|service| (&service["name"], &service["pinned"]));
    let expected = [("ambari-server", ""), ("timeline-server", "hn0"), ("livy", "hn0")]
        .map(|(name, pinned)| (Value::from(name), Value::from(pinned)));
    assert!(told.eq(expected.iter().map(|(name, pinned)| (name, pinned))), "{services:#?}");
    let line = |file: &str, line| json!(format!("{}/{file}:{line}", made.path().display()));
    for (key, origin) in [
        ("cluster", line("headship.toml", 1)),
        ("service.livy.unit", line("conf.d/10.toml", 3)),
        ("service.livy.pinned", json!("profile `spark`")),
        ("service.livy.probe.1.address", json!("profile `spark`")),
        ("timing.lease_ms", json!("default")),
        ("node", json!("this host's name")),
    ] {
        assert_eq!(json["origins"][key], origin, "{key}");
    }
    assert_eq!(json["left_out"], json!({ "job-history": line("conf.d/10.toml", 6) }));
    assert_eq!((&json["profile"], &json["exit"]), (&json!("spark"), &json!(0)));

    fs::write(again.path().join("headship.toml"), show(made.path(), &[])).unwrap();
    let same = as_json(&again);
    assert_eq!(same["configuration"], json["configuration"]);
    assert_eq!((&same["profile"], &same["left_out"]), (&Value::Null, &json!({})));
}
