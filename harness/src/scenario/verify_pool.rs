//! Cross-references and contradictions of a scenario with several nodes.

use std::collections::BTreeSet;

use super::verify::{Verifier, at};
use super::{Expectations, Id, MOST_NODES, Path, PoolAction, PoolStep, Rollout, Start, WORKER};

impl<'s> Verifier<'s> {
    pub(super) fn pool(&mut self) {
        if self.spec.nodes.is_empty() && self.is_whole(&at("nodes")) {
            self.alone();
            return;
        }
        let spec = self.spec;
        self.unique(&at("nodes"), "name", spec.nodes.iter().map(|node| node.name.as_str()));
        self.unique(&at("pools"), "name", spec.pools.iter().map(|pool| pool.name.as_str()));
        if spec.nodes.len() > MOST_NODES {
            let help = format!("Write at most {MOST_NODES}.");
            self.wrong(&at("nodes"), format!("{} nodes are more than a host carries", spec.nodes.len()), help);
        }
        if spec.start == Start::Pulled {
            let help = "Write `start: template` or `start: cold`.";
            self.wrong(&at("start"), "a checkpoint is one node's, and here are several".to_owned(), help);
        }
        let pools = self.pools();
        for (index, pool) in spec.pools.iter().enumerate() {
            let place = at("pools").index(index);
            self.known(&at("nodes"), &place.key("name"), "role of a node", pool.name.as_str(), pools.iter().copied());
            if pool.max_unavailable == 0 {
                let help = "Write at least 1; a pool that is not to change is `paused: true`.";
                self.wrong(&place.key("max-unavailable"), "no node may ever be away".to_owned(), help);
            }
        }
        for (index, boot) in spec.boots.iter().enumerate() {
            if !boot.then.is_empty() {
                let help = "Say in `steps` what is done to the pool, and in `happens` what happens to a node.";
                let place = at("boots").index(index).key("then");
                self.wrong(&place, "these are the first boots of every node".to_owned(), help);
            }
        }
        for (index, happening) in spec.happens.iter().enumerate() {
            let place = at("happens").index(index);
            match &happening.node {
                Some(node) => self.node_called(&place.key("node"), node),
                None => {
                    let help = "Say `node:` with its name.";
                    self.wrong(&place, "it does not say to which of the nodes it happens".to_owned(), help);
                }
            }
        }
        for (index, step) in spec.steps.iter().enumerate() {
            self.step(&at("steps").index(index), step);
        }
    }

    /// What only goes with several nodes.
    fn alone(&mut self) {
        let spec = self.spec;
        for (key, is_empty) in [("steps", spec.steps.is_empty()), ("pools", spec.pools.is_empty())] {
            if !is_empty {
                let help = "Name the nodes: `nodes: [{name: worker-1}, …]`.";
                self.wrong(&at(key), format!("`{key}` without several nodes"), help);
            }
        }
        for (index, _) in spec.happens.iter().enumerate().filter(|(_, one)| one.node.is_some()) {
            let help = "Leave it out: there is one node.";
            self.wrong(&at("happens").index(index).key("node"), "`node` without several nodes".to_owned(), help);
        }
    }

