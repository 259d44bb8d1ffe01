//! The one invariant that matters, read from the services' own log: at any moment, HA services run on one host at most.

use std::fmt;

use super::service_log::{Event, ServiceLog, What};

/// How an interval ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The service stopped in order.
    Stopped,
    /// It was last seen alive: it lives still, or was killed then or up to a beat later.
    LastSeen,
}

/// One life of one process of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// On which host.
    pub host: String,
    /// Which service.
    pub service: String,
    /// Its process, as its host numbers it.
    pub pid: u32,
    /// When it started, as [`super::service_log::now`] counts.
    pub from: u64,
    /// When it ended, or was last seen.
    pub to: u64,
    /// Which of the two.
    pub end: End,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Stopped => "stopped",
            End::LastSeen => "last seen",
        };
        let Self { host, service, pid, .. } = self;
        write!(f, "{} to {} {end}  {host} {service} ({pid})", Seconds(self.from), Seconds(self.to))
    }
}

/// A time of the log, as seconds since this machine booted.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7}.{:06}", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

/// Proof that HA services ran on two hosts at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Two lives on two hosts share a stretch of time.
    Intervals {
        /// The one that started first.
        first: Interval,
        /// The one that started while the first was alive.
        second: Interval,
    },
    /// A service found another host's services alive when it started.
    Witnessed(Event),
}

impl Overlap {
    /// Its first moment that is known.
    #[must_use]
    pub fn began(&self) -> u64 {
        match self {
            Self::Intervals { second, .. } => second.from,
            Self::Witnessed(event) => event.at,
        }
    }

    /// The last moment of it that is known.
    #[must_use]
    pub fn until(&self) -> u64 {
        match self {
            Self::Intervals { first, second } => first.to.min(second.to),
            Self::Witnessed(event) => event.at,
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intervals { first, second } => {
                let to = self.until();
                let long = (to - second.from) / 1_000;
                write!(
                    f,
                    "{} on {} and {} on {} ran at once",
                    first.service, first.host, second.service, second.host
                )?;
                write!(
                    f,
                    " for {long} us, from {} to {}",
                    Seconds(second.from).to_string().trim(),
                    Seconds(to).to_string().trim()
                )
            }
            Self::Witnessed(event) => {
                let at = Seconds(event.at).to_string();
                write!(
                    f,
                    "{} on {} found another host's services alive when it started at {}",
                    event.service,
                    event.host,
                    at.trim()
                )
            }
        }
    }
}

impl ServiceLog {
    /// Every life of every service, in the order of their starts.
    #[must_use]
    pub fn intervals(&self) -> Vec<Interval> {
        let mut intervals: Vec<Interval> = Vec::new();
        for event in self.events() {
            if event.what == What::Start {
                intervals.push(Interval {
                    host: event.host.clone(),
                    service: event.service.clone(),
                    pid: event.pid,
                    from: event.at,
                    to: event.at,
                    end: End::LastSeen,
                });
                continue;
            }
            // A process number may come back after a reboot: the latest start is meant.
            let of_process = |life: &&mut Interval| {
                life.host == event.host && life.service == event.service && life.pid == event.pid
            };
            if let Some(life) = intervals.iter_mut().rev().find(of_process) {
                life.to = life.to.max(event.at);
                if event.what == What::Stop {
                    life.end = End::Stopped;
                }
            }
        }
        intervals
    }

    /// Every proof that services ran on two hosts at once; none is what must hold.
    #[must_use]
    pub fn overlaps(&self) -> Vec<Overlap> {
        let intervals = self.intervals();
        let mut overlaps = Vec::new();
        for (index, first) in intervals.iter().enumerate() {
            for second in intervals.iter().skip(index + 1) {
                if first.host != second.host && second.from < first.to {
                    overlaps
                        .push(Overlap::Intervals { first: first.clone(), second: second.clone() });
                }
            }
        }
        let witnesses = self.events().iter().filter(|event| event.what == What::Witness);
        overlaps.extend(witnesses.cloned().map(Overlap::Witnessed));
        overlaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(text: &str) -> Vec<String> {
        ServiceLog::parse(text).unwrap().overlaps().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_clean_handover_has_no_overlap() {
        let log = "1000000000 hn0 livy 57 start
2000000000 hn0 livy 57 term
2100000000 hn0 livy 57 stop
2100000000 hn1 livy 99 start
9000000000 hn1 livy 99 alive
";
        assert_eq!(overlaps(log), Vec::<String>::new());
    }

    #[test]
    fn one_millisecond_is_an_overlap() {
        let log = "1000000000 hn0 livy 57 start
2100000000 hn0 livy 57 stop
2099000000 hn1 livy 99 start
9000000000 hn1 livy 99 alive
";
        assert_eq!(
            overlaps(log),
            ["livy on hn0 and livy on hn1 ran at once for 1000 us, from 2.099000 to 2.100000"]
        );
    }

    #[test]
    fn different_services_on_two_hosts_overlap_as_well() {
        let log = "1000000000 hn0 ambari-server 57 start
3000000000 hn0 ambari-server 57 alive
2000000000 hn1 livy 99 start
2500000000 hn1 livy 99 stop
";
        assert_eq!(
            overlaps(log),
            [
                "ambari-server on hn0 and livy on hn1 ran at once for 500000 us, from 2.000000 to 2.500000"
            ]
        );
    }

    #[test]
    fn services_of_one_host_may_run_together() {
        let log = "1000000000 hn0 ambari-server 57 start
1500000000 hn0 livy 58 start
3000000000 hn0 ambari-server 57 alive
3000000000 hn0 livy 58 alive
";
        assert_eq!(overlaps(log), Vec::<String>::new());
    }

    #[test]
    fn a_killed_service_counts_until_it_was_last_seen() {
        let log = "1000000000 hn0 livy 57 start
2000000000 hn0 livy 57 alive
1999999000 hn1 livy 99 start
";
        assert_eq!(
            overlaps(log),
            ["livy on hn0 and livy on hn1 ran at once for 0 us, from 1.999999 to 1.999999"]
        );
    }

    #[test]
    fn a_service_that_stays_up_while_two_others_come_and_go_overlaps_with_both() {
        let log = "1000000000 hn0 livy 57 start
9000000000 hn0 livy 57 alive
2000000000 hn1 livy 99 start
2100000000 hn1 livy 99 stop
3000000000 hn1 livy 99 start
3100000000 hn1 livy 99 stop
";
        assert_eq!(overlaps(log).len(), 2);
    }

    #[test]
    fn a_process_number_that_comes_back_after_a_reboot_is_another_life() {
        let log = "1000000000 hn0 livy 57 start
2000000000 hn0 livy 57 alive
3000000000 hn1 livy 57 start
4000000000 hn1 livy 57 stop
5000000000 hn0 livy 57 start
6000000000 hn0 livy 57 alive
";
        assert_eq!(overlaps(log), Vec::<String>::new());
        assert_eq!(ServiceLog::parse(log).unwrap().intervals().len(), 3);
    }

    #[test]
    fn a_witness_is_believed_without_intervals() {
        let log = "1000000000 hn0 livy 57 start
2000000000 hn1 livy 99 start
2000000001 hn1 livy 99 witness
";
        assert_eq!(
            overlaps(log),
            ["livy on hn1 found another host's services alive when it started at 2.000000"]
        );
    }
}
