//! What a check, a rule or a pattern is about, whoever has it: trials, `day1 inspect` or `day1 lint`.

use crate::scenario::nearest;
use crate::{checks, inspect, lint};

/// Something with an id that a person may ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its stable id.
    pub id: String,
    /// Who has it.
    pub of: Of,
    /// What there is to know, each with its name, in the order of reading.
    pub parts: Vec<(&'static str, String)>,
}

/// Who makes a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// `day1 run`, `day1 verify` and `day1 judge`.
    Trials,
    /// The check `journal.clean`.
    JournalClean,
    /// `day1 inspect`.
    Inspect,
    /// `day1 lint`.
    Lint,
}

impl Of {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Trials, Self::JournalClean, Self::Inspect, Self::Lint];

    /// What one of them is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Trials => "check of trials",
            Self::JournalClean => "pattern of the check journal.clean",
            Self::Inspect => "check of day1 inspect",
            Self::Lint => "rule of day1 lint",
        }
    }

    /// What all of them are called.
    pub fn nouns(self) -> String {
        self.noun().replacen(" of", "s of", 1)
    }
}

/// There is no such id.
#[derive(Debug, thiserror::Error)]
#[error("there is no check or rule `{id}`{}`day1 explain` lists all", match .near {
    Some(near) => format!(": did you mean `{near}`? "),
    None => "; ".to_owned(),
})]
pub struct Unknown {
    /// What was asked for.
    pub id: String,
    /// What it most likely means.
    pub near: Option<String>,
}

impl Topic {
    /// What it is about, in a few words.
    pub fn summary(&self) -> &str {
        let text = self.parts.first().map_or("", |(_, text)| text.as_str());
        // Of a sentence the part before its list or its reason.
        text.split_once([':', ';']).map_or(text, |(head, _)| head).trim_end_matches('.')
    }

    fn of_rule(rule: &lint::Rule) -> Self {
        let parts = vec![
            ("Finds", format!("{}.", rule.finds)),
            ("Why", rule.why.to_owned()),
            ("Level", rule.level.word().to_owned()),
            ("What to do", rule.help.to_owned()),
            ("Source", rule.source.to_owned()),
        ];
        Self { id: rule.id.to_owned(), of: Of::Lint, parts }
    }

    fn of_inspection(check: &inspect::Check) -> Self {
        let more = "Each finding says what comes of it on a node, what to do, and where that is written.";
        let parts = vec![("Finds", format!("{}.", check.finds)), ("More", more.to_owned())];
        Self { id: check.id.to_owned(), of: Of::Inspect, parts }
    }
}

/// Everything that can be explained, in the order of [`Of::ALL`].
pub fn topics() -> Vec<Topic> {
    let trials =
        checks::ALL.iter().map(|check| Topic { id: check.id.to_owned(), of: Of::Trials, parts: check.parts() });
    let patterns =
        checks::BAD_PATTERNS.iter().map(|bad| Topic { id: bad.id(), of: Of::JournalClean, parts: bad.parts() });
    let inspections = inspect::CHECKS.iter().map(Topic::of_inspection);
    let rules = lint::ALL.iter().map(|rule| Topic::of_rule(rule));
    trials.chain(patterns).chain(inspections).chain(rules).collect()
}

/// What an id is about; else the nearest one.
pub fn topic(id: &str) -> Result<Topic, Unknown> {
    let all = topics();
    if let Some(found) = all.iter().find(|topic| topic.id == id) {
        return Ok(found.clone());
    }
    let ids = || all.iter().map(|topic| topic.id.as_str());
    // A part of an id is a likelier mistake than letters that differ.
    let part = ids().find(|one| !id.is_empty() && one.split(['.', '/']).any(|word| word == id));
    let near = part.or_else(|| nearest(id, ids())).map(str::to_owned);
    Err(Unknown { id: id.to_owned(), near })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_id_is_somebody_s_alone_and_is_found() {
        let all = topics();
        let ids: BTreeSet<&str> = all.iter().map(|topic| topic.id.as_str()).collect();
        assert_eq!(ids.len(), all.len());
        for one in &all {
            assert_eq!(topic(&one.id).expect("found"), *one);
            assert!(!one.summary().is_empty() && one.parts.iter().all(|(_, text)| !text.is_empty()), "{}", one.id);
        }
    }

    #[test]
    fn a_wrong_id_names_the_nearest() {
        let near = |id: &str| topic(id).expect_err("no such id").near;
        assert_eq!(near("unit.befor").as_deref(), Some("unit.before"));
        assert_eq!(near("oops").as_deref(), Some("journal.clean/oops"));
        assert_eq!(near("journal.clean/opps").as_deref(), Some("journal.clean/oops"));
        assert_eq!(near("podman_wait").as_deref(), Some("podman-wait"));
        assert_eq!(near("nothing-like-it-at-all"), None);
    }
}
