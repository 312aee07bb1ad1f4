//! The trials, for `cargo test` and `cargo nextest run`: `harness = false`, by libtest-mimic.
//!
//! Variables: `DAY1_NODE` (node images, by commas), `DAY1_KERNEL` (releases of kernels, by commas, or `all`), `DAY1_LABEL`, `DAY1_ALL` (nightly ones as well), `DAY1_PARTITION`, `DAY1_START`, `DAY1_JOBS`, `DAY1_RETRIES`, `DAY1_FLAKY_OK`, `DAY1_SNOOZES`, `DAY1_REGISTRY`, `DAY1_DRIVER_TOOLKIT`, `DAY1_RESULTS`, `DAY1_CACHE`.

use std::path::Path;
use std::process::ExitCode;

use day1_harness::runner::{self, Options};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Cargo and nextest set it when they run the tests; it is the one of the checkout that runs.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    let Some(root) = Path::new(&package).parent() else {
        eprintln!("error: {package} has no directory above it");
        return ExitCode::from(2);
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let partition = match variable("DAY1_PARTITION").map(|text| text.parse()).transpose() {
        Ok(partition) => partition,
        Err(error) => {
            eprintln!("error: DAY1_PARTITION: {error}");
            return ExitCode::from(2);
        }
    };
    let jobs = match variable("DAY1_JOBS").map(|text| text.parse()).transpose() {
        Ok(jobs) => jobs.or(arguments.test_threads),
        Err(error) => {
            eprintln!("error: DAY1_JOBS: {error}");
            return ExitCode::from(2);
        }
    };
    let retries = match variable("DAY1_RETRIES").map(|text| text.parse()).transpose() {
        Ok(retries) => retries.unwrap_or(0),
        Err(error) => {
            eprintln!("error: DAY1_RETRIES: {error}");
            return ExitCode::from(2);
        }
    };
    let start = match variable("DAY1_START").map(|text| text.parse()).transpose() {
        Ok(start) => start,
        Err(error) => {
            eprintln!("error: DAY1_START: {error}");
            return ExitCode::from(2);
        }
    };
    let registry = match variable("DAY1_REGISTRY").map(|text| text.parse()).transpose() {
        Ok(registry) => registry.unwrap_or_default(),
        Err(error) => {
            eprintln!("error: DAY1_REGISTRY: {error}");
            return ExitCode::from(2);
        }
    };
    let driver_toolkit = match variable("DAY1_DRIVER_TOOLKIT").map(|text| text.parse()).transpose() {
        Ok(toolkit) => toolkit,
        Err(error) => {
            eprintln!("error: DAY1_DRIVER_TOOLKIT: {error}");
            return ExitCode::from(2);
        }
    };
    let vm_images = root.join("vm-images");
    let named = variable("DAY1_NODE").map_or_else(Vec::new, |all| all.split(',').map(str::to_owned).collect());
    let options = Options {
        scenarios: root.join("scenarios"),
        nodes: runner::nodes(named, &vm_images, None, driver_toolkit.as_ref()),
        vm_images,
        kernels: variable("DAY1_KERNEL").map_or_else(Vec::new, |all| all.split(',').map(str::to_owned).collect()),
        filters: Vec::new(),
        label: variable("DAY1_LABEL"),
        all: variable("DAY1_ALL").is_some(),
        mutants: None,
        machine_config: None,
        partition,
        start,
        keep: runner::Keep::Never,
        break_at: None,
        jobs,
        retries,
        flaky_ok: variable("DAY1_FLAKY_OK").is_some(),
        snoozes: variable("DAY1_SNOOZES").map(Into::into),
        registry,
        driver_toolkit,
        results: variable("DAY1_RESULTS").map_or_else(|| root.join("target/day1-results"), Into::into),
        cache: None,
        day1: env!("CARGO_BIN_EXE_day1").into(),
    };
    ExitCode::from(runner::run(&options, &arguments))
}
