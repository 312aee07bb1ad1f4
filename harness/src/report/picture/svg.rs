//! A picture as SVG: in a page, or as a file of its own.

mod groups;

use maud::{Markup, PreEscaped, html};

use super::{Lane, LaneKind, MarkKind, NOTHING, Order, POOL_STYLE, Picture, Span, State};
use crate::text::printable_lines;

/// Colours of light and dark, for pages that hold a [`drawing`] as well.
pub const PALETTE: &str = include_str!("palette.css");
/// Which part of a [`drawing`] has which of them.
pub const STYLE: &str = include_str!("picture.css");

/// Everything is in units of this drawing, which are pixels where it has its own size.
const WIDTH: f64 = 1100.0;
/// Room for the lanes' names.
const GUTTER: f64 = 190.0;
const RIGHT: f64 = 12.0;
const LANE: f64 = 20.0;
const BAR: f64 = 13.0;
const MARK_ROW: f64 = 15.0;
/// Rows of marks above the lanes; what finds no room has its line, and its text is shown by pointing at it.
const MARK_ROWS: usize = 7;
const AXIS: f64 = 24.0;
/// What a letter takes at most, on average.
const LETTER: f64 = 6.3;
/// How much wider bold letters are.
const BOLD: f64 = 1.15;
/// Names of lanes, and texts of marks, are cut to this many letters.
const NAME: usize = 28;
const MARK: usize = 36;

/// A drawing of a part of the axis; the rest of it is cut away.
struct Panel<'p> {
    picture: &'p Picture,
    from_us: i64,
    to_us: i64,
    top: f64,
    /// Whether the orderings are drawn in it.
    with_orders: bool,
}

/// The whole trial, and below it the moments around the module's change where they are short.
pub fn drawing(picture: &Picture) -> Markup {
    let Some((from_us, to_us)) = picture.extent() else {
        return html! { p { (NOTHING) } };
    };
    let close_up = picture.close_up();
    let whole = Panel { picture, from_us, to_us, top: 0.0, with_orders: close_up.is_none() };
    let close_up = close_up.map(|(from_us, to_us)| Panel {
        picture,
        from_us,
        to_us,
        top: whole.bottom() + LANE * 1.5,
        with_orders: true,
    });
    let height = close_up.as_ref().map_or_else(|| whole.bottom(), Panel::bottom) + 4.0;
    let title = format!("The {} of {}", if picture.groups.is_empty() { "boots" } else { "nodes" }, picture.trial);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox=(format!("0 0 {WIDTH} {height:.0}")) width=(WIDTH) height=(format!("{height:.0}")) role="img" aria-label=(title) {
            title { (title) }
            desc { (description(picture)) }
            defs {
                pattern id="taken" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line class="taken-line" x1="0" y1="0" x2="0" y2="6" {}
                }
                (head("held", "head"))
                (head("luck", "head luck"))
            }
            rect class="paper" width=(WIDTH) height=(format!("{height:.0}")) {}
            (whole.draw())
            @if let Some(panel) = close_up {
                text class="faint" x="4" y=(format!("{:.1}", panel.top - 7.0)) { "Close-up of the change of modules" }
                (panel.draw())
            }
        }
    }
}

/// The drawing as a file of its own, with its colours.
pub fn standalone(picture: &Picture) -> Option<String> {
    picture.extent()?;
    // Of what a guest says XML can't hold all.
    let markup = printable_lines(&drawing(picture).into_string()).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    let of_pool = if picture.groups.is_empty() { "" } else { POOL_STYLE };
    let style = format!("<style>{PALETTE}{STYLE}{of_pool}</style><title>");
    Some(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", markup.replacen("<title>", &style, 1)))
}

/// What a person hears who can't see it.
fn description(picture: &Picture) -> String {
    let groups = picture.groups.iter().map(|group| format!("{}: {}", group.name, group.says));
    let marks = picture
        .marks
        .iter()
        .map(|mark| format!("{}, {}: {}", picture.subject(mark), time(mark.at_us, 1_000), mark.text));
    let orders = picture.orders.iter().map(|order| format!("boot {}, {}", order.boot, order.text));
    groups.chain(marks).chain(orders).collect::<Vec<_>>().join(". ")
}

fn head(id: &str, class: &str) -> Markup {
    html! {
        marker id=(id) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" {
            path class=(class) d="M0 0 L8 4 L0 8 z" {}
        }
    }
}

