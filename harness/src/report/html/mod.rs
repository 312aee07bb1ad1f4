//! A run as one page, which needs nothing else: no network, no file beside it.
//!
//! What a person sees first is plain HTML. A trial's details, its journal and its console are packed into the page and
//! unpacked when they are asked for, so that a run of hundreds of trials opens at once.

#[cfg(test)]
mod browser;
mod compare;
mod log;
mod overview;
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

use super::{RunResults, TrialResult, picture};

/// Name of the report in a run's directory.
pub const FILE: &str = "report.html";

const PAGE_STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Why a report can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {path}: {source}")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Writes the report of the run in `dir` to `path`; `earlier` is a run to compare it with.
///
/// A trial whose recording can't be read is told as such in its place.
pub fn write(results: &RunResults, dir: &Path, earlier: Option<&RunResults>, path: &Path) -> Result<(), Error> {
    let failed = |source| Error { path: path.to_owned(), source };
    let packed = pack_all(results, dir).map_err(failed)?;
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
                style { (PreEscaped(picture::PALETTE)) (PreEscaped(picture::STYLE)) (PreEscaped(PAGE_STYLE)) }
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
fn pack_all(results: &RunResults, dir: &Path) -> io::Result<Vec<String>> {
    let next = AtomicUsize::new(0);
    let packed: Mutex<Vec<String>> = Mutex::new(vec![String::new(); results.trials.len()]);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(results.trials.len());
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = results.trials.get(index) else { return Ok::<(), io::Error>(()) };
                let one = pack(&trial::details(trial, &trial_dir(dir, trial)))?;
                packed.lock().unwrap_or_else(PoisonError::into_inner)[index] = one;
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that makes a trial's part of it panicked")))
        })
    })?;
    Ok(packed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Where a trial's recording is: below the run's directory, which may have moved, or where the run had it.
fn trial_dir(dir: &Path, trial: &TrialResult) -> PathBuf {
    let own = dir.join(&trial.trial);
    match &trial.dir {
        Some(elsewhere) if !own.exists() => elsewhere.clone(),
        _ => own,
    }
}

fn pack(details: &trial::Details) -> io::Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut gzip, details)?;
    gzip.flush()?;
    Ok(STANDARD.encode(gzip.finish()?))
}
