//! What a step's rollout was: who had its turn when, and what each node was in the end.

use std::collections::BTreeMap;

use crate::scenario::{MemberState, PoolStep, Spec, pool_of};
use crate::timeline::{Asked, Event, NodeState, Timeline, What};

use super::super::{Evidence, Finding, span};
use super::serving::{Span, most_at_once, stretches};
use super::step::Step;

/// What a rollout that went otherwise is looked at by.
const LOOK: &str = "`day1 report picture` draws the rollout; the node's own findings tell what kept it.";

impl Step<'_> {
    pub(super) fn order(&self, planned: &PoolStep, spec: &Spec) -> Vec<Finding> {
        const CHECK: &str = "rollout.order";
        let turns = self.events().filter(|event| is_node(event, NodeState::Targeted));
        let turns: Vec<(&str, &Event)> = turns.filter_map(|event| Some((event.node.as_deref()?, event))).collect();
        let had: Vec<&str> = turns.iter().map(|(name, _)| *name).collect();
        let wanted: Vec<&str> = match &planned.rollout {
            Some(rollout) => rollout.nodes.iter().map(crate::scenario::Id::as_str).collect(),
            None if turns.is_empty() => return vec![],
            None => vec![],
        };
        let seen = turns.iter().map(|(name, event)| Evidence::new(event, format!("{name} has its turn")));
        let (is, was) = (list(&had), list(&wanted));
        // Each pool goes its own way.
        let of_pools = |names: &[&str]| {
            let mut pools: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for name in names {
                let pool = pool_of(spec.roles_of_member(name, self.index + 1)).to_owned();
                pools.entry(pool).or_default().push((*name).to_owned());
            }
            pools
        };
        let order = if of_pools(&had) == of_pools(&wanted) {
            Finding::pass(CHECK, None, format!("{}: their turn had {is}", self.name())).seen(seen)
        } else {
            let message = format!("{}: their turn had {is}, and it was to be that of {was}", self.name());
            Finding::fail(CHECK, None, message).seen(seen).advise(LOOK)
        };
        let reboots = |name: &str| {
            planned.rollout.as_ref().and_then(|rollout| rollout.boots(name)).is_some_and(|boots| !boots.is_empty())
        };
        let undrained = had.into_iter().filter(|name| reboots(name) && !self.was_drained_first(name)).map(|name| {
            let message = format!("{}: {name} was changed before it was drained", self.name());
            let seen = self.events().filter(|event| event.node.as_deref() == Some(name)).filter_map(|event| {
                let What::NodeChanged(one) = &event.what else { return None };
                Some(Evidence::new(event, format!("{name} is {}", one.to.as_str())))
            });
            Finding::fail(CHECK, None, message).seen(seen).advise(LOOK).on(name)
        });
        [order].into_iter().chain(undrained).chain(self.served_on()).collect()
    }

    /// Nodes that are told to be drained, and were seen to serve then.
    fn served_on(&self) -> Vec<Finding> {
        const CHECK: &str = "rollout.order";
        let drained = self.events().filter(|event| is_node(event, NodeState::Drained));
        let judged = drained.filter_map(|event| {
            let name = event.node.as_deref()?;
            let told = stretches(self.timeline, name, Asked::Service);
            let then = told.iter().find(|one| one.from_us <= event.at_us && event.at_us < one.to_us)?;
            let answer = self.timeline.events.get(usize::try_from(then.seq).ok()?)?;
            then.answers.then(|| {
                let seen = [
                    Evidence::new(answer, format!("{name} serves")),
                    Evidence::new(event, format!("{name} is told to be drained")),
                ];
                let message = format!("{}: {name} was told to be drained, and served on", self.name());
                Finding::fail(CHECK, None, message).seen(seen).advise(LOOK).on(name)
            })
        });
        judged.collect()
    }

    /// Whether a node was cordoned, then drained, and only then changed.
    fn was_drained_first(&self, name: &str) -> bool {
        let at = |state| {
            self.events().find(|event| event.node.as_deref() == Some(name) && is_node(event, state)).map(|one| one.seq)
        };
        let (cordoned, drained) = (at(NodeState::Cordoned), at(NodeState::Drained));
        // One that never came to be changed was kept by its drain.
        at(NodeState::Working).is_none_or(|working| {
            cordoned.is_some_and(|cordoned| drained.is_some_and(|drained| cordoned < drained && drained < working))
        })
    }

    /// Never more nodes of a pool away at once than it allows.
    pub(super) fn unavailable(&self, spec: &Spec) -> Vec<Finding> {
        const CHECK: &str = "rollout.unavailable";
        let mut pools: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in spec.nodes.iter().map(|node| node.name.as_str()) {
            pools.entry(pool_of(spec.roles_of_member(node, self.index + 1))).or_default().push(node);
        }
        let mut findings = vec![];
        for (name, nodes) in pools {
            let most = spec.max_unavailable(name);
            let away: Option<Vec<Vec<Span>>> = nodes.iter().map(|node| self.silences(node, Asked::Service)).collect();
            let Some(away) = away else {
                let message = format!("{}: not every node of {name} was asked often enough to tell", self.name());
                findings.push(Finding::inconclusive(CHECK, None, message));
                continue;
            };
            let (which, when) = most_at_once(&away);
            findings.push(if which.len() <= most as usize {
                let message = format!(
                    "{}: never more than {} of {name}'s {} nodes away at once, of {most} that may be",
                    self.name(),
                    which.len(),
                    nodes.len()
                );
                Finding::pass(CHECK, None, message)
            } else {
                let names: Vec<&str> = which.iter().map(|index| nodes[*index]).collect();
                let how_long = when.map(|when| format!(" for {}", span(when.length_us()))).unwrap_or_default();
                let message = format!(
                    "{}: {} of {name} were away at once{how_long}, and {most} may be",
                    self.name(),
                    list(&names)
                );
                let seen = away.iter().flatten().filter_map(|one| self.timeline.events.get(usize::try_from(one.seq).ok()?));
                let seen = seen.map(|event| {
                    Evidence::new(event, format!("{} does not serve", event.node.as_deref().unwrap_or_default()))
                });
                Finding::fail(CHECK, None, message).seen(seen).advise(
                    "A node that reboots after the MCO took it for done is away twice: the second time while the next has its turn. A pull unit must hold kubelet back until its reboot (`Before=kubelet-dependencies.target`).",
                )
            });
        }
        findings
    }

    pub(super) fn states(&self, wanted: &BTreeMap<crate::scenario::Id, MemberState>, spec: &Spec) -> Vec<Finding> {
        const CHECK: &str = "rollout.states";
        let state = |(name, wanted): (&crate::scenario::Id, &MemberState)| {
            let name = name.as_str();
            let (state, seen) = self.state_of(name);
            let place = self.name();
            let lacks = (state == Some(MemberState::Updated)).then(|| self.lacks(name, spec)).flatten();
            match state {
                Some(_) if lacks.is_some() => {
                    let message = format!("{place}: {name} is updated, and {}", lacks.unwrap_or_default());
                    Finding::fail(CHECK, None, message).seen(seen).advise(LOOK)
                }
                None => Finding::inconclusive(CHECK, None, format!("{place}: nothing tells what {name} is")),
                Some(is) if is == *wanted => {
                    Finding::pass(CHECK, None, format!("{place}: {name} is {}", is.as_str())).seen(seen)
                }
                Some(is) => {
                    let message = format!("{place}: {name} is {}, and was to be {}", is.as_str(), wanted.as_str());
                    Finding::fail(CHECK, None, message).seen(seen).advise(LOOK)
                }
            }
            .on(name)
        };
        wanted.iter().map(state).collect()
    }

    /// What a node that is updated lacks when the step ends: its pool's config, or its workload.
    fn lacks(&self, name: &str, spec: &Spec) -> Option<String> {
        let pool = pool_of(spec.roles_of_member(name, self.index + 1));
        let until = &self.timeline.events[..=self.last];
        let rendered = until.iter().rev().find_map(|event| match &event.what {
            What::Rendered(one) if one.pool == pool => Some(one.config.as_str()),
            _ => None,
        });
        let done = until.iter().rev().find_map(|event| match &event.what {
            What::NodeChanged(one) if event.node.as_deref() == Some(name) && one.to == NodeState::Done => {
                Some(one.why.as_str())
            }
            _ => None,
        });
        if rendered != done {
            return Some(format!("has {}, not {}", done.unwrap_or("no config"), rendered.unwrap_or("any of its pool")));
        }
        let told = stretches(self.timeline, name, Asked::Service);
        let last = told.iter().rev().find(|one| one.from_us <= self.span.to_us);
        last.is_none_or(|one| !one.answers).then(|| "does not serve".to_owned())
    }

    /// What a node is when the step ends, and where that is seen.
    pub(super) fn state_of(&self, name: &str) -> (Option<MemberState>, Vec<Evidence>) {
        let of_node = |event: &&Event| event.node.as_deref() == Some(name);
        let changes = |events: Vec<&Event>| -> Vec<(NodeState, u64, Evidence)> {
            let changes = events.into_iter().filter_map(|event| match &event.what {
                What::NodeChanged(one) => {
                    let why = if one.why.is_empty() { String::new() } else { format!(": {}", one.why) };
                    let text = format!("{name} is {}{why}", one.to.as_str());
                    Some((one.to, event.seq, Evidence::new(event, text)))
                }
                _ => None,
            });
            changes.collect()
        };
        let until = changes(self.timeline.events[..=self.last].iter().map(AsRef::as_ref).filter(of_node).collect());
        let inside: Vec<_> = until.iter().filter(|(_, seq, _)| *seq > self.first as u64).cloned().collect();
        let last_of = |wanted: &[NodeState]| until.iter().rev().find(|(state, ..)| wanted.contains(state)).cloned();
        let Some((readiness, _, evidence)) = last_of(&[NodeState::Ready, NodeState::NotReady]) else {
            return (None, vec![]);
        };
        // One that was degraded may have got another config since.
        if let Some((NodeState::Degraded, _, evidence)) =
            last_of(&[NodeState::Degraded, NodeState::Done, NodeState::Targeted])
        {
            return (Some(MemberState::Degraded), vec![evidence]);
        }
        if readiness == NodeState::NotReady {
            return (Some(MemberState::NotReady), vec![evidence]);
        }
        let did = |wanted| inside.iter().rev().find(|(state, ..)| *state == wanted);
        let is_back = |done: u64| match did(NodeState::Cordoned) {
            Some(_) => did(NodeState::Uncordoned).is_some_and(|(_, back, _)| *back > done),
            // A change that drains no node.
            None => true,
        };
        if let Some((_, done, evidence)) = did(NodeState::Done)
            && is_back(*done)
        {
            return (Some(MemberState::Updated), vec![evidence.clone()]);
        }
        let boots = |events: &[std::sync::Arc<Event>]| Timeline::from(events.to_vec()).of_node(name).boots();
        let rebooted = boots(&self.timeline.events[..=self.last]) > boots(&self.timeline.events[..=self.first]);
        match inside.is_empty() && !rebooted {
            true => (Some(MemberState::Untouched), vec![evidence]),
            // It was touched, and came to no end.
            false => (None, inside.into_iter().map(|(_, _, evidence)| evidence).collect()),
        }
    }
}

pub(super) fn is_node(event: &Event, state: NodeState) -> bool {
    matches!(&event.what, What::NodeChanged(one) if one.to == state)
}

pub(super) fn list(names: &[&str]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
