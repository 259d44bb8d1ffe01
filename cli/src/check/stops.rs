//! How long stops of the HA services took on this host, as far as its journal goes back, and whether the grace is enough for
//! them. Nobody writes that down for this: systemd says of each stop when it began and ended.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::Service;
use headship_drivers::host::reboot::booted_by_systemd;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::host::unit_of;
use super::{Area, Finding, timing};

/// `MESSAGE_ID` of systemd's "Stopping …" and "Stopped …" (systemd's catalogue).
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";

/// How long journalctl may take: a long journal on a slow disk takes seconds.
const LIMIT: Duration = Duration::from_secs(10);

/// The newest lines that are read of the journal.
const LINES: &str = "5000";

/// The stops of each unit that the journal tells of.
pub(super) type Stops = BTreeMap<String, Vec<Duration>>;

/// One line of the journal, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "MESSAGE_ID")]
    message: String,
    #[serde(rename = "UNIT")]
    unit: String,
    #[serde(rename = "_BOOT_ID")]
    boot: String,
    /// Microseconds of that boot.
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    at: String,
}

/// What the journal tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The stops in it; none is an answer, too.
    Stops(Stops),
    /// Nothing to this user.
    NotToUs,
    /// Nothing, and why.
    Nothing(String),
}

/// Reads the journal of this host, where it has one.
pub(super) async fn look(config: &Config) -> Option<Told> {
    if !config.is_headnode() || !booted_by_systemd() {
        return None;
    }
    let units = config.services.iter().filter_map(unit_of).map(|unit| format!("UNIT={unit}"));
    let ids = [STOPPING, STOPPED].map(|id| format!("MESSAGE_ID={id}"));
    // Not quiet: that it may not be read is said by a hint only.
    let output = Command::new("journalctl")
        .args(["--no-pager", "--output=json", "--output-fields=UNIT,MESSAGE_ID"])
        .args([&format!("--lines={LINES}"), "_PID=1"])
        .args(ids)
        .args(units)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Some(match timeout(LIMIT, output).await {
        Ok(Ok(output)) => told(&output),
        Ok(Err(error)) => Told::Nothing(format!("journalctl does not run ({error})")),
        Err(_) => Told::Nothing(format!("journalctl did not end within {LIMIT:?}")),
    })
}

/// What journalctl's answer means.
fn told(output: &Output) -> Told {
    let said = String::from_utf8_lossy(&output.stderr);
    // Whoever may not read the system's journal is shown his own, if he has one.
    let hints = ["insufficient permissions", "not seeing messages from other users"];
    if hints.iter().any(|hint| said.contains(hint)) {
        return Told::NotToUs;
    }
    let stops = stops(&String::from_utf8_lossy(&output.stdout));
    // Older ones end with an error where nothing matches.
    if output.status.success() || said.trim().is_empty() {
        Told::Stops(stops)
    } else {
        Told::Nothing(format!("journalctl failed ({})", said.trim()))
    }
}

/// From each beginning to the next end of the same unit in the same boot. A line that is no such entry tells nothing.
fn stops(journal: &str) -> Stops {
    let mut began = BTreeMap::new();
    let mut stops = Stops::new();
    for line in journal.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        let Ok(at) = line.at.parse().map(Duration::from_micros) else { continue };
        let stop = (line.boot, line.unit);
        if line.message == STOPPING {
            began.insert(stop, at);
        } else if let Some(began) = began.remove(&stop) {
            stops.entry(stop.1).or_default().push(at.saturating_sub(began));
        }
    }
    stops
}

