//! The drivers of all HA services of a configuration, alike for whoever uses them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headship_core::actions::Recipe;
use headship_core::config::checked;
use headship_core::services::{Ended, Observed};
use tokio::sync::mpsc;

use crate::actions::Acts;
use crate::host::cgroup::Cgroups;
use crate::host::gate;
use crate::host::run::RunDir;
use crate::process::{Gated, Process};
use crate::systemd::{self, Systemd, TRANSIENT, Transient};
use crate::unit::Unit;

/// The slice of commands.
pub(crate) const SLICE: &str = "headship.slice";
/// Changes that may wait for a busy daemon.
const QUEUE: usize = 64;

/// The drivers of all HA services.
#[derive(Debug)]
pub struct Drivers {
    drivers: BTreeMap<String, Driver>,
    systemd: Option<Systemd>,
}

/// How one service is started, stopped, killed and seen. Every call ends within its limit, and none waits for another.
#[derive(Clone, Debug)]
pub struct Driver {
    kind: Kind,
    run: RunDir,
    gate: PathBuf,
    gated: Gated,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A unit of its own.
    Unit(Unit),
    /// A command as a transient unit.
    Command { unit: Unit, name: String, command: Vec<String>, stop_limit: Duration },
    /// A command as a plain process.
    Process(Process),
    /// Actions, in a unit or a process that stands for what they leave.
    Actions(Box<Acts>),
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This service: look at it anew.
    Service(String),
    /// Changes may have been missed: look at all of them anew.
    All,
}

/// Why there are no drivers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// A unit without systemd.
    #[error(
        "service `{service}` is the unit `{unit}`, but this host does not run under systemd: use `driver = \"command\"`"
    )]
    NoSystemd {
        /// The service.
        service: String,
        /// Its unit.
        unit: String,
    },
}

impl Drivers {
    /// The drivers of `services`. Must be called within a tokio runtime. Under systemd commands run as transient units,
    /// elsewhere as plain processes. `gate` is the start gate's program; what is no HA service needs not pass it.
    pub fn new(
        services: &[checked::Service],
        run: &RunDir,
        gate: &Path,
        gated: Gated,
    ) -> Result<Self, DriverError> {
        let units = services.iter().map(unit_name);
        let systemd = run.under_systemd().then(|| Systemd::open(units));
        let cgroups = Cgroups::of_host();
        let mut drivers = BTreeMap::new();
        for service in services {
            let unit = systemd
                .clone()
                .map(|systemd| Unit::new(unit_name(service), systemd, cgroups.clone(), gated));
            let name = service.name.clone();
            let kind = match (&service.driver, unit) {
                (checked::Driver::Systemd { .. }, Some(unit)) => Kind::Unit(unit),
                (checked::Driver::Systemd { unit }, None) => {
                    return Err(DriverError::NoSystemd { service: name, unit: unit.clone() });
                }
                (checked::Driver::Command { start }, Some(unit)) => Kind::Command {
                    unit,
                    name: name.clone(),
                    command: start.clone(),
                    stop_limit: service.stop_limit,
                },
                (checked::Driver::Command { start }, None) => Kind::Process(Process::new(
                    name.clone(),
                    start.clone(),
                    run.clone(),
                    gate.to_owned(),
                    gated,
                )),
                (checked::Driver::Actions(_), _) => {
                    let host = systemd.clone().map(|systemd| (systemd, cgroups.clone()));
                    let acts = Recipe::of(service)
                        .map(|recipe| Acts::new(recipe, unit_name(service), run, gate, host));
                    Kind::Actions(Box::new(acts.expect("its driver has actions")))
                }
            };
            let driver = Driver { kind, run: run.clone(), gate: gate.to_owned(), gated };
            drivers.insert(name, driver);
        }
        Ok(Self { drivers, systemd })
    }

    /// A service's driver; `None` if the configuration has no such service.
    pub fn get(&self, service: &str) -> Option<&Driver> {
        self.drivers.get(service)
    }

    /// systemd, if this host runs under it.
    pub fn systemd(&self) -> Option<&Systemd> {
        self.systemd.as_ref()
    }

    /// Each service whose unit cannot be started, or whose programs are not there, with why, in a sentence; `None` if systemd
    /// does not answer.
    pub async fn unusable(&self, limit: Duration) -> Option<BTreeMap<String, String>> {
        let lacking = self.drivers.iter();
        let lacking = lacking.filter_map(|(name, driver)| Some((name.clone(), driver.lacks()?)));
        let lacking: BTreeMap<String, String> = lacking.collect();
        let Some(systemd) = &self.systemd else { return Some(lacking) };
        let units = self.drivers.iter();
        let units = units.filter_map(|(name, driver)| Some((name, driver.unit_name()?)));
        let (names, units): (Vec<&String>, Vec<&str>) = units.unzip();
        let told = systemd.unusable(&units, limit).await?;
        let told = names.into_iter().zip(told).filter_map(|(it, why)| Some((it.clone(), why?)));
        Some(lacking.into_iter().chain(told).collect())
    }

