//! Every file of `tests/scenarios`: what is done to a cluster, and what its daemons then do and say.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p headship-tests --test scenarios` rewrites the logs. Only commit a change that is
//! understood and desired.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use headship_tests::sim::{Reached, play};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// The first line that differs, with its number.
fn difference(old: &str, new: &str) -> String {
    let lines = old.lines().map(Some).chain(std::iter::repeat(None));
    let other = new.lines().map(Some).chain(std::iter::repeat(None));
    let first = lines.zip(other).enumerate().find(|(_, (old, new))| old != new || old.is_none());
    let Some((number, (old, new))) = first else { return String::new() };
    format!(
        "line {}:\n  file: {}\n  now:  {}",
        number + 1,
        old.unwrap_or("(end)"),
        new.unwrap_or("(end)")
    )
}

/// What a file reaches, or what is not as it says; with `update` it is made to say what is.
fn played(file: &Path, update: bool) -> Result<Reached, String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(file).expect("it can be read");
    let new = play(&text).map_err(|why| format!("{name}: {why}"))?;
    if new.text != text {
        if !update {
            return Err(format!("{name}: {}", difference(&text, &new.text)));
        }
        fs::write(file, new.text).expect("it can be written");
    }
    Ok(new.reached)
}

/// What no scenario reaches, with why it is none: transitions, refusals of writes, refusals of the gate.
const UNREACHED: [&[(&str, &str)]; 3] = [
    &[
        ("standby to active", "office is taken in becoming-active, and resumed from out"),
        ("standby to neutral", "who stands by holds nothing that could lapse"),
        ("active to out", "who holds office ends it in becoming-standby or neutral"),
        ("active to standby", "the same"),
        ("active to becoming-active", "what was announced stays announced"),
        ("becoming-standby to active", "what is being left is left, or begun anew"),
    ],
    &[("promise has another version", "one guard writes it, and reads it first")],
    &[],
];

#[test]
fn every_scenario_goes_as_its_file_says_and_all_that_can_be_has_one() {
    let update = env::var_os("UPDATE_SCENARIOS").is_some();
    let files = files();
    assert!(!files.is_empty());
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = || files.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(taken).map(|file| played(file, update)).collect::<Vec<_>>()
    };
    let all: Vec<Result<Reached, String>> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("it says what is wrong"))
            .collect()
    });
    let (mut reached, mut faults) = (Reached::default(), Vec::new());
    for played in all {
        match played {
            Ok(one) => reached.extend(&one),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    for (missing, known) in reached.missing().iter().zip(UNREACHED) {
        let known: Vec<&str> = known.iter().map(|(what, _)| *what).collect();
        assert_eq!(
            *missing, known,
            "what no scenario reaches, and what is known to be unreachable"
        );
    }
}

#[test]
fn every_scenario_says_first_what_must_hold() {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("# ") && first.ends_with('.'), "{}: {first}", file.display());
    }
}
