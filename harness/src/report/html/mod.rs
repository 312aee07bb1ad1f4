//! A run as one page, which needs nothing else: no network, no file beside it.
//!
//! What a person sees first is plain HTML. A trial's details, its journal and its console are packed into the page and
//! unpacked when they are asked for, so that a run of hundreds of trials opens at once.

#[cfg(test)]
mod browser;
mod compare;
mod log;
mod overview;
mod pool;
mod trial;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{RunResults, picture};

/// Name of the report in a run's directory.
pub const FILE: &str = "report.html";

const PAGE_STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Bytes of packed recordings that a page has room for: more than those of a thousand trials, and what a browser opens in a
/// few seconds.
const ROOM: usize = 128 << 20;

/// Why a report can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {path}: {source}")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Writes the report of the run in `dir` to `path`; `earlier` is a run to compare it with.
///
/// A trial whose recording can't be read is told as such in its place, and one for whose recording there is no room. That is
/// for the red trials first.
pub fn write(results: &RunResults, dir: &Path, earlier: Option<&RunResults>, path: &Path) -> Result<(), Error> {
    let failed = |source| Error { path: path.to_owned(), source };
    let packed = pack_all(results, earlier, dir, ROOM).map_err(failed)?;
    let page = page(results, earlier, &packed).into_string();
    super::write_whole(path, page.as_bytes()).map_err(failed)
}