    /// The roles that nodes have or get, each of which is a pool's.
    fn pools(&self) -> BTreeSet<&'s str> {
        let labels = self.spec.steps.iter().flat_map(|step| step.actions.iter()).filter_map(|action| match action {
            PoolAction::Label(label) => Some(&label.roles),
            _ => None,
        });
        let roles = self.spec.nodes.iter().map(|node| &node.roles).chain(labels).flatten();
        roles.map(Id::as_str).chain([WORKER]).collect()
    }

    fn node_called(&mut self, place: &Path, name: &Id) {
        let names: Vec<&str> = self.spec.nodes.iter().map(|node| node.name.as_str()).collect();
        self.known(&at("nodes"), place, "node", name.as_str(), names);
    }

    fn step(&mut self, place: &Path, step: &PoolStep) {
        if step.actions.is_empty() {
            let help = "Say `do:`, such as `do: {apply: NAME}`.";
            self.wrong(place, "nothing is done in this step".to_owned(), help);
        }
        let pools = self.pools();
        for action in step.actions.iter() {
            let place = place.key("do");
            match action {
                PoolAction::Pause(pool) | PoolAction::Resume(pool) => {
                    self.known(&at("nodes"), &place, "pool", pool.as_str(), pools.iter().copied());
                }
                PoolAction::Label(label) => {
                    self.node_called(&place, &label.node);
                    if label.roles.is_empty() && label.versions.is_empty() {
                        let help = "Give `roles`, `versions`, or both.";
                        self.wrong(&place, "this label says nothing".to_owned(), help);
                    }
                }
                PoolAction::Link(link) => self.node_called(&place, &link.node),
                PoolAction::Module(module) => self.repository(&place, &module.image),
                PoolAction::Apply(_) | PoolAction::Remove(_) | PoolAction::OsUpdate(_) => {}
            }
        }
        if let Some(rollout) = &step.rollout {
            self.rollout(&place.key("rollout"), rollout);
        }
        let expect = place.key("expect");
        for name in step.expect.states.keys() {
            self.node_called(&expect.key("rollout.states"), name);
        }
        for name in step.expect.merged.keys() {
            self.known(&at("nodes"), &expect.key("rollout.merged"), "pool", name.as_str(), pools.iter().copied());
        }
        for name in step.expect.of_node.keys() {
            self.node_called(&expect.key("of-node"), name);
        }
        for (index, pod) in step.expect.pods.iter().enumerate() {
            if let Some(node) = &pod.node {
                self.node_called(&expect.key("pod.result").index(index).key("node"), node);
            }
        }
        for (index, downtime) in step.expect.downtime.iter().enumerate() {
            let place = expect.key("downtime").index(index);
            if let Some(node) = &downtime.of {
                self.node_called(&place.key("of"), node);
            }
            if !downtime.none && downtime.at_most.is_none() && downtime.at_least.is_none() {
                let help = "Give `none: true`, `at-most`, `at-least`, or the last two.";
                self.wrong(&place, "nothing is expected of this downtime".to_owned(), help);
            }
            if downtime.none && (downtime.at_most.is_some() || downtime.at_least.is_some()) {
                self.wrong(&place, "no downtime has neither most nor least".to_owned(), "Keep `none: true` alone.");
            }
        }
    }

    fn rollout(&mut self, place: &Path, rollout: &Rollout) {
        let mut seen = BTreeSet::new();
        for (index, name) in rollout.nodes.iter().enumerate() {
            let place = place.key("nodes").index(index);
            self.node_called(&place, name);
            if !seen.insert(name.as_str()) {
                self.wrong(&place, format!("`{name}` stands twice"), "A node has one turn in a rollout.");
            }
        }
        if rollout.nodes.is_empty() {
            let help = "Name them in the order of their turns, or leave `rollout` out.";
            self.wrong(&place.key("nodes"), "a rollout to no node".to_owned(), help);
        }
        for name in rollout.boots_of.keys().filter(|name| !rollout.nodes.contains(name)) {
            let help = "Add it to `nodes`, or remove its boots.";
            self.wrong(&place.key("boots-of"), format!("`{name}` has no turn in this rollout"), help);
        }
        let lists = std::iter::once((place.key("boots"), &rollout.boots))
            .chain(rollout.boots_of.iter().map(|(name, boots)| (place.key("boots-of").key(name.as_str()), boots)));
        for (list, boots) in lists {
            self.list_of_boots(&list, boots);
            for (index, _) in boots.iter().enumerate().filter(|(_, boot)| !boot.then.is_empty()) {
                let help = "Say it in a step of its own, or in `happens`.";
                let place = list.index(index).key("then");
                self.wrong(&place, "nothing more is done to a node while it has its turn".to_owned(), help);
            }
        }
    }

    pub(super) fn expectations_of_steps(&self) -> Vec<(Path, &'s Expectations)> {
        let mut all = vec![];
        for (index, step) in self.spec.steps.iter().enumerate() {
            let place = at("steps").index(index);
            let expect = place.key("expect");
            all.push((expect.key("every-node"), &step.expect.every_node));
            all.extend(step.expect.of_node.iter().map(|(name, one)| (expect.key("of-node").key(name.as_str()), one)));
            let Some(rollout) = &step.rollout else { continue };
            let place = place.key("rollout");
            let of_boots = |list: Path, boots: &'s [super::Boot]| {
                boots.iter().enumerate().map(move |(index, boot)| (list.index(index).key("expect"), &boot.expect))
            };
            all.extend(of_boots(place.key("boots"), &rollout.boots));
            for (name, boots) in &rollout.boots_of {
                all.extend(of_boots(place.key("boots-of").key(name.as_str()), boots));
            }
        }
        all
    }
}
