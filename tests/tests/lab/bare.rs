//! The lab itself, without the suite: a test of the suite is worth no more than what it stands on.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headship_tests::lab::ensemble::{self, Mode};
use headship_tests::lab::overlap::Overlap;
use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Host, Lab, Options, Signal, wait_for, wait_until};

use crate::{Outcome, Test};

pub(crate) const TESTS: [Test; 12] = [
    ("hosts_keep_their_machine_id_and_get_a_boot_id_with_each_boot", boots_have_identities),
    ("a_cut_cable_silences_a_host_until_it_is_healed", cut_and_heal),
    ("a_host_can_be_cut_off_from_one_other_in_one_direction", one_way_cut),
    ("power_loss_leaves_no_process_and_closes_no_connection", power_loss),
    ("a_host_that_reboots_itself_at_once_comes_back", forced_reboot),
    ("a_frozen_host_stands_still_and_goes_on_when_thawed", frozen_host),
    ("the_ensemble_survives_the_kill_of_its_leader", leader_killed),
    ("the_ensemble_survives_the_power_loss_of_its_leader", leader_without_power),
    ("a_killed_service_was_last_seen_just_before", killed_service),
    ("a_service_misbehaves_on_request", misbehaviour),
    ("services_on_two_hosts_at_once_are_an_overlap", overlap_is_seen),
    ("a_lab_that_crashed_half_way_is_ended_without_a_trace", no_trace),
];

/// With a process that no kill ends: skipped where this machine cannot make one.
pub(crate) const BEYOND_KILL: [Test; 1] =
    [("a_process_that_no_kill_ends_does_not_outlive_a_reboot", beyond_kill)];

/// What a host needs to answer, a busy machine included.
const SOON: Duration = Duration::from_secs(10);

fn hears(host: &Host, other: &str) -> bool {
    host.output(&["ping", "-c", "1", "-W", "1", other]).is_ok_and(|answer| answer.status.success())
}

/// An established connection to a service that runs on `host`.
fn connection(
    host: &Host,
    service: &str,
    port: u16,
) -> Result<TcpStream, Box<dyn std::error::Error>> {
    host.run(&["systemctl", "start", service])?;
    Ok(TcpStream::connect((host.address(), port))?)
}

fn boots_have_identities(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    let machine_id = host.read_file("/etc/machine-id")?;
    let mut boots = vec![lab.host("hn1")?.boot_id()?, host.boot_id()?];
    host.reboot()?;
    boots.push(host.boot_id()?);
    host.power_off()?;
    host.power_on()?;
    boots.push(host.boot_id()?);
    boots.push(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned());
    let different: std::collections::BTreeSet<_> = boots.iter().collect();
    assert_eq!(
        different.len(),
        boots.len(),
        "boot ids of hn1, of three boots of hn0 and of this machine: {boots:?}"
    );
    assert_eq!(host.read_file("/etc/machine-id")?, machine_id);
    assert_ne!(lab.host("hn1")?.read_file("/etc/machine-id")?, machine_id);
    Ok(())
}

fn cut_and_heal(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    assert!(hears(&host, "zk0"));
    host.cut()?;
    assert!(!hears(&host, "zk0") && !hears(&host, "hn1"));
    // The cable is not what power is about.
    host.power_off()?;
    host.power_on()?;
    assert!(!hears(&host, "zk0"));
    host.heal()?;
    assert!(hears(&host, "zk0"));
    Ok(())
}

fn one_way_cut(lab: &Lab) -> Outcome {
    let (deaf, other) = (lab.host("hn0")?, lab.host("hn1")?);
    deaf.deafen_to(&other)?;
    // An echo needs both ways; one way is seen from what arrives.
    assert!(!hears(&deaf, "hn1") && !hears(&other, "hn0"));
    assert!(received_by(&other, &deaf)? > 0 && received_by(&deaf, &other)? == 0);
    assert!(hears(&deaf, "zk0") && hears(&other, "zk0"));
    deaf.heal()?;
    assert!(hears(&deaf, "hn1"));
    Ok(())
}

/// How many of three echo requests of `from` arrive at `at`, by its kernel's own count.
fn received_by(at: &Host, from: &Host) -> Result<u64, Box<dyn std::error::Error>> {
    let before = echo_requests(at)?;
    from.output(&["ping", "-c", "3", "-i", "0.2", "-W", "1", at.name()])?;
    Ok(echo_requests(at)? - before)
}

