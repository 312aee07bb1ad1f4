//! Snoozes: trials that are known to fail, why, where that is tracked, and for how long it is no news.

use std::fmt;
use std::path::Path as FsPath;

use schemars::JsonSchema;
use serde::Deserialize;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime};
use wildmatch::WildMatch;

use super::decode::{decode, nearest};
use super::load::read;
use super::{Document, JUDGED_UNASKED, Mistakes, Path, Scenario, mutant};

/// The file's name, beside the families of scenarios.
pub const SNOOZES_FILE: &str = "snoozes.yaml";

/// Trials that are known to fail.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Snooze {
    /// Which trials: a scenario's id, and behind `@` the node image where only some are meant, such as
    /// `power-loss/*@debian-13`, with any of its kernels, or `power-loss/*@debian-13,6.12*`, with some. `*` stands for any
    /// text, `?` for one character.
    pub pattern: TrialPattern,
    /// The checks that may fail, such as `module.replaced`; all, if none is named.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Why, for a person.
    pub reason: String,
    /// Where it is tracked.
    pub tracker: Tracker,
    /// The last day that it holds, in UTC.
    pub expires: Day,
    /// `file:line` of the entry.
    #[serde(skip)]
    pub place: String,
}

impl Snooze {
    /// Whether it has ended.
    pub fn has_expired(&self, today: Day) -> bool {
        today > self.expires
    }

    /// Whether a failure of this check is what it is about.
    pub fn is_about(&self, check: &str) -> bool {
        self.checks.is_empty() || self.checks.iter().any(|one| one == check)
    }
}

/// The snoozes of a file, in its order. Each is about at least one of the scenarios, and of the checks that they are held
/// against: what has no trial any more is a mistake, for nobody would miss it otherwise.
pub fn snoozes(path: &FsPath, scenarios: &[Scenario]) -> Result<Vec<Snooze>, Mistakes> {
    let text = read(path)?;
    if Document::parse_all(path, text.as_str())?.is_empty() {
        return Ok(vec![]);
    }
    let mut document = Document::parse(path, text)?;
    let decoded = decode::<Vec<Snooze>>(&mut document);
    let mut mistakes = decoded.mistakes;
    let mut snoozes = decoded.value.unwrap_or_default();
    for (index, snooze) in snoozes.iter_mut().enumerate() {
        let place = Path::default().index(index);
        let line = document.line_column(document.span(&place).start).0;
        snooze.place = format!("{}:{line}", path.display());
        if snooze.reason.trim().is_empty() {
            let help = "Say what is wrong, so that whoever reads the run knows it.";
            mistakes.push(document.mistake(&place.key("reason"), "no reason is given", help));
        }
        let about: Vec<&Scenario> = scenarios.iter().filter(|one| snooze.pattern.is_of(&one.id())).collect();
        if about.is_empty() {
            let ids: Vec<String> = scenarios.iter().map(Scenario::id).collect();
            let near = nearest(&snooze.pattern.scenario, ids.iter().map(String::as_str));
            let help = near.map_or_else(
                || "`day1 run --list --all` shows the trials; take the entry out if its scenario is gone.".to_owned(),
                |near| format!("Did you mean `{near}`?"),
            );
            let message = format!("no scenario is called `{}`", snooze.pattern.scenario);
            mistakes.push(document.mistake(&place.key("pattern"), message, help));
            continue;
        }
        let mut judged: Vec<&str> = about.iter().flat_map(|one| mutant::judged(one)).chain(JUDGED_UNASKED).collect();
        judged.sort_unstable();
        judged.dedup();
        for (number, check) in snooze.checks.iter().enumerate() {
            if !judged.contains(&check.as_str()) {
                let help = nearest(check, judged.iter().copied()).map_or_else(
                    || format!("They are held against {}.", judged.join(", ")),
                    |near| format!("Did you mean `{near}`?"),
                );
                let message = format!("no trial of `{}` is held against `{check}`", snooze.pattern);
                mistakes.push(document.mistake(&place.key("checks").index(number), message, help));
            }
        }
    }
    if mistakes.is_empty() { Ok(snoozes) } else { Err(Mistakes::new(&document, mistakes)) }
}

/// Which trials: `SCENARIO`, or `SCENARIO@NODE`, each with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct TrialPattern {
    scenario: String,
    node: Option<String>,
}

impl TrialPattern {
    /// Whether a trial of this name is meant.
    pub fn matches(&self, trial: &str) -> bool {
        let (id, node) = trial.rsplit_once('@').unwrap_or((trial, ""));
        let image = node.split_once(',').map_or(node, |(image, _)| image);
        let is_meant = |pattern: &str| [node, image].iter().any(|name| WildMatch::new(pattern).matches(name));
        self.is_of(id) && self.node.as_deref().is_none_or(is_meant)
    }

    /// The pattern of node images, where only some are meant.
    pub fn node_image(&self) -> Option<&str> {
        self.node.as_deref().map(|node| node.split_once(',').map_or(node, |(image, _)| image))
    }

    /// Whether trials of the scenario with this id may be meant.
    fn is_of(&self, id: &str) -> bool {
        WildMatch::new(&self.scenario).matches(id)
    }
}

impl TryFrom<String> for TrialPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (scenario, node) = match text.rsplit_once('@') {
            Some((scenario, node)) => (scenario.to_owned(), Some(node.to_owned())),
            None => (text.clone(), None),
        };
        if scenario.is_empty() || node.as_deref() == Some("") {
            return Err(format!(
                "`{text}` is no pattern of trials\nWrite `FAMILY/NAME`, `FAMILY/*` or `FAMILY/*@NODE`."
            ));
        }
        Ok(Self { scenario, node })
    }
}

