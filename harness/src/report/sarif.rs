//! What fell short, as SARIF 2.1.0, which code hosts show beside the scenarios' lines.

use std::path::Path;

use serde_sarif::sarif::{
    ArtifactLocation, Invocation, Location, LogicalLocation, MultiformatMessageString, Notification, PhysicalLocation,
    Region, ReportingDescriptor, Result as SarifResult, ResultLevel, Suppression,
};

use super::place::Places;
use super::results::wrong;
use super::{RunResults, TrialResult, words};
use crate::checks::{Finding, Outcome, Verdict};
use crate::explain;
use crate::text::{printable, uri};
use crate::timeline::files;

/// What fell short in a run, whose directory is `dir`, in JSON. What did in a snoozed trial is suppressed;
/// mutants, which fail on purpose, and what the harness lost are left out.
pub fn sarif(results: &RunResults, dir: &Path) -> Result<String, serde_json::Error> {
    let mut rules: Vec<String> = Vec::new();
    let mut told = Vec::new();
    for trial in results.trials.iter().filter(|trial| is_told(trial)) {
        let places = Places::of(trial, dir);
        let wrong = wrong(trial.verdict, &trial.findings);
        // Where something failed, what lacks its evidence lacks it for that.
        let most = wrong.first().map(|finding| finding.outcome);
        for finding in wrong.into_iter().filter(|finding| Some(finding.outcome) == most) {
            let rule = rules.iter().position(|rule| *rule == finding.check).unwrap_or_else(|| {
                rules.push(finding.check.clone());
                rules.len() - 1
            });
            told.push(result(trial, finding, rule, &places, dir));
        }
    }
    let rules = rules.iter().map(|check| rule(check)).collect();
    crate::sarif::document("day1", rules, told, Some(invocation(results)))
}

/// Whether the run could show all that it was to: what a lost trial does not say is not mended.
fn invocation(results: &RunResults) -> Invocation {
    let is_lost = |trial: &&TrialResult| trial.never_ran || trial.verdict == Verdict::Infra;
    let lost = results.trials.iter().filter(is_lost).map(|trial| {
        let why = words::why(trial).map(|why| format!(": {why}")).unwrap_or_default();
        let message = format!("{} was lost{why}", trial.trial);
        Notification::builder().level("error").message(&message).build()
    });
    let lost: Vec<Notification> = lost.collect();
    Invocation::builder().execution_successful(lost.is_empty()).tool_execution_notifications(lost).build()
}

fn is_told(trial: &TrialResult) -> bool {
    trial.mutant.is_none() && trial.verdict != Verdict::Infra
}

/// A check as a rule, with what `day1 explain` says of it.
fn rule(check: &str) -> ReportingDescriptor {
    let text = |text: &str| MultiformatMessageString::builder().text(text).build();
    // A run of another version may have checks that this one does not know.
    let Ok(topic) = explain::topic(check) else {
        let short = format!("The check {check} of a trial.");
        return ReportingDescriptor::builder().id(check).short_description(text(&short)).build();
    };
    let parts = topic.parts.iter().map(|(name, part)| format!("{name}: {part}"));
    ReportingDescriptor::builder()
        .id(check)
        .short_description(text(&format!("{}.", topic.summary())))
        .help(text(&parts.collect::<Vec<_>>().join("\n\n")))
        .build()
}

