//! A picture with letters, for a terminal.

use std::fmt::Write;

use super::svg::time;
use super::{Lane, LaneKind, NOTHING, Picture, State};
use crate::text::printable_lines;

/// Columns for the lanes' names.
const GUTTER: usize = 26;

/// What the letters of a single node stand for, and those of several.
const LEGEND: &str = "█\u{a0}runs  ▒\u{a0}starts  ─\u{a0}active  ░\u{a0}in-tree driver  ✗\u{a0}failed  ○\u{a0}skipped";
const LEGEND_OF_POOL: &str = "─\u{a0}as\u{a0}usual  █\u{a0}down, reboots, or an out-of-tree driver  ▒\u{a0}comes up, works  ░\u{a0}cordoned, some serve, or an in-tree driver  ○\u{a0}not ready  ✗\u{a0}failed, degraded  ·\u{a0}not yet";

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
    let words: Vec<(String, i64)> = if picture.groups.is_empty() {
        picture.boots.iter().map(|boot| (format!("│boot {}", boot.number), boot.from_us)).collect()
    } else {
        picture.steps.iter().zip(1..).map(|((from, _), number)| (format!("│step {number}"), *from)).collect()
    };
    for (word, from) in words {
        let word: Vec<char> = word.chars().collect();
        let at = column(from);
        for (cell, letter) in ruler.iter_mut().skip(at).zip(word) {
            *cell = letter;
        }
    }
    let _ = writeln!(text, "{:GUTTER$} {}", "", ruler.iter().collect::<String>().trim_end());
    let mut group = None;
    for lane in &picture.lanes {
        if group != lane.group.as_ref() {
            group = lane.group.as_ref();
            let says = picture.groups.iter().find(|one| Some(&one.name) == group).map(|one| one.says.as_str());
            let name = group.map(String::as_str).unwrap_or_default();
            let _ = writeln!(
                text,
                "{}",
                cut(&format!("{name:GUTTER$} {}", says.unwrap_or_default()), GUTTER + 1 + columns)
            );
        }
        let mut cells = vec![' '; columns];
        for span in &lane.spans {
            let (first, last) = (column(span.from_us), column(span.to_us));
            for cell in cells.iter_mut().take(last.max(first) + 1).skip(first) {
                // What is short must not be painted over by what follows.
                if *cell == ' ' || letter(lane, span.state) != '─' {
                    *cell = letter(lane, span.state);
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
        let _ = writeln!(text, "{}", folded(&format!("{at:>10}  {}  {}", picture.subject(mark), mark.text)));
    }
    for order in &picture.orders {
        let _ = writeln!(text, "{}", folded(&format!("{:>10}  boot {}  {}", "order", order.boot, order.text)));
    }
    let legend = if picture.groups.is_empty() { LEGEND } else { LEGEND_OF_POOL };
    let _ = writeln!(text, "{}", folded(legend));
    // Names and texts are a guest's.
    printable_lines(&text)
}

fn name(lane: &Lane) -> String {
    let indented = format!("  {}", lane.name);
    let name = match lane.kind {
        LaneKind::Unit => lane.name.trim_end_matches(".service"),
        _ if lane.group.is_some() => &indented,
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
fn letter(lane: &Lane, state: State) -> char {
    match state {
        // Of a node that answers only the silence is worth a look.
        State::Up if lane.kind == LaneKind::Answers => '─',
        State::System if lane.kind == LaneKind::Boots => '▒',
        State::Active | State::Settled | State::Ready => '─',
        State::Failed | State::Refused | State::Degraded => '✗',
        State::Skipped => '○',
        State::InTree | State::Partly | State::Cordoned => '░',
        State::Starting | State::Stage | State::Working => '▒',
        State::NotReady => '○',
        State::Waiting => '·',
        _ => '█',
    }
}

fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}
