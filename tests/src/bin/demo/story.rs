//! What is shown, in which order, and how long each step may take.

use std::process::{ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use headship_tests::lab::service_log::{ServiceLog, What, now};

use crate::news::{self, Follower, News};
use crate::stage::Stage;

const HEADNODES: [&str; 2] = ["hn0", "hn1"];

/// The four HA services of lab and plain cluster.
const SERVICES: usize = 4;

/// What a step may take on a busy machine; lease, kill time, boot and starts are seconds each.
const LIMIT: Duration = Duration::from_secs(90);

/// Pause between two looks: what happens is stamped where it happens, so this only delays the show.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is told in the order of its time stamps may take this long from where it happens to here, in nanoseconds.
const ON_ITS_WAY: u64 = 400_000_000;

/// Tells it from beginning to end.
pub(crate) fn tell(stage: &Stage) -> Result<()> {
    step("Waiting until one headnode is active and the other one is ready");
    in_order(stage)?;
    let active = active(stage)?;
    let standby = other(&active)?;
    show(stage, standby, &["status"])?;

    step(&format!("{active} {}", stage.deed()));
    failover(stage, &active, standby)?;
    followed(stage, standby)?;
    show(stage, standby, &["status"])?;

    step(&format!("{active} comes back; it must be standby"));
    stage.put_it_back(&active)?;
    in_order(stage).with_context(|| format!("{active} does not come back as standby"))?;
    show(stage, standby, &["status"])?;

    step(&format!("Switching over to {active} by hand: headship switchover"));
    let mut seen = Show::begin(stage, &with_workers(stage, &active))?;
    let status = show(stage, standby, &["switchover"])?;
    ensure!(status.success(), "`headship switchover` failed ({status})");
    println!(
        "What daemons and services told meanwhile, counted from just before the command was begun:"
    );
    seen.until_all_serve_on(&active, false)?;
    followed(stage, &active)?;

    let overlaps = stage.service_log()?.overlaps();
    for overlap in &overlaps {
        println!("OVERLAP: {overlap}");
    }
    ensure!(overlaps.is_empty(), "HA services ran on two headnodes at once");
    println!("\nBy the services' own log, none ran on two headnodes at once.");
    Ok(())
}

/// Takes `active` away, and shows what happens until all services serve on `standby`.
fn failover(stage: &Stage, active: &str, standby: &'static str) -> Result<()> {
    let mut show = Show::begin(stage, &with_workers(stage, standby))?;
    stage.pull_the_plug(active)?;
    show.until_all_serve_on(standby, true)?;
    let took = Duration::from_nanos(now() - show.since);
    println!(
        "  all services serve on {standby}, {:.1} s after the last sign of life of {active}",
        took.as_secs_f32()
    );
    Ok(())
}

/// The hosts whose daemons are heard: the one that takes over, and those that follow it.
fn with_workers<'a>(stage: &Stage, host: &'a str) -> Vec<&'a str> {
    let mut hosts = vec![host];
    hosts.extend(stage.workers());
    hosts
}

/// Waits until all workers' agents are registered at `active`, and shows where their hosts look for it.
fn followed(stage: &Stage, active: &str) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !stage.is_followed(active) {
        ensure!(
            Instant::now() < end,
            "waited {LIMIT:?} in vain: every worker's agent is registered at {active}"
        );
        sleep(LOOK_EVERY);
    }
    for host in stage.workers() {
        let Some(mut command) = stage.look_up(host)? else { continue };
        println!("[{host}] $ getent hosts headnodehost");
        let status = command.stdin(Stdio::null()).status().context("cannot run `getent`")?;
        ensure!(status.success(), "{host} does not know `headnodehost`");
    }
    Ok(())
}

/// Shows what happens while it happens.
struct Show<'stage> {
    stage: &'stage Stage,
    followers: Vec<Follower>,
    since: u64,
    log: ServiceLog,
    /// Up to when the service log was heard.
    shown: u64,
    /// Who was said to be active meanwhile, by its own log.
    active: Vec<String>,
}

