//! Every file of `tests/scenarios`: what is done to a cluster, and what its daemons then do and say.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p headship-tests --test scenarios` rewrites the logs. Only commit a change that is
//! understood and desired.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use headship_tests::sim::play;

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

/// What is not as the file says, if anything is; with `update` the file is made to say what is.
fn fault(file: &Path, update: bool) -> Option<String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(file).expect("it can be read");
    match play(&text) {
        Err(why) => return Some(format!("{name}: {why}")),
        Ok(new) if new == text => {}
        Ok(new) if update => fs::write(file, new).expect("it can be written"),
        Ok(new) => return Some(format!("{name}: {}", difference(&text, &new))),
    }
    None
}

#[test]
fn every_scenario_goes_as_its_file_says() {
    let update = env::var_os("UPDATE_SCENARIOS").is_some();
    let files = files();
    assert!(!files.is_empty());
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = || files.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(taken).filter_map(|file| fault(file, update)).collect::<Vec<_>>()
    };
    let faults: Vec<String> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("it says what is wrong"))
            .collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_scenario_says_first_what_must_hold() {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("# ") && first.ends_with('.'), "{}: {first}", file.display());
    }
}
