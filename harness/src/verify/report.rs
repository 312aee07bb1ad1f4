//! The report of a verification: to read, to keep, and to hand on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::checks::{Outcome, Verdict};
use crate::inspect::{self, Inspection};
use crate::lint;
use crate::report::TrialResult;
use crate::text::printable;

/// Changes when [`Verification`]'s JSON changes in a way that its readers must know of.
pub const VERIFICATION_VERSION: u32 = 1;

/// What was verified, and all that came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verification {
    /// [`VERIFICATION_VERSION`].
    pub version: u32,
    /// Version of this program.
    pub day1: String,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// All in one word.
    pub verdict: Overall,
    /// The image, as it was named.
    pub image: String,
    /// The module.
    pub module: String,
    /// The in-tree modules that are removed, in their order.
    pub in_tree: Vec<String>,
    /// The MachineConfig.
    pub machine_config: ConfigFacts,
    /// What reading the MachineConfig found.
    pub lint: lint::Report,
    /// Each kernel of each node image.
    pub nodes: Vec<NodeVerdict>,
    /// What nobody has looked at, each in a sentence.
    pub not_tested: Vec<String>,
}

/// A verdict on everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overall {
    /// Everything that was looked at is as it must be.
    Pass,
    /// Something is wrong with the image, the MachineConfig or the module.
    Fail,
    /// The harness's own side failed, or evidence is missing.
    Unclear,
}

/// What is known of the MachineConfig.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigFacts {
    /// Its file; absent where the generator made it.
    pub file: Option<String>,
    /// Lower-case hex sha256 of its text.
    pub sha256: String,
}

/// One kernel of one node image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeVerdict {
    /// The node image.
    pub node: String,
    /// The release of a stream's image.
    pub node_release: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// What was found without a machine.
    pub inspection: Inspection,
    /// What the machines showed.
    pub claims: Vec<Claim>,
}

/// A thing that a scenario proves, and whether it did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claim {
    /// In a sentence.
    pub claim: String,
    /// The trial that was to show it.
    pub trial: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Its evidence: what the checks found, those that failed first.
    pub evidence: Vec<String>,
    /// Why there is no verdict, where there is none.
    pub reason: Option<String>,
}

impl Claim {
    /// From the trial's result; none where it never came to one.
    pub(super) fn of(claim: &str, trial: &str, result: Option<&TrialResult>) -> Self {
        let told = |finding: &crate::checks::Finding| {
            let boot = finding.boot.map(|boot| format!("boot {boot}: ")).unwrap_or_default();
            format!("{boot}{} ({})", finding.message, finding.check)
        };
        let findings = result.map(|result| result.findings.as_slice()).unwrap_or_default();
        let about_it = findings.iter().filter(|finding| finding.check != MODES);
        let (bad, good): (Vec<_>, Vec<_>) = about_it.partition(|finding| finding.outcome != Outcome::Pass);
        let modes = findings.iter().any(|finding| finding.check == MODES && finding.outcome == Outcome::Fail);
        let verdict = match result.map(|result| result.verdict) {
            None => Verdict::Skipped,
            Some(Verdict::Fail) if modes && bad.is_empty() => Verdict::Pass,
            Some(Verdict::Fail) if modes && bad.iter().all(|finding| finding.outcome != Outcome::Fail) => {
                Verdict::Inconclusive
            }
            Some(verdict) => verdict,
        };
        // What every trial shows of itself is no evidence for this claim.
        let mut own: Vec<_> =
            good.into_iter().filter(|finding| !EVERY_TRIAL.contains(&finding.check.as_str())).collect();
        own.sort_by_key(|finding| EVERY_BOOT.contains(&finding.check.as_str()));
        Self {
            claim: claim.to_owned(),
            trial: trial.to_owned(),
            verdict,
            evidence: bad.into_iter().chain(own).map(told).collect(),
            reason: result.map_or(Some("it never ran".to_owned()), |result| result.reason.clone()),
        }
    }

