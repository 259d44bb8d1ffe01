//! What is said of programs that are missing, and of agents that are told what they do not know.

use headship_core::config::{self, Config};
use headship_core::node::NodeName;

use super::metadata::Parameter;
use super::*;
use crate::check::Level;

fn config(service: &str) -> Config {
    let text = format!(
        r#"cluster = "main"
        failover_quorum.servers = ["zk0:2181", "zk1:2181", "zk2:2181"]
        headnode = [{{ name = "hn0", address = "a" }}, {{ name = "hn1", address = "b" }}]
        [[service]]
        name = "vip"
        started_by = "master-fc"
        {service}"#
    );
    let node = NodeName::try_from("hn0").unwrap();
    config::load(&[("headship.toml".to_owned(), text)], node).unwrap()
}

fn told(
    service: &str,
    unfit: Option<&str>,
    told: Option<Result<MetaData, String>>,
) -> Vec<(Level, String)> {
    let (service_name, at) = ("vip".to_owned(), "headship.toml:5: ".to_owned());
    let seen = Seen { service: service_name, at, unfit: unfit.map(str::to_owned), told };
    let found = findings(&config(service), &[seen]);
    found.into_iter().map(|it| (it.level, it.text)).collect()
}

fn agent() -> Option<Result<MetaData, String>> {
    let parameter = |name: &str, required| Parameter { name: name.to_owned(), required };
    let parameters = vec![parameter("ip", true), parameter("nic", false)];
    let limits = [
        ("start".to_owned(), Duration::from_secs(20)),
        ("stop".to_owned(), Duration::from_secs(90)),
    ];
    Some(Ok(MetaData { parameters, limits: limits.into() }))
}

const OCF: &str = "driver = \"ocf\"\nagent = \"heartbeat:IPaddr2\"\n";

#[test]
fn an_agent_that_is_told_what_it_knows_is_well() {
    let well = told(
        &format!("{OCF}parameters = {{ ip = \"10.0.0.9\" }}\nstop_limit_ms = 90000"),
        None,
        agent(),
    );
    assert_eq!(well, [(Level::Ok, "service `vip`: its agent knows what it is told".to_owned())]);
}

#[test]
fn a_parameter_that_is_missing_or_unknown_is_a_fault_and_a_short_limit_a_warning() {
    let found = told(&format!("{OCF}parameters = {{ ipp = \"10.0.0.9\" }}"), None, agent());
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "headship.toml:5: service `vip`: its agent has no parameter `ipp`: write one of `ip`, `nic`",
            "headship.toml:5: service `vip`: its agent needs the parameter `ip`: add it to `parameters`",
            "service `vip`: its agent asks for 90s to stop, and gets 60s: raise `stop_limit_ms`, unless you know better",
        ]
    );
    let levels: Vec<Level> = found.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::Fault, Level::Fault, Level::Warning]);
}

#[test]
fn an_agent_that_is_missing_or_broken_is_a_fault() {
    let missing = told(OCF, Some("`/x` cannot be run: No such file"), None);
    assert_eq!(missing[0].0, Level::Fault);
    assert!(
        missing[0].1.ends_with(
            "`/x` cannot be run: No such file: install it, or correct the configuration"
        )
    );
    let broken = told(OCF, None, Some(Err("its `meta-data` is no XML".to_owned())));
    assert_eq!((broken.len(), broken[0].0), (1, Level::Fault));
}

#[tokio::test]
async fn programs_are_looked_at_on_this_host() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("agent");
    let path = program.to_str().unwrap();
    assert!(unfit(path).unwrap().contains("cannot be run: "));
    fs::write(&program, "#!/bin/sh\necho '<resource-agent>'\n").unwrap();
    assert!(unfit(path).unwrap().ends_with("is no executable file"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(unfit(path), None);
    assert!(ask("/usr/lib/ocf", path).await.unwrap_err().contains("is no XML"));
    fs::write(&program, "#!/bin/sh\nexit 3\n").unwrap();
    assert!(ask("/usr/lib/ocf", path).await.unwrap_err().contains("ended with exit status: 3"));
}

#[test]
fn a_component_without_a_unit_is_said_to_be_advisory_and_its_missing_login_is_a_fault() {
    let of = |body: &str| {
        format!(
            "driver = \"ambari\"\ncomponent = \"HISTORYSERVER\"\n{body}\n[ambari]\nurl = \"http://headnodehost:8080\"\ncredential = \"ambari\""
        )
    };
    let gated = told(&of("unit = \"jhs.service\""), None, None);
    assert_eq!(gated, [(Level::Ok, "service `vip`: there is a login for Ambari".to_owned())]);
    let advisory = told(&of("process = \"org.example.Server\""), Some("no login"), None);
    assert_eq!(advisory[0], (Level::Fault, "headship.toml:5: service `vip`: no login".to_owned()));
    assert_eq!(advisory[1].0, Level::Warning);
    assert!(advisory[1].1.contains("its driver is advisory"), "{advisory:?}");
}
