//! This host: identity, clock, run folder, and the units of its HA services with their start gate.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::Service;
use headship_daemon::Exit;
use headship_drivers::host::gate::GATE;
use headship_drivers::host::identity::{self, MACHINE_ID};
use headship_drivers::host::reboot::booted_by_systemd;
use headship_drivers::host::run::RunDir;

use super::{Area, Finding};
use crate::args::Place;

const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// What is asked of each unit.
const PROPERTIES: &str = "Id,LoadState,UnitFileState,ExecStartPre,Restart,Type,RemainAfterExit,KillMode,WatchdogUSec,TimeoutStopUSec";

/// The units whose watchdogs bound how long a headnode may be without a guard.
const GUARDS: [&str; 2] = ["slave-ha-service.service", MASTER_FC];
const MASTER_FC: &str = "master-fc.service";

/// What was seen of this host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// What is wrong with its identity.
    identity: Option<String>,
    /// What is wrong with the run folder.
    run: Option<String>,
    clock_source: Option<String>,
    /// The kind of virtual machine it is.
    pub(super) virtual_machine: Option<String>,
    /// Within what time systemd has the hardware reset a host that stands still, if it does.
    pub(super) hardware_watchdog: Option<Duration>,
    /// What systemd says of each unit; none without systemd, a sentence if it does not answer.
    pub(super) units: Option<Result<BTreeMap<String, Unit>, String>>,
    /// Where each unit stands in the configuration.
    places: BTreeMap<String, String>,
    /// The longer watchdog of guard and master-fc.
    pub(super) watchdog: Option<Duration>,
    /// How long systemd lets master-fc stop.
    pub(super) stop: Option<Duration>,
}

/// What systemd says of one unit.
pub(super) type Unit = BTreeMap<String, String>;

/// Looks at this host.
pub(super) fn look(config: &Config, place: &Place) -> Host {
    let mut host = Host {
        identity: identity::identity(config.node.clone(), Path::new(MACHINE_ID))
            .err()
            .map(|error| format!("{:#}", anyhow::Error::new(error))),
        run: run_folder(&place.run),
        clock_source: fs::read_to_string(CLOCK_SOURCE).ok().map(|text| text.trim().to_owned()),
        virtual_machine: virtual_machine(),
        ..Host::default()
    };
    if config.is_headnode() && booted_by_systemd() {
        let wanted: Vec<&str> = services(config).filter_map(unit_of).chain(GUARDS).collect();
        let units = show(&wanted);
        host.watchdog = units.as_ref().ok().and_then(watchdog);
        host.stop = units.as_ref().ok().and_then(stop);
        host.units = Some(units);
        host.hardware_watchdog = hardware_watchdog();
        for unit in services(config).filter_map(unit_of) {
            if let Some(at) = where_named(&place.config, "unit", unit) {
                host.places.insert(unit.to_owned(), at);
            }
        }
    }
    host
}

fn run_folder(folder: &Path) -> Option<String> {
    let run = RunDir::new(folder);
    let error = run.closed().map(drop).and_then(|()| run.permit().map(drop)).err()?;
    Some(format!("{:#}", anyhow::Error::new(error)))
}

fn virtual_machine() -> Option<String> {
    let output = Command::new("systemd-detect-virt").arg("--vm").output().ok()?;
    let kind = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!kind.is_empty() && kind != "none").then_some(kind)
}

/// `RuntimeWatchdogSec=` of systemd itself; it opens the device only where there is one.
fn hardware_watchdog() -> Option<Duration> {
    let name = "RuntimeWatchdogUSec";
    let output = Command::new("systemctl").args(["show", "--property", name]).output().ok()?;
    let there = Path::new("/dev/watchdog0").exists();
    let told = properties(&String::from_utf8_lossy(&output.stdout));
    span(property(&told, name)).filter(|_| there)
}

/// The HA services that may run on this node.
pub(super) fn services(config: &Config) -> impl Iterator<Item = &Service> {
    config.services.iter().chain(config.pinned_here())
}

pub(super) fn unit_of(service: &Service) -> Option<&str> {
    service.driver.gated_unit()
}

