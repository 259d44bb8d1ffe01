//! What somebody reads who logs in on a host: in `systemctl status` how each daemon is, in a sentence, and in the journal the
//! fields, the id and the explanation of a line.

use headship_core::say::Kind;
use headship_tests::lab::Host;
use serde_json::Value;

use super::cluster::{Cluster, SOON};
use super::{Answer, Test, followers, upkeep};
use crate::Outcome;

pub(super) const FAST: [Test; 2] = [
    ("systemctl_status_tells_the_state_of_each_daemon_in_a_sentence", states),
    ("a_switchover_is_told_with_its_fields_and_explained_in_the_journal_of_each_host", told),
];

/// A daemon, and the sentence that `systemctl status` shall show of it.
type Sentence = (&'static str, String);

fn states(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = followers::in_order(cluster)?;
    let worker = upkeep::worker(cluster)?;
    let epoch = cluster.epoch(&active)?;
    let name = active.name();
    let follows = ("slave-fc", format!("`headnodehost` is {name} (epoch {epoch})"));
    let good = ("health-monitor", "eligible: all checks are good".to_owned());
    let guard = |why: &str| ("slave-ha-service", format!("{why}: HA services are kept stopped"));
    let on_active: [Sentence; 5] = [
        ("master-fc", format!("active (epoch {epoch}): holds office")),
        ("master-ha-service", format!("keeps services running in epoch {epoch}")),
        ("slave-ha-service", format!("a permit of epoch {epoch} covers this headnode")),
        good.clone(),
        follows.clone(),
    ];
    let on_standby: [Sentence; 4] = [
        ("master-fc", format!("standby: {name} is active (epoch {epoch})")),
        guard("this headnode is not active"),
        good,
        follows.clone(),
    ];
    let on_worker: [Sentence; 2] = [guard("this node is no headnode"), follows];
    shows(cluster, &active, &on_active)?;
    shows(cluster, &standby, &on_standby)?;
    shows(cluster, &worker, &on_worker)
}

/// Waits until `systemctl status` on a host shows each daemon's sentence.
fn shows(cluster: &Cluster<'_>, host: &Host, sentences: &[Sentence]) -> Outcome {
    for (daemon, sentence) in sentences {
        let status = || {
            let line = ["systemctl", "status", "--no-pager", "--full", "--lines=0", daemon];
            Some(String::from_utf8_lossy(&host.output(&line).ok()?.stdout).into_owned())
        };
        let wanted = format!("Status: \"{sentence}\"");
        let shown = cluster.wait("systemctl status shows the sentence", SOON, || {
            status().filter(|text| text.contains(&wanted))
        });
        let text = || status().unwrap_or_default();
        shown.map_err(|error| format!("{error}: {wanted} on {}: {}", host.name(), text()))?;
    }
    Ok(())
}

fn told(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = followers::in_order(cluster)?;
    let worker = upkeep::worker(cluster)?;
    let epoch = cluster.epoch(&active)?;
    followers::switch_over(cluster, &active, &standby)?;
    followers::wait_followed(cluster, std::slice::from_ref(&worker), &standby)?;
    let (next, name) = (epoch + 1, standby.name());
    let subject = format!("Headnode {name} is becoming active");
    let role = ("master-fc", "becoming-active", next);
    is_told(cluster, &standby, Kind::RoleBecomingActive, role, &subject)?;
    let subject = format!("Headnode {name} is active in epoch {next}");
    is_told(cluster, &standby, Kind::RoleActive, ("master-fc", "active", next), &subject)?;
    let subject = format!("Headnode {} stops its services", active.name());
    let role = ("master-fc", "becoming-standby", epoch);
    is_told(cluster, &active, Kind::RoleBecomingStandby, role, &subject)?;
    let subject = format!("{} follows epoch {next}", worker.name());
    is_told(cluster, &worker, Kind::AliasMoved, ("slave-fc", "follower", next), &subject)
}

/// Fails unless the last line of this kind on a host is of this daemon, has this role and epoch among its fields, and the
/// journal explains it under this subject.
fn is_told(
    cluster: &Cluster<'_>,
    host: &Host,
    kind: Kind,
    (daemon, role, epoch): (&str, &str, u64),
    subject: &str,
) -> Outcome {
    let id = format!("MESSAGE_ID={}", kind.id());
    let epoch = epoch.to_string();
    let line = cluster.wait(&format!("{} tells {kind:?}", host.name()), SOON, || {
        last(host, &id).ok().flatten().filter(|line| field(line, "HEADSHIP_EPOCH") == epoch)
    })?;
    let unit = format!("{daemon}.service");
    for (name, value) in [
        ("SYSLOG_IDENTIFIER", daemon),
        ("_SYSTEMD_UNIT", &unit),
        ("HEADSHIP_NODE", host.name()),
        ("HEADSHIP_ROLE", role),
        ("PRIORITY", "6"),
    ] {
        assert_eq!(field(&line, name), value, "{name} of {line}");
    }
    let explain = ["journalctl", "--boot", "--no-pager", "--catalog", "--lines=1", &id];
    let text = host.run(&explain)?;
    for part in [field(&line, "MESSAGE"), subject, "headship-messages(7)"] {
        assert!(text.contains(part), "no `{part}`: {text}");
    }
    Ok(())
}

/// The last line with this id of a host's present boot.
fn last(host: &Host, id: &str) -> Answer<Option<Value>> {
    let json =
        host.run(&["journalctl", "--boot", "--no-pager", "--output=json", "--lines=1", id])?;
    Ok(json.lines().last().map(serde_json::from_str).transpose()?)
}

fn field<'a>(line: &'a Value, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}
