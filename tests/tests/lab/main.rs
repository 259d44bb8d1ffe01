//! Tests on real hosts. Where this machine grants none, each counts as skipped, and says why.
//!
//! One lab is up at a time, and serves all tests of its kind, one after the other: the lab itself without the suite, then
//! the suite with the preset `normal`, without a fence agent and with one, and with `fast`. With `HEADSHIP_MORE=1` it is the tests that take long instead,
//! and those with `tolerant`; with `HEADSHIP_REAL=1` those with real programs.
//! `HEADSHIP_LAB_NUMBER` moves the lab out of the way of another test run's.
#![expect(clippy::print_stderr, reason = "a test program of its own")]

mod bare;
mod suite;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headship_tests::lab::{self, DEFAULT_DIR, Lab, Options, Preset};
use libtest_mimic::{Arguments, Failed, Trial};

/// How many of the slowest tests are told of at the end.
const SLOWEST: usize = 20;

/// What a test returns: any error is a failure with its words.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// A test as it is run on the lab of its kind; the lab knows what earlier tests did wrong on purpose.
type Body = Box<dyn Fn(&Lab, &suite::OnPurpose) -> Outcome + Send>;

/// A test by its name, a sentence.
pub(crate) type Test = (&'static str, fn(&Lab) -> Outcome);

/// Which lab a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Hosts without the suite.
    Bare,
    /// The suite with the preset `normal`.
    Normal,
    /// The same, and a fence agent.
    Fenced,
    /// The suite with the preset `fast`.
    Fast,
    /// The suite with the preset `tolerant`, and an ensemble as ZooKeeper is shipped.
    Tolerant,
    /// As `normal`, and real programs as HA services.
    Real,
}

impl Kind {
    fn options(self) -> Options {
        let options = match self {
            Self::Bare => Options { bare: true, ..Options::for_tests() },
            Self::Normal => suite::options(Preset::Normal),
            Self::Fenced => suite::fenced_options(),
            Self::Fast => suite::options(Preset::Fast),
            Self::Tolerant => suite::options(Preset::Tolerant),
            Self::Real => suite::real_options(),
        };
        match env::var("HEADSHIP_LAB_NUMBER").ok().and_then(|number| number.parse().ok()) {
            Some(number) => Options {
                number,
                dir: PathBuf::from(format!("{DEFAULT_DIR}-test-{number}")),
                ..options
            },
            None => options,
        }
    }
}

/// The lab that is up: brought up by the first test that needs it, ended by the first one that needs another.
#[derive(Debug, Default)]
struct Labs {
    up: Option<(Kind, Lab)>,
    /// What tests did wrong in it on purpose.
    on_purpose: suite::OnPurpose,
    /// Why a kind of lab did not come up: not tried again for each test.
    failed: BTreeMap<Kind, String>,
    /// How long each test took, the coming up of a lab included.
    took: Vec<(Duration, String)>,
}

impl Labs {
    fn run(&mut self, kind: Kind, test: &Body) -> Result<(), Failed> {
        let lab = self.provide(kind).map_err(|why| format!("the lab does not come up: {why}"))?;
        let outcome = caught(|| test(&lab, &self.on_purpose));
        let outcome = outcome.map_err(|error| Failed::from(chain(error.as_ref())));
        if outcome.is_err() {
            // Nobody knows what it left behind: the next test gets a new lab.
            self.end()?;
        }
        outcome
    }

