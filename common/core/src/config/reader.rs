//! Reads single values of the file, and collects what is wrong with them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::fault::{Fault, Faults};
use super::file::{File, Given};
use super::origins::Origins;
use super::source::{RawFault, Source, strike};

/// A day, in milliseconds: no figure of ours is longer, and sums of such figures are far from any overflow.
const DAY_MS: u64 = 86_400_000;

/// Reads values, and remembers where they stand and what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader {
    source: Source,
    faults: Vec<RawFault>,
    /// Where each key stands, by its full name such as `timing.lease_ms`.
    places: BTreeMap<String, usize>,
    /// What values follow that are not written, in words, by their full names.
    followed: BTreeMap<String, String>,
    /// The services that are left out.
    left_out: Vec<String>,
}

impl Reader {
    pub(super) fn new(source: Source) -> Self {
        let (places, followed) = (BTreeMap::new(), BTreeMap::new());
        Self { source, faults: Vec::new(), places, followed, left_out: Vec::new() }
    }

    /// The file as people wrote it, without what is not understood; `None` if it is no TOML at all.
    pub(super) fn parse(&mut self) -> Option<File> {
        let Self { source, faults, .. } = self;
        let mut tree = source.tree(faults)?;
        // The parser stops at its first complaint: strike out what it complains of, and let it read again.
        loop {
            let root: Spanned<DeTable<'_>> = Spanned::new(0..0, tree.clone());
            let error = match File::deserialize(Deserializer::from(root)) {
                Ok(file) => return Some(file),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let struck = strike(&mut tree, &span);
            let key = struck.as_ref().ok().and_then(Option::as_deref);
            faults.push(RawFault { offset: span.start, text: sentence(key, error.message()) });
            if struck.is_err() {
                return None;
            }
        }
    }

    /// What is wrong, and where everything stands.
    pub(super) fn finish(mut self) -> (Faults, Origins) {
        self.faults.sort_by_key(|fault| fault.offset);
        let source = self.source;
        // One line each, whatever the parser said of whatever stands in the file.
        let fault = |raw: RawFault| Fault {
            place: source.place(raw.offset),
            text: raw.text.trim_end().replace(char::is_control, " "),
        };
        let faults = Faults(self.faults.into_iter().map(fault).collect());
        let places = self.places.into_iter().map(|(key, at)| (key, source.place(at))).collect();
        let profile = source.profile().map(str::to_owned);
        let (followed, left_out) = (self.followed, self.left_out);
        (faults, Origins { profile, places, followed, left_out })
    }

    /// How many faults there are by now: a check that builds on values is skipped when reading them brought new ones.
    pub(super) fn count(&self) -> usize {
        self.faults.len()
    }

    /// A fault at the first of `keys` that stands in a file, or else in the profile, or else in the first line.
    pub(super) fn fault(&mut self, keys: &[&str], text: String) {
        let places = || keys.iter().filter_map(|key| self.places.get(*key)).copied();
        let in_file = places().find(|offset| self.source.is_in_file(*offset));
        let offset = in_file.or_else(|| places().next()).unwrap_or(0);
        self.faults.push(RawFault { offset, text });
    }

    /// A fault at this place.
    pub(super) fn fault_at(&mut self, offset: usize, text: String) {
        self.faults.push(RawFault { offset, text });
    }

    /// What stands at `key` is known as `also`, too.
    pub(super) fn also_known(&mut self, key: &str, also: String) {
        if let Some(offset) = self.places.get(key).copied() {
            self.places.insert(also, offset);
        }
    }

    /// What the values at `keys` follow where they are not written.
    pub(super) fn follow(&mut self, keys: &[&str], followed: &str) {
        self.followed.extend(keys.iter().map(|key| ((*key).to_owned(), followed.to_owned())));
    }

    /// A service that is left out.
    pub(super) fn leave_out(&mut self, service: &str) {
        self.left_out.push(service.to_owned());
    }

    /// A table: remembers where it begins.
    pub(super) fn table<T: Default>(&mut self, key: &str, table: Option<Spanned<T>>) -> T {
        let Some(table) = table else { return T::default() };
        self.places.insert(key.to_owned(), table.span().start);
        table.into_inner()
    }

    /// A value, if it is given and understood.
    pub(super) fn value<T>(&mut self, key: &str, given: Option<Given<T>>) -> Option<T> {
        let given = given?;
        // A table of dotted keys stands nowhere itself.
        if given.offset > 0 {
            self.places.insert(key.to_owned(), given.offset);
        }
        match given.value {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(&[key], sentence(Some(key), &message));
                None
            }
        }
    }

    /// A value that must be given; `table` is where it should stand, `example` how.
    pub(super) fn required<T>(
        &mut self,
        table: &str,
        key: &str,
        given: Option<Given<T>>,
        example: &str,
    ) -> Option<T> {
        if given.is_none() {
            self.fault(&[table], format!("`{key}` is missing: add `{example}`"));
        }
        self.value(key, given)
    }

    /// A number within `range`.
    pub(super) fn number<N: Copy + PartialOrd + std::fmt::Display>(
        &mut self,
        key: &str,
        given: Option<Given<N>>,
        default: N,
        range: RangeInclusive<N>,
    ) -> N {
        let Some(number) = self.value(key, given) else { return default };
        if !range.contains(&number) {
            let (from, to) = range.into_inner();
            self.fault(&[key], format!("`{key}` is {number}: write a number from {from} to {to}"));
            return default;
        }
        number
    }

    /// A length of time in milliseconds, above zero.
    pub(super) fn millis(
        &mut self,
        key: &str,
        given: Option<Given<u64>>,
        default: Duration,
    ) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(DAY_MS);
        Duration::from_millis(self.number(key, given, default, 1..=DAY_MS))
    }
}

/// The parser's complaint about `key` as a sentence with its way out.
fn sentence(key: Option<&str>, message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return match rest.split_once(", ") {
            Some((field, allowed)) => {
                format!(
                    "unknown key {field}: remove it, or write {}",
                    allowed.trim_start_matches("expected ")
                )
            }
            None => format!("unknown key {rest}: remove it"),
        };
    }
    let key = key.map_or_else(|| "this element".to_owned(), |key| format!("`{key}`"));
    if let Some((variant, allowed)) =
        message.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{key} cannot be {variant}: write {allowed}");
    }
    let wrong = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "));
    match wrong {
        // What stands where one of a few words is meant.
        Some(("unit variant", _)) => format!("{key} is no text: write one in quotes"),
        Some((found, expected)) => format!("{key} cannot be {found}: write {}", in_words(expected)),
        None => format!("{key}: {message}"),
    }
}

/// What the parser expects, for people who write files.
fn in_words(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" => "a whole number that is not negative",
        "a sequence" => "a list, such as `[\"…\", \"…\"]`",
        "a map" => "a table",
        "a boolean" => "`true` or `false`",
        "a string" => "a text in quotes",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