    /// Tells of changes from now on, until the receiver is dropped.
    pub fn changes(&self) -> mpsc::Receiver<Change> {
        let (tell, changes) = mpsc::channel(QUEUE);
        let mut services = BTreeMap::new();
        for (name, driver) in &self.drivers {
            if let Some(unit) = driver.unit_name() {
                services.insert(unit.to_owned(), name.clone());
            }
            if let Some(process) = driver.process() {
                let (tell, name) = (tell.clone(), name.clone());
                let process = process.clone();
                tokio::spawn(
                    process.watch(async move || {
                        tell.send(Change::Service(name.clone())).await.is_ok()
                    }),
                );
            }
        }
        if let Some(systemd) = &self.systemd {
            tokio::spawn(forward(systemd.changes(), services, tell));
        }
        changes
    }
}

async fn forward(
    mut changes: systemd::Changes,
    services: BTreeMap<String, String>,
    tell: mpsc::Sender<Change>,
) {
    loop {
        let change = match changes.next().await {
            systemd::Change::Unit(unit) => services.get(&unit).cloned().map(Change::Service),
            systemd::Change::All => Some(Change::All),
        };
        if let Some(change) = change
            && tell.send(change).await.is_err()
        {
            return;
        }
    }
}

impl Driver {
    /// Starts the service, through the gate if it must.
    pub async fn start(&self, limit: Duration) -> Ended {
        let ended = match &self.kind {
            Kind::Unit(unit) => unit.systemd().start(unit.name(), &self.gate, limit).await,
            Kind::Command { unit, name, command, stop_limit } => {
                let (word, gate) = match self.gated {
                    Gated::Yes => {
                        let gate = self.gate.display().to_string();
                        ("HA service ", Some(vec![gate, unit.name().to_owned()]))
                    }
                    Gated::No => ("headship: ", None),
                };
                let transient = Transient {
                    unit: unit.name(),
                    description: format!("{word}{name}"),
                    slice: SLICE,
                    gate,
                    command,
                    stop_limit: *stop_limit,
                    credential: None,
                    notify: None,
                };
                unit.systemd().start_transient(&transient, &self.gate, limit).await
            }
            Kind::Process(process) => return process.start(limit).await,
            Kind::Actions(acts) => acts.start(limit).await,
        };
        match ended {
            // systemd tells that the gate refused, not why.
            Ended::Failed { why, by_gate: true } => match gate::check(&self.run) {
                Ok(()) => Ended::Failed { why, by_gate: true },
                Err(refused) => Ended::Failed { why: format!("{why}: {refused}"), by_gate: true },
            },
            other @ (Ended::Done | Ended::Failed { .. } | Ended::Unknown { .. }) => other,
        }
    }

    /// Stops the service as gracefully as its unit says; done means that nothing of it is left. Replaces a queued start.
    pub async fn stop(&self, limit: Duration) -> Ended {
        match &self.kind {
            Kind::Unit(unit) | Kind::Command { unit, .. } => unit.stop(limit).await,
            Kind::Process(process) => process.stop(limit).await,
            Kind::Actions(acts) => acts.stop(limit).await,
        }
    }

    /// SIGKILL to everything of the service, by the kernel alone: needs neither systemd nor D-Bus. Done means seen gone.
    pub async fn kill(&self, limit: Duration) -> Ended {
        match &self.kind {
            Kind::Unit(unit) | Kind::Command { unit, .. } => unit.kill(limit).await,
            Kind::Process(process) => process.kill(limit).await,
            Kind::Actions(acts) => acts.kill(limit).await,
        }
    }

    /// What the service is doing. A unit that is down counts as stopping while processes of it are left.
    pub async fn observe(&self, limit: Duration) -> Observed {
        match &self.kind {
            Kind::Unit(unit) | Kind::Command { unit, .. } => unit.observe(&self.gate, limit).await,
            Kind::Process(process) => process.observe(),
            Kind::Actions(acts) => acts.observe(limit).await,
        }
    }

    fn unit_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Unit(unit) | Kind::Command { unit, .. } => Some(unit.name()),
            Kind::Process(_) => None,
            Kind::Actions(acts) => acts.unit().map(Unit::name),
        }
    }

    /// Which program of it is not there, in a sentence.
    fn lacks(&self) -> Option<String> {
        match &self.kind {
            Kind::Unit(_) | Kind::Command { .. } | Kind::Process(_) => None,
            Kind::Actions(acts) => acts.lacks(),
        }
    }

    fn process(&self) -> Option<&Process> {
        match &self.kind {
            Kind::Unit(_) | Kind::Command { .. } => None,
            Kind::Process(process) => Some(process),
            Kind::Actions(acts) => acts.process(),
        }
    }

    /// Whether anything of the service runs, seen by the kernel alone; the reason if that cannot be seen.
    pub fn runs(&self) -> Result<bool, String> {
        match &self.kind {
            Kind::Unit(unit) | Kind::Command { unit, .. } => {
                unit.populated().map_err(|error| error.to_string())
            }
            Kind::Process(process) => process.runs().map_err(|error| error.to_string()),
            Kind::Actions(acts) => acts.runs(),
        }
    }
}

/// The unit of a service under systemd.
fn unit_name(service: &checked::Service) -> String {
    match &service.driver {
        checked::Driver::Systemd { unit } => unit.clone(),
        checked::Driver::Command { .. } | checked::Driver::Actions(_) => {
            format!("{TRANSIENT}{}.service", service.name)
        }
    }
}
