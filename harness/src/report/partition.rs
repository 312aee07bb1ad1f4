//! A part of the trials, for runs on several machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The K-th of N parts of the selected trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^(hash|slice):[1-9][0-9]*/[1-9][0-9]*$"))]
pub struct Partition {
    cut: Cut,
    part: u64,
    of: u64,
}

/// How trials are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// By a hash of the trial's name: it stays where it is when other trials come and go.
    Hash,
    /// In turn, by the trial's place among all: the parts are as large as each other, give or take one.
    Slice,
}

/// How many parts there can be: as many as a Kubernetes Job has pods.
const MOST: u64 = 100_000;

/// A partition that is neither `hash:K/N` nor `slice:K/N`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no partition: write hash:K/N or slice:K/N with K from 1 to N, and N at most {MOST}, such as hash:1/4"
)]
pub struct BadPartition(String);

impl Cut {
    fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Slice => "slice",
        }
    }
}

impl Partition {
    /// Whether a trial belongs to this part. `index` is its place, from 0, among all trials that are selected, in the
    /// order of their names.
    pub fn holds(&self, index: usize, trial: &str) -> bool {
        self.beside(index, trial) == *self
    }

    /// The part beside this one, or this one, that a trial belongs to.
    pub fn beside(&self, index: usize, trial: &str) -> Self {
        let number = match self.cut {
            Cut::Hash => {
                let hash = Sha256::digest(trial.as_bytes());
                hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            }
            Cut::Slice => index as u64,
        };
        Self { part: number % self.of + 1, ..*self }
    }

    /// All parts that trials are cut into where this is one.
    pub fn all(&self) -> impl Iterator<Item = Self> + use<> {
        let Self { cut, of, .. } = *self;
        (1..=of).map(move |part| Self { cut, part, of })
    }

    /// Whether both are parts of trials that are cut the same way.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.cut, self.of) == (other.cut, other.of)
    }
}

impl FromStr for Partition {
    type Err = BadPartition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (word, parts) = text.split_once(':')?;
            let cut = [Cut::Hash, Cut::Slice].into_iter().find(|cut| cut.word() == word)?;
            let (part, of) = parts.split_once('/')?;
            let (part, of) = (part.parse().ok()?, of.parse().ok()?);
            ((1..=of).contains(&part) && of <= MOST).then_some(Self { cut, part, of })
        };
        parse().ok_or_else(|| BadPartition(text.to_owned()))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.cut.word(), self.part, self.of)
    }
}

impl TryFrom<String> for Partition {
    type Error = BadPartition;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Partition> for String {
    fn from(partition: Partition) -> Self {
        partition.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(text: &str) -> Partition {
        text.parse().expect("a partition")
    }

    #[test]
    fn every_trial_belongs_to_exactly_one_part() {
        for cut in ["hash", "slice"] {
            let parts: Vec<Partition> = partition(&format!("{cut}:2/3")).all().collect();
            assert_eq!(
                parts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                [format!("{cut}:1/3"), format!("{cut}:2/3"), format!("{cut}:3/3")]
            );
            for index in 0..100 {
                let name = format!("family/scenario-{index}@debian-13");
                assert_eq!(parts.iter().filter(|part| part.holds(index, &name)).count(), 1, "{name}");
            }
        }
    }

    #[test]
    fn a_slice_deals_out_in_turn_and_a_hash_stays_with_the_name() {
        let dealt: Vec<usize> = (0..9).filter(|index| partition("slice:2/4").holds(*index, "any")).collect();
        assert_eq!(dealt, [1, 5]);
        let part = partition("hash:1/4");
        assert!((0..9).all(|index| part.holds(index, "a/b@c") == part.holds(0, "a/b@c")));
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        for bad in [
            "",
            "1/4",
            "hash:0/4",
            "hash:5/4",
            "hash:1/0",
            "hash:a/b",
            "slice:3/2",
            "count:1/2",
            "hash:1",
            "hash:1/100001",
        ] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_of_another_cut_are_not_beside_each_other() {
        assert!(partition("hash:1/4").is_beside(&partition("hash:4/4")));
        for other in ["hash:1/5", "slice:1/4"] {
            assert!(!partition("hash:1/4").is_beside(&partition(other)), "{other}");
        }
        assert_eq!(serde_json::to_string(&partition("slice:3/8")).expect("JSON"), "\"slice:3/8\"");
        assert!(serde_json::from_str::<Partition>("\"slice:9/8\"").is_err());
    }
}