fn result(trial: &TrialResult, finding: &Finding, rule: usize, places: &Places, dir: &Path) -> SarifResult {
    let level = match finding.outcome {
        Outcome::Fail => ResultLevel::Error,
        Outcome::Pass | Outcome::Inconclusive => ResultLevel::Warning,
    };
    let subject = match (&finding.node, finding.boot) {
        (None, None) => String::new(),
        _ => format!(", {}", words::subject(finding)),
    };
    let advice = finding.advice.as_ref().map(|advice| format!(" {}", printable(advice))).unwrap_or_default();
    let message = format!("{}{subject}: {}.{advice}", trial.trial, printable(&finding.message).trim_end_matches('.'));
    let trial_itself = LogicalLocation::builder().fully_qualified_name(trial.trial.as_str()).build();
    let place = Location::builder()
        .physical_location(physical(&places.file, places.line(finding, &trial.findings)))
        .logical_locations(vec![trial_itself])
        .build();
    let timeline = dir.join(&trial.trial).join(files::TIMELINE).display().to_string();
    let evidence = finding.evidence.iter().map(|evidence| {
        let line = usize::try_from(evidence.seq).unwrap_or(usize::MAX).saturating_add(1);
        Location::builder().physical_location(physical(&timeline, line)).message(&printable(&evidence.text)).build()
    });
    // Several nodes have their findings in one line of a scenario.
    let node = finding.node.as_deref().map(|node| format!("{node}|")).unwrap_or_default();
    let print = format!("{}|{node}{}|{}", trial.trial, finding.boot.unwrap_or(0), finding.check);
    let result = SarifResult::builder()
        .rule_id(finding.check.as_str())
        .rule_index(number(rule))
        .level(level)
        .message(&message)
        .locations(vec![place])
        .related_locations(evidence.collect::<Vec<_>>())
        .partial_fingerprints([("trialBootCheck/v1".to_owned(), print)]);
    match trial.snoozed.iter().find(|snoozed| snoozed.holds()) {
        None => result.build(),
        Some(snoozed) => {
            let known = snoozed.by.iter().map(|by| format!("{} ({})", by.reason, by.tracker));
            let justification = known.collect::<Vec<_>>().join("; ");
            let suppression = Suppression::builder().kind(serde_json::json!("external")).justification(justification);
            result.suppressions(vec![suppression.build()]).build()
        }
    }
}

fn physical(file: &str, line: usize) -> PhysicalLocation {
    PhysicalLocation::builder()
        .artifact_location(ArtifactLocation::builder().uri(uri(file)).build())
        .region(Region::builder().start_line(number(line)).build())
        .build()
}

fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::fixture;
    use super::*;

    #[test]
    fn each_failed_finding_is_a_result_with_its_rule_place_and_evidence() {
        let text = sarif(&fixture::run(), Path::new("target/results")).expect("SARIF");
        let sarif: Value = serde_json::from_str(&text).expect("JSON");
        let run = &sarif["runs"][0];
        let results = run["results"].as_array().expect("results");
        let of = |trial: &str| -> Vec<&Value> {
            let is_of = |result: &&Value| result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == trial;
            results.iter().filter(is_of).collect()
        };
        // Of a flaky trial the last attempt passed, a mutant fails on purpose.
        assert_eq!(results.len(), 4, "{text}");
        let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
        assert_eq!(rules.len(), 1);
        assert!(rules[0]["help"]["text"].as_str().is_some_and(|help| help.contains("What to do: ")), "{text}");
        let failed = of("pull/failed[secret=wrong]@debian-13")[0];
        assert_eq!(
            (&failed["ruleId"], &failed["ruleIndex"], &failed["level"]),
            (&"nic.driver".into(), &0.into(), &"error".into())
        );
        let place = &failed["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "scenarios/pull/failed%5Bsecret%3Dwrong%5D.yaml");
        let evidence = &failed["relatedLocations"][0]["physicalLocation"];
        assert_eq!(evidence["region"]["startLine"], 42);
        assert!(
            evidence["artifactLocation"]["uri"].as_str().is_some_and(|uri| uri.ends_with("debian-13/timeline.jsonl"))
        );
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        let lost = invocation["toolExecutionNotifications"].as_array().expect("notifications");
        assert!(lost[0]["message"]["text"].as_str().is_some_and(|text| text.starts_with("pull/lost@")), "{text}");
        assert_eq!(of("pull/unclear@debian-13")[0]["level"], "warning");
        assert!(failed.get("suppressions").is_none());
        assert_eq!(of("power-loss/holds@debian-13")[0]["suppressions"][0]["kind"], "external");
        assert!(of("power-loss/expired@debian-13")[0].get("suppressions").is_none());
    }
}
