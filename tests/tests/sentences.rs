//! Every sentence of the command line, and of a headnode's answer to an order, stands in a golden: a file beside the tests with
//! all that was said, compared byte for byte. So nothing can be refused, or fail, in words that nobody has seen.
//!
//! It is looked for the longest part of each sentence that is in the source as it is said. What a program says of itself (`status`,
//! `check`, `--help`) is a page, and has tests of its own.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too; clippy exempts only the test functions themselves"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Whose sentences are looked for: folders with all that is in them, and files.
const SPEAKERS: [&str; 8] = [
    "cli/src",
    "common/core/src/controller/adopt.rs",
    "common/core/src/controller/confirm.rs",
    "common/core/src/controller/fitness.rs",
    "common/core/src/controller/orders.rs",
    "common/core/src/record/attempt.rs",
    "common/daemon/src/configuration.rs",
    "common/daemon/src/start.rs",
];

/// What is left out below them.
const PAGES: [(&str, &str); 9] = [
    ("cli/src/apache.rs", "a part of the page of `status`"),
    ("cli/src/args.rs", "what `--help` teaches"),
    ("cli/src/bin", "a program that only the build of the packages runs"),
    ("cli/src/check", "findings, each with a test beside it"),
    ("cli/src/fence/page.rs", "the page of `fence list`, which is exact in fence/tests.rs"),
    ("cli/src/followers.rs", "a part of the page of `status`"),
    ("cli/src/orders/outcome.rs", "how services stand after an order that was carried out"),
    ("cli/src/status", "pages and JSON, exact in status/golden"),
    ("cli/src/tests.rs", "tests"),
];

/// Where goldens lie.
const GOLDENS: [&str; 3] = ["cli/src", "tests/scenarios", "tests/tests/cli"];

/// Sentences that no golden can have, each with the reason.
const EXCEPTIONS: [(&str, &str); 17] = [
    ("whoever claims", "a confirmation is always of a claim"),
    ("nobody holds office", "there is always a reason why nobody does"),
    ("there is no order", "an order that is followed was given"),
    ("this host has no name", "the kernel always has one"),
    ("holds no permit that can be read (", OF_A_HOST),
    ("is of an earlier boot: HA services are kept stopped here", OF_A_HOST),
    ("ago: HA services are stopped here", OF_A_HOST),
    ("had not ceded epoch", OF_A_CLAIM),
    ("no record tells who held office last", OF_A_CLAIM),
    ("`active` tells of another office than this headnode remembers", OF_A_CLAIM),
    ("no promise of epoch", OF_A_CLAIM),
    ("lease and kill time of the old holder have not passed", OF_A_CLAIM),
    ("its services may be kept (`headship pause --keep`), whatever time passes", OF_A_CLAIM),
    ("settings are not there yet", OF_NO_CLAIM),
    ("office was ceded to", OF_NO_CLAIM),
    ("the others", OF_NO_CLAIM),
    ("this headnode went down as the active of epoch", OF_NO_CLAIM),
];
const OF_A_HOST: &str = "what a host knows by itself, on the page of `status`";
const OF_A_CLAIM: &str = "a row on the page of `fence list`";
const OF_NO_CLAIM: &str = "why a headnode does not claim for the moment, which no order asks";

/// Shorter ones are names and units, or could stand anywhere.
const SHORTEST: usize = 10;