    /// That nobody but root can change what the MachineConfig brings; nothing where no trial says so.
    pub(super) fn of_modes<'r>(results: impl Iterator<Item = (&'r String, &'r TrialResult)>) -> Option<Self> {
        let all = results.flat_map(|(trial, result)| result.findings.iter().map(move |finding| (trial, finding)));
        let (trial, finding) = all
            .filter(|(_, finding)| finding.check == MODES)
            .max_by_key(|(_, finding)| finding.outcome != Outcome::Pass)?;
        Some(Self {
            claim: "what root runs of the MachineConfig, nobody else can change".to_owned(),
            trial: trial.clone(),
            verdict: if finding.outcome == Outcome::Pass { Verdict::Pass } else { Verdict::Fail },
            evidence: vec![format!("{} ({MODES})", finding.message)],
            reason: None,
        })
    }
}

/// The check of the MachineConfig's files, which every trial makes: a claim of its own, and nobody else's fault.
const MODES: &str = "config.modes";

/// Checks that say of every node that nothing else is wrong with it.
const EVERY_TRIAL: [&str; 7] = [
    "evidence",
    "config.identical",
    "config.on-disk",
    "journal.clean",
    "kernel.taint",
    "node.leftovers",
    "unit.budget",
];

/// Checks that each claim rests on, after those which are about the driver.
const EVERY_BOOT: [&str; 4] = ["boots.count", "kernel.running", "node.ready", "unit.result"];

impl NodeVerdict {
    fn overall(&self) -> Overall {
        let verdicts: Vec<Verdict> = self.claims.iter().map(|claim| claim.verdict).collect();
        if !self.inspection.is_good() || verdicts.contains(&Verdict::Fail) {
            Overall::Fail
        } else if verdicts.iter().all(|verdict| *verdict == Verdict::Pass) && !verdicts.is_empty() {
            Overall::Pass
        } else {
            Overall::Unclear
        }
    }
}

impl Verification {
    /// The verdict on all kernels: the worst.
    pub(super) fn judge(&mut self) {
        let each: Vec<Overall> = self.nodes.iter().map(NodeVerdict::overall).collect();
        self.verdict = match () {
            () if self.lint.has_errors() || each.contains(&Overall::Fail) => Overall::Fail,
            () if each.is_empty() || each.contains(&Overall::Unclear) => Overall::Unclear,
            () => Overall::Pass,
        };
    }

    /// 0 pass, 1 fail, 3 unclear.
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            Overall::Pass => 0,
            Overall::Fail => 1,
            Overall::Unclear => 3,
        }
    }
}

/// The report for a person.
pub fn describe(verification: &Verification) -> String {
    let mut text = String::new();
    let word = match verification.verdict {
        Overall::Pass => "PASS",
        Overall::Fail => "FAIL",
        Overall::Unclear => "UNCLEAR",
    };
    let instead = if verification.in_tree.is_empty() {
        String::new()
    } else {
        format!(" in the place of {}", verification.in_tree.join(", "))
    };
    let _ = writeln!(text, "{word}  {} from {}{instead}", verification.module, verification.image);
    let config = verification.machine_config.file.as_deref().unwrap_or("made by `day1 generate`");
    let _ = writeln!(text, "  MachineConfig  {config} (sha256 {})", verification.machine_config.sha256);
    let _ = writeln!(text, "  verified       {} by day1 {}", verification.started, verification.day1);
    for node in &verification.nodes {
        describe_node(&mut text, node, verification.machine_config.file.is_none());
    }
    let lint = &verification.lint;
    let _ = writeln!(text, "\nthe MachineConfig, by reading it: {}", lint::summary(lint));
    let mut told = BTreeSet::new();
    for finding in lint.findings.iter().filter(|finding| finding.level != lint::Level::Note) {
        let _ = writeln!(
            text,
            "  {} {}: {} [{}]",
            mark(finding.level == lint::Level::Warning),
            finding.place.line,
            printable(&finding.message),
            finding.rule
        );
        if told.insert(&finding.rule) {
            let _ = writeln!(text, "      {}", finding.why);
        }
    }
    let _ = writeln!(text, "\nnot tested");
    for one in &verification.not_tested {
        let _ = writeln!(text, "  · {one}");
    }
    text
}