/// What systemd says of units, by their names.
pub(super) fn show(units: &[&str]) -> Result<BTreeMap<String, Unit>, String> {
    let output = Command::new("systemctl")
        .args(["show", "--no-pager", "--property"])
        .arg(PROPERTIES)
        .arg("--")
        .args(units)
        .output()
        .map_err(|error| format!("systemctl does not run ({error})"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("systemctl failed ({said})"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // One block a unit, in the order of the question.
    let blocks = text.split("\n\n").map(properties);
    Ok(units.iter().map(|unit| (*unit).to_owned()).zip(blocks).collect())
}

fn properties(block: &str) -> Unit {
    let pairs = block.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn property<'a>(unit: &'a Unit, name: &str) -> &'a str {
    unit.get(name).map_or("", |value| value)
}

fn watchdog(units: &BTreeMap<String, Unit>) -> Option<Duration> {
    let spans = GUARDS.iter().map(|name| span(property(units.get(*name)?, "WatchdogUSec")));
    let spans: Option<Vec<Duration>> = spans.collect();
    // Without one of the two watchdogs a frozen program is never noticed: there is no longest.
    spans?.into_iter().max()
}

fn stop(units: &BTreeMap<String, Unit>) -> Option<Duration> {
    match property(units.get(MASTER_FC)?, "TimeoutStopUSec") {
        "infinity" => Some(Duration::MAX),
        text => span(text),
    }
}

/// A length of time as systemd writes it: `1min 30s`, `500ms`. `None` for none at all.
fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for word in text.split_whitespace() {
        let digits = word.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, unit) = word.split_at_checked(digits)?;
        let seconds = match unit {
            "us" => 0.000_001,
            "ms" => 0.001,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * seconds;
        total = total.saturating_add(Duration::try_from_secs_f64(part).ok()?);
    }
    (total > Duration::ZERO).then_some(total)
}

/// The file and line in which `key` has this value, or a list that has it.
pub(super) fn where_named(folder: &Path, key: &str, value: &str) -> Option<String> {
    let fragments = fs::read_dir(folder.join("conf.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = fragments
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files.reverse();
    files.push(folder.join("headship.toml"));
    let quoted = [format!("\"{value}\""), format!("'{value}'")];
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        let names = |line: &str| {
            line.contains(key) && quoted.iter().any(|quoted| line.contains(quoted.as_str()))
        };
        let line = text.lines().position(names)?;
        Some(format!("{}:{}", file.display(), line + 1))
    })
}

/// What follows from it.
pub(super) fn findings(config: &Config, host: &Host) -> Vec<Finding> {
    let mut findings = vec![match &host.identity {
        None => Area::Host.ok(format!("this machine has an id; its name here is {}", config.node)),
        Some(why) => Area::Host.fault(Exit::Failed, why.clone()),
    }];
    findings.push(match &host.run {
        None => Area::Host.ok("the run folder can be read"),
        Some(why) => Area::Host.fault(
            Exit::Failed,
            format!("{why}: nothing starts on this host until that is mended"),
        ),
    });
    if !config.is_headnode() {
        let names: Vec<&str> =
            config.headnodes.iter().map(|headnode| headnode.name.as_str()).collect();
        findings.push(Area::Host.ok(format!(
            "{} is no headnode ({} are): no HA service runs here",
            config.node,
            names.join(" and ")
        )));
        return findings;
    }
    findings.push(clock(host));
    findings.extend(units(config, host));
    findings
}

fn clock(host: &Host) -> Finding {
    match host.clock_source.as_deref() {
        Some(bad @ ("jiffies" | "refined-jiffies" | "pit")) => Area::Host.warning(format!(
            "the kernel counts time by `{bad}`, which may be off by more than the 1 % that the lease allows for: choose another clocksource"
        )),
        Some(good) => Area::Host.ok(format!("the kernel counts time by `{good}`")),
        None => Area::Host.warning("the kernel does not tell its clock source: see that clocks of headnodes differ by less than 1 % in speed"),
    }
}

fn units(config: &Config, host: &Host) -> Vec<Finding> {
    let with_unit = services(config).filter_map(|service| Some((service, unit_of(service)?)));
    let units = match &host.units {
        None => {
            return with_unit
                .map(|(service, unit)| {
                    Area::Host.fault(
                        Exit::Configuration,
                        format!(
                            "service `{}` is the unit `{unit}`, but this host does not run under systemd: use `driver = \"command\"`",
                            service.name
                        ),
                    )
                })
                .collect();
        }
        Some(Err(why)) => {
            return vec![Area::Host.warning(format!("nothing is known of the units: {why}"))];
        }
        Some(Ok(units)) => units,
    };
    let none = Unit::new();
    with_unit
        .map(|(service, unit)| {
            let at = host.places.get(unit).map_or_else(String::new, |at| format!("{at}: "));
            of_unit(service, unit, units.get(unit).unwrap_or(&none), &at)
        })
        .collect()
}

fn of_unit(service: &Service, name: &str, unit: &Unit, at: &str) -> Finding {
    let (service, probes) = (&service.name, &service.probes);
    let own = property(unit, "Id");
    if !own.is_empty() && own != name {
        return Area::Host.fault(
            Exit::Configuration,
            format!("{at}service `{service}`: `{name}` is an alias of `{own}`, so it could not be killed at its deadline under this name: write `unit = \"{own}\"`"),
        );
    }
    match property(unit, "LoadState") {
        "loaded" => {}
        "not-found" | "" => {
            return Area::Host.fault(
                Exit::Configuration,
                format!("{at}service `{service}`: there is no unit `{name}` on this host: install it, or correct `unit`"),
            );
        }
        other => {
            return Area::Host.fault(
                Exit::Failed,
                format!("service `{service}`: unit `{name}` cannot be used ({other}): see `systemctl status {name}`"),
            );
        }
    }
    if !property(unit, "ExecStartPre").contains(GATE) {
        return Area::Host.fault(
            Exit::Failed,
            format!("unit `{name}` has no start gate, so it could be started on the standby: run `systemctl daemon-reload`, which asks headship-generator for it"),
        );
    }
    let restart = property(unit, "Restart");
    if restart != "no" {
        return Area::Host.warning(format!(
            "systemd restarts `{name}` by itself (Restart={restart}), beside headship: remove that from its drop-ins"
        ));
    }
    if property(unit, "UnitFileState").starts_with("enabled") {
        return Area::Host.warning(format!(
            "unit `{name}` is enabled, so every boot tries to start it and the gate refuses: `systemctl disable {name}`"
        ));
    }
    let stays = property(unit, "RemainAfterExit") == "yes";
    if property(unit, "Type") == "oneshot" && stays && probes.is_empty() {
        return Area::Host.advice(format!(
            "unit `{name}` stays active without a process (Type=oneshot, RemainAfterExit=yes): right for what is done once on activation, but nobody would see that service `{service}` is down if it is more than that: then give it a `[[service.probe]]`"
        ));
    }
    Area::Host.ok(format!("service `{service}`: unit `{name}` exists, and its start is gated"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::config;
    use headship_core::config::checked::{Probe, ProbeKind};

    fn good() -> Unit {
        let gate = format!("{{ path={GATE} ; argv[]={GATE} x.service ; ignore_errors=no }}");
        properties(&format!(
            "Type=simple\nRestart=no\nWatchdogUSec=0\nRemainAfterExit=no\nExecStartPre={gate}\nId=x.service\nLoadState=loaded\nUnitFileState=disabled"
        ))
    }

    fn with(name: &str, value: &str) -> Unit {
        let mut unit = good();
        unit.insert(name.to_owned(), value.to_owned());
        unit
    }

    fn found(unit: &Unit, probes: Vec<Probe>) -> Finding {
        let of_config = config().services.remove(0);
        let service = Service { name: "x".to_owned(), probes, ..of_config };
        of_unit(&service, "x.service", unit, "headship.toml:7: ")
    }

    fn told(unit: &Unit) -> (Level, Exit) {
        let finding = found(unit, Vec::new());
        (finding.level, finding.exit)
    }

    #[test]
    fn a_unit_must_exist_be_gated_and_be_left_to_headship() {
        assert_eq!(told(&good()), (Level::Ok, Exit::Ok));
        let missing = with("LoadState", "not-found");
        assert_eq!(told(&missing), (Level::Fault, Exit::Configuration));
        assert_eq!(told(&with("LoadState", "masked")), (Level::Fault, Exit::Failed));
        assert_eq!(told(&with("ExecStartPre", "")), (Level::Fault, Exit::Failed));
        assert_eq!(told(&with("Restart", "on-failure")), (Level::Warning, Exit::Degraded));
        assert_eq!(told(&with("UnitFileState", "enabled")), (Level::Warning, Exit::Degraded));
        let text = found(&missing, Vec::new()).text;
        assert!(text.starts_with("headship.toml:7: service `x`: there is no unit"), "{text}");
    }

    #[test]
    fn an_alias_is_a_fault_that_names_the_line_and_the_name_to_write() {
        let finding = found(&with("Id", "y.service"), Vec::new());
        assert_eq!((finding.level, finding.exit), (Level::Fault, Exit::Configuration));
        assert_eq!(
            finding.text,
            "headship.toml:7: service `x`: `x.service` is an alias of `y.service`, so it could not be killed at its deadline under this name: write `unit = \"y.service\"`"
        );
    }

    #[test]
    fn a_unit_that_stays_active_without_a_process_wants_a_probe() {
        let mut oneshot = with("Type", "oneshot");
        assert_eq!(told(&oneshot), (Level::Ok, Exit::Ok));
        oneshot.insert("RemainAfterExit".to_owned(), "yes".to_owned());
        assert_eq!(told(&oneshot), (Level::Advice, Exit::Ok));
        let second = Duration::from_secs(1);
        let kind = ProbeKind::Tcp { address: "localhost:1".to_owned() };
        let probe =
            Probe { kind, interval: second, limit: second, rise: 1, fall: 1, fall_unanswered: 1 };
        assert_eq!(found(&oneshot, vec![probe]).level, Level::Ok);
        // The end of any other unit's process is seen by the driver.
        assert_eq!(told(&with("RemainAfterExit", "yes")), (Level::Ok, Exit::Ok));
    }

    #[test]
    fn how_long_master_fc_may_stop_is_read_and_may_be_for_ever() {
        let units = |text| BTreeMap::from([(MASTER_FC.to_owned(), with("TimeoutStopUSec", text))]);
        assert_eq!(stop(&units("2min")), Some(Duration::from_secs(120)));
        assert_eq!(stop(&units("infinity")), Some(Duration::MAX));
        assert_eq!(stop(&units("")), None);
        assert_eq!(stop(&BTreeMap::new()), None);
    }

    #[test]
    fn the_place_of_a_unit_is_the_last_fragment_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        fs::write(folder.path().join("headship.toml"), "\nunit = \"a.service\"\n").unwrap();
        fs::write(folder.path().join("conf.d/10.toml"), "\n\nunit = 'b.service'\n").unwrap();
        let at = |unit| where_named(folder.path(), "unit", unit).unwrap();
        assert!(at("a.service").ends_with("headship.toml:2"));
        assert!(at("b.service").ends_with("conf.d/10.toml:3"));
        assert_eq!(where_named(folder.path(), "unit", "c.service"), None);
    }

    #[test]
    fn spans_are_read_as_systemd_writes_them() {
        assert_eq!(span("1min 30s"), Some(Duration::from_secs(90)));
        assert_eq!(span("1.500s"), Some(Duration::from_millis(1500)));
        assert_eq!(span("500ms"), Some(Duration::from_millis(500)));
        for none in ["0", "", "infinity", "soon"] {
            assert_eq!(span(none), None, "{none}");
        }
    }

    #[test]
    fn the_longer_watchdog_counts_and_a_missing_one_is_none() {
        let mut units = BTreeMap::new();
        units.insert(GUARDS[0].to_owned(), with("WatchdogUSec", "1s"));
        units.insert(GUARDS[1].to_owned(), with("WatchdogUSec", "2s"));
        assert_eq!(watchdog(&units), Some(Duration::from_secs(2)));
        units.insert(GUARDS[1].to_owned(), with("WatchdogUSec", "0"));
        assert_eq!(watchdog(&units), None);
    }

    #[test]
    fn units_without_systemd_are_faults_of_the_configuration() {
        let host = Host { clock_source: Some("tsc".to_owned()), ..Host::default() };
        let found = findings(&config(), &host);
        let faults: Vec<_> = found.iter().filter(|it| it.exit == Exit::Configuration).collect();
        assert_eq!(faults.len(), 3, "{found:#?}");
    }

    #[test]
    fn a_node_that_is_no_headnode_needs_no_units() {
        let mut config = config();
        config.node = "worker7".try_into().unwrap();
        let found = findings(&config, &Host::default());
        assert!(found.iter().all(|it| it.level == Level::Ok), "{found:#?}");
    }
}