impl Panel<'_> {
    fn x(&self, us: i64) -> f64 {
        let part = ratio(us - self.from_us, self.to_us - self.from_us);
        GUTTER + part.clamp(0.0, 1.0) * (WIDTH - GUTTER - RIGHT)
    }

    fn holds(&self, us: i64) -> bool {
        (self.from_us..=self.to_us).contains(&us)
    }

    /// The lanes that have something in it.
    fn lanes(&self) -> Vec<&Lane> {
        let has = |lane: &&Lane| lane.spans.iter().any(|span| span.to_us >= self.from_us && span.from_us <= self.to_us);
        self.picture.lanes.iter().filter(has).collect()
    }

    /// The marks in it, each with its row, and whether its text stands before its line; those without a row found no room.
    fn marks(&self) -> Vec<(&super::Mark, Option<usize>, bool)> {
        let mut ends = [0.0_f64; MARK_ROWS];
        let in_it = self.picture.marks.iter().filter(|mark| self.holds(mark.at_us));
        let placed = in_it.map(|mark| {
            // Some marks are bold, which is wider.
            let width = length(mark.text.chars().count().min(MARK)) * BOLD + 6.0;
            // At the right edge its text stands before its line.
            let x = self.x(mark.at_us);
            let is_before = x + width > WIDTH;
            let left = if is_before { x - width } else { x };
            let row = ends.iter().position(|end| *end <= left);
            if let Some(row) = row {
                ends[row] = left + width;
            }
            (mark, row, is_before)
        });
        placed.collect()
    }

    fn mark_rows(&self) -> usize {
        self.marks().iter().filter_map(|(_, row, _)| *row).max().map_or(0, |row| row + 1)
    }

    /// Where the lanes begin: below the boots' names and the marks.
    fn lanes_top(&self) -> f64 {
        self.top + 18.0 + count(self.mark_rows()) * MARK_ROW
    }

    fn lanes_bottom(&self) -> f64 {
        let lanes = self.lanes();
        self.lane_y(&lanes, lanes.len())
    }

    /// Where a lane begins, of those that the panel shows.
    fn lane_y(&self, lanes: &[&Lane], index: usize) -> f64 {
        self.lanes_top() + count(index) * LANE + self.headers(lanes, index)
    }

    fn bottom(&self) -> f64 {
        self.lanes_bottom() + AXIS + self.legend_height()
    }

    fn draw(&self) -> Markup {
        let lanes = self.lanes();
        html! {
            @if self.picture.groups.is_empty() { (self.bands()) } @else { (self.grounds()) }
            @for (index, lane) in lanes.iter().enumerate() { (self.lane(lane, self.lane_y(&lanes, index))) }
            (self.flags())
            @if self.with_orders {
                @for order in &self.picture.orders { (self.order(order, &lanes)) }
            }
            (self.axis())
            (self.names_of_groups(&lanes))
        }
    }

    /// The boots, each on ground of its own.
    fn bands(&self) -> Markup {
        let boots = self.picture.boots.iter().filter(|boot| boot.to_us > self.from_us && boot.from_us < self.to_us);
        let (top, bottom) = (self.top, self.lanes_bottom());
        html! {
            @for boot in boots {
                @let (from, to) = (self.x(boot.from_us), self.x(boot.to_us));
                @if boot.number % 2 == 1 { (rect("band", from, top, to - from, bottom - top)) }
                @if let Some(taken) = boot.taken_until_us {
                    @if taken > self.from_us {
                        g { title { "Taken from a template or a recording that trials have in common" }
                            (rect("taken", from, top, self.x(taken) - from, bottom - top)) }
                    }
                }
                @if to - from > 40.0 {
                    text class="faint" x=(n(from + 4.0)) y=(n(top + 12.0)) { "boot " (boot.number) }
                }
            }
        }
    }

    fn lane(&self, lane: &Lane, y: f64) -> Markup {
        let x = if lane.group.is_some() { "14" } else { "4" };
        html! {
            g {
                text x=(x) y=(n(y + 14.0)) { title { (lane.of) } (short(&lane.name, NAME)) }
                line class="rule" x1=(n(GUTTER)) x2=(n(WIDTH - RIGHT)) y1=(n(y + LANE)) y2=(n(y + LANE)) {}
                @for span in lane.spans.iter().filter(|span| span.to_us >= self.from_us && span.from_us <= self.to_us) {
                    (self.span(lane, span, y))
                }
            }
        }
    }

    fn span(&self, lane: &Lane, span: &Span, y: f64) -> Markup {
        let (from, to) = (self.x(span.from_us), self.x(span.to_us));
        // What is short is drawn all the same.
        let width = (to - from).max(2.0);
        // A unit that is active is drawn thinner than one that works: it is there, and does nothing to be seen.
        let is_thin = span.state == State::Active || (lane.group.is_some() && groups::is_usual(span.state));
        let (top, height) = if is_thin { (y + 7.0, 7.0) } else { (y + 4.0, BAR) };
        let length = time(span.to_us - span.from_us, 1);
        let words = format!("{}: {} to {}, {length}", span.text, time(span.from_us, 1_000), time(span.to_us, 1_000));
        let inner = match span.state {
            _ if lane.group.is_some() && is_thin => String::new(),
            _ if lane.group.is_some() => span.label.clone(),
            State::Failed => "✗ failed".to_owned(),
            State::Skipped => "skipped".to_owned(),
            _ if lane.kind == LaneKind::Ignition => {
                span.text.trim_start_matches("ignition-").split('.').next().unwrap_or_default().to_owned()
            }
            _ if span.state == State::Active || lane.kind == LaneKind::Registry => String::new(),
            _ => length,
        };
        let has_room = |inner: &str| width > self::length(inner.chars().count()) + 6.0;
        let inner = if has_room(&inner) { inner } else { groups::shorter(lane, span).unwrap_or(inner) };
        html! {
            g data-seq=[span.seq] {
                title { (words) }
                (rect(class(span.state), from, top, width, height))
                @if has_room(&inner) && !inner.is_empty() {
                    text class="inner" x=(n(from + 4.0)) y=(n(y + 14.0)) { (inner) }
                } @else if span.state == State::Skipped || self.has_room_beside(lane, span) {
                    text class="faint" x=(n(from + width + 3.0)) y=(n(y + 14.0)) { (inner) }
                }
            }
        }
    }

    /// The marks' lines through all lanes, with their texts above.
    fn flags(&self) -> Markup {
        let rows = count(self.mark_rows());
        html! {
            @for (mark, row, is_before) in self.marks() {
                @let bottom = self.bottom_of(mark.node.as_deref());
                @let x = self.x(mark.at_us);
                @let y = self.top + 18.0 + row.map_or(rows, count) * MARK_ROW;
                g data-seq=[mark.seq] {
                    title { @if let Some(node) = &mark.node { (node) ": " } (mark.text) " at " (time(mark.at_us, 1_000)) }
                    line class=(format!("flag {}", mark_class(mark.kind))) x1=(n(x)) x2=(n(x)) y1=(n(y)) y2=(n(bottom)) {}
                    @if row.is_some() {
                        @let (x, anchor) = if is_before { (x - 3.0, Some("end")) } else { (x + 2.0, None) };
                        text class=(format!("mark {}", mark_class(mark.kind))) x=(n(x)) y=(n(y + 11.0)) text-anchor=[anchor] { (short(&mark.text, MARK)) }
                    }
                }
            }
        }
    }

    /// From where each unit of an ordering was done to where the next began.
    fn order(&self, order: &Order, lanes: &[&Lane]) -> Markup {
        let lane = |unit: &str| lanes.iter().position(|lane| lane.kind == LaneKind::Unit && lane.of == unit);
        let span = |index: usize| {
            let spans = || lanes[index].spans.iter().filter(|span| span.boot == order.boot);
            spans().find(|span| span.state == State::Starting).or_else(|| spans().next())
        };
        let places: Vec<(f64, f64, f64)> = order
            .path
            .iter()
            .filter_map(|unit| {
                let index = lane(unit)?;
                let span = span(index)?;
                let y = self.lane_y(lanes, index) + 10.5;
                // A target is done the moment it is reached.
                let done = if span.state == State::Active { span.from_us } else { span.to_us };
                self.holds(span.from_us).then(|| (self.x(span.from_us), self.x(done), y))
            })
            .collect();
        let (class, head) = if order.guaranteed { ("order", "url(#held)") } else { ("order luck", "url(#luck)") };
        html! {
            g {
                title { (order.text) }
                @for pair in places.windows(2) {
                    @let ((_, from, y), (to, _, below)) = (pair[0], pair[1]);
                    path class=(class) marker-end=(head) d=(arrow(from, y, to, below)) {}
                }
            }
        }
    }

    fn axis(&self) -> Markup {
        let y = self.lanes_bottom();
        let step = step(self.to_us - self.from_us);
        let first = self.from_us.div_euclid(step) + i64::from(self.from_us.rem_euclid(step) > 0);
        html! {
            @for tick in (first..).map(|tick| tick * step).take_while(|tick| *tick <= self.to_us) {
                @let x = self.x(tick);
                line class="rule" x1=(n(x)) x2=(n(x)) y1=(n(y)) y2=(n(y + 4.0)) {}
                @if x < WIDTH - 40.0 { text class="faint" x=(n(x + 2.0)) y=(n(y + 15.0)) { (time(tick, step)) } }
            }
        }
    }
}

