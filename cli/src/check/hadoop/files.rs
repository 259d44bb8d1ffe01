//! Hadoop's configuration files, read and never written: XML properties and `key = value` lines.
//!
//! They are other programs', edited by others: a file of any content is read within limits, and what is wrong with it is
//! said. There are no document types in them, so none is read: nothing in them can name another file or grow when expanded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The most of a file that is read. Real ones have some tens of kilobytes.
const BYTES_MAX: u64 = 4 << 20;
/// The most elements and texts of a file.
const NODES_MAX: u32 = 500_000;
/// How deep variables may name others, as in Hadoop itself.
const DEPTH_MAX: u32 = 20;
/// How long a value may become by its variables.
const VALUE_MAX: usize = 4096;

/// What is set, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<String, String>);

/// Why a file tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoFile {
    /// There is none.
    Absent,
    /// There is one, and this is wrong with it.
    Faulty(String),
}

impl Settings {
    /// The value of a key, with its variables replaced as far as they are known; nothing if it is not set or empty.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let value = self.0.get(key)?;
        let value = self.expand(value, 0).replace(char::is_control, " ");
        (!value.is_empty()).then_some(value)
    }

    /// As `get`, or a default, whose variables are replaced, too.
    pub(super) fn get_or(&self, key: &str, default: &str) -> String {
        self.get(key).unwrap_or_else(|| self.expand(default, 0))
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// These, and those of another file where these say nothing.
    pub(super) fn or(mut self, other: &Self) -> Self {
        for (key, value) in &other.0 {
            self.0.entry(key.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    fn expand(&self, value: &str, depth: u32) -> String {
        let Some((before, rest)) = value.split_once("${") else { return value.to_owned() };
        let Some((name, after)) = rest.split_once('}') else { return value.to_owned() };
        let known = self.0.get(name).filter(|_| depth < DEPTH_MAX && value.len() < VALUE_MAX);
        let replaced = match known {
            Some(known) => self.expand(known, depth + 1),
            None => format!("${{{name}}}"),
        };
        let after = self.expand(after, depth + 1);
        let mut whole = format!("{before}{replaced}{after}");
        let mut end = whole.len().min(VALUE_MAX);
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        whole.truncate(end);
        whole
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }
}

/// The properties of an XML file as Hadoop reads it: of two with one name the later one counts, unless the first is final.
pub(super) fn xml(file: &Path) -> Result<Settings, NoFile> {
    properties(&text(file)?).map_err(NoFile::Faulty)
}

/// The settings of a file with a line each, as Livy reads it.
pub(super) fn lines(file: &Path) -> Result<Settings, NoFile> {
    let text = text(file)?;
    let settings = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    let settings = settings.filter_map(|line| {
        let (key, value) = line.split_once(['=', ':']).or_else(|| line.split_once(' '))?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    });
    Ok(Settings(settings.collect()))
}

fn text(path: &Path) -> Result<String, NoFile> {
    let faulty = |why: String| NoFile::Faulty(why);
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(NoFile::Absent),
        Err(error) => return Err(faulty(error.to_string())),
        // Whoever opens something else may wait for ever.
        Ok(metadata) if !metadata.is_file() => return Err(faulty("it is no file".to_owned())),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| faulty(error.to_string()))?;
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| faulty(error.to_string()))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(faulty(format!("it has more than {BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes)
        .map_err(|error| faulty(format!("it is not UTF-8: {}", error.utf8_error())))
}

fn properties(text: &str) -> Result<Settings, String> {
    let options = roxmltree::ParsingOptions { nodes_limit: NODES_MAX, ..Default::default() };
    // Editors of another system put a mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = roxmltree::Document::parse_with_options(text, options);
    let document = document.map_err(|error| error.to_string().replace(char::is_control, " "))?;
    let root = document.root_element();
    if !root.has_tag_name("configuration") {
        return Err("it has no `configuration`".to_owned());
    }
    let mut settings = BTreeMap::new();
    let mut finals = Vec::new();
    for property in root.children().filter(|node| node.has_tag_name("property")) {
        let of = |tag: &str| {
            let node = property.children().find(|node| node.has_tag_name(tag))?;
            let texts = node.children().filter_map(|node| node.text().filter(|_| node.is_text()));
            Some(texts.collect::<String>().trim().to_owned())
        };
        let (Some(name), Some(value)) = (of("name"), of("value")) else { continue };
        if finals.contains(&name) {
            continue;
        }
        if of("final").is_some_and(|text| text == "true") {
            finals.push(name.clone());
        }
        settings.insert(name, value);
    }
    Ok(Settings(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_hadoop_reads_them() {
        let text = "\u{feff}<?xml version=\"1.0\"?>\n<?xml-stylesheet type=\"text/xsl\" href=\"c.xsl\"?>\n<!-- a comment -->\n\
            <configuration>\n  <property>\n    <name> a </name>\n    <value>\n      1<!-- one -->2\n    </value>\n    <final>true</final>\n  </property>\n\
            <property><name>a</name><value>3</value></property>\n\
            <property><name>b</name><value>first</value></property><property><name>b</name><value><![CDATA[<b>]]></value></property>\n\
            <property><name>empty</name><value/></property><property><name>none</name></property>\n</configuration>\n";
        let settings = properties(text).unwrap();
        assert_eq!(settings, Settings::of(&[("a", "12"), ("b", "<b>"), ("empty", "")]));
        assert_eq!(settings.get("empty"), None);
    }

    #[test]
    fn variables_are_replaced_and_those_that_name_themselves_end() {
        let settings = Settings::of(&[
            ("tmp", "/data/${user}"),
            ("path", "${tmp}/timeline-${tmp}"),
            ("self", "x${self}"),
            ("a", "${b}${b}"),
            ("b", "${a}${a}"),
            ("open", "${tmp"),
        ]);
        let path = "/data/${user}/timeline-/data/${user}".to_owned();
        assert_eq!(settings.get("path"), Some(path));
        assert_eq!(settings.get("open"), Some("${tmp".to_owned()));
        assert!(settings.get("self").is_some_and(|value| value.len() < 100));
    }

    #[test]
    fn hostile_xml_is_a_fault_and_costs_nothing() {
        let bomb = "<!DOCTYPE c [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><configuration>&b;</configuration>";
        let outside = "<!DOCTYPE c [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><configuration><property><name>a</name><value>&x;</value></property></configuration>";
        let deep = "<configuration>".repeat(100_000);
        let many = format!("<configuration>{}</configuration>", "<p/>".repeat(600_000));
        let other = "<html/>";
        let cut = "<configuration><property><name>a";
        let zero = "<configuration>\0</configuration>";
        for text in [bomb, outside, &deep, &many, other, cut, zero, "", "key = value"] {
            let error = properties(text).unwrap_err();
            assert!(!error.is_empty() && !error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_file_or_too_long_is_said_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(xml(&path("none.xml")), Err(NoFile::Absent));
        let no_file = NoFile::Faulty("it is no file".to_owned());
        assert_eq!(xml(folder.path()), Err(no_file.clone()));
        let made = std::process::Command::new("mkfifo").arg(path("fifo.xml")).status().unwrap();
        assert!(made.success());
        assert_eq!(xml(&path("fifo.xml")), Err(no_file));
        std::fs::write(path("binary.xml"), [0xff, 0xfe]).unwrap();
        let told = |file: &str, word: &str| matches!(xml(&path(file)), Err(NoFile::Faulty(why)) if why.contains(word));
        assert!(told("binary.xml", "it is not UTF-8"));
        std::fs::write(path("long.xml"), " ".repeat(5 << 20)).unwrap();
        assert!(
            matches!(xml(&path("long.xml")), Err(NoFile::Faulty(why)) if why.contains("more than"))
        );
    }

    #[test]
    fn livys_lines_are_read_with_either_sign() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("livy.conf");
        std::fs::write(&file, "# livy.a = 1\nlivy.b = 2\n  livy.c: 3\nlivy.d 4\n\nodd\n").unwrap();
        let expected = Settings::of(&[("livy.b", "2"), ("livy.c", "3"), ("livy.d", "4")]);
        assert_eq!(lines(&file), Ok(expected));
    }
}
