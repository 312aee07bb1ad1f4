//! Findings as SARIF 2.1.0, which code hosts show beside the changed lines.

use serde_sarif::sarif::{
    ArtifactLocation, Location, MultiformatMessageString, PhysicalLocation, Region, ReportingConfiguration,
    ReportingDescriptor, Result as SarifResult, ResultLevel,
};

use super::report::{Finding, Report};
use super::rules::{ALL, Level, Rule};
use crate::text::uri;

/// The report as SARIF 2.1.0 in JSON, with the metadata of all rules.
pub fn sarif(report: &Report) -> Result<String, serde_json::Error> {
    crate::sarif::document(
        "day1 lint",
        ALL.iter().map(|rule| descriptor(rule)).collect(),
        report.findings.iter().map(result).collect(),
        None,
    )
}

fn descriptor(rule: &Rule) -> ReportingDescriptor {
    let text = |text: &str| MultiformatMessageString::builder().text(text).build();
    let level = serde_json::json!(rule.level.word());
    ReportingDescriptor::builder()
        .id(rule.id)
        .short_description(text(&format!("{}.", rule.finds)))
        .full_description(text(&format!("{} Source: {}.", rule.why, rule.source)))
        .help(text(rule.help))
        .default_configuration(ReportingConfiguration::builder().level(level).build())
        .build()
}

fn result(finding: &Finding) -> SarifResult {
    let place = &finding.place;
    let line = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let inside = place.inside.as_ref();
    let inside = inside.map(|inside| format!(" (in {} line {})", inside.path, inside.line)).unwrap_or_default();
    let region = Region::builder().start_line(line(place.line)).start_column(line(place.column)).build();
    let location = PhysicalLocation::builder()
        .artifact_location(ArtifactLocation::builder().uri(uri(&place.file)).build())
        .region(region)
        .build();
    let level = match finding.level {
        Level::Error => ResultLevel::Error,
        Level::Warning => ResultLevel::Warning,
        Level::Note => ResultLevel::Note,
    };
    let index = ALL.iter().position(|rule| rule.id == finding.rule).map_or(-1, line);
    SarifResult::builder()
        .rule_id(finding.rule.as_str())
        .rule_index(index)
        .level(level)
        .message(&format!("{}{inside}. {}", finding.message, finding.help))
        .locations(vec![Location::builder().physical_location(location).build()])
        .build()
}
