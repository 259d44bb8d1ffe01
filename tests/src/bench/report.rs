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
        writeln!(f, "| preset | figure | median | least | most | runs | target |")?;
        writeln!(f, "| --- | --- | ---: | ---: | ---: | ---: | ---: |")?;
        for Row { preset, name, unit, target, values } in &self.rows {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let at = |index: usize| {
                sorted.get(index).map_or_else(String::new, |value| unit.show(*value))
            };
            let target = target.map_or_else(String::new, |target| unit.show(target));
            let (least, median, most) = (at(0), at(sorted.len() / 2), at(sorted.len() - 1));
            writeln!(
                f,
                "| {preset} | {name} | {median} | {least} | {most} | {} | {target} |",
                sorted.len()
            )?;
        }
        Ok(())
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
        assert!(
            table.ends_with(
                "| fast | death to start | 10.0 ms | -20.0 ms | 30.0 ms | 3 | 50.0 ms |\n"
            ),
            "{table}"
        );
    }

    #[test]
    fn sizes_and_shares_are_shown_in_their_own_units() {
        assert_eq!(Unit::Bytes.show(12 * 1024 * 1024 + 512 * 1024), "12.50 MiB");
        assert_eq!(Unit::CoreMillionths.show(2_000), "0.20 %");
    }
}
