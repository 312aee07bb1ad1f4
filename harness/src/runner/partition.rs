//! A part of the trials, for runs on several machines.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The K-th of N parts, by a hash of the trial's name: stable when trials come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    part: u64,
    of: u64,
}

/// A partition that is not `hash:K/N`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no partition: write hash:K/N with K from 1 to N, such as hash:1/4")]
pub struct BadPartition(String);

impl Partition {
    /// Whether a trial belongs to this part.
    pub fn holds(&self, trial: &str) -> bool {
        let hash = Sha256::digest(trial.as_bytes());
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % self.of == self.part - 1
    }
}

impl FromStr for Partition {
    type Err = BadPartition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (part, of) = text.strip_prefix("hash:")?.split_once('/')?;
            let (part, of) = (part.parse().ok()?, of.parse().ok()?);
            (1..=of).contains(&part).then_some(Self { part, of })
        };
        parse().ok_or_else(|| BadPartition(text.to_owned()))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hash:{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_belongs_to_exactly_one_part() {
        let parts: Vec<Partition> = (1..=3).map(|k| format!("hash:{k}/3").parse().expect("a partition")).collect();
        for number in 0..100 {
            let name = format!("family/scenario-{number}@debian-13");
            assert_eq!(parts.iter().filter(|part| part.holds(&name)).count(), 1, "{name}");
        }
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        for bad in ["", "1/4", "hash:0/4", "hash:5/4", "hash:1/0", "hash:a/b", "slice:1/2"] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }
}