/// Down, and then on to the right where there is room for that.
fn arrow(from: f64, y: f64, to: f64, below: f64) -> String {
    if to - from < 9.0 {
        format!("M{from:.1} {y:.1} V{:.1}", below - 4.0)
    } else {
        format!("M{from:.1} {y:.1} V{below:.1} H{to:.1}")
    }
}

fn rect(class: &str, x: f64, y: f64, width: f64, height: f64) -> Markup {
    html! { rect class=(class) x=(n(x)) y=(n(y)) width=(n(width)) height=(n(height)) {} }
}

/// A coordinate, in tenths of a pixel.
fn n(value: f64) -> PreEscaped<String> {
    PreEscaped(format!("{value:.1}"))
}

#[expect(clippy::cast_precision_loss, reason = "times of a trial are far below 2^52 µs")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / (whole as f64).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "lanes and letters are few")]
fn count(number: usize) -> f64 {
    number as f64
}

fn length(letters: usize) -> f64 {
    count(letters) * LETTER
}

/// A text in at most so many letters: its middle tells least.
fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let half = most / 2;
    let (start, end): (String, String) =
        (name.chars().take(half).collect(), name.chars().skip(name.chars().count() - half + 1).collect());
    format!("{start}…{end}")
}

/// The distance of the axis's ticks, some ten of them.
fn step(length_us: i64) -> i64 {
    let steps = (0..).flat_map(|power: u32| [1, 2, 5].map(|one| one * 10_i64.saturating_pow(power)));
    steps.into_iter().find(|step| length_us / step <= 12).unwrap_or(i64::MAX)
}

