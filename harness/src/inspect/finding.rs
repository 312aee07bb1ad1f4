//! What an inspection comes to.

use serde::{Deserialize, Serialize};

use super::image::Platform;

/// Changes when [`Inspection`]'s JSON changes in a way that its readers must know of. New fields and new checks don't.
pub const INSPECTION_VERSION: u32 = 1;

/// What a check of an image found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it must be.
    Ok,
    /// It may go wrong on some nodes, or elsewhere than in this project's MachineConfigs.
    Warning,
    /// A node will not load the module, or not the vendor's.
    Error,
    /// Something that the check needs is missing here.
    NotChecked,
}

/// One thing that one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's id, such as `module.vermagic`. It stays.
    pub check: String,
    /// What came of it.
    pub outcome: Outcome,
    /// One line for a person.
    pub message: String,
    /// What was seen: paths, and the values on both sides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What comes of it on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Where the rule is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// More evidence of one kind is counted, not told.
const EVIDENCE: usize = 8;
/// Bytes of a line: a path may have as many.
const LINE: usize = 4096;

impl Finding {
    fn new(check: &str, outcome: Outcome, message: impl Into<String>) -> Self {
        debug_assert!(super::CHECKS.iter().any(|one| one.id == check), "`{check}` is not in inspect/checks/table.rs");
        let (check, message) = (check.to_owned(), short(message.into()));
        Self { check, outcome, message, evidence: Vec::new(), why: None, advice: None, source: None }
    }

    pub(super) fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, Outcome::Ok, message)
    }

    pub(super) fn warning(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, Outcome::Warning, message)
    }

    pub(super) fn error(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, Outcome::Error, message)
    }

    /// `reason` says what is missing.
    pub(super) fn not_checked(check: &str, reason: impl Into<String>) -> Self {
        Self::new(check, Outcome::NotChecked, format!("not checked: {}", reason.into()))
    }

    pub(super) fn seen(mut self, evidence: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut evidence = evidence.into_iter();
        self.evidence.extend(evidence.by_ref().take(EVIDENCE).map(|text| short(text.into())));
        let more = evidence.count();
        if more > 0 {
            self.evidence.push(format!("and {more} more"));
        }
        self
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// An image's words may be of any length, and a report is read by a person.
fn short(mut text: String) -> String {
    if text.len() > LINE {
        text.truncate((0..=LINE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        text.push('…');
    }
    text
}

/// What was inspected, and all that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// [`INSPECTION_VERSION`].
    pub version: u32,
    /// The image.
    pub image: ImageFacts,
    /// The kernel that it is for.
    pub kernel: KernelFacts,
    /// The modules of the image that a node loads, in their order; the one that was asked for is the last, but for
    /// those that its softdeps name behind it.
    pub modules: Vec<ModuleFacts>,
    /// What each check found. A check may find several things.
    pub findings: Vec<Finding>,
}

/// What is known of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// As it was named, with the tag that was asked for.
    pub reference: String,
    /// `sha256:…` of what the reference names; absent for `docker-archive:` and where it could not be read.
    pub digest: Option<String>,
    /// `sha256:…` of the manifest of the nodes' platform.
    pub manifest_digest: Option<String>,
    /// `sha256:…` of its config, which container engines call the image's id.
    #[serde(default)]
    pub config_digest: Option<String>,
    /// What its config says that it runs on.
    pub platform: Option<Platform>,
    /// Bytes of its layers as they are pulled.
    pub compressed_bytes: Option<u64>,
    /// Bytes of its layers, decompressed.
    pub bytes: Option<u64>,
}

/// What is known of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// As `uname -r` prints it; absent where nothing tells it.
    pub release: Option<String>,
    /// The directory that tells of it; absent where there is none.
    pub directory: Option<std::path::PathBuf>,
}

/// What a module says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleFacts {
    /// Its name, with underscores.
    pub name: String,
    /// Its file in the image.
    pub path: String,
    /// `MODULE_VERSION`.
    pub version: Option<String>,
    /// What `/sys/module/NAME/srcversion` shows once it is loaded.
    pub srcversion: Option<String>,
    /// The kernel and the options that it was built for.
    pub vermagic: Option<String>,
    /// `MODULE_LICENSE`.
    pub license: Option<String>,
    /// Who signed it.
    pub signer: Option<String>,
    /// What udev finds it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

impl Inspection {
    /// Nothing is wrong: no error. Warnings and what was not checked are no errors.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.outcome != Outcome::Error)
    }

    /// How many findings have an outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_an_end() {
        let finding = Finding::ok("image.size", "ä".repeat(10_000)).seen(["b".repeat(10_000), "c".to_owned()]);
        assert_eq!((finding.message.len(), finding.evidence[0].len()), (LINE + 3, LINE + 3));
        assert!(finding.message.ends_with("ä…") && finding.evidence[1] == "c");
    }
}
