//! The table of medians.

use std::collections::BTreeMap;
use std::fmt;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Microseconds, shown as milliseconds.
    Micros,
    /// Bytes, shown as MiB.
    Bytes,
    /// Millionths of a processor core, shown as percent.
    CoreMillionths,
}

impl Unit {
    fn show(self, value: i64) -> String {
        // Ten-thousandths, twentieths and the like are below what is measured.
        let (whole, decimals, name) = match self {
            Self::Micros => (1000, 1, "ms"),
            Self::Bytes => (1024 * 1024, 2, "MiB"),
            Self::CoreMillionths => (10_000, 2, "%"),
        };
        let scale = 10_i64.pow(decimals);
        let rounded = (value * scale * 2 / whole + value.signum()) / 2;
        let sign = if rounded < 0 { "-" } else { "" };
        let (front, behind) = ((rounded / scale).abs(), (rounded % scale).abs());
        format!(
            "{sign}{front}.{behind:0width$} {name}",
            width = usize::try_from(decimals).unwrap_or(0)
        )
    }
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What it is the figure of.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// The value.
    pub value: i64,
    /// The most it should be, if anybody said so.
    pub target: Option<i64>,
}

#[derive(Clone, Debug)]
struct Row {
    preset: String,
    name: String,
    unit: Unit,
    target: Option<i64>,
    values: Vec<i64>,
}

impl Row {
    fn sorted(&self) -> Vec<i64> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        sorted
    }

    /// Whether the median keeps the target; nothing without one. A single slow run on a busy machine is not held against it.
    fn is_met(&self) -> Option<bool> {
        let sorted = self.sorted();
        Some(*sorted.get(sorted.len() / 2)? <= self.target?)
    }

    fn line(&self) -> String {
        let Self { preset, name, unit, target, .. } = self;
        let sorted = self.sorted();
        let at =
            |index: usize| sorted.get(index).map_or_else(String::new, |value| unit.show(*value));
        let target = target.map_or_else(String::new, |target| unit.show(target));
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let (least, median, most) = (at(0), at(sorted.len() / 2), at(sorted.len() - 1));
        let runs = sorted.len();
        format!(
            "| {preset} | {name} | {median} | {least} | {most} | {runs} | {target} | {verdict} |"
        )
    }
}

/// How the row is called that is explained below the table.
pub(super) const PAST_THE_WAIT: &str = "past lease and kill time";

/// What the figures of takeovers count from, wherever one of them is in the table.
const TAKEOVERS: &str = "\
`past lease and kill time` is the first start order, counted from the loss, less the wait of 1.01 lease + 1.1 kill time.
A negative one is no early start: the standby counts its wait from the last renewal that it read, and the loss comes up to one
renewal period after that. The wait itself is never shortened.";

/// All figures, in the order in which they first came.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    by_name: BTreeMap<(String, String), usize>,
}

impl Report {
    /// Adds a value; those of one name and preset become one line.
    pub fn add(&mut self, preset: &str, figure: Figure) {
        let Figure { name, unit, value, target } = figure;
        let key = (preset.to_owned(), name.clone());
        let index = *self.by_name.entry(key).or_insert(self.rows.len());
        match self.rows.get_mut(index) {
            Some(row) => row.values.push(value),
            None => {
                let preset = preset.to_owned();
                self.rows.push(Row { preset, name, unit, target, values: vec![value] });
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| preset | figure | median | least | most | runs | target | median within it |"
        )?;
        writeln!(f, "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")?;
        for row in &self.rows {
            writeln!(f, "{}", row.line())?;
        }
        if self.rows.iter().any(|row| row.name.contains(PAST_THE_WAIT)) {
            writeln!(f, "\n{TAKEOVERS}")?;
        }
        let verdicts: Vec<bool> = self.rows.iter().filter_map(Row::is_met).collect();
        let missed = verdicts.iter().filter(|met| !**met).count();
        let with_target = verdicts.len();
        writeln!(f, "\n{missed} of {with_target} rows with a target miss it by their median.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: i64) -> Figure {
        Figure {
            name: "death to start".to_owned(),
            unit: Unit::Micros,
            value,
            target: Some(50_000),
        }
    }

    #[test]
    fn values_of_one_name_are_one_line_with_their_median() {
        let mut report = Report::default();
        for value in [30_000, 10_049, -20_000] {
            report.add("fast", figure(value));
        }
        let table = report.to_string();
        let line = "| fast | death to start | 10.0 ms | -20.0 ms | 30.0 ms | 3 | 50.0 ms | met |\n";
        assert!(table.contains(line), "{table}");
        assert!(!table.contains("no early start"), "{table}");
    }

    #[test]
    fn rows_that_miss_their_target_are_marked_and_counted() {
        let mut report = Report::default();
        for value in [49_000, 50_001, 60_000] {
            report.add("fast", figure(value));
        }
        report.add("normal", figure(50_000));
        report.add("tolerant", Figure { target: None, ..figure(90_000) });
        let table = report.to_string();
        let marked: Vec<&str> = table.lines().filter(|line| line.ends_with("MISSED |")).collect();
        assert_eq!(
            marked,
            ["| fast | death to start | 50.0 ms | 49.0 ms | 60.0 ms | 3 | 50.0 ms | MISSED |"]
        );
        assert!(
            table.contains("| tolerant | death to start | 90.0 ms | 90.0 ms | 90.0 ms | 1 |  |  |")
        );
        assert!(
            table.ends_with("\n1 of 2 rows with a target miss it by their median.\n"),
            "{table}"
        );
    }

    #[test]
    fn a_negative_figure_of_a_takeover_is_explained_below_the_table() {
        let mut report = Report::default();
        let name = format!("power loss: first start order, {PAST_THE_WAIT}");
        report.add("fast", Figure { name, ..figure(-180_000) });
        let table = report.to_string();
        assert!(table.contains("-180.0 ms"), "{table}");
        assert!(table.contains("A negative one is no early start"), "{table}");
    }

    #[test]
    fn sizes_and_shares_are_shown_in_their_own_units() {
        assert_eq!(Unit::Bytes.show(12 * 1024 * 1024 + 512 * 1024), "12.50 MiB");
        assert_eq!(Unit::CoreMillionths.show(2_000), "0.20 %");
    }
}
