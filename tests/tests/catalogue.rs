//! The kinds of lines in the log, the journal's catalogue and headship-messages(7) tell of the same; and each place that
//! logs names a kind.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too, and say what they skip"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use headship_core::say::{Kind, Level};

const CATALOGUE: &str = "packaging/root/usr/lib/systemd/catalog/headship.catalog";
const PAGE: &str = "packaging/man/headship-messages.7";

/// The fields that a catalogue entry may show: every line of a daemon that runs has the first one, and most the second.
const FIELDS: [&str; 2] = ["HEADSHIP_NODE", "HEADSHIP_EPOCH"];

/// An entry of the catalogue.
struct Entry {
    id: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Reads it as strictly as systemd's catalog_import_file does: an entry begins with `-- ` and 32 digits; headers follow at
/// once, and an empty line ends them; comments and empty lines between entries count for nothing.
fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_headers = false;
    for line in read(CATALOGUE).lines() {
        if line.starts_with('#') {
            continue;
        }
        if let Some(id) = line.strip_prefix("-- ") {
            assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id:?}");
            let (headers, body) = (BTreeMap::new(), String::new());
            entries.push(Entry { id: id.to_owned(), headers, body });
            in_headers = true;
            continue;
        }
        let Some(entry) = entries.last_mut() else {
            assert!(line.is_empty(), "{line:?} stands before the first entry");
            continue;
        };
        if in_headers && !line.is_empty() {
            let (name, value) = line.split_once(": ").unwrap();
            let twice = entry.headers.insert(name.to_owned(), value.to_owned());
            assert!(twice.is_none(), "{name} twice in {}", entry.id);
        } else if in_headers {
            in_headers = false;
        } else {
            entry.body.push_str(line);
            entry.body.push('\n');
        }
    }
    entries
}

#[test]
fn the_catalogue_explains_each_kind_in_their_order_and_nothing_else() {
    let entries = entries();
    let explained: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
    assert_eq!(explained, kinds);
    let once: BTreeSet<&str> = kinds.iter().copied().collect();
    assert_eq!(once.len(), kinds.len(), "an id stands for one kind");
    let mut subjects = BTreeSet::new();
    for entry in &entries {
        let subject = &entry.headers["Subject"];
        assert!(subjects.insert(subject.clone()), "{subject:?} twice");
        assert_eq!(entry.headers["Defined-By"], "headship");
        assert_eq!(entry.headers["Documentation"], "man:headship-messages(7)");
        // What happened and what it means; what to do.
        let paragraphs = entry.body.trim().split("\n\n").count();
        assert!(paragraphs >= 2, "{subject:?} explains too little");
        let told = format!("{subject}\n{}", entry.body);
        for field in told.split('@').skip(1).step_by(2) {
            assert!(FIELDS.contains(&field), "no line has a field `{field}`");
        }
        assert!(entry.body.lines().all(|line| line.len() <= 80), "{subject:?}");
    }
}

#[test]
fn the_man_page_lists_each_kind_with_its_level() {
    let page = read(PAGE);
    let messages = page.split_once(".SH MESSAGES\n").unwrap().1;
    let listed: Vec<(&str, &str)> = messages
        .split(".TP\n.B ")
        .skip(1)
        .map(|item| item.split_once('\n').unwrap())
        .map(|(id, text)| (id, text.lines().next().unwrap()))
        .collect();
    assert_eq!(listed.len(), Kind::ALL.len());
    for (kind, ((id, text), entry)) in Kind::ALL.iter().zip(listed.iter().zip(entries())) {
        let level = match kind.level() {
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "alarm",
        };
        let subject = entry.headers["Subject"].replace("@HEADSHIP_NODE@", "NODE");
        let subject = subject.replace("@HEADSHIP_EPOCH@", "EPOCH").replace('-', "\\-");
        assert_eq!((*id, *text), (kind.id(), format!("{subject} ({level})").as_str()));
    }
}

/// As `journalctl -x` does: into systemd's database, and out of it.
#[test]
fn systemd_takes_the_catalogue() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    fs::copy(repository().join(CATALOGUE), folder.join("headship.catalog")).unwrap();
    let journalctl = |what: &[&str]| {
        Command::new("journalctl").arg("--root").arg(root.path()).args(what).output()
    };
    let Ok(compiled) = journalctl(&["--update-catalog"]) else {
        println!("skipped: this machine has no journalctl");
        return;
    };
    let said = String::from_utf8_lossy(&compiled.stderr).into_owned();
    assert!(compiled.status.success() && said.is_empty(), "{said}");
    let ids: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
    let dump = journalctl(&[&["--dump-catalog"], ids.as_slice()].concat()).unwrap();
    let said = String::from_utf8_lossy(&dump.stderr).into_owned();
    assert!(dump.status.success() && said.is_empty(), "{said}");
    let dump = String::from_utf8(dump.stdout).unwrap();
    for entry in entries() {
        let body = entry.body.trim();
        assert!(dump.contains(&entry.id) && dump.contains(body), "{} in {dump}", entry.id);
    }
}

/// What is above `debug` is for operators: it can be searched for, and is explained, at the level of its kind.
#[test]
fn each_place_that_logs_names_a_kind() {
    let mut found = 0;
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (level, word) in
            [(Level::Info, "info!("), (Level::Warn, "warn!("), (Level::Error, "error!(")]
        {
            for (at, _) in code.match_indices(word) {
                let call = code[at + word.len()..].trim_start();
                let place = format!("{}: {word}{}", file.display(), &call[..call.len().min(60)]);
                if call.starts_with("target: \"headship\", MESSAGE_ID = id") {
                    continue;
                }
                let kind =
                    call.strip_prefix("MESSAGE_ID = Kind::").unwrap_or_else(|| panic!("{place}"));
                let kind = kind.split('.').next().unwrap();
                let kind = Kind::ALL.iter().find(|it| format!("{it:?}") == kind).unwrap();
                assert_eq!(kind.level(), level, "{place}");
                found += 1;
            }
        }
    }
    assert!(found > 10, "{found}");
}

/// Each kind is said somewhere.
#[test]
fn no_kind_is_left_unsaid() {
    let code: String = sources().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for kind in Kind::ALL {
        assert!(code.contains(&format!("Kind::{kind:?}")), "nobody says {kind:?}");
    }
}

/// The sources of everything that logs.
fn sources() -> Vec<PathBuf> {
    let folders = ["common", "master-fc", "slave-fc", "health-monitor"];
    let mut folders: Vec<PathBuf> = folders.map(|it| repository().join(it)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                sources.push(path);
            }
        }
    }
    sources
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap()
}
