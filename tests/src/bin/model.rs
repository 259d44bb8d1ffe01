//! Explores the protocol's model in scopes that are too large for a test, and prints a table.
//!
//! First every scope with all rules, in which nothing may be violated, and it is said where the
//! limit came before the end; then every rule: with it its scope holds, without it the protocol's
//! table says what must be found. The exit code tells whether all of it came out so.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the table is this program's result, and its progress is for people"
)]

use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use headship_tests::model::{Check, Command, Fault, Figures, Rule, Scope, Shown, Verdict, explore};

/// How often a scope that takes long gives a sign of life, on stderr: the table stays as it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Explores the model of the protocol in a larger scope.
#[derive(Debug, Parser)]
struct Arguments {
    /// Configured headnodes: 2 or 3.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    headnodes: u8,
    /// How many faults may happen in one run.
    #[arg(long, default_value_t = 2)]
    faults: u8,
    /// Give up on a large scope after so many seconds.
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// And on that of a rule, which has to be explored to its end.
    #[arg(long, default_value_t = 600)]
    rule_limit: u64,
    /// Only the scopes and rules whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Leave out the table of the rules.
    #[arg(long)]
    no_rules: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = |name: &str| arguments.only.as_ref().is_none_or(|part| name.contains(part));
    let mut wrong = Vec::new();
    println!("{:<66} result", "scope, with all rules");
    for (name, scope) in scopes(&arguments).into_iter().filter(|(name, _)| chosen(name)) {
        let verdict = run(scope, arguments.limit);
        println!("{name:<66} {verdict}");
        tell(&verdict);
        if verdict.violated.is_some() {
            wrong.push(name);
        }
    }
    if !arguments.no_rules {
        println!("\n{:<66} with it · without it", "rule");
        for rule in Rule::ALL.iter().filter(|rule| chosen(rule.sentence())) {
            if !compare(*rule, arguments.rule_limit) {
                wrong.push(rule.sentence().to_owned());
            }
        }
    }
    // Once more at the end, which is what is left of a long output.
    for name in &wrong {
        eprintln!("model: NOT AS EXPECTED: {name}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores one scope within the limit, on every processor.
fn run(scope: Scope, limit: u64) -> Verdict {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (end, ended) = channel::<()>();
    let began = Instant::now();
    let clock = thread::spawn(move || {
        // It ends when the other end does, which is when the scope is explored.
        while ended.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
            eprintln!("model: still exploring this scope, {} s so far", began.elapsed().as_secs());
        }
    });
    let verdict = explore(scope, threads, Some(Duration::from_secs(limit)));
    drop(end);
    clock.join().ok();
    verdict
}

/// Prints the run to a violation.
fn tell(verdict: &Verdict) {
    if let Some((_, story)) = &verdict.violated {
        println!("{story}");
    }
}

/// Prints what one rule is needed for; whether it is what the protocol's table says.
fn compare(rule: Rule, limit: u64) -> bool {
    let with = run(Scope::showing(rule), limit);
    let without = run(Scope::showing(rule).without(rule), limit);
    println!("{:<66} {with} · {without}", rule.sentence());
    let found = without.violated.is_some();
    let expected = rule.shown() != Shown::Nothing;
    if found && !expected {
        tell(&without);
    }
    with.violated.is_none() && with.complete && found == expected
}

/// The scopes that must hold.
fn scopes(arguments: &Arguments) -> Vec<(String, Scope)> {
    let faults = arguments.faults;
    let named =
        |what: &str| format!("{} headnodes, up to {faults} faults, {what}", arguments.headnodes);
    let mut scopes = vec![
        (named("lease 3, kill 3"), Scope::every_fault(faults)),
        (named("lease 4, kill 2"), Scope::every_fault(faults).with_figures(Figures::new(4, 2))),
        (named("a new cluster"), Scope::new_cluster(faults, Fault::ALL)),
        (named("cede"), Scope::every_fault(faults).and_commands(1, &[Command::Cede])),
        (
            named("a failover by order"),
            Scope::every_fault(faults).and_commands(1, &[Command::Failover]),
        ),
        (
            named("pause, pause --keep, resume"),
            Scope::every_fault(faults).and_commands(1, &[Command::Pause, Command::PauseKeep]),
        ),
        (named("fence confirm"), Scope::every_fault(faults).and_commands(1, &[Command::Confirm])),
        (
            named("fence confirm of a keep"),
            Scope::every_fault(faults).and_commands(2, &[Command::PauseKeep, Command::ConfirmKeep]),
        ),
        (named("a fence agent"), Scope::every_fault(faults).with_fencing()),
        (
            named("harmless ones: no needless loss"),
            Scope::with_faults(
                faults,
                &[Fault::Kill, Fault::SessionLost, Fault::Unknown, Fault::Lag],
            )
            .checking(&[Check::NoNeedlessLoss]),
        ),
    ];
    for (_, scope) in &mut scopes {
        scope.headnodes = arguments.headnodes;
    }
    scopes
}
