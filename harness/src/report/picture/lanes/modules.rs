//! Modules: those of images and layers, those that they replace, and those that were taken out.

use std::collections::BTreeSet;

use crate::scenario::{Expectation, Scenario};
use crate::timeline::{ModuleEvent, What};

use super::{Lane, LaneKind, Source, Span, State};

/// A module that lives for a shorter time did not find its device: udev tries many.
const LIVED_US: i64 = 1_000_000;

pub(in crate::report::picture) fn all(source: &Source<'_>, scenario: Option<&Scenario>) -> Vec<Lane> {
    let facts = source.timeline.facts();
    let of_images: BTreeSet<&str> = facts
        .iter()
        .flat_map(|facts| {
            let of_layer = facts.layer.iter().map(|layer| &layer.modules);
            facts.images.iter().map(|image| &image.modules).chain(of_layer)
        })
        .flat_map(|modules| modules.keys())
        .map(String::as_str)
        .collect();
    let mut in_tree: BTreeSet<String> = replaced(scenario);
    let spans: Vec<(String, Span)> = source.boots.iter().flat_map(|strip| changes(source, strip.number)).collect();
    let was_taken_out = |span: &Span| span.to_us < source.end_of(span.boot) && span.to_us - span.from_us >= LIVED_US;
    in_tree.extend(spans.iter().filter(|(_, span)| was_taken_out(span)).map(|(name, _)| name.clone()));
    let names = in_tree.iter().map(String::as_str).chain(of_images.iter().copied()).collect::<BTreeSet<_>>();
    let mut names: Vec<&str> = names.into_iter().collect();
    // What goes out stands above what comes in.
    names.sort_by_key(|name| (of_images.contains(name), *name));
    let lane = |name: &str| Lane {
        kind: LaneKind::Module,
        group: None,
        name: name.to_owned(),
        of: name.to_owned(),
        spans: spans.iter().filter(|(of, _)| of == name).map(|(_, span)| span.clone()).collect(),
    };
    names.into_iter().map(lane).collect()
}

/// The in-tree modules that the scenario expects to be replaced.
fn replaced(scenario: Option<&Scenario>) -> BTreeSet<String> {
    let expected = scenario
        .into_iter()
        .flat_map(|scenario| scenario.spec.boots.iter().map(|boot| &boot.expect).chain([&scenario.spec.every_boot]));
    let modules = expected.flat_map(|expect| expect.each()).flat_map(|(_, one)| match one {
        Expectation::ModuleReplaced(one) => one.in_tree.clone(),
        _ => Vec::new(),
    });
    modules.map(|name| name.as_str().to_owned()).collect()
}

/// Every stretch of a boot in which a module was in the kernel.
fn changes(source: &Source<'_>, boot: u32) -> Vec<(String, Span)> {
    let mut spans: Vec<(String, Span)> = Vec::new();
    let mut open: Vec<(String, Span)> = Vec::new();
    for &(at, event) in source.events_of(boot) {
        match &event.what {
            What::ModuleLoad(change) => {
                let text = format!("{} was loaded by {}", change.module, change.comm);
                let state = if is_out_of_tree(change) { State::OutOfTree } else { State::InTree };
                let span =
                    Span { boot, from_us: at, to_us: at, state, text, label: String::new(), seq: Some(event.seq) };
                open.push((change.module.clone(), span));
            }
            What::ModuleFree(change) => {
                let Some(index) = open.iter().position(|(name, _)| *name == change.module) else { continue };
                let (name, mut span) = open.remove(index);
                span.to_us = at;
                span.text = format!("{}, and taken out by {}", span.text, change.comm);
                spans.push((name, span));
            }
            _ => {}
        }
    }
    let end = source.end_of(boot);
    spans.extend(open.into_iter().map(|(name, span)| (name, Span { to_us: end.max(span.from_us), ..span })));
    spans
}

/// Whether the kernel says that it is from outside its tree.
pub(in crate::report::picture) fn is_out_of_tree(change: &ModuleEvent) -> bool {
    change.taints.contains('O')
}
