//! The rules that people forget and reviewers tire of, as ordinary tests: sizes, purity, dependencies, words.
//!
//! CONTRIBUTING.md says what each is for. What clippy and the compiler check already is not repeated here.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too, and say what they skip"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest that a file with code may be.
const MOST_LINES: usize = 500;

/// Words that architecture and journal use another one for. Rows of tables may name them, to say so.
const OTHER_WORDS: [(&str, &str); 12] = [
    ("campaign", "join the election, claim"),
    ("first quorum", "Apache quorum, failover quorum"),
    ("generation", "epoch"),
    ("graceful failover", "switchover"),
    ("leadership", "office"),
    ("lock file", "permit, lock"),
    ("primary", "active"),
    ("second quorum", "Apache quorum, failover quorum"),
    ("stonith", "fence"),
    ("suicide", "fence, the guard stops"),
    ("zk down", "disconnected, session lost"),
    ("zookeeper down", "disconnected, session lost"),
];

#[test]
fn no_file_is_too_long() {
    let mut faults = Vec::new();
    for file in files(&["rs", ""]) {
        let lines = read(&file).lines().count();
        if lines > MOST_LINES {
            faults.push(format!(
                "{file} has {lines} lines, at most {MOST_LINES} are meant: divide it"
            ));
        }
    }
    assert_none(&faults);
}

#[test]
fn everything_is_formatted() {
    let output = Command::new(env!("CARGO"))
        .args(["fmt", "--all", "--check"])
        .current_dir(repository())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo fmt --all` would change something:\n{said}{errors}");
}

#[test]
fn every_module_says_what_it_is_for() {
    let bare = |file: &String| !read(file).starts_with("//! ");
    let faults: Vec<String> = files(&["rs"])
        .into_iter()
        .filter(bare)
        .map(|file| format!("{file} does not begin with `//!`"))
        .collect();
    assert_none(&faults);
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    // Put together here, so that this file does not find itself.
    let needles =
        [["to", "do!("], ["unimple", "mented!("], ["#[ig", "nore"], ["TO", "DO"], ["FIX", "ME"]];
    assert_none(&found(
        &files(&["rs", "sh", "toml", "md", "service", "txt", ""]),
        &needles.map(|parts| parts.concat()),
    ));
}

#[test]
fn no_place_of_a_developers_machine_is_named() {
    let needles = [["/wo", "rk/"], ["/ho", "me/"]];
    assert_none(&found(
        &files(&["rs", "sh", "toml", "md", "service", "txt", "sample", ""]),
        &needles.map(|parts| parts.concat()),
    ));
}

#[test]
fn one_thing_has_one_word() {
    let mut faults = Vec::new();
    for file in files(&["rs", "md", "txt", "sample", "catalog", "service", "1", "5", "7", "8"]) {
        // This very list.
        if file == "tests/tests/tidy.rs" {
            continue;
        }
        for (number, line) in (1..).zip(read(&file).lines()) {
            // Manual pages write a hyphen as `\-`.
            let line = line.to_lowercase().replace("\\-", "-");
            if line.trim_start().starts_with('|') {
                continue;
            }
            for (word, instead) in OTHER_WORDS {
                if has_word(&line, word) {
                    faults.push(format!("{file}:{number}: `{word}` is called {instead} here"));
                }
            }
            faults.extend(role_words(&line).map(|word| {
                format!("{file}:{number}: `{word}` is a part of program names only: say active or standby")
            }));
        }
    }
    assert_none(&faults);
}

#[test]
fn the_core_depends_on_nothing_that_acts() {
    let core = &dependencies()["headship-core"];
    let allowed = ["regex-lite", "serde", "serde_json", "thiserror", "toml"].map(str::to_owned);
    assert_eq!(
        *core,
        BTreeSet::from(allowed),
        "headship-core decides; what acts belongs elsewhere"
    );
}

#[test]
fn the_zookeeper_client_has_no_reactor_of_its_own() {
    // cargo only warns of a patch that fits nothing any more.
    let lock = read("Cargo.lock");
    for stood_in_for in ["async-io", "async-net"] {
        let name = format!("name = \"{stood_in_for}\"\n");
        let mut entries = lock.split("[[package]]").filter(|entry| entry.contains(&name));
        let entry = entries.next().unwrap();
        assert!(
            !entry.contains("source ="),
            "{stood_in_for} comes from a registry: see Cargo.toml"
        );
        assert_eq!(entries.next(), None, "{stood_in_for} is there twice: see Cargo.toml");
    }
}

