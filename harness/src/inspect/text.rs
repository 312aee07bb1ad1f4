//! An inspection for a person.

use std::fmt::Write;

use super::{Finding, Inspection, Outcome};
use crate::text::{number, printable};

/// Head, findings and their sum, as lines.
pub fn describe(inspection: &Inspection) -> String {
    let mut text = String::new();
    let image = &inspection.image;
    let _ = writeln!(text, "{}", image.reference);
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<9} {}", printable(&value));
        }
    };
    fact("digest", image.digest.clone());
    fact("manifest", image.manifest_digest.clone().filter(|own| Some(own) != image.digest.as_ref()));
    fact("image id", image.config_digest.clone().filter(|_| image.manifest_digest.is_none()));
    fact("platform", image.platform.as_ref().map(ToString::to_string));
    fact(
        "size",
        image.compressed_bytes.map(|pulled| match image.bytes {
            Some(bytes) => format!("{} to pull, {} on the node", bytes_text(pulled), bytes_text(bytes)),
            None => format!("{} to pull", bytes_text(pulled)),
        }),
    );
    let kernel = &inspection.kernel;
    let known = kernel.directory.as_ref().map_or_else(String::new, |dir| format!(", known from {}", dir.display()));
    fact("kernel", kernel.release.as_ref().map(|release| format!("{release}{known}")));
    for module in &inspection.modules {
        let version = module.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
        let sources = module.srcversion.as_ref().map_or_else(String::new, |sum| format!(" (srcversion {sum})"));
        fact("module", Some(format!("{}{version}{sources}", module.name)));
    }
    let width = inspection.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in &inspection.findings {
        describe_finding(&mut text, finding, width);
    }
    let _ = writeln!(text, "{}", counts(inspection));
    text
}

/// How much was found, in a line.
pub(crate) fn counts(inspection: &Inspection) -> String {
    format!(
        "{}, {}, {} not checked, {} ok",
        number(inspection.count(Outcome::Error), "error"),
        number(inspection.count(Outcome::Warning), "warning"),
        inspection.count(Outcome::NotChecked),
        inspection.count(Outcome::Ok)
    )
}

fn describe_finding(text: &mut String, finding: &Finding, width: usize) {
    let mark = match finding.outcome {
        Outcome::Ok => "✓",
        Outcome::Warning => "!",
        Outcome::Error => "✗",
        Outcome::NotChecked => "·",
    };
    let _ = writeln!(text, "  {mark} {:<width$} {}", finding.check, printable(&finding.message));
    for evidence in &finding.evidence {
        let _ = writeln!(text, "      {}", printable(evidence));
    }
    if let Some(why) = &finding.why {
        let _ = writeln!(text, "      on the node: {}", printable(why));
    }
    if let Some(advice) = &finding.advice {
        let _ = writeln!(text, "      → {}", printable(advice));
    }
    if let Some(source) = &finding.source {
        let _ = writeln!(text, "      source: {source}");
    }
}

/// A number of bytes for a person.
pub(super) fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        10_485_760..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_words_cannot_steer_a_terminal() {
        let finding = Finding::error("image.layout", "bad \x1b[2J name").seen(["a\nb"]);
        let mut text = String::new();
        describe_finding(&mut text, &finding, 12);
        assert!(!text.contains('\x1b') && text.lines().count() == 2, "{text:?}");
    }

    #[test]
    fn sizes_are_told_in_few_digits() {
        assert_eq!(bytes_text(9), "9 bytes");
        assert_eq!(bytes_text(200 << 20), "200 MiB");
        assert_eq!(bytes_text(11 << 30), "11 GiB");
    }
}
