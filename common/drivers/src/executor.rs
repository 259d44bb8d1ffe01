//! Carries out what a supervisor orders, and brings back what came of it.
//!
//! Orders run beside each other: a service that hangs holds up no other. Looks at one service may overtake each other on
//! their way; one that was overtaken by a newer look is reported as unknown, never as what it saw.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use headship_core::config::checked::Service;
use headship_core::quorum::ActionId;
use headship_core::services::{Ended, Observed, Order, Report, ServiceAction};
use tokio::sync::mpsc;

use crate::host::run::RunDir;
use crate::process::Gated;
use crate::systemd::Systemd;
use crate::{Change, Driver, DriverError, Drivers, probe};

/// How long a look may take: systemd answers within milliseconds, or it hangs.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// How long one SIGKILL may take to show; the core orders the next.
const KILL_LIMIT: Duration = Duration::from_millis(500);
/// How much longer than its own limit a start or a stop is waited for: the core ends it first.
const BEYOND: Duration = Duration::from_secs(5);

/// Carries out orders about services.
#[derive(Debug)]
pub struct Executor {
    drivers: Drivers,
    services: BTreeMap<String, Service>,
    changes: mpsc::Receiver<Change>,
    tell: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    looks: u64,
    /// The newest look at each service that was reported.
    reported: BTreeMap<String, u64>,
    /// The services that are being looked at because they changed, and whether they changed again since that began.
    changing: BTreeMap<String, bool>,
}

#[derive(Debug)]
struct Told {
    report: Report,
    look: u64,
}

impl Executor {
    /// An executor for HA services. Must be made within a tokio runtime. `gate` is the start gate's program.
    pub fn new(services: Vec<Service>, run: &RunDir, gate: &Path) -> Result<Self, DriverError> {
        Self::with(services, run, gate, Gated::Yes)
    }

    /// As `new`, for programs of the node that run whoever is active.
    pub fn ungated(services: Vec<Service>, run: &RunDir, gate: &Path) -> Result<Self, DriverError> {
        Self::with(services, run, gate, Gated::No)
    }

    fn with(
        services: Vec<Service>,
        run: &RunDir,
        gate: &Path,
        gated: Gated,
    ) -> Result<Self, DriverError> {
        let drivers = Drivers::new(&services, run, gate, gated)?;
        let changes = drivers.changes();
        let (tell, told) = mpsc::unbounded_channel();
        let services =
            services.into_iter().map(|service| (service.name.clone(), service)).collect();
        let (reported, changing) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { drivers, services, changes, tell, told, looks: 0, reported, changing })
    }

    /// systemd, if this host runs under it.
    pub fn systemd(&self) -> Option<&Systemd> {
        self.drivers.systemd()
    }

    /// Begins to carry out an order; its end is reported with the order's id.
    pub fn carry_out(&mut self, action: ServiceAction) {
        let ServiceAction { id, service: name, order } = action;
        let (Some(driver), Some(service)) =
            (self.drivers.get(&name).cloned(), self.services.get(&name))
        else {
            let why = format!("there is no service `{name}`");
            self.report(0, Report::Ended { id, ended: Ended::Failed { why, by_gate: false } });
            return;
        };
        let (start, stop) = (service.start_limit + BEYOND, service.stop_limit + BEYOND);
        match order {
            Order::Start => self.spawn(id, async move { driver.start(start).await }),
            Order::Stop => self.spawn(id, async move { driver.stop(stop).await }),
            Order::Kill => self.spawn(id, async move { driver.kill(KILL_LIMIT).await }),
            Order::Look => self.look(name, Some(id)),
            Order::Probe(index) => self.probe(id, &name, index),
        }
    }

    /// What came of an order, or changed by itself. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Report {
        loop {
            tokio::select! {
                Some(told) = self.told.recv() => {
                    self.look_again_if_changed(&told.report);
                    if let Some(report) = self.in_order(told) {
                        return report;
                    }
                }
                Some(change) = self.changes.recv() => match change {
                    Change::Service(name) => self.changed(name),
                    Change::All => {
                        for name in self.services.keys().cloned().collect::<Vec<_>>() {
                            self.changed(name);
                        }
                    }
                },
            }
        }
    }

    fn report(&self, look: u64, report: Report) {
        self.tell.send(Told { report, look }).expect("we hold the receiver ourselves");
    }

    fn spawn(&self, id: ActionId, order: impl Future<Output = Ended> + Send + 'static) {
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let report = Report::Ended { id, ended: order.await };
            // Nobody listens any more when the daemon ends.
            drop(tell.send(Told { report, look: 0 }));
        });
    }

    /// A start or a stop is told of several times: as long as a look is on its way, one more after it sees them all.
    fn changed(&mut self, service: String) {
        if let Some(again) = self.changing.get_mut(&service) {
            *again = true;
        } else {
            self.changing.insert(service.clone(), false);
            self.look(service, None);
        }
    }

    fn look_again_if_changed(&mut self, report: &Report) {
        if let Report::Observed { service, asked: None, .. } = report
            && self.changing.remove(service) == Some(true)
        {
            self.changed(service.clone());
        }
    }

    fn look(&mut self, service: String, asked: Option<ActionId>) {
        let Some(driver) = self.drivers.get(&service).cloned() else { return };
        self.looks += 1;
        let (tell, look) = (self.tell.clone(), self.looks);
        tokio::spawn(async move {
            let observed = seen(&driver).await;
            drop(tell.send(Told { report: Report::Observed { service, asked, observed }, look }));
        });
    }

    fn probe(&self, id: ActionId, name: &str, index: usize) {
        let probe = self.services.get(name).and_then(|service| service.probes.get(index)).cloned();
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let serving = match probe {
                Some(probe) => probe::ask(&probe).await,
                None => None,
            };
            drop(tell.send(Told { report: Report::Probed { id, serving }, look: 0 }));
        });
    }

    /// A look that was overtaken by a newer one shows what was, not what is.
    fn in_order(&mut self, Told { mut report, look }: Told) -> Option<Report> {
        if let Report::Observed { service, asked, observed } = &mut report {
            let newest = self.reported.entry(service.clone()).or_default();
            if look < *newest {
                asked.as_ref()?;
                *observed = Observed::Unknown;
            }
            *newest = look.max(*newest);
        }
        Some(report)
    }
}

/// What a service is, as far as systemd or the kernel tells.
async fn seen(driver: &Driver) -> Observed {
    or_by_the_kernel(driver.observe(LOOK_LIMIT).await, || driver.runs())
}

/// If systemd does not answer, the kernel tells at least that a service runs. That it does not is no proof of anything: only
/// systemd knows of a start that has passed the gate and has no process yet.
fn or_by_the_kernel(told: Observed, runs: impl FnOnce() -> Result<bool, String>) -> Observed {
    if told == Observed::Unknown && runs() == Ok(true) { Observed::Running } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_systemd_the_kernel_can_tell_that_a_service_runs_and_not_that_it_is_down() {
        let failed = || Err("no control groups".to_owned());
        assert_eq!(or_by_the_kernel(Observed::Unknown, || Ok(true)), Observed::Running);
        assert_eq!(or_by_the_kernel(Observed::Unknown, || Ok(false)), Observed::Unknown);
        assert_eq!(or_by_the_kernel(Observed::Unknown, failed), Observed::Unknown);
        assert_eq!(or_by_the_kernel(Observed::Stopped, || Ok(true)), Observed::Stopped);
    }
}
