//! Fragments of configuration as one tree in which every value still knows its file and line.
//!
//! All fragments share one range of offsets: each is parsed behind as many line feeds as there are bytes before it, so
//! that a span tells the file as well. What the values mean is not looked at, except that tables of `[[fence]]`, `[[headnode]]`
//! and `[[service]]` are the same table where their `name` is the same. The profile, if one is named, lies behind all files in
//! that range, and beneath all of them when they are merged.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::Place;
use super::profile;

/// The lists whose tables are known by their `name`.
const NAMED: [&str; 3] = ["fence", "headnode", "service"];

/// The fragments, as they were handed in, and the profile that goes with them.
#[derive(Debug)]
pub(super) struct Source {
    fragments: Vec<Fragment>,
    profile: Option<Fragment>,
}

#[derive(Debug)]
struct Fragment {
    /// The file, or the profile's name.
    name: String,
    /// Where it begins in the common range of offsets.
    start: usize,
    /// `start` line feeds, then its text.
    padded: String,
}

/// A fault that is known by its offset only.
#[derive(Debug)]
pub(super) struct RawFault {
    pub(super) offset: usize,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(fragments: &[(String, String)]) -> Self {
        let mut source = Self { fragments: Vec::new(), profile: None };
        for (file, text) in fragments {
            let fragment = source.behind_all(file.clone(), text);
            source.fragments.push(fragment);
        }
        // What is wrong with the files is told when they are read.
        let profile = source.tree(&mut Vec::new()).as_ref().and_then(profile::of);
        source.profile = profile.map(|it| source.behind_all(it.name, &it.text));
        source
    }

    fn behind_all(&self, name: String, text: &str) -> Fragment {
        // One more than its length: an error at the very end of a file belongs to that file.
        let start = self.fragments.last().map_or(0, |last| last.padded.len() + 1);
        Fragment { name, start, padded: format!("{}{text}", "\n".repeat(start)) }
    }

    /// The name of the profile, if there is one.
    pub(super) fn profile(&self) -> Option<&str> {
        self.profile.as_ref().map(|profile| profile.name.as_str())
    }

    /// Whether an offset is in a file, where it can be changed, and not in the profile.
    pub(super) fn is_in_file(&self, offset: usize) -> bool {
        self.profile.as_ref().is_none_or(|profile| offset < profile.start)
    }

    /// The file and line of an offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        if let Some(profile) = self.profile().filter(|_| !self.is_in_file(offset)) {
            return Place::Profile(profile.to_owned());
        }
        let fragment = self.fragments.iter().rev().find(|fragment| fragment.start <= offset);
        let Some(fragment) = fragment else {
            return Place::Line { file: "configuration".to_owned(), line: 1 };
        };
        let before = fragment.padded.bytes().take(offset).skip(fragment.start);
        let line = before.filter(|&byte| byte == b'\n').count() + 1;
        Place::Line { file: fragment.name.clone(), line }
    }

    /// All fragments merged. Faults: what is no TOML (no tree is returned then), and names given twice in one file.
    pub(super) fn tree(&self, faults: &mut Vec<RawFault>) -> Option<DeTable<'_>> {
        let mut merged = DeTable::new();
        let mut understood = true;
        for fragment in self.profile.iter().chain(&self.fragments) {
            let (table, errors) = DeTable::parse_recoverable(&fragment.padded);
            understood &= errors.is_empty();
            faults.extend(errors.iter().map(|error| RawFault {
                offset: error.span().map_or(fragment.start, |span| span.start),
                text: format!("this is not TOML: {}", error.message()),
            }));
            let table = table.into_inner();
            for list in NAMED {
                self.duplicates(list, &table, faults);
            }
            for (key, value) in table {
                let named = NAMED.contains(&key.get_ref().as_ref());
                put(&mut merged, key, value, named);
            }
        }
        understood.then_some(merged)
    }

    fn duplicates(&self, list: &str, table: &DeTable<'_>, faults: &mut Vec<RawFault>) {
        let Some(items) = table.get(list).and_then(|value| value.get_ref().as_array()) else {
            return;
        };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for item in items {
            let Some(name) = item.get_ref().as_table().and_then(|table| table.get("name")) else {
                continue;
            };
            let Some(text) = name.get_ref().as_str() else { continue };
            let offset = name.span().start;
            if let Some(first) = seen.insert(text, offset)
                && let Place::Line { line, .. } = self.place(first)
            {
                faults.push(RawFault {
                    offset,
                    text: format!(
                        "{list} `{text}` stands twice in this file (first in line {line}): rename or remove one"
                    ),
                });
            }
        }
    }
}