impl fmt::Display for TrialPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scenario)?;
        self.node.iter().try_for_each(|node| write!(f, "@{node}"))
    }
}

/// The address of an issue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Tracker(String);

impl TryFrom<String> for Tracker {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_address = url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        let wrong =
            || format!("`{text}` is no address\nWrite where it is tracked, such as `https://github.com/…/issues/1`.");
        is_address.then_some(()).ok_or_else(wrong)?;
        Ok(Self(text))
    }
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Day(Date);

impl Day {
    /// The day that it is now, in UTC.
    pub fn today() -> Self {
        Self(OffsetDateTime::now_utc().date())
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let date = Date::parse(&text, &Iso8601::DATE).ok().filter(|date| date.to_string() == text);
        date.map(Self).ok_or_else(|| format!("`{text}` is no day\nWrite year, month and day, such as `2027-01-31`."))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
- pattern: power-loss/*@debian-13
  checks: [module.replaced]
  reason: a half-written image store is taken for a whole one
  tracker: https://example.com/issues/1
  expires: 2026-12-31
";

    fn of(text: &str) -> Result<Vec<Snooze>, String> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(SNOOZES_FILE);
        std::fs::write(&path, text).expect("written");
        let scenarios = super::super::list(&FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios"));
        snoozes(&path, &scenarios.expect("listed").scenarios).map_err(|mistakes| mistakes.plain())
    }

    fn day(text: &str) -> Day {
        Day::try_from(text.to_owned()).expect("a day")
    }

    #[test]
    fn a_snooze_holds_until_the_end_of_its_last_day() {
        let snooze = of(GOOD).expect("good").remove(0);
        assert!(!snooze.has_expired(day("2026-12-31")));
        assert!(snooze.has_expired(day("2027-01-01")));
        assert!(snooze.is_about("module.replaced") && !snooze.is_about("nic.driver"));
        assert!(snooze.place.ends_with("snoozes.yaml:1"), "{}", snooze.place);
        let all = of(&GOOD.replace("  checks: [module.replaced]\n", "")).expect("good").remove(0);
        assert!(all.is_about("nic.driver"));
        assert_eq!(of("# nothing is known to fail\n").expect("good"), vec![]);
    }

    #[test]
    fn a_pattern_is_held_against_scenario_and_node_each() {
        let pattern = |text: &str| TrialPattern::try_from(text.to_owned()).expect("a pattern");
        for (text, trial, matches) in [
            ("pull/late", "pull/late@debian-13", true),
            ("pull/late", "pull/late@debian-13,6.12.1", true),
            ("pull/late", "pull/later@debian-13", false),
            ("pull/*", "pull/late@debian-13", true),
            ("*", "pull/late@debian-13", true),
            ("pull/late@debian-13", "pull/late@debian-13-arm64", false),
            ("*@debian-1?", "pull/late@debian-13", true),
            ("*@debian-13,*", "pull/late@debian-13,6.12.1", true),
            ("*@debian-13", "pull/late@debian-13,6.12.1+deb13", true),
            ("*@debian-13,6.12*", "pull/late@debian-13,6.13.1", false),
            ("*@debian-13,6.12*", "pull/late@debian-13", false),
            // No character classes: rows of a matrix are named in brackets.
            ("registry/a[secret=*]", "registry/a[secret=wrong]@debian-13", true),
        ] {
            assert_eq!(pattern(text).matches(trial), matches, "{text} and {trial}");
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (from, to, told) in [
            ("power-loss/*@", "power-loss/gone@", "snoozes.yaml:1:12: no scenario is called `power-loss/gone`"),
            ("power-loss/*", "pull/pull-then-rebot", "Did you mean `pull/pull-then-reboot`?"),
            ("module.replaced", "module.replace", "snoozes.yaml:2:12: no trial of `power-loss/*@debian-13` is held"),
            ("module.replaced", "module.replace", "Did you mean `module.replaced`?"),
            ("a half-written image store is taken for a whole one", "' '", "snoozes.yaml:3:11: no reason is given"),
            ("https://example.com/issues/1", "JIRA-1", "snoozes.yaml:4:12: `JIRA-1` is no address"),
            ("2026-12-31", "2026-02-30", "snoozes.yaml:5:12: `2026-02-30` is no day"),
            ("2026-12-31", "2026-W02-1", "`2026-W02-1` is no day"),
            ("expires: 2026-12-31", "until: 2026-12-31", "snoozes.yaml:5:3: there is no key `until` here"),
            ("  expires: 2026-12-31\n", "", "the key `expires` is missing"),
            ("power-loss/*@debian-13", "'@debian-13'", "is no pattern of trials"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = of(&GOOD.replace(from, to)).expect_err(to);
            assert!(error.contains(told), "{told}: {error}");
        }
        let two = of(&GOOD.replace("power-loss", "powr-loss").replace("2026-12-31", "soon")).expect_err("refused");
        assert_eq!(two.lines().count(), 1, "of an entry that can't be read, only that is told: {two}");
    }

    #[test]
    fn what_is_judged_without_being_asked_for_can_be_snoozed() {
        assert!(of(&GOOD.replace("module.replaced", "kernel.locked-down, journal.clean")).is_ok());
    }
}
