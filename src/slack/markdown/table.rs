//! A table → Slack's own, or one that is drawn for a code block. Pure.

use pulldown_cmark::Alignment;

use super::super::split::{unfenced, units};
use super::parts::{Mark, Span, Table, bare};
use super::ping::neutral;
use crate::model::blocks::{Align, Block, Cell, Column, RichLine, Run, Style};

/// Slack's limits of one table. The last one is for the text of all cells.
const ROWS: usize = 100;
const COLUMNS: usize = 20;
const TEXT: usize = 10_000;

/// The table as Slack's own block, where it fits into one. A message may hold one such block.
pub(super) fn native(table: &Table) -> Option<Block> {
    let widest = table.rows.iter().map(Vec::len).max().unwrap_or(0);
    let text: usize = table.rows.iter().flatten().map(|cell| units(&bare(cell)).max(1)).sum();
    if table.rows.len() > ROWS || widest > COLUMNS || widest == 0 || text > TEXT {
        return None;
    }
    let columns = table.alignments.iter().take(widest).map(|alignment| Column {
        align: match alignment {
            Alignment::Right => Align::Right,
            Alignment::Center => Align::Center,
            Alignment::None | Alignment::Left => Align::Left,
        },
        // What is not wrapped is cut off.
        is_wrapped: true,
    });
    let rows = table.rows.iter().map(|row| row.iter().map(|cell| cell_of(cell)).collect());
    Some(Block::Table { rows: rows.collect(), column_settings: columns.collect() })
}

fn cell_of(spans: &[Span]) -> Cell {
    let mut runs: Vec<Run> = spans.iter().filter(|span| !span.text.is_empty()).map(run).collect();
    if runs.is_empty() {
        // Slack refuses a cell without text.
        runs.push(Run::Text { text: " ".to_owned(), style: None });
    }
    Cell::RichText { elements: vec![RichLine::RichTextSection { elements: runs }] }
}

fn run(span: &Span) -> Run {
    let has = |mark: &Mark| span.marks.contains(mark);
    let style = Style {
        bold: has(&Mark::Bold),
        italic: has(&Mark::Italic),
        strike: has(&Mark::Strike),
        code: has(&Mark::Code),
    };
    let style = Some(style).filter(|style| *style != Style::default());
    let url = span.marks.iter().find_map(|mark| if let Mark::Link(url) = mark { Some(url.to_string()) } else { None });
    match url {
        Some(url) => Run::Link { url, text: span.text.clone(), style },
        None => Run::Text { text: span.text.clone(), style },
    }
}

/// The table with aligned columns. Not escaped.
pub(super) fn drawn(table: &Table) -> String {
    let rows: Vec<Vec<String>> =
        // Without their styles, neighbours become one word: it must not ping either.
        table.rows.iter().map(|row| row.iter().map(|cell| neutral(&bare(cell))).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| seen(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    // One huge cell must not pad all the others to its width.
    let padded = widths.iter().sum::<usize>() <= WIDEST;
    let mut lines: Vec<String> = Vec::with_capacity(rows.len() + 1);
    for (index, row) in rows.iter().enumerate() {
        let filled = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        let cells = widths.iter().enumerate().take(filled).map(|(column, width)| {
            let cell = row.get(column).map_or("", String::as_str);
            let space = " ".repeat(if padded { width.saturating_sub(seen(cell)) } else { 0 });
            match table.alignments.get(column) {
                Some(Alignment::Right) => space + cell,
                _ => cell.to_owned() + &space,
            }
        });
        lines.push(cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned());
        if index == 0 {
            let rule = |width: &usize| "-".repeat(if padded { *width } else { 3 });
            lines.push(widths.iter().map(rule).collect::<Vec<_>>().join("-|-"));
        }
    }
    unfenced(&lines.join("\n"))
}

/// The most columns of a drawn table that are aligned; wider lines wrap, and then nothing stands below anything.
const WIDEST: usize = 400;

/// The columns that a text takes: two for each sign of the East, none for what joins or marks the sign before it.
fn seen(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}'
            | '\u{1f300}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f900}'..='\u{1f9ff}' | '\u{20000}'..='\u{3fffd}')
    };
    let none =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe0e}' | '\u{fe0f}' | '\u{300}'..='\u{36f}');
    text.chars().map(|c| if none(c) { 0 } else { 1 + usize::from(wide(c)) }).sum()
}