#[test]
fn every_sentence_that_refuses_something_stands_in_a_golden() {
    let goldens: String =
        GOLDENS.iter().flat_map(|folder| files(folder, "txt")).map(golden).collect();
    let mut faults = Vec::new();
    let mut excepted = BTreeSet::new();
    let mut found = 0;
    for file in speakers() {
        for (line, sentence) in sentences(&read(&file)) {
            found += 1;
            let stands = goldens.contains(&sentence);
            match EXCEPTIONS.iter().find(|(exception, _)| *exception == sentence) {
                Some(_) if stands => faults.push(format!("`{sentence}` is no exception any more")),
                Some((exception, _)) => drop(excepted.insert(*exception)),
                None if stands => {}
                None => {
                    faults.push(format!("{}:{line}: no golden has `{sentence}`", file.display()))
                }
            }
        }
    }
    assert!(found > 150, "sentences are looked for in the wrong place: {found}");
    let unneeded = EXCEPTIONS.iter().filter(|(exception, _)| !excepted.contains(exception));
    faults.extend(unneeded.map(|(exception, _)| format!("nobody says `{exception}`")));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_sentence_is_found_however_it_is_written() {
    let source = r##"
//! A "comment that is long enough".
const RAW: &str = r#"it is "raw" and said"#;
fn say<'a>(it: &'a str, quote: char) -> String {
    // As is "the other comment".
    assert_ne!(quote, '"');
    let known = it.parse().expect("it is never said");
    format!("{it} goes \
             on: {known:?} {{as it is}}\nand so does the next line")
}
#[cfg(test)]
mod tests {
    const NOT_SAID: &str = "it is for tests only";
}
"##;
    let found: Vec<(usize, String)> = sentences(source);
    let expected = [(3, "it is \"raw\" and said"), (8, "and so does the next line")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

/// The source files, without pages.
fn speakers() -> Vec<PathBuf> {
    let is_page = |file: &Path| PAGES.iter().any(|(page, _)| file.starts_with(page));
    let is_test = |file: &Path| file.ends_with("tests.rs");
    let mut all: Vec<PathBuf> = SPEAKERS.iter().flat_map(|speaker| files(speaker, "rs")).collect();
    for (page, _) in PAGES {
        assert!(all.iter().any(|file| file.starts_with(page)), "there is no {page}");
    }
    all.retain(|file| !is_page(file) && !is_test(file));
    all
}

/// The files with this ending below a folder of the repository, or the file itself, by their paths in it.
fn files(place: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(place: &Path, into: &mut Vec<PathBuf>) {
        if place.is_dir() {
            for entry in fs::read_dir(place).unwrap() {
                walk(&entry.unwrap().path(), into);
            }
        } else {
            into.push(place.to_owned());
        }
    }
    let mut all = Vec::new();
    walk(&repository().join(place), &mut all);
    all.retain(|file| file.extension().is_some_and(|it| it == ending));
    all.sort();
    all.iter().map(|file| file.strip_prefix(repository()).unwrap().to_owned()).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &Path) -> String {
    let text = fs::read_to_string(repository().join(file));
    text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What was said. A scenario's orders stand above that.
fn golden(file: PathBuf) -> String {
    let text = read(&file);
    match text.split_once("\n----\n") {
        Some((_, log)) if file.starts_with("tests/scenarios") => log.to_owned(),
        Some(_) | None => text,
    }
}

/// The longest fixed part of each sentence of a source, with its line.
fn sentences(source: &str) -> Vec<(usize, String)> {
    let literals = literals(without_tests(source)).into_iter();
    let sentences = literals.filter(|literal| literal.is_said).filter_map(|literal| {
        let part = longest_part(&literal.text);
        (part.len() >= SHORTEST && part.contains(' ')).then_some((literal.line, part))
    });
    sentences.collect()
}

/// The source up to the tests at its bottom.
fn without_tests(source: &str) -> &str {
    const TESTS: &str = "\n#[cfg(test)]\n";
    let mut places = source.match_indices(TESTS);
    let inline = places.find(|(at, _)| {
        let next = source.get(at + TESTS.len()..).and_then(|rest| rest.lines().next());
        next.is_some_and(|line| line.ends_with('{'))
    });
    inline.map_or(source, |(at, _)| source.get(..at).unwrap_or(source))
}

/// The longest part of a text without what is filled in. Braces that are meant are rare: a part ends there, too.
fn longest_part(text: &str) -> String {
    let mut parts = vec![String::new()];
    let mut filled_in = false;
    for c in text.chars() {
        match c {
            '{' => (filled_in, _) = (true, parts.push(String::new())),
            '}' => filled_in = false,
            '\n' => parts.push(String::new()),
            _ if filled_in => {}
            c => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim());
    parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
}

/// A text in a source.
struct Literal {
    line: usize,
    text: String,
    /// Rather than a reason why something cannot fail, or why a lint is wrong.
    is_said: bool,
}

/// All texts of a source, without those in comments.
fn literals(source: &str) -> Vec<Literal> {
    let mut all = Vec::new();
    let mut rest = source;
    let literal = |from: &str, text: String| {
        let before = source.get(..source.len() - from.len()).unwrap();
        let line = before.matches('\n').count() + 1;
        let is_said = !before.ends_with("expect(") && !before.ends_with("reason = ");
        Literal { line, text, is_said }
    };
    while let Some(c) = rest.chars().next() {
        rest = if rest.starts_with("//") {
            rest.find('\n').map_or("", |end| rest.get(end..).unwrap())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let (text, after) = raw.split_once("\"#").expect("it ends");
            all.push(literal(rest, text.to_owned()));
            after
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = unquoted(quoted);
            all.push(literal(rest, text));
            after
        } else {
            // A quote as a character begins no text; every other character may be gone over by parts.
            rest.strip_prefix("'\"'").or_else(|| rest.get(c.len_utf8()..)).unwrap()
        };
    }
    all
}

/// The text up to the closing quote, and what comes after that.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = quoted;
    loop {
        let mut chars = rest.chars();
        match chars.next().expect("it ends") {
            '"' => return (text, chars.as_str()),
            '\\' => match chars.next().expect("it ends") {
                'n' => text.push('\n'),
                '\n' => {
                    rest = chars.as_str().trim_start();
                    continue;
                }
                escaped => text.push(escaped),
            },
            c => text.push(c),
        }
        rest = chars.as_str();
    }
}