/// Puts `value` into `table`: tables key by key, named lists by name, everything else in place of what was there.
fn put<'i>(
    table: &mut DeTable<'i>,
    key: Spanned<std::borrow::Cow<'i, str>>,
    value: Spanned<DeValue<'i>>,
    named: bool,
) {
    let Some(old) = table.get_mut(key.get_ref().as_ref()) else {
        table.insert(key, value);
        return;
    };
    let span = value.span();
    let replacement = match (old.get_mut(), value.into_inner()) {
        (DeValue::Table(old), DeValue::Table(new)) => {
            for (key, value) in new {
                put(old, key, value, false);
            }
            return;
        }
        (DeValue::Array(old), DeValue::Array(new)) if named => {
            for item in new {
                put_named(old, item);
            }
            return;
        }
        (_, new) => new,
    };
    // Removed first: the key's span shall be the new one as well.
    table.remove(key.get_ref().as_ref());
    table.insert(key, Spanned::new(span, replacement));
}

fn put_named<'i>(list: &mut DeArray<'i>, item: Spanned<DeValue<'i>>) {
    let name = name_of(&item).map(str::to_owned);
    let same = list.iter_mut().find(|old| name.is_some() && name_of(old) == name.as_deref());
    let span = item.span();
    match (same, item.into_inner()) {
        (Some(same), DeValue::Table(new)) => {
            if let DeValue::Table(old) = same.get_mut() {
                for (key, value) in new {
                    put(old, key, value, false);
                }
            }
            // A table of the profile is found where somebody writes over it.
            if span.start < same.span().start {
                let table = std::mem::replace(same.get_mut(), DeValue::Boolean(false));
                *same = Spanned::new(span, table);
            }
        }
        (_, new) => list.push(Spanned::new(span, new)),
    }
}

fn name_of<'a>(item: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    item.get_ref().as_table()?.get("name")?.get_ref().as_str()
}

/// Takes the entry whose key or value has exactly this span out of the tree, and says its key (`None`: an element of a
/// list). `Err` if there is none.
pub(super) fn strike(table: &mut DeTable<'_>, span: &Range<usize>) -> Result<Option<String>, ()> {
    let hit = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some((key, _)) = hit {
        let key = key.get_ref().clone().into_owned();
        table.remove(key.as_str());
        return Ok(Some(key));
    }
    for (_, value) in table.iter_mut() {
        let struck = match value.get_mut() {
            DeValue::Table(inner) => strike(inner, span),
            DeValue::Array(list) => strike_in_list(list, span),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => Err(()),
        };
        if struck.is_ok() {
            return struck;
        }
    }
    Err(())
}

fn strike_in_list(list: &mut DeArray<'_>, span: &Range<usize>) -> Result<Option<String>, ()> {
    if list.iter().any(|item| item.span() == *span && !item.get_ref().is_table()) {
        *list = std::mem::replace(list, DeArray::new())
            .into_iter()
            .filter(|item| item.span() != *span)
            .collect();
        return Ok(None);
    }
    list.iter_mut()
        .filter_map(|item| match item.get_mut() {
            DeValue::Table(inner) => Some(inner),
            DeValue::Array(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        })
        .find_map(|inner| strike(inner, span).ok())
        .ok_or(())
}
