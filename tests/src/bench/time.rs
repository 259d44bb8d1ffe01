//! Times: from what happened to a headnode or a service until the order to start it again.
//!
//! The order is the moment at which systemd begins with a unit: its gate runs after that. What a service itself needs to
//! start or to stop is none of the suite's.

use std::thread;
use std::time::Duration;

use headship_core::say::Kind;

use super::report::PAST_THE_WAIT;
use super::{BenchError, Figure, Result, Unit};
use crate::lab::overlap::End;
use crate::lab::service_log::{self, What};
use crate::lab::{Host, Lab, Preset, Signal, power, wait_for};
use crate::suite;

/// What takes a failover with the slowest preset, and some patience.
const LIMIT: Duration = Duration::from_secs(60);

const SERVICES: [&str; 4] = ["ambari-server", "timeline-server", "job-history", "livy"];

pub(super) struct Measurement {
    pub(super) name: &'static str,
    pub(super) take: fn(&Lab) -> Result<Vec<Figure>>,
}

pub(super) const ALL: [Measurement; 5] = [
    Measurement { name: "killed services", take: killed_services },
    Measurement { name: "switchover", take: switchover },
    Measurement { name: "power loss", take: power_loss },
    Measurement { name: "cut cable", take: cut_cable },
    Measurement { name: "power loss with a fence agent", take: fenced_power_loss },
];

fn figure(name: &str, nanos: i64, target_micros: Option<i64>) -> Figure {
    Figure { name: name.to_owned(), unit: Unit::Micros, value: nanos / 1000, target: target_micros }
}

fn pair(lab: &Lab) -> Result<(Host, Host)> {
    suite::pair(lab.headnodes()).map_err(BenchError::Odd)
}

/// `later` after `earlier`, which may be the other way round.
fn span(earlier: u64, later: u64) -> i64 {
    let signed = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    signed(later) - signed(earlier)
}

/// When systemd last began to start a unit.
fn ordered_at(host: &Host, service: &str) -> Result<u64> {
    let ordered = suite::ordered_at(host, service)?;
    ordered.ok_or_else(|| BenchError::Odd(format!("{service} never began on {}", host.name())))
}

fn wait_ready(lab: &Lab, host: &Host, service: &str, since: u64) -> Result<u64> {
    let sentence = format!("{service} serves on {}", host.name());
    Ok(wait_for(&sentence, LIMIT, || {
        let log = lab.service_log().ok()?;
        let began = log.first(host.name(), service, What::Start, since)?;
        log.first(host.name(), service, What::Ready, began)
    })?)
}

fn wait_all_ready(lab: &Lab, host: &Host, since: u64) -> Result<u64> {
    let mut last = 0;
    for service in SERVICES {
        last = last.max(wait_ready(lab, host, service, since)?);
    }
    Ok(last)
}

fn killed_services(lab: &Lab) -> Result<Vec<Figure>> {
    let (active, _) = pair(lab)?;
    let mut figures = Vec::new();
    for service in ["ambari-server", "livy"] {
        let unit = format!("{service}.service");
        active.find_processes(&unit)?;
        let killed = service_log::now();
        active.kill(&unit, Signal::KILL)?;
        wait_ready(lab, &active, service, killed)?;
        let ordered = ordered_at(&active, service)?;
        figures.push(figure(
            &format!("{service} killed: start order after its death"),
            span(killed, ordered),
            Some(50_000),
        ));
    }
    Ok(figures)
}

fn switchover(lab: &Lab) -> Result<Vec<Figure>> {
    let (from, to) = pair(lab)?;
    let ordered = service_log::now();
    from.run(&["headship", "switchover"])?;
    let served = wait_all_ready(lab, &to, ordered)?;
    let own = busy_with_services(lab, ordered)?;
    let total = span(ordered, served);
    let mut figures = vec![
        figure("switchover: whole, as the operator sees it", total, None),
        figure("switchover: over the services' own stops and starts", total - own, Some(200_000)),
    ];
    figures.extend(hosts_files(&to, &lab.hosts(), "switchover")?);
    Ok(figures)
}

/// How long after the office of `active` began the hosts files of `nodes` were rewritten, in the median and at the last.
fn hosts_files(active: &Host, nodes: &[Host], what: &str) -> Result<Vec<Figure>> {
    let began = suite::office_began(active)?
        .ok_or_else(|| BenchError::Odd(format!("{} does not say since when", active.name())))?;
    let address = active.address();
    let mut spans = Vec::new();
    for node in nodes {
        let sentence = format!("{} follows {}", node.name(), active.name());
        let own = format!("{address} headnodehost");
        wait_for(&sentence, LIMIT, || {
            let text = node.read_file("/etc/hosts").ok()?;
            text.lines().any(|line| line.starts_with(&own)).then_some(())
        })?;
        let changed = suite::hosts_changed_at(node).map_err(|error| {
            BenchError::Odd(format!("the hosts file of {}: {error}", node.name()))
        })?;
        spans.push(span(began, changed));
    }
    spans.sort_unstable();
    let at = |index: usize| spans.get(index).copied().unwrap_or_default();
    let count = spans.len();
    Ok(vec![
        figure(
            &format!("{what}: hosts file moved after becoming-active, median of {count} nodes"),
            at(spans.len() / 2),
            Some(200_000),
        ),
        figure(
            &format!("{what}: hosts file moved after becoming-active, last of {count} nodes"),
            at(spans.len().saturating_sub(1)),
            Some(200_000),
        ),
    ])
}