fn mark(warning: bool) -> &'static str {
    if warning { "!" } else { "✗" }
}

fn describe_node(text: &mut String, node: &NodeVerdict, generated: bool) {
    let release = node.node_release.as_ref().map(|release| format!(" {release}")).unwrap_or_default();
    let _ = writeln!(text, "\nkernel {} on {}{release}", node.kernel, node.node);
    let image = &node.inspection.image;
    let digest = image.manifest_digest.as_ref().or(image.digest.as_ref()).or(image.config_digest.as_ref());
    let _ = writeln!(text, "  image {} {}", image.reference, digest.map_or("that could not be read", String::as_str));
    let mut inspection = node.inspection.clone();
    if generated {
        // What is said of upstream's scripts does not matter to the generator's.
        inspection.findings.retain(|finding| !finding.check.starts_with("upstream."));
    }
    let mark_of_all = if inspection.is_good() { "✓" } else { "✗" };
    let _ = writeln!(text, "  {mark_of_all} without a machine: {}", inspect::counts(&inspection));
    for finding in &inspection.findings {
        match finding.outcome {
            inspect::Outcome::Error => {
                let _ = writeln!(text, "      ✗ {} [{}]", printable(&finding.message), finding.check);
                let why = finding.why.iter().map(|why| format!("on the node: {why}"));
                let advice = finding.advice.iter().map(|advice| format!("→ {advice}"));
                for line in finding.evidence.iter().take(SHOWN).cloned().chain(why).chain(advice) {
                    let _ = writeln!(text, "          {}", printable(&line));
                }
            }
            inspect::Outcome::Warning => {
                let _ = writeln!(text, "      ! {} [{}]", printable(&finding.message), finding.check);
            }
            inspect::Outcome::Ok | inspect::Outcome::NotChecked => {}
        }
    }
    for claim in &node.claims {
        let sign = match claim.verdict {
            Verdict::Pass => "✓",
            Verdict::Fail => "✗",
            _ => "?",
        };
        let _ = writeln!(text, "  {sign} {}", claim.claim);
        if let Some(reason) = &claim.reason {
            let _ = writeln!(text, "      {reason}");
        }
        for evidence in claim.evidence.iter().take(SHOWN) {
            let _ = writeln!(text, "      {evidence}");
        }
    }
}

/// So many lines of evidence for a claim a person reads; all stand in the JSON.
const SHOWN: usize = 6;

