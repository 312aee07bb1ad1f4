//! Cross-references and contradictions of a scenario with several nodes.

use std::collections::BTreeSet;

use super::verify::{Verifier, at};
use super::{
    Base, Boot, DAY2_WORKER, DAY2_WORKER_TAG, Ends, Id, Image, MOST_NODES, MemberState, Module, Path, PoolAction,
    PoolStep, Rollout, Start, WORKER,
};

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
        if spec.node.nics.is_empty() {
            let help = "Leave `nics` out, or name one card.";
            self.wrong(&at("node").key("nics"), "several nodes without a network".to_owned(), help);
        }
        for (index, node) in spec.nodes.iter().enumerate() {
            self.roles(&at("nodes").index(index).key("roles"), &node.roles);
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
            self.boot_of_pool(&at("boots").index(index), boot);
            if boot.ends == Ends::Never && !spec.steps.is_empty() {
                let help = "Let the first boots end `ready`; a node may fail in a step.";
                self.wrong(
                    &at("boots").index(index).key("ends"),
                    "no step is done to nodes that never come up".to_owned(),
                    help,
                );
            }
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
            self.step(index, step);
        }
    }

    fn boot_of_pool(&mut self, place: &Path, boot: &Boot) {
        if boot.at_most.is_some() {
            let help = "Write each boot; `at-most` is for a node that stands alone.";
            self.wrong(&place.key("at-most"), "how many boots a node of several takes is to be said".to_owned(), help);
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

    fn step(&mut self, index: usize, step: &PoolStep) {
        let place = &at("steps").index(index);
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
                    self.roles(&place, &label.roles);
                    label.versions.iter().for_each(|(module, version)| self.versioned(&place, module, version));
                    if label.roles.is_empty() && label.versions.is_empty() {
                        let help = "Give `roles`, `versions`, or both.";
                        self.wrong(&place, "this label says nothing".to_owned(), help);
                    }
                }
                PoolAction::Link(link) => self.node_called(&place, &link.node),
                PoolAction::Module(module) => self.day2_module(&place, module),
                PoolAction::Apply(_) | PoolAction::Remove(_) | PoolAction::OsUpdate(_) => {}
            }
        }
        if let Some(rollout) = &step.rollout {
            self.rollout(&place.key("rollout"), rollout);
        }
        let expect = place.key("expect");
        for (name, state) in &step.expect.states {
            let place = expect.key("rollout.states");
            self.node_called(&place, name);
            let turn = |step: &PoolStep| step.rollout.as_ref().is_some_and(|rollout| rollout.nodes.contains(name));
            let has_turn = turn(step);
            // One that was not heard in its turn goes on in a later step.
            let had_turn = self.spec.steps[..index].iter().any(|step| {
                turn(step) && step.expect.states.get(name).is_some_and(|state| *state != MemberState::Updated)
            });
            let (wrong, help) = match (state, has_turn) {
                (MemberState::Untouched, true) => {
                    ("has its turn in this step, so it is touched", "Take it out of `rollout`.")
                }
                (MemberState::Updated, false) if !had_turn => {
                    ("has no turn in this step, so it is not updated", "Add it to `rollout`.")
                }
                _ => continue,
            };
            self.wrong(&place, format!("`{name}` {wrong}"), help);
        }
        for name in step.expect.merged.keys() {
            self.known(&at("nodes"), &expect.key("rollout.merged"), "pool", name.as_str(), pools.iter().copied());
        }
        for name in step.expect.of_node.keys() {
            self.node_called(&expect.key("of-node"), name);
        }
        if !step.expect.pods.is_empty() && self.modules().next().is_none() {
            let help = "Let a step do `module: …`.";
            self.wrong(&expect.key("pod.result"), "Day-2 management has no module, so it has no pods".to_owned(), help);
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
            if let (Some(least), Some(most)) = (downtime.at_least, downtime.at_most)
                && least.duration() > most.duration()
            {
                self.wrong(&place, "the least is more than the most".to_owned(), "Swap them.");
            }
            if downtime.none && (downtime.at_most.is_some() || downtime.at_least.is_some()) {
                self.wrong(&place, "no downtime has neither most nor least".to_owned(), "Keep `none: true` alone.");
            }
        }
    }

    /// A node is in one pool.
    fn roles(&mut self, place: &Path, roles: &[Id]) {
        let custom: Vec<&str> = roles.iter().map(Id::as_str).filter(|role| *role != WORKER).collect();
        if custom.len() > 1 {
            let message = format!("a node in the pools {}", custom.join(" and "));
            self.wrong(place, message, "The MCO has a node in one pool beside `worker`: keep one of these roles.");
        }
    }

    fn modules(&self) -> impl Iterator<Item = &'s Module> {
        self.spec.steps.iter().flat_map(|step| step.actions.iter()).filter_map(|action| match action {
            PoolAction::Module(module) => Some(module),
            _ => None,
        })
    }

    /// A label's version is one of a module that has versions.
    fn versioned(&mut self, place: &Path, name: &Id, version: &str) {
        let names: Vec<&str> = self.modules().map(|module| module.name.as_str()).collect();
        self.known(&at("steps"), place, "`module`", name.as_str(), names);
        if self.modules().any(|module| module.name == *name && module.version.is_none()) {
            let help = "Give each `module` of this name a `version`, or leave the label out: without one it is for every node.";
            self.wrong(place, format!("`{name}` has no version that a label could choose"), help);
        } else if self.modules().any(|module| module.name == *name)
            && self.modules().all(|module| module.name != *name || module.version.as_deref() != Some(version))
        {
            let help = "Give a `module` of this name that version.";
            self.wrong(place, format!("no `{name}` has the version `{version}`"), help);
        }
    }

    /// What the pods of a module need is there.
    fn day2_module(&mut self, place: &Path, module: &Module) {
        self.repository(place, &module.image);
        let images = &self.spec.registry.images;
        if !self.is_whole(&at("registry").key("images")) {
            return;
        }
        // What is in one from elsewhere is not known yet.
        for image in images.iter().filter(|image| image.repository == module.image && image.from.is_none()) {
            if !image.modules.contains(&module.module) {
                let message = format!("the image {} has no module `{}`", module.image, module.module);
                self.wrong(place, message, "Add it to the image's `modules`.");
            }
            if image.base != Base::Shell {
                let message = format!("nothing in the image {} could copy its modules", module.image);
                self.wrong(place, message, "Day-2 management's pod runs `cp` of it: give the image `base: shell`.");
            }
        }
        let is_worker = |image: &Image| {
            image.repository.as_str() == DAY2_WORKER && image.tags.iter().any(|tag| tag.as_str() == DAY2_WORKER_TAG)
        };
        if !images.iter().any(is_worker) {
            let message =
                format!("Day-2 management's pods run the image {DAY2_WORKER}:{DAY2_WORKER_TAG}, which nobody has");
            let help = format!(
                "Add `{{repository: {DAY2_WORKER}, base: worker, tags: [{DAY2_WORKER_TAG}]}}` to `registry.images`."
            );
            self.wrong(place, message, help);
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
            for (index, boot) in boots.iter().enumerate() {
                self.boot_of_pool(&list.index(index), boot);
            }
            for (index, _) in boots.iter().enumerate().filter(|(_, boot)| !boot.then.is_empty()) {
                let help = "Say it in a step of its own, or in `happens`.";
                let place = list.index(index).key("then");
                self.wrong(&place, "nothing more is done to a node while it has its turn".to_owned(), help);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FsPath;

    use crate::scenario::{Action, ConfigChange, Ends, Scenario};

    const GOOD: &str = "\
description: d
nodes:
  - name: one
  - {name: two, roles: [worker, infra]}
machine-configs: []
registry:
  images:
    - {repository: quay.io/day1/day1-nic, modules: [day1_nic]}
boots:
  - ends: ready
steps:
  - do: {apply: 99-a}
    rollout:
      nodes: [one, two]
      boots:
        - ends: reboot
        - ends: ready
          expect:
            nic.driver: {nic: test, driver: day1_nic}
      boots-of:
        two:
          - ends: ready
    expect:
      rollout.states: {one: updated}
";

    fn parse(text: &str) -> Result<Scenario, Vec<String>> {
        match Scenario::parse(FsPath::new("pool/x.yaml"), text) {
            Ok(mut rows) => Ok(rows.pop().expect("a row")),
            Err(found) => Err(found.mistakes.iter().map(|one| format!("{}: {}", one.line, one.message)).collect()),
        }
    }

    #[test]
    fn each_node_s_scenario_has_the_boots_that_the_steps_make_of_it() {
        let scenario = parse(GOOD).expect("good");
        let ends = |name: &str| scenario.of_member(name).spec.boots.iter().map(|boot| boot.ends).collect::<Vec<_>>();
        assert_eq!(ends("one"), [Ends::Ready, Ends::Reboot, Ends::Ready]);
        assert_eq!(ends("two"), [Ends::Ready, Ends::Ready]);
        let own = scenario.of_member("one").spec;
        assert!(own.nodes.is_empty() && own.steps.is_empty());
        assert_eq!(
            own.boots[0].then.to_vec(),
            [Action::Apply(ConfigChange { machine_config: "apply 99-a".into(), reboots: true })]
        );
        let place = |name: &str, number| scenario.spec.boot_of_member(name, number).map(|(place, _)| place.to_string());
        assert_eq!(place("one", 1).as_deref(), Some("boots[0]"));
        assert_eq!(place("one", 3).as_deref(), Some("steps[0] → rollout → boots[1]"));
        assert_eq!(place("two", 2).as_deref(), Some("steps[0] → rollout → boots-of → two[0]"));
        assert_eq!((place("one", 0), place("two", 3)), (None, None));
    }

    #[test]
    fn what_can_not_be_is_refused_with_its_line() {
        let with = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from}");
            parse(&GOOD.replacen(from, to, 1)).err().unwrap_or_default()
        };
        let mut wrong = vec![];
        for (from, to, told) in [
            (
                "nodes:\n  - name: one\n  - {name: two, roles: [worker, infra]}\n",
                "",
                "8: `steps` without several nodes",
            ),
            ("- name: one", "- name: two", "4: `two` stands twice"),
            (
                "boots:\n  - ends: ready\n",
                "boots:\n  - {ends: ready, at-most: 2}\n",
                "10: how many boots a node of several takes",
            ),
            (
                "        - ends: reboot\n",
                "        - {ends: reboot, at-most: 2}\n",
                "16: how many boots a node of several takes",
            ),
            (
                "boots:\n  - ends: ready\n",
                "boots:\n  - ends: never\n",
                "10: no step is done to nodes that never come up",
            ),
            ("{one: updated}", "{one: untouched}", "24: `one` has its turn in this step"),
            ("nodes: [one, two]", "nodes: [two]", "24: `one` has no turn in this step"),
            (
                "rollout.states: {one: updated}",
                "pod.result: {pod: load, is: succeeded}",
                "24: Day-2 management has no module",
            ),
            (
                "rollout.states: {one: updated}",
                "downtime: {of: one, at-least: 9s, at-most: 1s}",
                "24: the least is more than the most",
            ),
            (
                "do: {apply: 99-a}",
                "do: [{module: {name: nic, image: quay.io/day1/day1-nic, module: day1_nic, version: '1'}}, {label: {node: one, versions: {nic: '2'}}}]",
                "12: no `nic` has the version `2`",
            ),
            ("do: {apply: 99-a}", "do: {apply: 99-a, bogus: 1}", "12: more than one stands here"),
            ("machine-configs", "pools: [{name: blue}]\nmachine-configs", "5: no role of a node is called `blue`"),
            (
                "machine-configs",
                "pools: [{name: infra, max-unavailable: 0}]\nmachine-configs",
                "5: no node may ever be away",
            ),
            (
                "machine-configs",
                "happens: [{when: {phase: settled}, do: reboot}]\nmachine-configs",
                "5: it does not say to which",
            ),
            ("machine-configs", "start: pulled\nmachine-configs", "5: a checkpoint is one node's"),
            ("machine-configs", "node: {nics: []}\nmachine-configs", "5: several nodes without a network"),
            ("roles: [worker, infra]", "roles: [worker, infra, edge]", "4: a node in the pools infra and edge"),
            (
                "do: {apply: 99-a}",
                "do: {label: {node: one, roles: [infra, edge]}}",
                "12: a node in the pools infra and edge",
            ),
            ("do: {apply: 99-a}", "do: {label: {node: one, versions: {nic: '1'}}}", "12: no `module` is called `nic`"),
            (
                "do: {apply: 99-a}",
                "do: [{module: {name: nic, image: quay.io/day1/day1-nic, module: day1_nic}}, {label: {node: one, versions: {nic: '1'}}}]",
                "12: `nic` has no version",
            ),
            (
                "do: {apply: 99-a}",
                "do: {module: {name: nic, image: quay.io/day1/day1-nic, module: day1_aux}}",
                "12: the image quay.io/day1/day1-nic has no module `day1_aux`",
            ),
            (
                "do: {apply: 99-a}",
                "do: {module: {name: nic, image: quay.io/day1/day1-nic, module: day1_nic}}",
                "12: nothing in the image quay.io/day1/day1-nic could copy",
            ),
            (
                "do: {apply: 99-a}",
                "do: {module: {name: nic, image: quay.io/day1/day1-nic, module: day1_nic}}",
                "12: Day-2 management's pods run the image quay.io/day1/worker:latest, which nobody has",
            ),
            ("do: {apply: 99-a}", "do: {pause: blue}", "12: no pool is called `blue`"),
            ("do: {apply: 99-a}", "do: {label: {node: one}}", "12: this label says nothing"),
            ("do: {apply: 99-a}", "do: {link: {node: three, cut: true}}", "12: no node is called `three`"),
            ("nodes: [one, two]", "nodes: [one, one]", "14: `one` stands twice"),
            ("nodes: [one, two]", "nodes: [one]", "20: `two` has no turn in this rollout"),
            ("- ends: reboot\n        - ends: ready", "- ends: reboot", "16: the boot ends, but no boot follows"),
            ("{nic: test, driver", "{nic: rest, driver", "19: no network card is called `rest`"),
            ("{one: updated}", "{three: updated}", "24: no node is called `three`"),
            ("rollout.states: {one: updated}", "downtime: {of: one}", "24: nothing is expected of this downtime"),
            (
                "boots:\n  - ends: ready\n",
                "boots:\n  - {ends: ready, then: collect-images}\n",
                "10: these are the first boots",
            ),
        ] {
            let mistakes = with(from, to);
            if !mistakes.iter().any(|one| one.starts_with(told)) {
                wrong.push((told, mistakes));
            }
        }
        assert_eq!(wrong, []);
    }
}
