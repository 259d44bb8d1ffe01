//! What is kept of a run that failed: everything that the lab's hosts said, and what the services told of themselves.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::overlap::Seconds;
use crate::lab::{Host, Lab};

/// How much of the journals before the burst that failed is kept.
const BEFORE: u64 = 120;

/// Files of a host's `/run/headship` that tell its state.
const STATE: [&str; 6] = [
    "permit",
    "closed",
    "master-fc/status",
    "slave-ha-service/status",
    "master-ha-service/status",
    "health-monitor/status",
];

/// Writes all of it to `dir`. `age` is for how many seconds the burst has lasted. What cannot be had is said in its place.
pub(super) fn keep(lab: &Lab, dir: &Path, age: u64) {
    for host in lab.hosts() {
        put(dir, &format!("{}.journal", host.name()), journal(&host, age + BEFORE));
        let mut state = format!("power {}, cable {}\n", host.has_power(), host.cuts_text());
        for file in STATE {
            let text = host.read_file(&format!("/run/headship/{file}"));
            let text = text.unwrap_or_else(|error| error.to_string());
            state.push_str(&format!("--- {file}\n{}\n", text.trim_end()));
        }
        put(dir, &format!("{}.state", host.name()), state);
        let console = fs::read_to_string(lab.place().console_file(host.spec()));
        put(dir, &format!("{}.console", host.name()), console.unwrap_or_default());
    }
    for host in lab.headnodes() {
        for what in ["status", "history"] {
            let said = host.output(&["timeout", "20", "headship", what]);
            let said = said.map(|output| {
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
            });
            let name = format!("{}.{what}", host.name());
            put(dir, &name, said.unwrap_or_else(|error| error.to_string()));
        }
    }
    let power = lab.power_log(0).into_iter();
    put(dir, "power.log", power.map(|it| format!("{}  {it}\n", Seconds(it.done))).collect());
    match lab.service_log() {
        Ok(log) => {
            let lines = |items: &mut dyn Iterator<Item = String>| items.collect::<String>();
            let events =
                &mut log.events().iter().map(|event| format!("{}  {event}\n", Seconds(event.at)));
            put(dir, "services.log", lines(events));
            let lives = &mut log.intervals().into_iter().map(|life| format!("{life}\n"));
            put(dir, "services.lives", lines(lives));
        }
        Err(error) => put(dir, "services.log", error.to_string()),
    }
}

/// The journal of the last `seconds`, over all boots, by this machine's clock since its own boot: a host without power has
/// its journal on disk only.
fn journal(host: &Host, seconds: u64) -> String {
    let folder = host.root().join("var/log/journal");
    let mut command = Command::new("journalctl");
    command.arg("--directory").arg(folder).args([
        "--no-pager",
        "--output",
        "short-monotonic",
        "--since",
        &format!("-{seconds}s"),
    ]);
    match command.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("`journalctl`: {error}"),
    }
}

fn put(dir: &Path, name: &str, text: String) {
    // There is nobody to be told: the failure itself is told already.
    fs::write(dir.join(name), text).ok();
}
