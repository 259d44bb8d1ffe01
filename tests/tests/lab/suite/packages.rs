//! The life of the packages on hosts that run: upgraded and downgraded under the services, removed, purged, and installed
//! before there is a configuration.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use headship_tests::lab::packages::{Format, Packages};
use headship_tests::lab::{Host, Options};

use tempfile::TempDir;

use super::cluster::{Cluster, DAEMONS, FAILOVER, SOON};
use super::quorum::unnoticed;
use super::{Answer, Test};
use crate::Outcome;

pub(super) const FAST: [Test; 3] = [
    ("packages_up_and_downgraded_on_standby_and_active_touch_no_service", replaced_on_headnodes),
    ("packages_installed_over_a_faulty_configuration_leave_the_daemons_that_run", over_a_fault),
    ("packages_installed_before_the_configuration_wait_for_it_and_say_so", lived),
];

pub(super) const RPM: [Test; 1] =
    [("packages_of_rpm_are_installed_replaced_and_erased_as_those_of_dpkg", lived_by_rpm)];

pub(super) const MORE: [Test; 2] = [
    ("packages_upgraded_on_all_nodes_touch_no_service", replaced_everywhere),
    ("packages_removed_from_the_active_hand_the_services_over", removed_from_the_active),
];

/// What a headnode has, in the order of a removal.
const PACKAGES: [&str; 3] = ["headship-headnode", "headship-node", "headship-cli"];

const DUTY: &str = "master-ha-service.service";

/// The version that is not that of the programs. They say so little of their own that any will do.
const OTHER: &str = "99.0.0";

/// Longer than dpkg takes on a busy machine, and shorter than a unit of `Type=notify` that does not become ready.
const DPKG_LIMIT: &str = "30";

/// What may be left of the packages after a purge, outside of /run: nothing.
const TRACES: &str = "find / -xdev \\( -path /var/lib/dpkg -o -path /var/log -o -path /proc -o -path /sys \\) -prune -o \
    \\( -name '*headship*' -o -name 'master-fc*' -o -name 'slave-fc*' -o -name 'slave-ha-service*' -o -name 'master-ha-service*' \
    -o -name 'health-monitor*' -o -name gate \\) -not -path '*headship-lab*' -print";

// B-44.
fn replaced_on_headnodes(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    replaced(cluster, &[standby, active])
}

// B-44.
fn replaced_everywhere(cluster: &Cluster<'_>) -> Outcome {
    replaced(cluster, &cluster.lab().hosts())
}

/// The packages of the programs at hand.
fn built(format: Format) -> Answer<Packages> {
    Ok(Packages::build(&Options::for_tests().sources, format, None)?)
}

/// The same programs as another version.
fn built_as_another(format: Format, folder: &TempDir) -> Answer<Packages> {
    let other = Some((OTHER, folder.path()));
    Ok(Packages::build(&Options::for_tests().sources, format, other)?)
}

/// Up to another version on these hosts in turn, and down again.
fn replaced(cluster: &Cluster<'_>, hosts: &[Host]) -> Outcome {
    let (own, folder) = (built(Format::Deb)?, tempfile::tempdir()?);
    let other = built_as_another(Format::Deb, &folder)?;
    let before = cluster.before()?;
    let versions = || hosts.iter().map(version).collect::<Answer<Vec<_>>>();
    let first = versions()?;
    for packages in [&other, &own] {
        for host in hosts {
            let active = host.name() == before.active;
            replace(cluster, host, active, || install(host, packages).map(drop))?;
            let is_other = version(host)?.starts_with(OTHER);
            assert_eq!(
                is_other,
                std::ptr::eq(packages, &other),
                "which version {} has",
                host.name()
            );
        }
    }
    assert_eq!(versions()?, first);
    unnoticed(cluster, &before)
}

/// Has `install` replace the programs, and waits until no daemon of old ones runs.
fn replace(
    cluster: &Cluster<'_>,
    host: &Host,
    active: bool,
    install: impl FnOnce() -> Outcome,
) -> Outcome {
    let units = units_of(cluster, host, active);
    let old: Vec<_> = units.iter().map(|unit| cluster.pid(host, unit)).collect();
    install()?;
    cluster.wait("every daemon is another process, of a program that has a name", SOON, || {
        let all = units.iter().zip(&old).all(|(unit, old)| {
            let pid = cluster.pid(host, unit);
            pid.is_some() && pid != *old && pid.is_some_and(|pid| !is_deleted(pid))
        });
        all.then_some(())
    })
}

