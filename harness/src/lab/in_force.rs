//! The MachineConfigs of a cluster as they come and go.

use std::collections::BTreeMap;

use super::under_test::UnderTest;

/// Those that are in force.
pub(super) struct InForce<'c> {
    all: &'c [UnderTest],
    now: Vec<&'c UnderTest>,
    /// The last one of each name that the cluster has had, by its place.
    last: BTreeMap<&'c str, usize>,
}

impl<'c> InForce<'c> {
    /// All but those that come later.
    pub(super) fn first(all: &'c [UnderTest]) -> Self {
        let first = all.iter().enumerate().filter(|(_, one)| !one.later);
        let last = first.map(|(at, one)| (one.config.name.as_str(), at)).collect();
        Self { all, now: all.iter().filter(|one| !one.later).collect(), last }
    }

    pub(super) fn now(&self) -> &[&'c UnderTest] {
        &self.now
    }

    /// The cluster gets the one of this name, or the next one of that name in the place of the one that it has; the last one
    /// comes again. False where none is called so.
    pub(super) fn apply(&mut self, name: &str) -> bool {
        let mut of_name = self.all.iter().enumerate().filter(|(_, one)| one.config.name == name);
        let next = match self.last.get(name) {
            Some(before) => of_name.clone().find(|(at, _)| at > before).or_else(|| of_name.next_back()),
            None => of_name.next(),
        };
        let Some((at, one)) = next else { return false };
        self.now.retain(|other| other.config.name != name);
        self.now.push(one);
        self.last.insert(&one.config.name, at);
        true
    }

    /// The one of this name is removed. False where none is called so.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.now.retain(|other| other.config.name != name);
        self.all.iter().any(|one| one.config.name == name)
    }
}