#[test]
fn dependencies_point_one_way() {
    let parts = ["headship-zk", "headship-drivers", "headship-daemon"];
    let core = ["headship-core"];
    let all = [&core[..], &parts].concat();
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("headship-core", &[][..]),
        ("headship-zk", &core),
        ("headship-drivers", &core),
        ("headship-daemon", &core),
        ("headship-master-fc", &all),
        ("headship-slave-fc", &all),
        ("headship-health-monitor", &all),
        ("headship-cli", &all),
        ("async-io", &[]),
        ("async-net", &[]),
    ]);
    let mut faults = Vec::new();
    for (member, uses) in dependencies() {
        // The tests may use everything.
        if member == "headship-tests" {
            continue;
        }
        let Some(allowed) = allowed.get(member.as_str()) else {
            faults.push(format!("{member} is a new member: ARCHITECTURE.md must say why"));
            continue;
        };
        let wrong = uses
            .iter()
            .filter(|used| used.starts_with("headship-") && !allowed.contains(&used.as_str()));
        faults.extend(wrong.map(|used| format!("{member} must not depend on {used}")));
    }
    assert_none(&faults);
}

#[test]
fn every_dependency_has_its_reason() {
    let text = read("ARCHITECTURE.md");
    let named = |name: &String| {
        text.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`")))
    };
    let all: BTreeSet<String> = dependencies().into_values().flatten().collect();
    let missing = all.into_iter().filter(|name| !name.starts_with("headship-") && !named(name));
    let faults: Vec<String> =
        missing.map(|name| format!("ARCHITECTURE.md does not say why `{name}`")).collect();
    assert_none(&faults);
}

#[test]
fn units_are_what_systemd_expects() {
    // Real programs have the names of light ones, so each folder is looked at by itself.
    for folder in ["packaging/root", "tests/lab/root", "tests/lab/real/root"] {
        let dir = tempfile::tempdir().unwrap();
        let mut units = Vec::new();
        let folder = repository().join(folder).join("usr/lib/systemd/system");
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            // The programs are not installed here, and that is all that may be missing.
            let installed = |line: &str| match line.split_once("=/usr/lib/headship") {
                Some((key, _)) => format!("{key}=/bin/true"),
                None => line.to_owned(),
            };
            let text: Vec<String> =
                fs::read_to_string(entry.path()).unwrap().lines().map(installed).collect();
            let unit = dir.path().join(entry.file_name());
            fs::write(&unit, text.join("\n")).unwrap();
            units.push(unit);
        }
        assert!(units.len() >= 3, "units are looked for in the wrong place");
        let verify = Command::new("systemd-analyze")
            .args(["--recursive-errors=no", "verify"])
            .args(&units)
            .output();
        let Ok(output) = verify else {
            println!("skipped: `systemd-analyze` is not installed");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        // It tells of every unit that it meets, the machine's own included; ours are meant.
        let ours: Vec<&str> =
            said.lines().filter(|line| line.contains(dir.path().to_str().unwrap())).collect();
        assert!(ours.is_empty(), "{}", ours.join("\n"));
    }
}

#[test]
fn every_man_page_is_installed() {
    let lists: String =
        ["cli", "headnode", "node"].map(|list| read(&format!("packaging/{list}.files"))).concat();
    let pages = fs::read_dir(repository().join("packaging/man")).unwrap();
    for page in pages.map(|page| page.unwrap().file_name().into_string().unwrap()) {
        assert!(
            lists.contains(&format!("packaging/man/{page} ")),
            "{page} stands in no list of packaging/*.files"
        );
    }
}

/// A macro for fonts sets all words of its line without blanks between them: text belongs on the next line.
#[test]
fn no_sentence_of_a_man_page_is_swallowed_by_a_macro_for_fonts() {
    const FONTS: [&str; 6] = [".BR ", ".RB ", ".BI ", ".IB ", ".IR ", ".RI "];
    let pages = fs::read_dir(repository().join("packaging/man")).unwrap();
    let mut faults = Vec::new();
    for page in pages.map(|page| page.unwrap().file_name().into_string().unwrap()) {
        let text = read(&format!("packaging/man/{page}"));
        for (number, line) in (1..).zip(text.lines()) {
            // What stands in quotes is one word.
            let bare: String = line.split('"').step_by(2).collect::<Vec<_>>().join("_");
            if FONTS.iter().any(|font| line.starts_with(font)) && bare.contains(" . ") {
                faults.push(format!("{page}:{number}: {line}"));
            }
        }
        if !text.contains("\n.SH SEE ALSO\n") {
            faults.push(format!("{page} has no SEE ALSO"));
        }
    }
    assert_none(&faults);
}

#[test]
fn the_man_page_of_the_configuration_names_every_key() {
    let page = read("packaging/man/headship.toml.5");
    let sample = read("packaging/root/etc/headship/headship.toml.sample");
    // `key = …`, or `#key = …` where the default stands.
    let keys =
        sample.lines().filter_map(|line| Some(line.trim_start_matches('#').split_once(" = ")?.0));
    let keys: BTreeSet<&str> = keys.filter(|key| !key.contains(' ')).collect();
    assert!(keys.len() > 20, "{keys:?}");
    let faults: Vec<String> = keys
        .iter()
        .filter(|key| !page.lines().any(|line| line == format!(".B {key}")))
        .map(|key| format!("headship.toml.5 does not name `{key}`"))
        .collect();
    assert_none(&faults);
}

/// A name in a table of tests/README.md is that of a test or a scenario; with `…` it is the beginning of some.
#[test]
fn the_tests_that_the_tables_name_are_there() {
    let mut names = BTreeSet::new();
    for file in files(&["rs"]) {
        let text = read(&file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(words.map(str::to_owned));
    }
    for file in files(&["txt"]) {
        names.extend(Path::new(&file).file_stem().map(|stem| stem.display().to_string()));
    }
    let mut faults = Vec::new();
    let page = read("tests/README.md");
    for row in page.lines().filter(|line| line.starts_with('|')) {
        for name in row.split('`').skip(1).step_by(2) {
            let stem = name.trim_end_matches('…');
            let is_name = stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let longer = names.range(stem.to_owned()..).next();
            let there = longer.is_some_and(|it| it == stem || stem != name && it.starts_with(stem));
            if is_name && stem.matches('_').count() > 1 && !there {
                faults.push(format!("tests/README.md names `{name}`, which is no test"));
            }
        }
    }
    assert_none(&faults);
}

/// A row of SECURITY.md names at least one test: a scenario, or a file and tests that stand in it.
#[test]
fn the_tests_that_security_names_are_there() {
    let page = read("SECURITY.md");
    let (_, table) = page.split_once("| attack or fault |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    let mut faults = Vec::new();
    for row in rows {
        let mut text = None;
        let mut tests = 0;
        let cell = row.rsplit('|').nth(1).unwrap();
        for named in cell.split('`').skip(1).step_by(2) {
            if named.contains('/') {
                let file = fs::read_to_string(repository().join(named));
                tests += usize::from(file.is_ok() && named.ends_with(".txt"));
                if file.is_err() {
                    faults.push(format!("SECURITY.md names `{named}`, which is not there"));
                }
                text = file.ok();
                continue;
            }
            tests += 1;
            // A function, or the name of a test of the lab.
            let stands = |text: &String| {
                text.contains(&format!("fn {named}(")) || text.contains(&format!("\"{named}\""))
            };
            if !text.as_ref().is_some_and(stands) {
                faults.push(format!("SECURITY.md names `{named}`, which is no test there"));
            }
        }
        if tests == 0 {
            faults.push(format!("SECURITY.md names no test: {row}"));
        }
    }
    assert_none(&faults);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The files of the repository with these endings, by their paths in it; no ending means a script.
fn files(endings: &[&str]) -> Vec<String> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != ".git" && name != "out" {
                    walk(&entry.path(), into);
                }
            } else {
                into.push(entry.path());
            }
        }
    }
    let repository = repository();
    let mut all = Vec::new();
    walk(&repository, &mut all);
    let mut files = Vec::new();
    for file in all {
        let ending =
            file.extension().map_or(String::new(), |ending| ending.to_string_lossy().into_owned());
        let is_script = || fs::read(&file).unwrap().starts_with(b"#!");
        if endings.contains(&ending.as_str()) && (!ending.is_empty() || is_script()) {
            files.push(file.strip_prefix(&repository).unwrap().display().to_string());
        }
    }
    assert!(!files.is_empty(), "no file is found below {}", repository.display());
    files.sort();
    files
}

