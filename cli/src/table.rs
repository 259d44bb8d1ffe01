//! Tables for people.

use anstyle::Style;

use crate::output::{HEAD, styled};

/// Columns as wide as they must be; the last one is not padded.
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// What stands in one place of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Without a style.
    pub(crate) fn plain(text: &str) -> Self {
        Self::styled(Style::new(), text)
    }

    /// In a style.
    pub(crate) fn styled(style: Style, text: &str) -> Self {
        // A line break in somebody's sentence must not break the table.
        Self { text: text.replace(char::is_control, " "), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self { rows: vec![names.iter().map(|name| Cell::styled(HEAD, name)).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(Cell::width).max().unwrap_or_default()
    }

    /// The table as text, a line a row.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(&styled(cell.style, &cell.text));
                if column + 1 < row.len() {
                    text.push_str(&" ".repeat(self.width(column) - cell.width() + 2));
                }
            }
            text.push('\n');
        }
        text
    }
}
