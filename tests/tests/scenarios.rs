//! Every file of `tests/scenarios`: what is done to a cluster, and what its daemons then do and say.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p headship-tests --test scenarios` rewrites the logs. Only commit a change that is
//! understood and desired.

use std::path::{Path, PathBuf};
use std::{env, fs};

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

#[test]
fn every_scenario_goes_as_its_file_says() {
    let update = env::var_os("UPDATE_SCENARIOS").is_some();
    let files = files();
    assert!(!files.is_empty());
    let mut faults = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        match play(&text) {
            Err(why) => faults.push(format!("{name}: {why}")),
            Ok(new) if new == text => {}
            Ok(new) if update => fs::write(&file, new).unwrap(),
            Ok(new) => faults.push(format!("{name}: {}", difference(&text, &new))),
        }
    }
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
