//! A picture with letters, for a terminal.

use std::fmt::Write;

use super::svg::time;
use super::{Lane, LaneKind, NOTHING, Picture, State};
use crate::text::printable_lines;

/// Columns for the lanes' names.
const GUTTER: usize = 26;

/// The picture in lines of at most `width` columns: a line for each lane, then what happened and when.
pub fn text(picture: &Picture, width: usize) -> String {
    let mut text = String::new();
    let Some((from, to)) = picture.extent() else { return format!("{NOTHING}\n") };
    let columns = width.saturating_sub(GUTTER + 1).max(1);
    let column = |us: i64| {
        let wide = i64::try_from(columns).unwrap_or(i64::MAX);
        usize::try_from((us - from).clamp(0, to - from) * wide / (to - from).max(1)).unwrap_or(0).min(columns - 1)
    };
    let mut ruler = vec![' '; columns];
    for boot in &picture.boots {
        let word: Vec<char> = format!("│boot {}", boot.number).chars().collect();
        let at = column(boot.from_us);
        for (cell, letter) in ruler.iter_mut().skip(at).zip(word) {
            *cell = letter;
        }
    }
    let _ = writeln!(text, "{:GUTTER$} {}", "", ruler.iter().collect::<String>().trim_end());
    for lane in &picture.lanes {
        let mut cells = vec![' '; columns];
        for span in &lane.spans {
            let (first, last) = (column(span.from_us), column(span.to_us));
            for cell in cells.iter_mut().take(last.max(first) + 1).skip(first) {
                // What is short must not be painted over by what follows.
                if *cell == ' ' || letter(span.state) != '─' {
                    *cell = letter(span.state);
                }
            }
        }
        let _ = writeln!(text, "{:GUTTER$} {}", name(lane), cells.iter().collect::<String>().trim_end());
    }
    let _ = writeln!(
        text,
        "{:GUTTER$} {}{:>rest$}",
        "",
        time(from, 1_000_000),
        time(to, 1_000_000),
        rest = columns.saturating_sub(time(from, 1_000_000).len())
    );
    // As wide as the lanes are.
    let indent = " ".repeat(20);
    let options = textwrap::Options::new(GUTTER + 1 + columns).subsequent_indent(&indent);
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    let folded = |line: &str| textwrap::fill(line, &options);
    for mark in &picture.marks {
        let at = time(mark.at_us, 1_000);
        let _ = writeln!(text, "{}", folded(&format!("{at:>10}  boot {}  {}", mark.boot, mark.text)));
    }
    for order in &picture.orders {
        let _ = writeln!(text, "{}", folded(&format!("{:>10}  boot {}  {}", "order", order.boot, order.text)));
    }
    let _ = writeln!(
        text,
        "{}",
        folded("█\u{a0}runs  ▒\u{a0}starts  ─\u{a0}active  ░\u{a0}in-tree driver  ✗\u{a0}failed  ○\u{a0}skipped")
    );
    // Names and texts are a guest's.
    printable_lines(&text)
}

fn name(lane: &Lane) -> String {
    let name = match lane.kind {
        LaneKind::Unit => lane.name.trim_end_matches(".service"),
        _ => &lane.name,
    };
    let length = name.chars().count();
    if length <= GUTTER {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(length - GUTTER + 1).collect::<String>())
    }
}

/// What stands for a state.
fn letter(state: State) -> char {
    match state {
        State::Active | State::Settled => '─',
        State::Failed | State::Refused => '✗',
        State::Skipped => '○',
        State::InTree => '░',
        State::Starting | State::Stage => '▒',
        _ => '█',
    }
}