/// What no machine of ours can show, and what this run left out.
pub(super) fn not_tested(nodes: &[NodeVerdict], card: bool, left_out: &BTreeMap<&str, String>) -> Vec<String> {
    let mut all = Vec::new();
    let ran = nodes.iter().flat_map(|node| &node.claims).any(|claim| claim.verdict != Verdict::Skipped);
    if !card && ran {
        all.push(
            "the hardware: no network card that QEMU emulates is one that the module says it drives, so it was loaded without a device"
                .to_owned(),
        );
    }
    all.extend(left_out.values().cloned());
    for node in nodes {
        for finding in &node.inspection.findings {
            if finding.outcome == inspect::Outcome::NotChecked {
                all.push(format!("{}: {} [{}]", node.kernel, finding.message, finding.check));
            }
        }
    }
    all.push("what hours of traffic bring".to_owned());
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::inspect::{Finding, ImageFacts, KernelFacts, Outcome as Seen};

    fn inspection(outcome: Seen) -> Inspection {
        let finding = Finding {
            check: "module.vermagic".into(),
            outcome,
            message: "for another kernel".into(),
            evidence: vec![],
            why: None,
            advice: None,
            source: None,
        };
        Inspection {
            version: 1,
            image: ImageFacts::default(),
            kernel: KernelFacts::default(),
            modules: vec![],
            findings: vec![finding],
        }
    }

    fn node(seen: Seen, verdicts: &[Verdict]) -> NodeVerdict {
        let result = |verdict: Verdict| TrialResult::new("vendor/loads@x", Path::new("x"), verdict, None);
        NodeVerdict {
            node: "x".into(),
            node_release: None,
            kernel: "6.12".into(),
            inspection: inspection(seen),
            claims: verdicts
                .iter()
                .map(|verdict| Claim::of("it loads", "vendor/loads@x", Some(&result(*verdict))))
                .collect(),
        }
    }

    fn overall(nodes: Vec<NodeVerdict>) -> Overall {
        let mut verification = Verification {
            version: VERIFICATION_VERSION,
            day1: String::new(),
            started: String::new(),
            verdict: Overall::Unclear,
            image: "oci:x".into(),
            module: "nic".into(),
            in_tree: vec![],
            machine_config: ConfigFacts { file: None, sha256: String::new() },
            lint: lint::Report::default(),
            not_tested: not_tested(&nodes, false, &BTreeMap::new()),
            nodes,
        };
        verification.judge();
        let text = describe(&verification);
        let ran = verification.nodes.iter().flat_map(|node| &node.claims).any(|one| one.verdict != Verdict::Skipped);
        assert!(text.contains("nic from oci:x") && text.contains("loaded without a device") == ran, "{text}");
        verification.verdict
    }

    #[test]
    fn the_worst_of_all_kernels_is_the_verdict() {
        use Verdict::{Fail, Inconclusive, Pass, Skipped};
        assert_eq!(overall(vec![node(Seen::Ok, &[Pass, Pass]), node(Seen::Warning, &[Pass])]), Overall::Pass);
        assert_eq!(overall(vec![node(Seen::Ok, &[Pass]), node(Seen::Ok, &[Pass, Fail])]), Overall::Fail);
        assert_eq!(overall(vec![node(Seen::Error, &[])]), Overall::Fail);
        assert_eq!(overall(vec![node(Seen::Ok, &[Pass, Inconclusive])]), Overall::Unclear);
        assert_eq!(overall(vec![node(Seen::Ok, &[Skipped])]), Overall::Unclear);
        assert_eq!(overall(vec![node(Seen::Ok, &[])]), Overall::Unclear, "nothing was shown");
        assert_eq!(overall(vec![]), Overall::Unclear);
    }

    /// Upstream's script may be changed by everybody; that says nothing of a power cut.
    #[test]
    fn who_can_change_the_files_is_a_claim_of_its_own() {
        let finding = |check: &str, outcome| crate::checks::Finding {
            check: check.to_owned(),
            node: None,
            boot: None,
            outcome,
            message: "0777".to_owned(),
            evidence: vec![],
            advice: None,
        };
        let trial = "vendor/loads@x".to_owned();
        for (loaded, verdict) in [
            (Outcome::Pass, Verdict::Pass),
            (Outcome::Fail, Verdict::Fail),
            (Outcome::Inconclusive, Verdict::Inconclusive),
        ] {
            let mut result = TrialResult::new(&trial, Path::new("x"), Verdict::Fail, None);
            result.findings = vec![finding("module.replaced", loaded), finding(MODES, Outcome::Fail)];
            let claim = Claim::of("it loads", &trial, Some(&result));
            assert_eq!((claim.verdict, claim.evidence), (verdict, vec!["0777 (module.replaced)".to_owned()]));
            let modes = Claim::of_modes([(&trial, &result)].into_iter()).expect("a claim");
            assert_eq!((modes.verdict, modes.evidence), (Verdict::Fail, vec!["0777 (config.modes)".to_owned()]));
        }
    }

    #[test]
    fn a_trial_that_never_ran_proves_nothing() {
        let claim = Claim::of("it loads", "vendor/loads@x", None);
        assert_eq!((claim.verdict, claim.reason.as_deref()), (Verdict::Skipped, Some("it never ran")));
    }
}
