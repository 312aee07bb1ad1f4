//! An event at which a run stops a node, as a person names it on the command line.

use std::fmt;
use std::str::FromStr;

use super::Trigger;

/// An event at which a node is stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Breakpoint {
    text: String,
    /// The event.
    pub when: Trigger,
    /// In which boot, from 1; none for the first where it is seen.
    pub boot: Option<u32>,
}

/// It is no event.
#[derive(Debug, thiserror::Error)]
#[error(
    "{why}\nAn event is what a scenario's `when` takes, such as 'phase: settled', 'unit: {{name: load, is: failed}}', \
     'module: {{name: e1000, is: removed}}' or 'journal: {{matches: pulling}}'"
)]
pub struct BadEvent {
    why: String,
}

impl Breakpoint {
    /// Only in that boot, from 1.
    pub fn in_boot(self, boot: u32) -> Self {
        Self { boot: Some(boot), ..self }
    }
}

impl FromStr for Breakpoint {
    type Err = BadEvent;

    fn from_str(text: &str) -> Result<Self, BadEvent> {
        let bad = |why: String| BadEvent { why };
        // By way of JSON's data model, as scenarios: one key is one of the events, without a tag of YAML's.
        let value: serde_json::Value = serde_yaml::from_str(text).map_err(|error| bad(error.to_string()))?;
        let when = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
        Ok(Self { text: text.trim().to_owned(), when, boot: None })
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{ModuleMoment, Phase};

    #[test]
    fn an_event_is_named_as_in_a_scenario() {
        let phase: Breakpoint = "phase: settled".parse().expect("an event");
        assert_eq!((phase.when, phase.boot), (Trigger::Phase(Phase::Settled), None));
        for text in ["module: {name: e1000, is: removed}", "{module: {name: e1000, is: removed}}"] {
            let event: Breakpoint = text.parse().expect("an event");
            assert!(matches!(&event.when, Trigger::Module(module) if module.is == ModuleMoment::Removed), "{event}");
            assert_eq!(event.to_string(), format!("`{text}`"));
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_would_be_right() {
        for text in ["settled", "phase: done", "module: {name: e1000}", "unit: {name: x, is: failed, boot: 2}", "{", ""]
        {
            let error = text.parse::<Breakpoint>().expect_err(text).to_string();
            assert!(error.contains("'phase: settled'"), "{text}: {error}");
        }
        let error = "phase: done".parse::<Breakpoint>().expect_err("no phase").to_string();
        assert!(error.contains("`done`") && error.contains("`settled`"), "{error}");
    }
}
