//! `day1 lint`: what is wrong with MachineConfigs, told without starting a node.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use day1_harness::lint::{self, Level, Report, Source};

use super::out;

#[derive(Args)]
#[command(after_long_help = "\
Give all MachineConfigs of a pool at once, and their clashes are told too.

Exit codes: 0 no error (warnings and notes are none); 1 an error; 2 a file can't be read.

Examples:
  day1 lint 99-worker-driver.yaml
  day1 generate -f boot-module-config.yaml | day1 lint -
  day1 lint --format sarif *.yaml >lint.sarif")]
pub struct Lint {
    /// MachineConfigs or Ignition configs in YAML or JSON, several documents a file if need be; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    files: Vec<PathBuf>,
    /// How to tell what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Warnings are errors for the exit code, too.
    #[arg(long)]
    deny_warnings: bool,
    /// Print the rules as Markdown instead.
    #[arg(long, conflicts_with = "files")]
    rules: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// The whole report.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

impl Lint {
    pub fn perform(self) -> ExitCode {
        if self.rules {
            return out::print(&lint::page(), ExitCode::SUCCESS);
        }
        let mut sources = Vec::new();
        for file in &self.files {
            match Source::read(file) {
                Ok(source) => sources.push(source),
                Err(error) => {
                    eprintln!("error: {error}");
                    return ExitCode::from(2);
                }
            }
        }
        let report = lint::lint(&sources);
        let text = match self.format {
            Format::Text => Ok(lint::text(&report, std::io::stdout().is_terminal())),
            Format::Json => serde_json::to_string_pretty(&report).map(|text| text + "\n"),
            Format::Sarif => lint::sarif(&report).map(|text| text + "\n"),
        };
        out::report(text, self.exit_code(&report))
    }

    fn exit_code(&self, report: &Report) -> ExitCode {
        let denied = self.deny_warnings && report.count(Level::Warning) > 0;
        if report.has_errors() || denied { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
