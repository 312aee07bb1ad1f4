//! Shows recorded trials in the view that `day1 run` has on a terminal, ten times as fast:
//! `cargo run --example live_view TRIAL-DIR…`.

use std::path::PathBuf;
use std::process::ExitCode;

use day1_harness::lab::files;
use day1_harness::runner;
use day1_harness::timeline::Timeline;

const TIMES: u32 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let dirs = std::env::args_os().skip(1).map(PathBuf::from);
    let read = dirs.map(|dir| {
        let timeline = Timeline::read(&dir.join(files::TIMELINE))?;
        let name = timeline.facts().map_or_else(|| dir.display().to_string(), |facts| facts.trial.clone());
        Ok((name, timeline))
    });
    match read.collect::<Result<Vec<_>, day1_harness::timeline::ReadError>>() {
        Ok(trials) => {
            runner::replay(trials, TIMES).await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