/// For how long since `since` some service was stopping or starting, in nanoseconds.
fn busy_with_services(lab: &Lab, since: u64) -> Result<i64> {
    let log = lab.service_log()?;
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for event in log.events().iter().filter(|event| event.at >= since) {
        let ends_with = match event.what {
            What::Term => What::Stop,
            What::Start => What::Ready,
            What::Ready | What::Alive | What::Stop | What::Witness => continue,
        };
        spans.extend(
            log.first(&event.host, &event.service, ends_with, event.at).map(|end| (event.at, end)),
        );
    }
    spans.sort_unstable();
    let (mut busy, mut until) = (0, 0);
    for (from, to) in spans {
        busy += span(from.max(until), to).max(0);
        until = until.max(to);
    }
    Ok(busy)
}

fn power_loss(lab: &Lab) -> Result<Vec<Figure>> {
    let (active, standby) = pair(lab)?;
    // The last one that is read before the plug is pulled may be one renewal older than the last one there was.
    let lost = service_log::now();
    active.power_off()?;
    let mut figures = taken_over(lab, &active, &standby, lost, "power loss")?;
    let mut left = lab.hosts();
    left.retain(|node| node.name() != active.name());
    figures.extend(hosts_files(&standby, &left, "power loss")?);
    Ok(figures)
}

/// Where the fence agent's configuration lies while it is measured; without it nobody is fenced.
const FENCE_FILE: &str = "/etc/headship/conf.d/70-fence.toml";

/// The standby has to know that the active answers while it lives, or its silence says nothing: it finds out at once.
const ACQUAINTED: Duration = Duration::from_secs(2);

fn fenced_power_loss(lab: &Lab) -> Result<Vec<Figure>> {
    let fence =
        |text: &str| lab.headnodes().iter().try_for_each(|host| host.write_file(FENCE_FILE, text));
    fence(&power::fence_fragment(lab.place()))?;
    let measured = super::settle(lab).and_then(|()| {
        thread::sleep(ACQUAINTED);
        fenced(lab)
    });
    // Whoever measures next restarts master-fc.
    fence("")?;
    measured
}

fn fenced(lab: &Lab) -> Result<Vec<Figure>> {
    const WHAT: &str = "power loss with a fence agent";
    let (active, standby) = pair(lab)?;
    let lost = service_log::now();
    active.power_off()?;
    wait_ready(lab, &standby, "ambari-server", lost)?;
    let first = ordered_at(&standby, "ambari-server")?;
    let at = |kind| -> Result<u64> {
        let said =
            suite::said(&standby, kind)?.into_iter().map(|(at, _)| at).rfind(|at| *at >= lost);
        said.ok_or_else(|| BenchError::Odd(format!("{} fenced nobody", standby.name())))
    };
    let agent = span(at(Kind::FenceAsked)?, at(Kind::FenceYes)?);
    let after = span(lost, first);
    Ok(vec![
        figure(&format!("{WHAT}: first start order on the standby"), after, None),
        figure(&format!("{WHAT}: from the question to the agent's yes"), agent, None),
        figure(
            &format!("{WHAT}: first start order, less the agent's time"),
            after - agent,
            Some(1_500_000),
        ),
    ])
}

fn cut_cable(lab: &Lab) -> Result<Vec<Figure>> {
    let (active, standby) = pair(lab)?;
    let lost = service_log::now();
    active.cut()?;
    taken_over(lab, &active, &standby, lost, "cut cable")
}

fn taken_over(lab: &Lab, from: &Host, to: &Host, lost: u64, what: &str) -> Result<Vec<Figure>> {
    wait_all_ready(lab, to, lost)?;
    let first = ordered_at(to, "ambari-server")?;
    let (lease, kill) = match lab.settings().preset {
        Preset::Fast => (2_000_000_000, 500_000_000),
        Preset::Normal => (6_000_000_000, 2_000_000_000),
        Preset::Tolerant => (16_000_000_000, 2_000_000_000),
    };
    let wait: i64 = lease * 101 / 100 + kill * 110 / 100;
    let after = span(lost, first);
    let ended = lab.service_log()?.intervals().into_iter();
    let last = ended
        .filter(|life| life.host == from.name() && life.from < lost)
        .max_by_key(|life| life.to);
    let mut figures = vec![
        figure(
            &format!("{what}: first start order on the standby"),
            after,
            Some((wait + 500_000_000) / 1000),
        ),
        // The wait counts from the last renewal that the standby read, which was before the loss: this may be negative.
        figure(&format!("{what}: first start order, {PAST_THE_WAIT}"), after - wait, Some(500_000)),
    ];
    if let Some(life) = last.filter(|life| life.end == End::Stopped) {
        figures.push(figure(
            &format!("{what}: services gone on the lost headnode"),
            span(lost, life.to),
            Some(lease / 1000),
        ));
    }
    Ok(figures)
}
