//! The hosts file of a node, text to text: one line of ours between two marker lines, and every other byte as it was.
//!
//! Everything is bytes: such a file need not be UTF-8, and what we do not understand is somebody else's. Where it cannot be
//! told for sure which bytes are ours, nothing is written, and a sentence says what to mend. Reading and replacing the file
//! is the drivers' business.

mod in_place;

use std::net::IpAddr;
use std::ops::Range;

pub use in_place::{Patch, mend, patch};

/// How our first marker line begins. What follows on it is for people.
const BEGIN: &[u8] = b"# headship begin";
/// How our last marker line begins.
const END: &[u8] = b"# headship end";
/// What our first marker line says.
const BEGIN_LINE: &str = "# headship begin: slave-fc keeps these lines, do not edit them";
/// How our own line between the markers ends, so that a line which somebody put there is told from it.
const OURS: &[u8] = b"# headship";
/// The longest file that is edited. Every look-up of every program on the node reads all of it, so a longer one is an
/// accident: lists that block the whole world's advertisers have some 5 MB.
pub const LARGEST: usize = 8 * 1024 * 1024;
/// The most lines of a difference that are shown, and the most characters of each: a log is no copy of the file.
const SHOWN_LINES: usize = 20;
const SHOWN_CHARACTERS: usize = 120;
/// What some editors put before the first line. It is none of our bytes, and hides none of our markers.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file is left as it is: it would not be sure that no line of others is lost, or that the alias would be ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is longer than `LARGEST`.
    #[error("it has {bytes} bytes, and more than {LARGEST} are an accident: shorten it")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// It is no text.
    #[error(
        "line {line} contains a NUL byte, so it is no text, or one of another encoding: mend it"
    )]
    Nul {
        /// The first such line.
        line: usize,
    },
    /// One marker line has no other.
    #[error(
        "line {line} is headship's {which} marker, and the other one is missing: remove line {line}, and those of headship around it"
    )]
    HalfAMarker {
        /// Where it stands.
        line: usize,
        /// Which of the two.
        which: &'static str,
    },
    /// The markers are there more than once, or in the wrong order.
    #[error(
        "lines {lines} are markers of headship, which must be one `begin` and after it one `end`: remove them, with headship's lines between them"
    )]
    Markers {
        /// All of them.
        lines: String,
    },
    /// Somebody else's line names the alias. Which of two lines wins differs from program to program: the first, or both.
    #[error(
        "line {line} names `{alias}`, and is not headship's: `{text}`. Some programs would go by it: remove `{alias}` from that line"
    )]
    AliasTaken {
        /// Where it stands.
        line: usize,
        /// The alias.
        alias: String,
        /// The line.
        text: String,
    },
}

/// A file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The whole text.
    pub text: Vec<u8>,
    /// What differs from what was there, line by line, behind `-` and `+`; empty if nothing does.
    pub diff: Vec<String>,
}

/// One line with where it stands; its text is without the line's end.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    number: usize,
    start: usize,
    /// Where the next line begins.
    end: usize,
    text: &'a [u8],
}

/// A file that is understood: its lines, and which of them are ours.
#[derive(Debug)]
struct Found<'a> {
    lines: Vec<Line<'a>>,
    /// Where our lines are, if there are any.
    block: Option<Range<usize>>,
    /// How our lines end: as they did, and at first as the file's first line does.
    ending: &'static [u8],
}

impl Found<'_> {
    fn is_ours(&self, line: &Line<'_>, alias: &str) -> bool {
        self.block.as_ref().is_some_and(|block| is_ours(line, block, alias))
    }

    fn inside(&self) -> impl Iterator<Item = &Line<'_>> {
        let inside =
            |line: &&Line<'_>| self.block.as_ref().is_some_and(|block| block.contains(&line.start));
        self.lines.iter().filter(inside)
    }

    /// What somebody wrote between our markers. It is not lost: it moves behind them.
    fn foreign_inside(&self, text: &[u8], alias: &str) -> Vec<u8> {
        let foreign = self.inside().filter(|line| !self.is_ours(line, alias));
        foreign
            .flat_map(|line| text.get(line.start..line.end).unwrap_or_default())
            .copied()
            .collect()
    }

    /// Whether our lines say this and nothing else, however wide: in place they are as long as there is room.
    fn says(&self, alias: &str, address: IpAddr) -> bool {
        let inside: Vec<&[u8]> = self.inside().map(|line| line.text.trim_ascii_end()).collect();
        let [begin, entry, END] = inside.as_slice() else { return false };
        let rest = entry.strip_prefix(address.to_string().as_bytes());
        let named = format!("{alias} {}", String::from_utf8_lossy(OURS));
        [BEGIN_LINE.as_bytes(), BEGIN].contains(begin)
            && rest.is_some_and(|rest| {
                rest.starts_with(b" ") && rest.trim_ascii_start() == named.as_bytes()
            })
    }
}