/// The daemons that run on a host.
fn units_of(cluster: &Cluster<'_>, host: &Host, active: bool) -> Vec<&'static str> {
    let is_headnode = cluster.lab().headnodes().iter().any(|it| it.name() == host.name());
    let daemons = if is_headnode { &DAEMONS[..] } else { &DAEMONS[..2] };
    if active { [daemons, &[DUTY]].concat() } else { daemons.to_vec() }
}

fn is_deleted(pid: i32) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    exe.to_string_lossy().ends_with(" (deleted)")
}

/// Has dpkg install the packages of the host's role, and returns what they said.
fn install(host: &Host, packages: &Packages) -> Answer<String> {
    let mut names = Vec::new();
    for package in packages.of(host.spec().role) {
        let name = format!("/var/tmp/{}", package.file_name().unwrap_or_default().display());
        fs::copy(package, host.root().join(name.trim_start_matches('/')))?;
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let said = dpkg(host, &[&["--install"], &names[..]].concat())?;
    host.run(&[&["rm"], &names[..]].concat())?;
    Ok(said)
}

fn dpkg(host: &Host, arguments: &[&str]) -> Answer<String> {
    let line = [&["timeout", DPKG_LIMIT, "dpkg"], arguments].concat();
    Ok(host.run(&line)?)
}

fn version(host: &Host) -> Answer<String> {
    Ok(host.run(&["dpkg-query", "--show", "--showformat=${Version}", "headship-node"])?)
}

fn lived(cluster: &Cluster<'_>) -> Outcome {
    let (_, standby) = cluster.pair()?;
    let before = cluster.before()?;
    let configuration = configuration_of(&standby)?;
    remove(cluster, &standby)?;
    // With the configuration that was left nothing starts either, and somebody has to hear of it.
    let said = install(&standby, &built(Format::Deb)?)?;
    assert!(said.contains("none of its daemons runs"), "{said}");
    purge(&standby)?;
    let said = install(&standby, &built(Format::Deb)?)?;
    assert!(said.contains("nothing is started yet"), "{said}");
    wait_for_configuration(&standby)?;
    configure(cluster, &standby, &configuration)?;
    unnoticed(cluster, &before)
}

/// Started again they would end, and the services would run on without a guard.
fn over_a_fault(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let (before, own) = (cluster.before()?, built(Format::Deb)?);
    let path = "/etc/headship/headship.toml";
    let whole = active.read_file(path)?;
    for damaged in [Some("clustr = 1\n"), None] {
        let units = units_of(cluster, &active, true);
        let pids: Vec<_> = units.iter().map(|unit| cluster.pid(&active, unit)).collect();
        match damaged {
            Some(text) => active.write_file(path, text)?,
            None => drop(active.run(&["rm", path])?),
        }
        let said = install(&active, &own);
        active.write_file(path, &whole)?;
        let said = said?;
        assert!(said.contains("the daemons of the version before run on"), "{said}");
        let after: Vec<_> = units.iter().map(|unit| cluster.pid(&active, unit)).collect();
        assert_eq!(after, pids, "the daemons of {}", active.name());
    }
    // Mended, they are started again.
    replace(cluster, &active, true, || install(&active, &own).map(drop))?;
    unnoticed(cluster, &before)
}

/// Gives a host that waits its configuration, and starts it.
fn configure(
    cluster: &Cluster<'_>,
    standby: &Host,
    configuration: &BTreeMap<String, String>,
) -> Outcome {
    for (path, text) in configuration {
        standby.write_file(path, text)?;
    }
    standby.run(&[
        "systemctl",
        "start",
        "slave-ha-service",
        "health-monitor",
        "master-fc",
        "slave-fc",
    ])?;
    cluster.wait_role(standby, "standby")?;
    cluster.wait_ready()
}

/// The files of the configuration, by their paths.
fn configuration_of(host: &Host) -> Answer<BTreeMap<String, String>> {
    let paths = host.run(&["find", "/etc/headship", "-name", "*.toml"])?;
    let read = |path: &str| Ok((path.to_owned(), host.read_file(path)?));
    paths.lines().map(read).collect()
}

/// Removed: nothing runs, no gate is left, and what people wrote and daemons remember is.
fn remove(cluster: &Cluster<'_>, host: &Host) -> Outcome {
    dpkg(host, &[&["--remove"], &PACKAGES[..]].concat())?;
    removed(cluster, host)
}

fn removed(cluster: &Cluster<'_>, host: &Host) -> Outcome {
    for unit in DAEMONS {
        assert_eq!(cluster.pid(host, unit), None, "{unit} runs without its package");
    }
    let drop_ins = ["systemctl", "show", "--property=DropInPaths", "ambari-server"];
    assert!(!host.run(&drop_ins)?.contains("headship"), "a gate is left");
    for path in ["/etc/headship/headship.toml", "/var/lib/headship"] {
        host.run(&["test", "-e", path])?;
    }
    Ok(())
}

/// Purged: nothing is left.
fn purge(host: &Host) -> Outcome {
    dpkg(host, &[&["--purge"], &PACKAGES[..]].concat())?;
    assert_eq!(host.run(&["sh", "-c", TRACES])?, "", "what a purge leaves");
    Ok(())
}

/// Installed: enabled, not started; a start waits, says so, and is not tried again.
fn wait_for_configuration(host: &Host) -> Outcome {
    for unit in DAEMONS {
        assert_eq!(host.run(&["systemctl", "is-enabled", unit])?.trim(), "enabled", "{unit}");
        host.run(&["systemctl", "start", unit])?;
    }
    // Longer than `RestartSec=`.
    std::thread::sleep(Duration::from_secs(1));
    let properties = "--property=ActiveState,ConditionResult,NRestarts";
    for unit in DAEMONS {
        let shown = host.run(&["systemctl", "show", properties, unit])?;
        let mut shown: Vec<&str> = shown.lines().collect();
        shown.sort_unstable();
        assert_eq!(shown, ["ActiveState=inactive", "ConditionResult=no", "NRestarts=0"], "{unit}");
        let status = host.output(&["systemctl", "status", "--no-pager", unit])?;
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains("/etc/headship/headship.toml"), "{status}");
    }
    Ok(())
}

