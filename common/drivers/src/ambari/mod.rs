//! Components of Ambari: carries out what a course of `headship_core::ambari` asks for, step by step.

mod body;
mod client;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headship_core::ambari::{
    Agent, Body, Component, Course, Credentials, Goal, Heard, Login, Step, Why,
};
use tokio::time::sleep;

use self::client::Client;
use crate::host::files::{self, Durable, FileError};
use crate::host::run::RunDir;
use crate::host::{clock, gate};
use crate::secret;

/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why a component was not started or stopped.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The gate refused.
    Refused(gate::Refused),
    /// It failed, or nobody knows.
    Because(String),
}

/// Whether anything of the component runs on this host; the reason if that cannot be seen.
pub(crate) async fn runs(component: &Component) -> Result<bool, String> {
    body::runs(&component.body).await
}

/// The same by the control group alone, without waiting for anything; `None` if it is in none of its own.
pub(crate) fn populated(component: &Component) -> Option<Result<bool, String>> {
    match &component.body {
        Body::Unit(unit) => Some(body::populated(unit)),
        Body::Process(_) => None,
    }
}

/// Ends what runs of it on this host at once, whatever Ambari believes. Needs no lock, and nobody else.
pub(crate) async fn kill(component: &Component, limit: Duration) -> Result<(), String> {
    match body::end(&component.body, Duration::ZERO, limit).await {
        Ok(false) => Ok(()),
        Ok(true) => Err("processes of it are left in spite of SIGKILL".to_owned()),
        Err(why) => Err(why),
    }
}

/// The credential of systemd that whoever asks its server is given, if that is where the login is.
pub(crate) fn credential(component: &Component) -> Option<&str> {
    match &component.server.credentials {
        Credentials::File(_) => None,
        Credentials::Credential(name) => Some(name),
    }
}

/// Why it could not be asked of its server, if so, as far as this host shows it.
pub fn lacks(component: &Component) -> Option<String> {
    match &component.server.credentials {
        Credentials::File(_) => login(component).err(),
        // Only the units that use it are given it.
        Credentials::Credential(_) => None,
    }
}

/// Carries out a course. The caller holds the lock of this host's agent.
pub(crate) async fn go(
    run: &RunDir,
    component: &Component,
    goal: Goal,
    limit: Duration,
) -> Result<(), Failed> {
    let record = record(run);
    let agent = read(&record).map_err(|error| Failed::Because(told(&error)))?;
    // Without them Ambari cannot be asked: a course for a stop goes on without.
    let client = login(component).and_then(|login| Client::new(&component.server, &login));
    let begun = Course::begin(component.clone(), goal, agent, (clock::now(), limit));
    let (mut course, mut step) = begun;
    let mut refused = None;
    loop {
        let heard = match step {
            Step::Ask(request) => {
                let left = course.end().since(clock::now());
                Heard::Answer(match &client {
                    Ok(client) => client.ask(request, left).await,
                    Err(why) => Err(why.clone()),
                })
            }
            Step::Look => Heard::Runs(runs(component).await),
            Step::Kill(grace) => {
                let left = course.end().since(clock::now());
                Heard::Runs(body::end(&component.body, grace.min(left), left).await)
            }
            Step::Gate => {
                refused = gate::check(run).err();
                Heard::Gate(refused.is_none())
            }
            Step::Keep(agent) => {
                let kept = files::write(&record, &agent, Durable::No);
                Heard::Kept(kept.map_err(|error| told(&error)))
            }
            Step::Wait(pause) => {
                sleep(pause).await;
                Heard::Waited
            }
            Step::End(Ok(())) => return Ok(()),
            Step::End(Err(Why::Failed(why))) => return Err(Failed::Because(why)),
            Step::End(Err(Why::Gate)) => {
                let closed = || Failed::Because("the gate is shut".to_owned());
                return Err(refused.map_or_else(closed, Failed::Refused));
            }
        };
        step = course.next(clock::now(), heard);
    }
}

/// Where the host keeps what its agent was handed.
fn record(run: &RunDir) -> PathBuf {
    run.path().join("ambari-agent")
}

/// One that is damaged may have held anything, so nothing is known.
fn read(record: &Path) -> Result<Agent, FileError> {
    Ok(files::read(record)?.unwrap_or_default())
}

fn told(error: &FileError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(" ({source})"));
    format!("{error}{}", source.unwrap_or_default())
}

/// User and password, read anew each time: they may have been changed.
fn login(component: &Component) -> Result<Login, String> {
    let path = match &component.server.credentials {
        Credentials::File(path) => path.clone(),
        Credentials::Credential(name) => {
            let folder = env::var(CREDENTIALS).map_err(|error| {
                format!(
                    "systemd gave this process no credential `{name}` to ask Ambari with: {error}"
                )
            })?;
            format!("{folder}/{name}")
        }
    };
    let text = secret::read(&path);
    let text = text.map_err(|why| {
        format!("Ambari cannot be asked without a login: {why}; it holds `user=…` and `password=…`")
    })?;
    Login::parse(&text).map_err(|why| format!("Ambari cannot be asked: `{path}`: {why}"))
}