fn page(results: &RunResults, earlier: Option<&RunResults>, packed: &[String]) -> Markup {
    let changes = earlier.map(|earlier| compare::changes(earlier, results));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (overview::title(results)) }
                style { (PreEscaped(picture::PALETTE)) (PreEscaped(picture::STYLE)) (PreEscaped(picture::POOL_STYLE)) (PreEscaped(PAGE_STYLE)) }
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                (overview::header(results))
                main id="main" tabindex="-1" {
                    section id="overview" aria-label="All trials" { (overview::body(results, changes.as_ref())) }
                    section id="trial" aria-label="One trial" hidden {}
                }
                noscript { p class="notice" { "The details of the trials need JavaScript. Everything else is above." } }
                @for (index, data) in packed.iter().enumerate() {
                    script type="application/gzip+base64" id=(format!("data-{index}")) { (PreEscaped(data)) }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The details of all trials, packed, in the order of the trials.
fn pack_all(results: &RunResults, earlier: Option<&RunResults>, dir: &Path, room: usize) -> io::Result<Vec<String>> {
    let before = earlier.map(compare::by_name).unwrap_or_default();
    let order = overview::order(&results.trials);
    let (next, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let packed: Mutex<Vec<String>> = Mutex::new(vec![String::new(); results.trials.len()]);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(results.trials.len());
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return Ok::<(), io::Error>(());
                };
                let trial = &results.trials[*index];
                let own = dir.join(&trial.trial);
                let has_room = taken.load(Ordering::Relaxed) < room;
                let before = before.get(trial.trial.as_str()).copied();
                let one = pack(&trial::details(trial, has_room.then_some(own.as_path()), before))?;
                taken.fetch_add(one.len(), Ordering::Relaxed);
                packed.lock().unwrap_or_else(PoisonError::into_inner)[*index] = one;
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that makes a trial's part of it panicked")))
        })
    })?;
    Ok(packed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn pack(details: &trial::Details) -> io::Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut gzip, details)?;
    gzip.flush()?;
    Ok(STANDARD.encode(gzip.finish()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    use super::super::{Phase, fixture};
    use super::*;
    use crate::checks::fixture::{Node, scenario};
    use crate::checks::pool::fixture::{Pool, TWO, answers};
    use crate::timeline::{Asked, files};

    /// What the page has of each trial.
    fn parts(results: &RunResults, earlier: Option<&RunResults>, dir: &Path, room: usize) -> Vec<Value> {
        pack_all(results, earlier, dir, room).expect("packed").iter().map(|one| unpacked(one)).collect()
    }

    fn unpacked(packed: &str) -> Value {
        let bytes = STANDARD.decode(packed).expect("base64");
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A directory with a recording of each trial.
    fn recorded(results: &RunResults) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        let lines = browser::lines(&Node::pulled_and_loaded().timeline());
        for trial in &results.trials {
            let own = dir.path().join(&trial.trial);
            fs::create_dir_all(&own).expect("made");
            fs::write(own.join(files::TIMELINE), &lines).expect("written");
            fs::write(own.join(files::SCENARIO), scenario().document.text.as_bytes()).expect("written");
        }
        dir
    }

    #[test]
    fn where_there_is_no_room_for_all_recordings_the_red_trials_keep_theirs() {
        let results = fixture::run();
        let dir = recorded(&results);
        let has_log = |room: usize| -> Vec<bool> {
            parts(&results, None, dir.path(), room).iter().map(|one| one["log"].is_object()).collect()
        };
        assert!(has_log(ROOM).iter().all(|has_log| *has_log));
        assert!(has_log(0).iter().all(|has_log| !has_log));
        let some = has_log(1);
        let kept: Vec<_> = results.trials.iter().zip(&some).filter(|(_, has_log)| **has_log).collect();
        assert!(!kept.is_empty() && kept.iter().all(|(trial, _)| trial.is_red()), "{some:?}");
        let parts = parts(&results, None, dir.path(), 0);
        assert!(parts.iter().all(|one| one["html"].as_str().is_some_and(|html| html.contains("no room"))));
    }

    #[test]
    fn what_a_killed_harness_has_recorded_is_shown() {
        let mut results = fixture::run();
        results.trials.truncate(1);
        let dir = recorded(&results);
        let timeline = dir.path().join(&results.trials[0].trial).join(files::TIMELINE);
        let text = fs::read_to_string(&timeline).expect("read");
        fs::write(&timeline, &text[..text.len() - 20]).expect("written");
        assert!(parts(&results, None, dir.path(), ROOM)[0]["log"].is_object());
    }

    #[test]
    fn what_was_recorded_is_shown_without_its_scenario_too() {
        let mut results = fixture::run();
        results.trials.truncate(1);
        let dir = recorded(&results);
        let scenario = dir.path().join(&results.trials[0].trial).join(files::SCENARIO);
        for text in ["of-a-later-version: yes\n", ""] {
            fs::write(&scenario, text).expect("written");
            let shown = &parts(&results, None, dir.path(), ROOM)[0];
            let html = shown["html"].as_str().expect("HTML");
            assert!(shown["log"].is_object() && html.contains("What ran when"), "{html}");
            assert!(html.contains("Without its scenario: "), "{html}");
        }
        fs::remove_file(&scenario).expect("removed");
        assert!(parts(&results, None, dir.path(), ROOM)[0]["log"].is_object());
    }

    #[test]
    fn a_trial_s_own_part_says_what_the_earlier_run_said_of_it() {
        let mut now = fixture::run();
        let phase = |seconds| Phase { boot: 1, name: "initramfs".into(), seconds };
        now.trials.iter_mut().for_each(|trial| trial.phases = vec![phase(20.0)]);
        let dir = recorded(&now);
        let mut earlier = now.clone();
        earlier.trials.truncate(1);
        earlier.trials[0].seconds = 71.0;
        earlier.trials[0].phases = vec![phase(12.3)];
        let parts = parts(&now, Some(&earlier), dir.path(), ROOM);
        let html = |index: usize| parts[index]["html"].as_str().expect("HTML");
        assert!(html(0).contains("in the earlier run") && html(0).contains(", 71 s") && html(0).contains("12.3"));
        assert!(!html(1).contains("earlier run"), "it was not there");
    }

    #[test]
    fn the_page_calls_a_trial_what_the_terminal_does() {
        let results = fixture::run();
        let page = page(&results, None, &[]).into_string();
        for word in ["SNOOZED", "FLAKY", "CAUGHT", "INFRA", "SKIPPED"] {
            assert!(page.contains(&format!("data-verdict=\"{word}\" aria-pressed")), "{word} is counted");
            assert!(page.contains(&format!(">{word}</span>")), "{word} is told");
        }
        assert!(page.contains("snoozed until 2026-12-31: a half-written store is taken for a whole one"));
        let flaky = results.trials.iter().find(|trial| trial.trial.contains("/flaky@")).expect("a trial");
        let flaky = serde_json::to_value(trial::details(flaky, None, None)).expect("JSON");
        let html = flaky["html"].as_str().expect("HTML");
        assert!(
            html.contains("It ran 3 times, and passed the last time:") && html.contains("attempt 2 INFRA"),
            "{html}"
        );
    }

    #[test]
    fn of_several_nodes_each_step_tells_what_each_came_to_and_each_line_of_the_log_whose_it_is() {
        let mut results = fixture::run();
        results.trials.truncate(1);
        let dir = recorded(&results);
        let timeline = dir.path().join(&results.trials[0].trial).join(files::TIMELINE);
        let mut pool = Pool::rolled_out();
        pool.tell(111, TWO, answers(Asked::Service, false, 110));
        fs::write(&timeline, browser::lines(&pool.timeline())).expect("written");
        let shown = &parts(&results, None, dir.path(), ROOM)[0];
        let html = shown["html"].as_str().expect("HTML");
        let cells = |row: &str| {
            let (_, rest) = html.split_once(row).unwrap_or_else(|| panic!("no {row} in {html}"));
            let row = rest.split("</tr>").next().unwrap_or_default().replace("</td>", "|");
            regex::Regex::new("<[^>]*>").expect("valid").replace_all(&row, "").into_owned()
        };
        assert_eq!(cells("<th scope=\"row\">worker-1</th>"), "updated|10.0 s|never|");
        assert_eq!(cells("<th scope=\"row\">worker-2</th>"), "untouched|90.0 s|never|");
        assert_eq!(cells("<th scope=\"row\"><b>cluster</b></th>"), "|2.0 s|never|");
        assert!(html.contains("The boots and units of worker-2") && html.contains("<select name=\"node\">"), "{html}");
        let names: Vec<&str> =
            shown["log"]["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        let of: Vec<usize> = serde_json::from_value(shown["log"]["node"].clone()).expect("nodes");
        assert_eq!((names[of[0]], names[of[1]]), (picture::CLUSTER, "worker-1"));
        assert_eq!(of.len(), pool.timeline().events.len());
    }
}