/// Reads the file for `rewrite` and `patch`, or says why it is left alone.
fn find<'a>(text: &'a [u8], alias: &str) -> Result<Found<'a>, Refused> {
    let lines = understood(text)?;
    let block = block(&lines)?;
    let pattern = block.as_ref().map_or(text, |block| text.get(block.clone()).unwrap_or_default());
    let ending: &[u8] = if first_ends_in_crlf(pattern) { b"\r\n" } else { b"\n" };
    let found = Found { lines, block, ending };
    let mut foreign = found.lines.iter().filter(|line| !found.is_ours(line, alias));
    match foreign.find(|line| names(line.text, alias)) {
        Some(line) => Err(Refused::AliasTaken {
            line: line.number,
            alias: alias.to_owned(),
            text: shown(line.text),
        }),
        None => Ok(found),
    }
}

/// Our lines, with the address in a column of at least `width` characters.
fn own_lines(begin: &[u8], alias: &str, address: IpAddr, width: usize, ending: &[u8]) -> Vec<u8> {
    let address = address.to_string();
    let entry = format!("{address:<width$} {alias} {}", String::from_utf8_lossy(OURS));
    [begin, ending, entry.as_bytes(), ending, END, ending].concat()
}

/// What has to stand between the end of `text` and lines that are put behind it.
fn gap<'a>(text: &[u8], ending: &'a [u8]) -> &'a [u8] {
    let ended = text.is_empty() || text == BYTE_ORDER_MARK || text.ends_with(b"\n");
    if ended { b"" } else { ending }
}

/// The file `text` with `alias` standing for `address`.
///
/// Where the markers are missing our lines come at the end. The first line with an address is what its name is told from:
/// in front of the others, ours would make the alias the name of the headnode's address, and whoever looks a host up by
/// its address (Hadoop, Kerberos) would find that. For the alias the place is all one, as no other line may name it.
pub fn rewrite(text: &[u8], alias: &str, address: IpAddr) -> Result<Rewritten, Refused> {
    let found = find(text, alias)?;
    if found.says(alias, address) {
        return Ok(Rewritten { text: text.to_vec(), diff: Vec::new() });
    }
    let own = own_lines(BEGIN_LINE.as_bytes(), alias, address, 0, found.ending);
    let new = match &found.block {
        None => [text, gap(text, found.ending), &own].concat(),
        Some(block) => {
            let before = text.get(..block.start).unwrap_or_default();
            let behind = text.get(block.end..).unwrap_or_default();
            [before, &own, &found.foreign_inside(text, alias), behind].concat()
        }
    };
    Ok(Rewritten { diff: diff(text, &new), text: new })
}

/// The address that our own line gives for `alias`; none if there is no such line, or the file would be refused.
pub fn current(text: &[u8], alias: &str) -> Option<IpAddr> {
    let lines = understood(text).ok()?;
    let block = block(&lines).ok()??;
    let line = lines.iter().find(|line| is_ours(line, &block, alias) && names(line.text, alias))?;
    std::str::from_utf8(fields(line.text).next()?).ok()?.parse().ok()
}

/// The lines, if the file is one that is edited at all.
fn understood(text: &[u8]) -> Result<Vec<Line<'_>>, Refused> {
    if text.len() > LARGEST {
        return Err(Refused::TooLarge { bytes: text.len() });
    }
    let lines = lines(text);
    match lines.iter().find(|line| line.text.contains(&0)) {
        Some(line) => Err(Refused::Nul { line: line.number }),
        None => Ok(lines),
    }
}