/// A time for a person, as exact as `step_us` asks for.
pub fn time(us: i64, step_us: i64) -> String {
    let seconds = ratio(us, 1_000_000);
    match step_us {
        1_000_000.. => format!("{seconds:.0} s"),
        100_000.. => format!("{seconds:.1} s"),
        10_000.. => format!("{seconds:.2} s"),
        1_000.. => format!("{seconds:.3} s"),
        _ if us.abs() < 1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{seconds:.1} s"),
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Firmware => "firmware",
        State::Bootloader => "bootloader",
        State::Kernel => "kernel",
        State::Initramfs => "initramfs",
        State::System => "system",
        State::Settled => "settled",
        State::Shutdown => "shutdown",
        State::Stage => "stage",
        State::Starting => "starting",
        State::Active => "active",
        State::Failed => "failed",
        State::Skipped => "skipped",
        State::InTree => "in-tree",
        State::OutOfTree => "out-of-tree",
        State::Answered => "answered",
        State::Refused => "refused",
        State::Up => "up",
        State::Partly => "partly",
        State::Silent => "silent",
        State::Waiting => "waiting",
        State::Ready => "ready",
        State::Cordoned => "cordoned",
        State::Working => "working",
        State::Rebooting => "rebooting",
        State::NotReady => "not-ready",
        State::Degraded => "degraded",
        State::Succeeded => "succeeded",
    }
}

fn mark_class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Pull => "pull",
        MarkKind::Reboot => "reboot",
        MarkKind::Unload => "unload",
        MarkKind::Load => "load",
        MarkKind::NetworkManager => "network",
        MarkKind::Link => "link",
        MarkKind::Happened => "happened",
        MarkKind::Finding => "finding",
        MarkKind::Step => "step",
        MarkKind::Rendered => "rendered",
    }
}
