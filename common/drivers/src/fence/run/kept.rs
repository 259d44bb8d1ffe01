//! What a program said, as far as it is kept: a program that floods us costs neither memory nor the lease.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;

/// How much of the beginning is kept: a list of a thousand plugs.
const HEAD: usize = 64 * 1024;
/// How much of the end is kept.
const TAIL: usize = 2048;
/// How many of the last lines are told, and how long they may be together, in characters.
const LINES: usize = 3;
const WORDS: usize = 300;
/// The pause between two reads of a program that says more than anybody wants to know.
const SLOWLY: Duration = Duration::from_millis(10);

/// What a program said.
#[derive(Debug, Default)]
pub(super) struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Kept {
    /// Reads to the end. What was read so far stays when the future is dropped.
    pub(super) async fn read(&mut self, mut from: Receiver) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.keep(buffer.get(..count).unwrap_or_default());
            if self.head.len() == HEAD {
                sleep(SLOWLY).await;
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tail.iter().all(u8::is_ascii_whitespace)
    }

    /// The beginning.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The last lines, as one, with nothing in it that is hidden, or that a terminal or a log would obey.
    pub(super) fn last_words(&self, hidden: &[String]) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" / ");
        let hide = |text: String, word: &String| text.replace(word.as_str(), "***");
        let last = hidden.iter().filter(|word| !word.is_empty()).fold(last, hide);
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let surplus = last.chars().count().saturating_sub(WORDS);
        last.chars().skip(surplus).map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Kept {
        let mut kept = Kept::default();
        for part in text.as_bytes().chunks(1000) {
            kept.keep(part);
        }
        kept
    }

    #[test]
    fn the_last_lines_are_told_in_one_that_no_terminal_obeys() {
        let text = "a\n\n  b\nc \nFailed: \u{1b}[2Jno `route`\n\n";
        assert_eq!(kept(text).last_words(&[]), "b / c / Failed:  [2Jno `route`");
        assert!(kept(" \n").is_empty() && kept("").last_words(&[]).is_empty());
    }

    #[test]
    fn what_is_hidden_does_not_show() {
        let said = kept("Ignoring unknown option 'passwort=hunter2'")
            .last_words(&["hunter2".to_owned(), String::new()]);
        assert_eq!(said, "Ignoring unknown option 'passwort=***'");
    }

    #[test]
    fn of_a_flood_only_both_ends_are_kept() {
        let kept = kept(&"flood ".repeat(1_000_000));
        assert_eq!((kept.text().len(), kept.tail.len()), (HEAD, TAIL));
        assert_eq!(kept.last_words(&[]).chars().count(), WORDS);
    }
}