fn echo_requests(at: &Host) -> Result<u64, Box<dyn std::error::Error>> {
    let counts = at.run(&["cat", "/proc/net/snmp"])?;
    let mut icmp =
        counts.lines().filter(|line| line.starts_with("Icmp:")).map(str::split_whitespace);
    let (Some(names), Some(values)) = (icmp.next(), icmp.next()) else {
        return Err("no ICMP counts".into());
    };
    let (_, value) = names
        .zip(values)
        .find(|(name, _)| *name == "InEchos")
        .ok_or("no count of echo requests")?;
    Ok(value.parse()?)
}

fn power_loss(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    let mut connected = connection(&host, "livy.service", 8998)?;
    let processes: Vec<PathBuf> = host
        .processes()
        .iter()
        .map(|pid| PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero())))
        .collect();
    assert!(processes.len() > 5, "a booted host has some processes");
    host.power_off()?;
    assert!(!host.has_power());
    let alive: Vec<_> = processes.iter().filter(|dir| dir.join("exe").exists()).collect();
    assert!(alive.is_empty(), "still there: {alive:?}");
    assert_silent(&mut connected, Duration::from_millis(300))?;
    host.power_on()?;
    // What the old boot had in its sockets died with it: a kernel would try again to close them, for some seconds.
    assert_silent(&mut connected, Duration::from_secs(2))?;
    assert!(!host.runs("livy.service"), "HA services of the lab are disabled at boot");
    Ok(())
}

/// Neither an end nor a reset of the connection arrives within some time.
fn assert_silent(connection: &mut TcpStream, time: Duration) -> Outcome {
    connection.set_read_timeout(Some(time))?;
    let heard = connection.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock));
    Ok(())
}

fn forced_reboot(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    let before = host.boot_id()?;
    host.output(&["systemctl", "reboot", "--force", "--force"])?;
    wait_until("hn0 boots again", SOON, || host.boot_id().is_ok_and(|id| id != before))?;
    host.wait_booted()?;
    wait_until("hn0 is on the network again", SOON, || hears(&host, "zk0"))?;
    Ok(())
}

fn beyond_kill(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    host.run(&["systemctl", "start", "livy.service"])?;
    host.freeze_beyond_kill("livy.service")?;
    host.kill("livy.service", Signal::KILL)?;
    let since = Instant::now();
    let lives = |host: &Host| host.runs("lab-service");
    while since.elapsed() < Duration::from_millis(300) {
        assert!(lives(&host), "SIGKILL ended it after {:?}", since.elapsed());
    }
    forced_reboot(lab)?;
    assert!(!lives(&host));
    Ok(())
}

fn frozen_host(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    let _connected = connection(&host, "livy.service", 8998)?;
    let last_beat = || {
        lab.service_log()
            .map(|log| log.events().iter().rev().find(|e| e.what == What::Alive).map(|e| e.at))
    };
    host.freeze_all()?;
    let frozen_at = wait_for("hn0 stands still", SOON, || {
        let before = last_beat().ok()?;
        std::thread::sleep(Duration::from_millis(100));
        (last_beat().ok()? == before).then_some(before)
    })?;
    host.thaw_all()?;
    wait_until("hn0 goes on", SOON, || last_beat().is_ok_and(|beat| beat > frozen_at))?;
    host.run(&["systemctl", "stop", "livy.service"])?;
    Ok(())
}

fn leader_killed(lab: &Lab) -> Outcome {
    let leader = lab.leader().ok_or("no server leads")?;
    leader.kill(ensemble::UNIT, Signal::KILL)?;
    another_leads(lab, &leader)?;
    leader.run(&["systemctl", "start", ensemble::UNIT])?;
    Ok(ensemble::wait_serving(&lab.servers(), Duration::from_secs(30))?)
}

fn leader_without_power(lab: &Lab) -> Outcome {
    let leader = lab.leader().ok_or("no server leads")?;
    leader.power_off()?;
    another_leads(lab, &leader)?;
    leader.power_on()?;
    Ok(ensemble::wait_serving(&lab.servers(), Duration::from_secs(30))?)
}

