//! Sizes: binaries, memory and processor time at rest.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

use super::{BenchError, Figure, Report, Result, Unit};
use crate::lab::files::Sources;
use crate::lab::{Host, Lab};
use crate::suite;

const PROGRAMS: [&str; 9] = [
    "master-fc",
    "slave-fc",
    "master-ha-service",
    "slave-ha-service",
    "health-monitor",
    "gate",
    "actions",
    "headship-generator",
    "headship",
];

const DAEMONS: [&str; 5] =
    ["master-fc", "master-ha-service", "slave-fc", "slave-ha-service", "health-monitor"];

const MIB: i64 = 1024 * 1024;
/// The most that a program should be on disk, and a daemon in memory.
const BINARY_TARGET: i64 = 8 * MIB;
const MEMORY_TARGET: i64 = 12 * MIB;
/// Millionths of a core.
const CPU_TARGET: i64 = 2000;

/// How often the thread wakes up that daemons are compared with.
const WAKES_A_SECOND: u32 = 10;

/// After a start there is work left that does not come again.
const CALM_DOWN: Duration = Duration::from_secs(12);
/// Over how long processor time is counted: longer than the longest period of anything that a daemon does.
const REST: Duration = Duration::from_secs(30);

pub(super) fn of_binaries(sources: &Sources, report: &mut Report) -> Result<()> {
    for program in PROGRAMS {
        let file = sources.find(&format!("target/release/{program}"));
        let size = fs::metadata(&file)
            .map_err(|error| odd(&format!("{}: {error}", file.display())))?
            .len();
        let value = i64::try_from(size).unwrap_or(i64::MAX);
        let (name, target) = (format!("size of {program}"), Some(BINARY_TARGET));
        report.add("-", Figure { name, unit: Unit::Bytes, value, target });
    }
    Ok(())
}

pub(super) fn at_rest(lab: &Lab, report: &mut Report) -> Result<()> {
    let preset = lab.settings().preset.name();
    thread::sleep(CALM_DOWN);
    let (active, standby) = suite::pair(lab.headnodes()).map_err(BenchError::Odd)?;
    let daemons: Vec<(&Host, &str, &str)> = [(&active, "active"), (&standby, "standby")]
        .into_iter()
        .flat_map(|(host, role)| DAEMONS.map(|daemon| (host, role, daemon)))
        .filter(|(host, _, daemon)| host.runs(&format!("{daemon}.service")))
        .collect();
    let used = |(host, _, daemon): &(&Host, &str, &str)| Usage::of(host, daemon);
    let before: Vec<Usage> = daemons.iter().map(used).collect::<Result<_>>()?;
    let idle = idle_thread();
    let after: Vec<Usage> = daemons.iter().map(used).collect::<Result<_>>()?;
    for ((_, role, daemon), (before, after)) in daemons.iter().zip(before.iter().zip(&after)) {
        let name = format!("memory of {daemon} ({role})");
        let (unit, value) = (Unit::Bytes, after.memory);
        report.add(preset, Figure { name, unit, value, target: Some(MEMORY_TARGET) });
        let seconds = i64::try_from(REST.as_secs()).unwrap_or(i64::MAX);
        let name = format!("processor share of {daemon} ({role})");
        let (unit, value) =
            (Unit::CoreMillionths, (after.cpu_micros - before.cpu_micros) / seconds);
        report.add(preset, Figure { name, unit, value, target: Some(CPU_TARGET) });
    }
    let name =
        format!("processor share of a thread that only wakes {WAKES_A_SECOND} times a second");
    report.add(preset, Figure { name, unit: Unit::CoreMillionths, value: idle, target: None });
    Ok(())
}

/// Lets the time of rest pass, and tells what share of a core it took to wake up now and then: what a daemon at rest costs
/// is mostly that, and differs between machines by more than it does between daemons.
fn idle_thread() -> i64 {
    let used = || clock_gettime(ClockId::ThreadCPUTime);
    let before = used();
    for _ in 0..REST.as_secs() * u64::from(WAKES_A_SECOND) {
        thread::sleep(Duration::from_secs(1) / WAKES_A_SECOND);
    }
    let after = used();
    let nanos = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
    let seconds = i64::try_from(REST.as_secs()).unwrap_or(i64::MAX);
    nanos / 1000 / seconds
}

/// What a daemon has used.
struct Usage {
    memory: i64,
    cpu_micros: i64,
}

impl Usage {
    fn of(host: &Host, daemon: &str) -> Result<Self> {
        let pids = host.find_processes(&format!("{daemon}.service"))?;
        let pid = pids.first().ok_or_else(|| odd("a unit without a process"))?.as_raw_nonzero();
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).map_err(|error| odd(&format!("{path}: {error}")))
        };
        // Nanoseconds on a processor: finer than the ticks of `stat`, which are as long as all that a daemon does in one.
        let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok();
        let precise = schedstat.and_then(|text| text.split(' ').next()?.parse::<i64>().ok());
        let cpu_micros = match precise {
            Some(nanos) => nanos / 1000,
            None => {
                ticks(&read("stat")?)? * 1_000_000
                    / i64::try_from(clock_ticks_per_second()).unwrap_or(100)
            }
        };
        let pages: i64 = word(&read("statm")?, 1)?;
        Ok(Self { memory: pages * i64::try_from(page_size()).unwrap_or(4096), cpu_micros })
    }
}

/// User and system time in `/proc/PID/stat`; the name before them may hold blanks.
fn ticks(stat: &str) -> Result<i64> {
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    Ok(word(behind, 11)? + word(behind, 12)?)
}

fn word(text: &str, index: usize) -> Result<i64> {
    let word = text.split_whitespace().nth(index).and_then(|word| word.parse().ok());
    word.ok_or_else(|| odd(&format!("no number as word {index} of `{text}`")))
}

fn odd(what: &str) -> BenchError {
    BenchError::Odd(what.to_owned())
}
