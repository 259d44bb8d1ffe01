//! How long nobody had all services, as the services' own log tells.

use crate::lab::HA_UNITS;
use crate::lab::service_log::{ServiceLog, What};

/// The longest stretch between `from` and `to` in which no headnode had all services serving; all in nanoseconds on the
/// clock of the service log.
pub(super) fn longest(log: &ServiceLog, from: u64, to: u64) -> u64 {
    let (gaps, until) = gaps(log, from, to);
    let ended = gaps.into_iter().map(|(begin, end)| end - begin);
    ended.chain([to.saturating_sub(until)]).max().unwrap_or(0)
}

/// How long after `from` some headnode came to have all services serving, the last time before `to`; 0 if one had them all
/// the time. For a cluster that is in order at `to`: what was seen alive a moment before that lives.
pub(super) fn recovery(log: &ServiceLog, from: u64, to: u64) -> u64 {
    gaps(log, from, to).0.last().map_or(0, |(_, end)| end - from)
}

/// The stretches between `from` and `to` in which no headnode had all services serving and after which one had, and until when
/// one is known to have had them.
fn gaps(log: &ServiceLog, from: u64, to: u64) -> (Vec<(u64, u64)>, u64) {
    let mut covered = stretches(log);
    covered.sort_unstable();
    let (mut gaps, mut until) = (Vec::new(), from);
    for (begin, end) in covered.into_iter().filter(|(begin, _)| *begin <= to) {
        if begin > until {
            gaps.push((until, begin));
        }
        until = until.max(end);
    }
    (gaps, until)
}

/// From when to when all services served on one host.
fn stretches(log: &ServiceLog) -> Vec<(u64, u64)> {
    let lives = log.intervals();
    let mut hosts: Vec<&str> = lives.iter().map(|life| life.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut covered = Vec::new();
    for host in hosts {
        let mut turns = Vec::new();
        for life in lives.iter().filter(|life| life.host == host) {
            let ready = log.first(host, &life.service, What::Ready, life.from);
            if let Some(ready) = ready.filter(|ready| *ready <= life.to) {
                turns.extend([(ready, 1), (life.to, -1)]);
            }
        }
        turns.sort_unstable();
        let (mut count, mut since) = (0, 0);
        for (at, change) in turns {
            if count == HA_UNITS.len() && change < 0 {
                covered.push((since, at));
            }
            count = count.saturating_add_signed(change);
            since = at;
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn log(lives: &[(&str, &str, u64, u64)]) -> ServiceLog {
        let mut text = String::new();
        for (number, (host, service, ready, stop)) in lives.iter().enumerate() {
            let of = format!("{host} {service} {number}");
            let (start, ready, stop) = (ready * SECOND - 1, ready * SECOND, stop * SECOND);
            text.push_str(&format!("{start} {of} start\n{ready} {of} ready\n{stop} {of} stop\n"));
        }
        ServiceLog::parse(&text).unwrap()
    }

    #[test]
    fn a_failover_lasts_from_the_first_service_that_ends_to_the_last_that_serves() {
        let services = ["ambari-server", "timeline-server", "job-history", "livy"];
        let before = services.map(|service| ("hn0", service, 1, 10));
        let mut after = services.map(|service| ("hn1", service, 15, 30));
        after[3].2 = 17;
        let mut lives = before.to_vec();
        lives[0].3 = 9;
        lives.extend(after);
        assert_eq!(longest(&log(&lives), 5 * SECOND, 25 * SECOND), 8 * SECOND);
        assert_eq!(longest(&log(&lives), 18 * SECOND, 25 * SECOND), 0);
        assert_eq!(longest(&log(&lives), 18 * SECOND, 33 * SECOND), 3 * SECOND);
        let recovered = |from: u64, to: u64| recovery(&log(&lives), from * SECOND, to * SECOND);
        assert_eq!(recovered(5, 25), 12 * SECOND, "from the fault, not from the first end");
        assert_eq!(recovered(16, 25), SECOND, "an outage that was there already counts, too");
        assert_eq!(recovered(18, 25), 0);
        assert_eq!(recovered(18, 31), 0, "what was alive a moment ago lives");
    }

    #[test]
    fn services_on_two_hosts_are_not_all_services() {
        let lives = [
            ("hn0", "ambari-server", 1, 10),
            ("hn0", "timeline-server", 1, 10),
            ("hn1", "job-history", 1, 10),
            ("hn1", "livy", 1, 10),
        ];
        assert_eq!(longest(&log(&lives), 2 * SECOND, 9 * SECOND), 7 * SECOND);
    }
}
