//! What is wrong with a MachineConfig, told without starting a node: by reading it as the cluster's API, the MCO,
//! Ignition, systemd and bash would.
//!
//! [`lint`] takes files and gives a [`Report`]. The rules stand in one table, [`ALL`]; `docs/lint.md` lists them.
//! Nothing is executed and nothing is looked up outside the files.

mod behaviour;
mod config;
mod cycle;
mod directives;
mod files;
mod known;
mod order;
mod reboots;
mod report;
mod rules;
mod sarif;
mod script;
mod scripts;
mod services;
mod shape;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod together;
mod unit;
mod unit_syntax;

pub use report::{Finding, Inside, Place, Report};
pub use rules::{ALL, Level, Rule, page};
pub use sarif::sarif;
pub use source::{Error, Source};
pub(crate) use text::summary;
pub use text::text;

use behaviour::Behaviour;
use config::Config;
use report::Findings;
use rules::MCO_REFUSES;
use together::Member;

use crate::mco::MachineConfig;

/// What a script may take of the parser's stack, at most: [`script::DEEPEST`] levels of it. Only what is used is taken.
const STACK: usize = 256 << 20;

/// Checks files, each by itself and all together.
pub fn lint(sources: &[Source]) -> Report {
    std::thread::scope(|scope| {
        let checked = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || check(sources));
        match checked.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(report)) => report,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread can be had: this one's stack does for what people write.
            Err(_) => check(sources),
        }
    })
}

fn check(sources: &[Source]) -> Report {
    let mut findings = Findings::default();
    let mut configs = Vec::new();
    let mut parsed = Vec::new();
    let mut all_parsed = true;
    for source in sources {
        let (found, pure) = source::find(source, &mut findings);
        let at = configs.len();
        configs.extend(found.into_iter().map(|found| Config::read(found, &mut findings)));
        let own = &configs[at..];
        own.iter().for_each(|config| one(config, &mut findings));
        let is_readable =
            |config: &Config| config.found.machine_config && !config.role.is_empty() && !config.is_spec_2();
        let readable = pure && !own.is_empty() && own.iter().all(is_readable);
        if readable && !findings.has_error_in(&source.name) {
            match MachineConfig::parse(source.text(), &source.name) {
                Ok(machine_configs) => parsed.extend(machine_configs),
                Err(error) => {
                    findings.add(&MCO_REFUSES, &own[0].found.place(&own[0].found.at), error.to_string());
                    all_parsed = false;
                }
            }
        } else {
            all_parsed = false;
        }
    }
    let scripts: Vec<_> = configs.iter().map(behaviour::scripts).collect();
    let behaviours: Vec<Vec<Behaviour<'_>>> = configs
        .iter()
        .zip(&scripts)
        .map(|(config, scripts)| {
            let units = config.units.iter().filter(|unit| !unit.mask && unit.is_service());
            units.map(|unit| Behaviour::of(config, unit, scripts)).collect()
        })
        .collect();
    for (config, behaviours) in configs.iter().zip(&behaviours) {
        services::check(config, behaviours, &mut findings);
        order::check(config, behaviours, &mut findings);
        scripts::check(config, behaviours, &mut findings);
        reboots::check(config, behaviours, &mut findings);
    }
    let of_several = if configs.len() > 1 { configs.as_slice() } else { &[] };
    let members = of_several.iter().zip(&behaviours).map(|(config, behaviours)| Member::of(config, behaviours));
    let members: Vec<Member<'_>> = members.collect();
    together::check(&members, &mut findings);
    let names_differ = !findings.found(&rules::SAME_NAME);
    if all_parsed && names_differ {
        together::render_pools(&configs, &parsed, &mut findings);
    }
    let files: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let mut findings = findings.into_sorted(&files);
    text::add_lines(&mut findings, sources, &configs);
    Report { files, configs: configs.len(), findings }
}

fn one(config: &Config, findings: &mut Findings) {
    shape::check(config, findings);
    files::check(config, findings);
    unit_syntax::check(config, findings);
    cycle::check(config, findings);
}
