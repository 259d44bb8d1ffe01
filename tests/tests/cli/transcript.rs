//! What programs said, in a form that is the same in each run, and compared with a file beside the tests.

use std::fs;
use std::path::Path;

use headship_core::quorum::{Found, Op};
use headship_core::record::{self, Key};

use crate::lab::{End, Lab, Running};

/// A lab, and what was said in it so far.
pub(crate) struct Transcript {
    pub(crate) lab: Lab,
    pub(crate) text: String,
}

impl Transcript {
    pub(crate) fn new(lab: Lab) -> Self {
        Self { lab, text: String::new() }
    }

    pub(crate) fn situation(&mut self, what: &str) {
        self.text.push_str(&format!("\n## {what}\n"));
    }

    pub(crate) async fn each(&mut self, lines: &[&str]) {
        for line in lines {
            self.line(line, line).await;
        }
    }

    /// Runs a command with what is needed besides, and writes down what came of it.
    pub(crate) async fn line(&mut self, shown: &str, line: &str) {
        let mut end = self.begin(line).end().await;
        // The pages of these have tests of their own; what they come to is told by the exit code.
        if ["status", "check", "config"].contains(&line.split(' ').next().unwrap_or_default()) {
            end.said.clear();
        }
        self.write(shown, "", &end);
    }

    pub(crate) fn begin(&self, line: &str) -> Running {
        self.lab.run_on(&words(line))
    }

    /// Writes down what came of a command, beside which something else happened.
    pub(crate) async fn told(&mut self, line: &str, meanwhile: &str, running: Running) {
        let end = running.end().await;
        self.write(line, meanwhile, &end);
    }

    pub(crate) fn write(&mut self, line: &str, meanwhile: &str, end: &End) {
        self.write_of(format!("headship {line}").trim_end(), meanwhile, end);
    }

    /// The same of any program.
    pub(crate) fn write_of(&mut self, command: &str, meanwhile: &str, end: &End) {
        let meanwhile =
            if meanwhile.is_empty() { String::new() } else { format!("   # {meanwhile}") };
        let said = self.plain(&format!("{}{}", end.said, end.complained));
        self.text.push_str(&format!("\n$ {command}{meanwhile}\n{said}= {}\n", end.code));
    }

    /// Without what differs from run to run: places, ports, people, times and the names of orders.
    fn plain(&self, said: &str) -> String {
        let (config, run) = (self.lab.config.path(), self.lab.run.path());
        let said = neutral(said, &self.lab.servers(), (config, run));
        let said = without(&said, "_ms\":", |it| it.is_ascii_digit());
        // The resolver's own words.
        let said: String =
            said.lines().map(|line| format!("{}\n", until(line, "has no address here"))).collect();
        without(&said, "\"order\":\"", |it| it.is_ascii_hexdigit() || it == '-')
    }

    pub(crate) async fn change<R>(&mut self, key: Key, change: impl FnOnce(&mut R))
    where
        R: serde::Serialize + serde::de::DeserializeOwned,
    {
        let Found::Data { data, .. } = self.lab.read(key.clone()).await else {
            panic!("no {key:?}")
        };
        let mut record: R = record::parse(&key, &data).unwrap();
        change(&mut record);
        self.set(key, record::write(&record)).await;
    }

    pub(crate) async fn set(&mut self, key: Key, data: String) {
        self.lab.write(vec![Op::Set { key, version: None, data }]).await;
    }
}

/// The arguments that a line consists of.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split(' ').filter(|word| !word.is_empty()).collect()
}

/// Without what differs from run to run: places, ports, people and times.
pub(crate) fn neutral(said: &str, servers: &[String], (config, run): (&Path, &Path)) -> String {
    let mut said = said.to_owned();
    for (index, server) in servers.iter().enumerate() {
        said = said.replace(server, &format!("zk{index}:2182"));
    }
    said = said.replace(&config.display().to_string(), "/etc/headship");
    said = said.replace(&run.display().to_string(), "/run/headship");
    said = without(&said, "it runs out in ", |it| it.is_ascii_digit() || it == '.');
    said.lines().map(line).collect()
}

/// A line whose first word is a time is as far to the right as the time is short.
fn line(line: &str) -> String {
    let trimmed = line.trim_start();
    let line = if trimmed.starts_with(|it: char| it.is_ascii_digit()) { trimmed } else { line };
    format!("{}\n", line.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

/// A word of a line, unless it is one of a person or a time.
fn word(word: &str) -> String {
    let figures = word.trim_start_matches('(');
    let is_number = figures.starts_with(|it: char| it.is_ascii_digit())
        && !figures.contains(|it: char| it.is_ascii_alphabetic());
    if word.contains('@') {
        let (left, rest) = word.split_once('@').unwrap_or((word, ""));
        let front = if left.starts_with('(') { "(" } else { "" };
        let end: String = rest.chars().rev().take_while(|it| ",:;)".contains(*it)).collect();
        format!("{front}USER@HOST{}", end.chars().rev().collect::<String>())
    } else if is_number && figures.contains('.') {
        format!("{}N", &word[..word.len() - figures.len()])
    } else {
        word.to_owned()
    }
}

/// A line up to and with these words, if it has them.
fn until<'a>(line: &'a str, words: &str) -> &'a str {
    line.find(words).map_or(line, |at| &line[..at + words.len()])
}

/// With `N` in place of each number that comes after `words`.
pub(crate) fn without(said: &str, words: &str, is_of_number: impl Fn(char) -> bool) -> String {
    let mut parts = said.split(words);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(&is_of_number);
        let number = if rest.len() < part.len() { "N" } else { "" };
        format!("{text}{words}{number}{rest}")
    })
}

/// `HEADSHIP_REWRITE=1` accepts what is said now.
pub(crate) fn compare(file: &str, said: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(file);
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if said != expected && std::env::var_os("HEADSHIP_REWRITE").is_some() {
        return fs::write(&file, said).unwrap();
    }
    assert_eq!(said, expected, "HEADSHIP_REWRITE=1 accepts it");
}