fn found(files: &[String], needles: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(read(file).lines()) {
            faults.extend(
                needles
                    .iter()
                    .filter(|needle| line.contains(needle.as_str()))
                    .map(|needle| format!("{file}:{number}: `{needle}`")),
            );
        }
    }
    faults
}

fn has_word(line: &str, word: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        edge(line[..at].chars().next_back()) && edge(line[at + word.len()..].chars().next())
    })
}

/// `master` and `slave`, where they are not the beginning of a program's name.
fn role_words(line: &str) -> impl Iterator<Item = &'static str> {
    // iproute2's own word, and `SLAVE` or `Master` as a part of our names in code.
    let line = line
        .replace("\"master\", &place", "")
        .replace("masterfc", "")
        .replace("masterhaservice", "")
        .replace("slavehaservice", "")
        .replace("slavefc", "");
    // HBase's own word for what it elects, and where it keeps that.
    let line = [
        "hbase master",
        "hbase-master",
        "hbase_master",
        "hbasemaster",
        "hbase/master",
        "{hbase}/master",
        "hbase.pb.master",
        "backup-masters",
        "master:16000",
    ]
    .iter()
    .fold(line, |line, word| line.replace(word, ""));
    ["master", "slave"].into_iter().filter(move |word| {
        line.match_indices(word).any(|(at, _)| {
            !["-fc", "_fc", "-ha", "_ha"]
                .iter()
                .any(|rest| line[at + word.len()..].starts_with(rest))
        })
    })
}

/// What each member of the workspace depends on outside of tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let uses = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["kind"].is_null()).map(name).collect()
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (name(package), uses(package)))
        .collect()
}