    fn provide(&mut self, kind: Kind) -> Result<Lab, String> {
        if let Some((up, lab)) = &self.up
            && *up == kind
        {
            return Ok(lab.clone());
        }
        self.end()?;
        if let Some(why) = self.failed.get(&kind) {
            return Err(why.clone());
        }
        match Lab::up(&kind.options(), &mut |_| ()) {
            Ok(lab) => {
                self.up = Some((kind, lab.clone()));
                self.on_purpose = suite::OnPurpose::default();
                Ok(lab)
            }
            Err(error) => {
                let why = chain(&error);
                self.failed.insert(kind, why.clone());
                Err(why)
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let Some((_, lab)) = self.up.take() else { return Ok(()) };
        lab.down().map_err(|error| format!("the lab cannot be ended: {}", chain(&error)))
    }
}

/// What a test returns, or as an error what its failed assertion says.
pub(crate) fn caught(test: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(text.unwrap_or_else(|| "the test panicked".to_owned()).into())
    })
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn trials(labs: &Arc<Mutex<Labs>>) -> Vec<Trial> {
    let trial = |name: &str, kind, test: Body| {
        let labs = Arc::clone(labs);
        let named = name.to_owned();
        Trial::test(name, move || {
            let mut labs = labs.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = Instant::now();
            let outcome = labs.run(kind, &test);
            labs.took.push((begin.elapsed(), named));
            outcome
        })
    };
    let suite = |kind, tests: Vec<suite::Test>| {
        let tests = tests.into_iter();
        let trials = tests.map(|(name, test)| {
            let body = move |lab: &Lab, wrong: &suite::OnPurpose| suite::run(lab, wrong, test);
            trial(name, kind, Box::new(body))
        });
        trials.collect::<Vec<_>>()
    };
    let asked = |name| env::var_os(name).is_some_and(|value| value == "1");
    if asked("HEADSHIP_REAL") {
        return suite(Kind::Real, suite::real());
    }
    if asked("HEADSHIP_MORE") {
        let mut long = suite(Kind::Normal, suite::more_normal());
        long.extend(beyond_kill(suite(Kind::Normal, suite::more_beyond_kill())));
        long.extend(hung_mounts(suite(Kind::Normal, suite::more_hung_mounts())));
        long.extend(by_rpm(suite(Kind::Normal, suite::more_rpm())));
        long.extend(suite(Kind::Fenced, suite::more_fenced()));
        long.extend(suite(Kind::Fast, suite::more_fast()));
        long.extend(suite(Kind::Tolerant, suite::more_tolerant()));
        return long;
    }
    let bare = |tests: &[Test]| {
        let tests = tests.iter().copied();
        let trials = tests
            .map(|(name, test)| trial(name, Kind::Bare, Box::new(move |lab: &Lab, _| test(lab))));
        trials.collect::<Vec<_>>()
    };
    let mut all = bare(&bare::TESTS);
    all.extend(beyond_kill(bare(&bare::BEYOND_KILL)));
    all.extend(suite(Kind::Normal, suite::normal()));
    all.extend(beyond_kill(suite(Kind::Normal, suite::beyond_kill())));
    all.extend(suite(Kind::Fenced, suite::fenced()));
    all.extend(suite(Kind::Fast, suite::fast()));
    all
}

/// Tests with a file system that hangs, as this machine can make one or not.
fn hung_mounts(trials: Vec<Trial>) -> Vec<Trial> {
    match lab::can_hang_mounts() {
        Ok(()) => trials,
        Err(why) => skipped(trials, &format!("skipped, as no mount can hang here: {why}")),
    }
}

/// Tests with the packages of rpm, as this machine can build them or not.
fn by_rpm(trials: Vec<Trial>) -> Vec<Trial> {
    match lab::packages::can_rpm() {
        Ok(()) => trials,
        Err(why) => skipped(trials, &format!("skipped, as there is no rpm here: {why}")),
    }
}

/// Tests with a process that no kill ends, as this machine can make one or not.
fn beyond_kill(trials: Vec<Trial>) -> Vec<Trial> {
    match lab::can_freeze_beyond_kill() {
        Ok(()) => trials,
        Err(why) => {
            skipped(trials, &format!("skipped, as no process can outlive its kill here: {why}"))
        }
    }
}

/// Tests that do not run, and say why.
fn skipped(trials: Vec<Trial>, reason: &str) -> Vec<Trial> {
    let trials = trials.into_iter();
    trials.map(|trial| trial.with_ignored_flag(true).with_kind(reason)).collect()
}

/// What is worth looking at, if all of it takes too long.
fn tell_slowest(took: &mut [(Duration, String)]) {
    took.sort_unstable();
    for (span, name) in took.iter().rev().take(SLOWEST) {
        eprintln!("{:>6.1} s {name}", span.as_secs_f64());
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One lab, one test at a time.
    arguments.test_threads = Some(1);
    let labs = Arc::new(Mutex::new(Labs::default()));
    let mut trials = trials(&labs);
    if let Err(reason) = lab::available() {
        trials =
            skipped(trials, &format!("skipped, for this machine cannot run the lab: {reason}"));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut labs = labs.lock().unwrap_or_else(PoisonError::into_inner);
    tell_slowest(&mut labs.took);
    let ended = labs.end();
    if let Err(error) = &ended {
        eprintln!("{error}");
    }
    if conclusion.has_failed() || ended.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