/// What 99 of 100 stops took at most.
fn p99(stops: &[Duration]) -> Option<Duration> {
    let mut sorted = stops.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// What was measured, held against the grace and each service's own limit.
pub(super) fn findings(config: &Config, told: &Told) -> Vec<Finding> {
    let unknown = |why: &str| {
        Area::Timing.ok(format!("how long the services take to stop is not known: {why}"))
    };
    let stops = match told {
        Told::Stops(stops) => stops,
        Told::NotToUs => {
            return vec![unknown(
                "this user may not read the system's journal: run `headship check` as root",
            )];
        }
        Told::Nothing(why) => return vec![unknown(why)],
    };
    let of = |service: &Service| p99(stops.get(unit_of(service)?)?);
    let measured = config.services.iter().filter_map(|service| Some((service, of(service)?)));
    let measured: Vec<(&Service, Duration)> = measured.collect();
    if measured.is_empty() {
        return vec![unknown("this host's journal tells of no stop of any")];
    }
    let words: Vec<String> = measured
        .iter()
        .map(|(service, p99)| {
            let count = unit_of(service).and_then(|unit| stops.get(unit)).map_or(0, Vec::len);
            format!("{} {p99:.2?} ({count})", service.name)
        })
        .collect();
    let all = timing::one_after_the_other(config, |service| of(service).unwrap_or_default());
    let grace = config.timing.grace;
    let sum = format!(
        "measured stops, p99 (of how many): {}; those that wait for each other {all:.2?}",
        words.join(", ")
    );
    let whole = if all <= grace {
        Area::Timing
            .ok(format!("{sum} <= grace {grace:?}: they end in order where the lease is lost, too"))
    } else {
        Area::Timing.advice(format!(
            "{sum} > grace {grace:?}: where the lease is lost they are killed at its end; raise `timing.grace_ms` and `timing.lease_ms` if they must end in order"
        ))
    };
    let cut = measured.iter().filter(|(service, p99)| *p99 >= service.stop_limit);
    let cut = cut.map(|(service, _)| {
        Area::Timing.warning(format!(
            "`{}` did not stop within its stop limit of {:?} and was killed: raise `stop_limit_ms`, or see why it takes so long",
            service.name, service.stop_limit
        ))
    });
    [whole].into_iter().chain(cut).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::check::Level;
    use crate::tests::config;

    const AMBARI: &str = "ambari-server.service";

    fn line(message: &str, unit: &str, boot: &str, micros: u64) -> String {
        format!(
            r#"{{"MESSAGE_ID":"{message}","UNIT":"{unit}","__REALTIME_TIMESTAMP":"1","_BOOT_ID":"{boot}","__MONOTONIC_TIMESTAMP":"{micros}"}}"#
        )
    }

    fn measured(millis: &[u64]) -> Stops {
        let stops = millis.iter().map(|millis| Duration::from_millis(*millis)).collect();
        [(AMBARI.to_owned(), stops)].into()
    }

    #[test]
    fn a_stop_is_measured_from_its_beginning_to_its_end_in_one_boot() {
        let journal = [
            line(STOPPED, AMBARI, "a", 1_000),
            line(STOPPING, AMBARI, "a", 2_000_000),
            line(STOPPING, "livy.service", "a", 2_100_000),
            line(STOPPED, AMBARI, "a", 2_500_000),
            "no entry".to_owned(),
            line(STOPPING, AMBARI, "a", 9_000_000),
            line(STOPPED, AMBARI, "b", 9_500_000),
            line(STOPPED, "livy.service", "a", 2_130_000),
        ];
        let told = stops(&journal.join("\n"));
        let millis = |unit: &str| told[unit].iter().map(Duration::as_millis).collect::<Vec<_>>();
        assert_eq!((millis(AMBARI), millis("livy.service")), (vec![500], vec![30]));
    }

    #[test]
    fn one_of_a_hundred_stops_is_left_out() {
        let stops: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(p99(&stops), Some(Duration::from_millis(99)));
        assert_eq!(p99(&stops[..10]), Some(Duration::from_millis(10)));
        assert_eq!(p99(&[]), None);
    }

    #[test]
    fn stops_are_held_against_the_grace_and_their_own_limit() {
        let judged = |millis: &[u64]| {
            let findings = findings(&config(), &Told::Stops(measured(millis)));
            findings.into_iter().map(|it| (it.level, it.text)).collect::<Vec<_>>()
        };
        let levels = |millis: &[u64]| judged(millis).iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(levels(&[300]), [Level::Ok]);
        assert_eq!(levels(&[300, 1600]), [Level::Advice]);
        assert_eq!(levels(&[60_000]), [Level::Advice, Level::Warning]);
        let text = &judged(&[300, 350])[0].1;
        assert!(text.contains("ambari-server 350.00ms (2)"), "{text}");
    }

    #[test]
    fn a_journal_that_tells_nothing_is_not_one_that_may_not_be_read() {
        let output = |code: i32, said: &str| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: said.as_bytes().to_vec(),
        };
        let text = |output: &Output| findings(&config(), &told(output)).remove(0).text;
        assert!(text(&output(0, "")).ends_with("this host's journal tells of no stop of any"));
        let not_ours = [
            (1, "No journal files were opened due to insufficient permissions.\n"),
            (0, "Hint: You are currently not seeing messages from other users and the system.\n"),
        ];
        for (code, said) in not_ours {
            assert!(text(&output(code, said)).ends_with("run `headship check` as root"), "{said}");
        }
        let broken = text(&output(1, "Failed to open files: Bad message\n"));
        assert!(broken.ends_with("journalctl failed (Failed to open files: Bad message)"));
    }
}
