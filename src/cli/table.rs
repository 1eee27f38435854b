//! Rows under headings, each column as wide as its widest cell.

use super::style::{Paint, Tone};

/// One cell: what stands in it, and how it is meant.
pub(super) type Cell = (String, Tone);

/// A table in the making.
#[derive(Debug)]
pub(super) struct Table {
    headings: &'static [&'static str],
    /// Which columns hold figures, which stand at the right.
    figures: &'static [usize],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without rows yet.
    pub fn new(headings: &'static [&'static str], figures: &'static [usize]) -> Table {
        Table {
            headings,
            figures,
            rows: Vec::new(),
        }
    }

    /// One more row, with a cell for each heading.
    pub fn add(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The lines, headings first.
    pub fn lines(&self, paint: Paint) -> Vec<String> {
        let heading: Vec<Cell> = self
            .headings
            .iter()
            .map(|text| ((*text).to_owned(), Tone::Faint))
            .collect();
        let rows = || std::iter::once(&heading).chain(&self.rows);
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| rows().map(|row| width(&row[column].0)).max().unwrap_or(0))
            .collect();
        rows().map(|row| self.line(row, &widths, paint)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        for (column, (text, tone)) in row.iter().enumerate() {
            let space = " ".repeat(widths[column].saturating_sub(width(text)));
            let is_figure = self.figures.contains(&column);
            if column > 0 {
                line.push_str("  ");
            }
            if is_figure {
                line.push_str(&space);
            }
            line.push_str(&paint.apply(*tone, text));
            if !is_figure && column + 1 < row.len() {
                line.push_str(&space);
            }
        }
        line.trim_end().to_owned()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "SIZE", "STATE"], &[1]);
        for (name, size, state) in [("web", "1", "up"), ("scheduler", "123456", "down")] {
            table.add(vec![
                (name.to_owned(), Tone::Plain),
                (size.to_owned(), Tone::Plain),
                (state.to_owned(), Tone::Bad),
            ]);
        }
        let expected = [
            "NAME         SIZE  STATE",
            "web             1  up",
            "scheduler  123456  down",
        ];
        // Tests have no terminal.
        assert_eq!(table.lines(Paint::of_stdout()), expected);
    }
}