fn lines(text: &[u8]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut start = 0_usize;
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let end = start.saturating_add(line.len());
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare =
            if number == 1 { bare.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bare) } else { bare };
        // A byte order mark stays before our marker, where that follows it at once.
        let start_of_text =
            end.saturating_sub(bare.len()).saturating_sub(usize::from(line.ends_with(b"\n")));
        lines.push(Line { number, start: start_of_text, end, text: bare });
        start = end;
    }
    lines
}

/// Where our lines are, from the beginning of the first marker to the end of the last; none if there are no markers.
fn block(lines: &[Line<'_>]) -> Result<Option<Range<usize>>, Refused> {
    let of = |marker| lines.iter().filter(move |line| is_marker(line.text, marker));
    let (begins, ends): (Vec<_>, Vec<_>) = (of(BEGIN).collect(), of(END).collect());
    match (begins.as_slice(), ends.as_slice()) {
        ([], []) => Ok(None),
        ([begin], [end]) if begin.start < end.start => Ok(Some(begin.start..end.end)),
        ([begin], []) => Err(Refused::HalfAMarker { line: begin.number, which: "first" }),
        ([], [end]) => Err(Refused::HalfAMarker { line: end.number, which: "last" }),
        _ => {
            let mut all: Vec<usize> = begins.iter().chain(&ends).map(|line| line.number).collect();
            all.sort_unstable();
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            Err(Refused::Markers { lines: all.join(", ") })
        }
    }
}

/// Whether a line is this marker, whatever is said behind it or blank around it.
fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    let rest = line.trim_ascii_start().strip_prefix(marker);
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
}

/// Whether a line is one of our block that we wrote there, whatever was changed in it since, or an empty one. That of an
/// earlier alias is ours by what stands at its end.
fn is_ours(line: &Line<'_>, block: &Range<usize>, alias: &str) -> bool {
    let text = line.text.trim_ascii();
    block.contains(&line.start)
        && (text.is_empty()
            || is_marker(text, BEGIN)
            || is_marker(text, END)
            || fields(text).count() == 2 && (text.ends_with(OURS) || names(text, alias)))
}

/// Address and names of a line, as programs read it: up to `#`, between white space of any kind.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let told = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    // `is_ascii_whitespace` leaves out the vertical tab, which C's `isspace` counts.
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    told.split(blank).filter(|field| !field.is_empty())
}

/// Whether a line gives `alias` as a name. Names are compared as programs do: whatever the case.
fn names(line: &[u8], alias: &str) -> bool {
    fields(line).skip(1).any(|name| name.eq_ignore_ascii_case(alias.as_bytes()))
}

fn first_ends_in_crlf(text: &[u8]) -> bool {
    text.split_inclusive(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r\n"))
}

/// What differs between two texts, as whole lines: those of the old one behind `-`, those of the new one behind `+`.
pub fn diff(old: &[u8], new: &[u8]) -> Vec<String> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (whole_lines(old), whole_lines(new));
    let same = |pairs: &mut dyn Iterator<Item = bool>| pairs.take_while(|same| *same).count();
    let before = same(&mut old.iter().zip(&new).map(|(a, b)| a == b));
    let most = old.len().min(new.len()).saturating_sub(before);
    let after = same(&mut old.iter().rev().zip(new.iter().rev()).map(|(a, b)| a == b)).min(most);
    let part = |lines: &[&[u8]], sign: char| -> Vec<String> {
        let to = lines.len().saturating_sub(after);
        let changed = lines.get(before..to).unwrap_or_default();
        changed.iter().map(|line| format!("{sign}{}", shown(line))).collect()
    };
    let mut told = [part(&old, '-'), part(&new, '+')].concat();
    let left_out = told.len().saturating_sub(SHOWN_LINES);
    told.truncate(SHOWN_LINES);
    if left_out > 0 {
        told.push(format!("and {left_out} lines more"));
    }
    told
}

fn whole_lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// A line for people: what cannot be printed is written out, and a long one is cut.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut text = String::new();
    for (count, character) in String::from_utf8_lossy(line).chars().enumerate() {
        if count == SHOWN_CHARACTERS {
            text.push('…');
            break;
        }
        if character.is_control() && character != '\t' {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests;