// B-26.
fn removed_from_the_active(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let configuration = configuration_of(&active)?;
    let since = headship_tests::lab::service_log::now();
    remove(cluster, &active)?;
    cluster.wait_active(&standby, epoch)?;
    cluster.assert_stopped_in_order(&active, since)?;
    cluster.assert_started_on(&standby, since)?;
    // What was enabled before is so again, and what people wrote was left.
    install(&active, &built(Format::Deb)?)?;
    assert_eq!(configuration_of(&active)?, configuration);
    for unit in DAEMONS {
        assert_eq!(active.run(&["systemctl", "is-enabled", unit])?.trim(), "enabled", "{unit}");
    }
    active.run(&[&["systemctl", "start"], &DAEMONS[..]].concat())?;
    cluster.wait("the host that had none is standby again", FAILOVER, || {
        (cluster.role(&active) == "standby").then_some(())
    })
}

/// On a host of Debian, whose C library and systemd rpm's database does not know: hence without dependencies.
fn lived_by_rpm(cluster: &Cluster<'_>) -> Outcome {
    let (_, standby) = cluster.pair()?;
    let before = cluster.before()?;
    let configuration = configuration_of(&standby)?;
    let (own, folder) = (built(Format::Rpm)?, tempfile::tempdir()?);
    let other = built_as_another(Format::Rpm, &folder)?;
    purge(&standby)?;
    let upgrade = |packages: &Packages| {
        let files = packages.of(standby.spec().role);
        let files = files.iter().filter_map(|file| file.to_str());
        let line = ["--upgrade", "--oldpackage", "--nodeps"].into_iter().chain(files);
        rpm(&standby, &line.collect::<Vec<_>>())
    };
    let said = upgrade(&own)?;
    assert!(said.contains("nothing is started yet"), "{said}");
    wait_for_configuration(&standby)?;
    configure(cluster, &standby, &configuration)?;
    for packages in [&other, &own] {
        replace(cluster, &standby, false, || upgrade(packages).map(drop))?;
        let version = rpm(&standby, &["--query", "--queryformat=%{VERSION}", "headship-node"])?;
        assert_eq!(version.starts_with(OTHER), std::ptr::eq(packages, &other), "{version}");
    }
    cluster.wait_ready()?;
    rpm(&standby, &[&["--erase"], &PACKAGES[..]].concat())?;
    removed(cluster, &standby)?;
    assert_eq!(configuration_of(&standby)?, configuration);
    install(&standby, &built(Format::Deb)?)?;
    configure(cluster, &standby, &configuration)?;
    unnoticed(cluster, &before)
}

/// The machine's rpm, with a database on the host, whose systemd hears the scripts.
fn rpm(host: &Host, arguments: &[&str]) -> Answer<String> {
    let root = host.visible_root();
    let root = root.to_str().ok_or("a path that is no text")?;
    let line = ["timeout", DPKG_LIMIT, "rpm", "--root", root, "--dbpath", "/var/lib/rpm"];
    Ok(host.run_from_outside(&[&line, arguments].concat())?)
}