impl<'stage> Show<'stage> {
    fn begin(stage: &'stage Stage, hosts: &[&str]) -> Result<Self> {
        let followers = hosts.iter().map(|host| stage.follow(host)).collect::<Result<_>>()?;
        let since = now();
        Ok(Self {
            stage,
            followers,
            since,
            log: ServiceLog::default(),
            shown: since,
            active: Vec::new(),
        })
    }

    /// Goes on until the host says that it is active, and all services serve there; tells it as it happens, or in order.
    fn until_all_serve_on(&mut self, host: &str, as_it_happens: bool) -> Result<()> {
        let end = Instant::now() + LIMIT;
        let mut untold = Vec::new();
        loop {
            untold.extend(self.heard()?);
            let ready = self.log.events().iter().filter(|event| {
                event.at > self.since && event.host == host && event.what == What::Ready
            });
            let all = ready.count() >= SERVICES && self.active.iter().any(|active| active == host);
            untold.sort();
            let heard_of_all = now().saturating_sub(ON_ITS_WAY);
            let old = untold.partition_point(|news: &News| news.at <= heard_of_all);
            let told = match (all, as_it_happens) {
                (true, _) => untold.len(),
                (false, true) => old,
                (false, false) => 0,
            };
            self.tell(&untold.drain(..told).collect::<Vec<_>>());
            if all {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("waited {LIMIT:?} in vain: {host} is active, and all services serve there");
            }
            sleep(LOOK_EVERY);
        }
    }

    fn heard(&mut self) -> Result<Vec<News>> {
        self.log = self.stage.service_log()?;
        let mut all = news::of_services(&self.log, self.shown);
        self.shown = all.iter().map(|news| news.at).max().unwrap_or(self.shown);
        for follower in &mut self.followers {
            all.extend(follower.heard());
        }
        let active = all.iter().filter(|news| news.text.contains("-> active"));
        self.active.extend(active.map(|news| news.host.clone()));
        Ok(all)
    }

    fn tell(&self, news: &[News]) {
        for News { at, host, text } in news {
            let after = Duration::from_nanos(at.saturating_sub(self.since));
            println!("  {:>7.3} s  {host}  {text}", after.as_secs_f64());
        }
    }
}

/// Waits until `headship status` calls the cluster healthy, and every service serves.
fn in_order(stage: &Stage) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !HEADNODES.iter().all(|host| says_well(stage, host)) {
        if Instant::now() > end {
            bail!("waited {LIMIT:?} in vain: `headship status` calls the cluster healthy");
        }
        sleep(LOOK_EVERY);
    }
    Ok(())
}

fn says_well(stage: &Stage, host: &str) -> bool {
    let asked =
        stage.headship(host, &["status"]).map(|mut command| command.stdin(Stdio::null()).output());
    asked.is_ok_and(|output| output.is_ok_and(|output| output.status.success()))
}

fn active(stage: &Stage) -> Result<String> {
    for host in HEADNODES {
        let Ok(mut command) = stage.headship(host, &["active"]) else { continue };
        let output =
            command.stdin(Stdio::null()).output().context("cannot run `headship active`")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
    }
    bail!("`headship active` names nobody")
}

fn other(host: &str) -> Result<&'static str> {
    HEADNODES.into_iter().find(|other| *other != host).context("there is no other headnode")
}

fn step(what: &str) {
    println!("\n== {what}");
}

/// Runs `headship` before the user's eyes.
fn show(stage: &Stage, host: &str, arguments: &[&str]) -> Result<ExitStatus> {
    println!("[{host}] $ headship {}", arguments.join(" "));
    let mut command = stage.headship(host, arguments)?;
    command.stdin(Stdio::null()).status().context("cannot run `headship`")
}
