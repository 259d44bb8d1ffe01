//! What programs said, in a form that is the same in each run, and compared with a file beside the tests.

use std::fs;
use std::path::Path;

/// Without what differs from run to run: places, ports, people and times.
pub(crate) fn neutral(said: &str, servers: &[String], (config, run): (&Path, &Path)) -> String {
    let mut said = said.to_owned();
    for (index, server) in servers.iter().enumerate() {
        said = said.replace(server, &format!("zk{index}:2182"));
    }
    said = said.replace(&config.display().to_string(), "/etc/headship");
    said = said.replace(&run.display().to_string(), "/run/headship");
    said.lines()
        .map(|line| format!("{}\n", line.split(' ').map(word).collect::<Vec<_>>().join(" ")))
        .collect()
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

/// `HEADSHIP_REWRITE=1` accepts what is said now.
pub(crate) fn compare(file: &str, said: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(file);
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if said != expected && std::env::var_os("HEADSHIP_REWRITE").is_some() {
        return fs::write(&file, said).unwrap();
    }
    assert_eq!(said, expected, "HEADSHIP_REWRITE=1 accepts it");
}