fn another_leads(lab: &Lab, lost: &Host) -> Outcome {
    let others: Vec<Host> =
        lab.servers().into_iter().filter(|server| server.name() != lost.name()).collect();
    Ok(wait_until(
        &format!("another than {} leads, and a follower follows", lost.name()),
        Duration::from_secs(30),
        || {
            let modes: Vec<_> = others.iter().map(ensemble::mode).collect();
            modes.contains(&Some(Mode::Leader)) && modes.contains(&Some(Mode::Follower))
        },
    )?)
}

fn killed_service(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    let _connected = connection(&host, "livy.service", 8998)?;
    let since = service_log::now();
    host.kill("livy.service", Signal::KILL)?;
    let killed = service_log::now();
    let again = wait_for("its Restart=always starts it again", SOON, || {
        lab.service_log().ok()?.first("hn0", "livy", What::Start, since)
    })?;
    let intervals = lab.service_log()?.intervals();
    let life = intervals
        .iter()
        .rev()
        .find(|life| life.host == "hn0" && life.from < since)
        .ok_or("no life before the kill")?;
    assert!(life.to <= killed && killed <= again);
    assert!(
        killed - life.to < 200_000_000,
        "last seen {} us before the kill",
        (killed - life.to) / 1_000
    );
    host.run(&["systemctl", "stop", "livy.service"])?;
    Ok(())
}

fn misbehaviour(lab: &Lab) -> Outcome {
    let host = lab.host("hn0")?;
    lab.set_behaviour("hn0", "livy", "start_delay_ms = 300")?;
    let began = Instant::now();
    host.run(&["systemctl", "start", "livy.service"])?;
    assert!(began.elapsed() >= Duration::from_millis(300));
    lab.set_behaviour("hn0", "livy", "stop_delay_ms = 300\nhttp_status = 503")?;
    let answer = host.run(&[
        "curl",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        "localhost:8998",
    ])?;
    assert_eq!(answer, "503");
    let began = Instant::now();
    host.run(&["systemctl", "stop", "livy.service"])?;
    assert!(began.elapsed() >= Duration::from_millis(300));
    lab.set_behaviour("hn0", "livy", "fail_start = true")?;
    assert!(!host.output(&["systemctl", "start", "livy.service"])?.status.success());
    host.run(&["systemctl", "stop", "livy.service"])?;
    lab.set_behaviour("hn0", "livy", "")?;
    Ok(())
}

fn overlap_is_seen(lab: &Lab) -> Outcome {
    let since = service_log::now();
    for name in ["hn0", "hn1"] {
        lab.host(name)?.run(&["systemctl", "start", "livy.service"])?;
    }
    wait_until("the overlap is longer than a beat", SOON, || {
        let overlaps = lab.overlaps_since(since).unwrap_or_default();
        overlaps.iter().any(|overlap| matches!(overlap, Overlap::Intervals { .. }))
            && overlaps
                .iter()
                .any(|overlap| matches!(overlap, Overlap::Witnessed(event) if event.host == "hn1"))
    })?;
    for name in ["hn0", "hn1"] {
        lab.host(name)?.run(&["systemctl", "stop", "livy.service"])?;
    }
    Ok(())
}

/// With a lab of its own, beside the one that serves the other tests.
fn no_trace(other: &Lab) -> Outcome {
    // Far from the numbers that people give theirs.
    let number = other.settings().number | 128;
    let trace = format!("headship-lab-trace-{number}");
    let dir = Path::new("/var/lib").join(&trace);
    let options = Options { dir: dir.clone(), number, bare: true, ..Options::for_tests() };
    let lab = Lab::up(&options, &mut |_| ())?;
    lab.host("hn0")?.power_off()?;
    lab.host("hn1")?.cut()?;
    // As if `lab up` had been killed before it wrote anything about itself.
    std::fs::remove_file(dir.join("lab.json"))?;
    Lab::down_in(&dir, number)?;
    let traces = [
        lab.hosts().iter().map(|host| host.processes().len()).sum::<usize>(),
        count(Path::new("/sys/class/net"), &format!("hslab{number}")),
        count(Path::new("/run/netns"), &format!("hslab{number}")),
        std::fs::read_to_string("/proc/self/mounts")?
            .lines()
            .filter(|line| line.contains(&trace))
            .count(),
        usize::from(dir.exists()),
    ];
    assert_eq!(traces, [0; 5], "processes, interfaces, namespaces, mounts, state");
    Ok(())
}

fn count(dir: &Path, prefix: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .count()
}
