//! A hosts file that has to be written where it is, as a mount point and a file with several names have to be: which bytes
//! of it, and what is done about a write that came to its end halfway.
//!
//! Whoever else writes the file at that moment cannot be kept from it: the kernel has no write that takes place only if the
//! file is as it was. So only bytes of ours are written over, none is moved and none is cut off. Our lines come to the end
//! by appending, with a column for the longest address, and another address is written over the old one in that column.
//! Where it does not fit, our lines are blanked, and appended anew. Each of these is one write of a few bytes.
//!
//! A write that was cut short leaves some new bytes before old ones. Which bytes it was about is on record elsewhere before
//! it begins, and from that and the file `mend` tells what is left to do.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{BEGIN, BEGIN_LINE, Found, Refused, find, gap, own_lines};

/// The width of the column for an address: the longest one, eight groups of four digits, fits in.
const WIDEST: usize = 39;

/// One write of a file where it is. It makes the file longer or leaves it as long as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Where it begins, counted in bytes.
    pub at: usize,
    /// What stands there and is ours; nothing if the new bytes come at the end, wherever that is by then.
    pub old: Vec<u8>,
    /// What shall stand there.
    pub new: Vec<u8>,
}

impl Patch {
    /// The bytes from `at` on, without those that stay the same.
    fn over(at: usize, old: &[u8], new: &[u8]) -> Self {
        let before = same(old.iter().zip(new));
        let (old, new) = (tail(old, before), tail(new, before));
        let behind = same(old.iter().rev().zip(new.iter().rev()));
        let head = |bytes: &[u8]| {
            bytes.get(..bytes.len().saturating_sub(behind)).unwrap_or_default().to_vec()
        };
        Self { at: at.saturating_add(before), old: head(old), new: head(new) }
    }

    /// Whether it comes at the end of the file.
    pub fn appends(&self) -> bool {
        self.old.is_empty()
    }

    /// What `text` is with it.
    pub fn applied(&self, text: &[u8]) -> Vec<u8> {
        let before = text.get(..self.at).unwrap_or_default();
        [before, &self.new, tail(text, self.at.saturating_add(self.old.len()))].concat()
    }

    /// Whether its new bytes stand in `text` where they belong.
    pub fn is_in(&self, text: &[u8]) -> bool {
        tail(text, self.at).starts_with(&self.new)
    }
}

/// How many pairs at the beginning are of the same bytes.
fn same<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

fn tail(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

/// Nothing, for anybody who reads a hosts file, and a line of its own.
fn blank(length: usize) -> Vec<u8> {
    let mut blank = vec![b' '; length];
    for end in [0, length.saturating_sub(1)] {
        if let Some(byte) = blank.get_mut(end) {
            *byte = b'\n';
        }
    }
    blank
}

/// The next write that brings `alias` to stand for `address` in a file that `rewrite` would change. There may be a further
/// one after it.
pub fn patch(text: &[u8], alias: &str, address: IpAddr) -> Result<Patch, Refused> {
    let found = find(text, alias)?;
    let Some(block) = &found.block else {
        let own = own_lines(BEGIN_LINE.as_bytes(), alias, address, WIDEST, found.ending);
        let new = [gap(text, found.ending), &own].concat();
        return Ok(Patch { at: text.len(), old: Vec::new(), new });
    };
    let old = text.get(block.clone()).unwrap_or_default();
    let foreign = found.foreign_inside(text, alias);
    let room = old.len().saturating_sub(foreign.len());
    // The first marker says more than it must.
    let new = [BEGIN_LINE.as_bytes(), BEGIN].into_iter().find_map(|begin| {
        let least = own_lines(begin, alias, address, 0, found.ending).len();
        let width = room.checked_sub(least)?.saturating_add(address.to_string().len());
        Some([own_lines(begin, alias, address, width, found.ending), foreign.clone()].concat())
    });
    let new = new.unwrap_or_else(|| without_ours(text, &found, alias));
    Ok(Patch::over(block.start, old, &new))
}

/// What is between our markers, and they too, with blanks in place of our lines.
fn without_ours(text: &[u8], found: &Found<'_>, alias: &str) -> Vec<u8> {
    let blanked = found.inside().flat_map(|line| {
        let ours = found.is_ours(line, alias);
        let bytes = text.get(line.start..line.end).unwrap_or_default();
        bytes.iter().map(move |byte| if ours && *byte != b'\n' { b' ' } else { *byte })
    });
    blanked.collect()
}

/// What is left to do in a file in which `begun` was begun, and which is `text` now; none if all of it is there, nothing of
/// it is, or it cannot be told for sure: then what is there is somebody else's.
pub fn mend(text: &[u8], begun: &Patch) -> Option<Patch> {
    let there = text.get(begun.at..)?;
    let length = begun.new.len();
    let done = same(there.iter().zip(&begun.new));
    if begun.appends() {
        return mend_end(text, begun, done);
    }
    if done == length {
        // Somebody cut the file short just before, and the kernel filled what was between with NUL bytes.
        let before = text.get(..begun.at).unwrap_or_default();
        let hole = before.iter().rev().take_while(|byte| **byte == 0).count();
        let at = begun.at.saturating_sub(hole);
        let ours = hole.saturating_add(length);
        return (hole > 0).then(|| Patch::over(at, there_from(text, at, ours), &blank(ours)));
    }
    let torn = done > 0 && there.get(done..length)? == tail(&begun.old, done);
    torn.then(|| Patch::over(begun.at, there_from(text, begun.at, length), &begun.new))
}

fn there_from(text: &[u8], at: usize, length: usize) -> &[u8] {
    text.get(at..at.saturating_add(length)).unwrap_or_default()
}

/// The same of what was to come at the end, of which the first `done` bytes stand there.
fn mend_end(text: &[u8], begun: &Patch, done: usize) -> Option<Patch> {
    if done == begun.new.len() {
        return None;
    }
    // All that is behind is ours: the rest of it only adds to the file, so it cannot be wrong.
    if done > 0 && begun.at.saturating_add(done) == text.len() {
        return Some(Patch {
            at: text.len(),
            old: Vec::new(),
            new: tail(&begun.new, done).to_vec(),
        });
    }
    // Somebody else appended a line just before, without its end, and our first one became part of it.
    let (first, length) = (*begun.new.first()?, begun.new.len());
    let later = tail(text, begun.at).windows(length).position(|bytes| bytes == begun.new)?;
    let at = begun.at.saturating_add(later);
    let glued = !text.get(..at)?.ends_with(b"\n") && !first.is_ascii_whitespace();
    glued.then(|| Patch::over(at, &begun.new, &blank(length)))
}

#[cfg(test)]
mod tests;
