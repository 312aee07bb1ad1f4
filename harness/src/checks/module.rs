//! `module.replaced`, `module.present`, `module.absent`: what is in the kernel, and since when.

use day1_generator::Tag;

use crate::scenario::{ModuleAbsent, ModulePresent, ModuleReplaced, Origin, Role, UnitOutcome};
use crate::timeline::{ImageFact, Module, Snapshot};

use super::boot::{Boot, ModuleChange};
use super::ordering::done_at;
use super::units::{Seen, outcome};
use super::{Evidence, Finding, moment, span};

const REPLACED: &str = "module.replaced";
const PRESENT: &str = "module.present";
const ABSENT: &str = "module.absent";

type Judged<T> = Result<T, Box<Finding>>;

/// The image's module is in the kernel, by srcversion and taint; the in-tree ones are not; and all that since
/// before the network's manager started.
pub(super) fn replaced(boot: &Boot<'_>, expected: &ModuleReplaced) -> Finding {
    try_replaced(boot, expected).unwrap_or_else(|finding| *finding)
}

fn try_replaced(boot: &Boot<'_>, expected: &ModuleReplaced) -> Judged<Finding> {
    let name = expected.module.as_str();
    let (event, snapshot) = snapshot(boot, REPLACED)?;
    let here = |text: String| Evidence::new(event, text);
    let module = live(boot, snapshot, name).map_err(|why| {
        Box::new(
            Finding::fail(REPLACED, boot.number, why)
                .seen([here(format!("/sys/module of {}", moment(snapshot.mono_us)))]),
        )
    })?;
    let srcversion = from_image(boot, expected, module)?;
    if !module.taint.contains('O') {
        let message = format!("{name} carries no taint `O`: the kernel takes it for its own");
        return Err(Box::new(
            Finding::fail(REPLACED, boot.number, message).seen([here(format!("taint `{}`", module.taint))]),
        ));
    }
    for gone in &expected.in_tree {
        if let Some(still) = snapshot.modules.get(gone.as_str()) {
            let built_in = if still.refcnt.is_none() { ", built into the kernel" } else { "" };
            let message = format!("{gone} is still loaded{built_in} beside {name}");
            let users = if still.holders.is_empty() {
                String::new()
            } else {
                format!(", held by {}", still.holders.join(", "))
            };
            return Err(Box::new(
                Finding::fail(REPLACED, boot.number, message).seen([here(format!("/sys/module/{gone} exists{users}"))]),
            ));
        }
    }
    let (loaded, started) = in_time(boot, expected)?;
    let replaced: Vec<&str> = expected.in_tree.iter().map(|gone| gone.as_str()).collect();
    let (replaced, never): (Vec<&str>, Vec<&str>) = {
        let changes = boot.module_changes();
        replaced.into_iter().partition(|gone| changes.iter().any(|change| change.change.module == *gone))
    };
    let named = |what: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!("{what}{}", names.join(", ")),
    };
    let instead = format!("{}{}", named(" in place of ", &replaced), named(", without ever a ", &never));
    let before = expected.before.as_str();
    let margin = span(started.0.saturating_sub(loaded.change.mono_us));
    let message = format!(
        "{name} is loaded{instead} since {margin} before {}",
        before.strip_suffix(".service").unwrap_or(before)
    );
    Ok(Finding::pass(REPLACED, boot.number, message).seen([
        Evidence::new(loaded.event, format!("{} loaded it at {}", loaded.change.comm, moment(loaded.change.mono_us))),
        here(format!("srcversion {srcversion} as in the image, taint `{}`", module.taint)),
        Evidence::new(started.1, format!("{before} started at {}", moment(started.0))),
    ]))
}

fn snapshot<'t>(boot: &Boot<'t>, check: &str) -> Judged<(&'t crate::timeline::Event, &'t Snapshot)> {
    boot.snapshot().ok_or_else(|| {
        Box::new(Finding::inconclusive(
            check,
            boot.number,
            "no snapshot of this boot: nothing tells which modules are loaded",
        ))
    })
}

/// The module, if it is live; else what is wrong, with the word that a green unit is no proof.
fn live<'s>(boot: &Boot<'_>, snapshot: &'s Snapshot, name: &str) -> Result<&'s Module, String> {
    match snapshot.modules.get(name) {
        Some(module) if module.state == "live" => Ok(module),
        Some(module) if module.state.is_empty() => {
            Err(format!("{name} is built into the kernel, not loaded from an image"))
        }
        Some(module) => Err(format!("{name} is not live but {}", module.state)),
        None => {
            let success = Seen::Ended(UnitOutcome::Success);
            let mut loads = boot.units_of(Role::Load).into_iter();
            let green = loads.find(|unit| outcome(boot, unit).is_some_and(|(seen, _)| seen == success));
            let although = green.map(|unit| format!(", although {unit} reports success")).unwrap_or_default();
            Err(format!("{name} is not loaded{although}"))
        }
    }
}

/// The module's srcversion, if an image of the trial has the same.
fn from_image(boot: &Boot<'_>, expected: &ModuleReplaced, module: &Module) -> Judged<String> {
    let name = expected.module.as_str();
    let images = boot.facts.into_iter().flat_map(|facts| &facts.images);
    let images =
        images.filter(|image| expected.repository.as_ref().is_none_or(|wanted| wanted.as_str() == image.repository));
    let with: Vec<&ImageFact> =
        images.filter(|image| image.modules.get(name).is_some_and(|version| !version.is_empty())).collect();
    // Of several images, such as one for each kernel, only this kernel's counts.
    let tag = boot.snapshot().map(|(_, snapshot)| Tag::for_kernel(&snapshot.kernel_release).to_string());
    let tag = tag.unwrap_or_default();
    let of_this_kernel: Vec<&ImageFact> = with.iter().copied().filter(|image| image.tags.contains(&tag)).collect();
    let with = if of_this_kernel.is_empty() { with } else { of_this_kernel };
    let known: Vec<&String> = with.iter().filter_map(|image| image.modules.get(name)).collect();
    if known.is_empty() {
        let message =
            format!("the srcversion of {name} in the image is not recorded, so whose module is loaded can't be told");
        return Err(Box::new(Finding::inconclusive(REPLACED, boot.number, message)));
    }
    if module.srcversion.is_empty() {
        let message = format!("{name} is loaded without a srcversion, so whose module it is can't be told");
        return Err(Box::new(Finding::inconclusive(REPLACED, boot.number, message)));
    }
    if known.contains(&&module.srcversion) {
        return Ok(module.srcversion.clone());
    }
    let images = known.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(", ");
    let message =
        format!("another {name} is loaded than the image's: srcversion {}, the image has {images}", module.srcversion);
    let advice = match origin_of(boot, name, module) {
        Copy::Layered => {
            "It is the copy that is layered into the node image: list it among the modules to remove, or layer the next version."
        }
        _ => "A module of the same name from elsewhere (in-tree, or an older image) was loaded first.",
    };
    Err(Box::new(Finding::fail(REPLACED, boot.number, message).advise(advice)))
}

/// The load of the module and the start of the unit that it had to come before.
fn in_time<'t>(
    boot: &Boot<'t>,
    expected: &ModuleReplaced,
) -> Judged<(ModuleChange<'t>, (u64, &'t crate::timeline::Event))> {
    let name = expected.module.as_str();
    let before = expected.before.as_str();
    let Some(started) = boot.first_start(before) else {
        let message = format!("nothing tells when {before} started");
        return Err(Box::new(Finding::inconclusive(REPLACED, boot.number, message)));
    };
    let changes = boot.module_changes();
    let concerns = |change: &&ModuleChange<'_>| {
        let module = change.change.module.as_str();
        module == name || expected.in_tree.iter().any(|gone| gone.as_str() == module)
    };
    if let Some(late) = changes.iter().filter(concerns).find(|change| change.change.mono_us > started.0) {
        let done = if late.loaded { "loaded" } else { "taken out" };
        let after = span(late.change.mono_us - started.0);
        let message = format!("late swap: {} was {done} {after} after {before} had started", late.change.module);
        let evidence = Evidence::new(late.event, format!("by {} at {}", late.change.comm, moment(late.change.mono_us)));
        return Err(Box::new(Finding::fail(REPLACED, boot.number, message).seen([evidence])));
    }
    // A module is put in before its init runs; the unit that loads it waits for that.
    for unit in boot.units_of(Role::Load).into_iter().rev() {
        let done = boot.unit(unit).and_then(|(event, state)| Some((event, done_at(state)?)));
        if let Some((event, done)) = done.filter(|(_, done)| *done > started.0) {
            let message = format!(
                "{unit} was done {} after {before} had started, so whether {name} was ready by then can't be told",
                span(done - started.0)
            );
            let evidence = Evidence::new(event, format!("{unit} done at {}", moment(done)));
            return Err(Box::new(Finding::inconclusive(REPLACED, boot.number, message).seen([evidence])));
        }
    }
    let load = changes.iter().rev().find(|change| change.loaded && change.change.module == name);
    load.map(|load| (*load, started)).ok_or_else(|| {
        let message = format!("the kernel's trace does not tell when {name} was loaded");
        Box::new(Finding::inconclusive(REPLACED, boot.number, message))
    })
}

/// A module is there, and was never taken out.
pub(super) fn present(boot: &Boot<'_>, expected: &ModulePresent) -> Finding {
    try_present(boot, expected).unwrap_or_else(|finding| *finding)
}

fn try_present(boot: &Boot<'_>, expected: &ModulePresent) -> Judged<Finding> {
    let name = expected.module.as_str();
    let (event, snapshot) = snapshot(boot, PRESENT)?;
    let refuse = |message: String, evidence: Evidence| {
        Err(Box::new(Finding::fail(PRESENT, boot.number, message).seen([evidence])))
    };
    let Some(module) = snapshot.modules.get(name) else {
        return refuse(
            format!("{name} is not loaded"),
            Evidence::new(event, format!("/sys/module/{name} does not exist")),
        );
    };
    if !matches!(module.state.as_str(), "live" | "") {
        return refuse(format!("{name} is not live but {}", module.state), Evidence::new(event, module.state.clone()));
    }
    let here = origin_of(boot, name, module);
    let whose = match &here {
        Copy::Layered => format!("the {name} that is layered into the node image"),
        // Where nothing is layered, there is no question.
        Copy::OfImage(repository) if is_layered(boot) => format!("the {name} of {repository}"),
        _ => name.to_owned(),
    };
    let seen = Evidence::new(event, format!("srcversion `{}`, taint `{}`", module.srcversion, module.taint));
    match (expected.origin, &here) {
        (None, _) | (Some(Origin::InTree), Copy::InTree) | (Some(Origin::Layered), Copy::Layered) => {}
        (Some(Origin::OutOfTree), Copy::Layered | Copy::OfImage(_) | Copy::OutOfTree) => {}
        (Some(Origin::Layered), Copy::OutOfTree) if module.srcversion.is_empty() => {
            let message = format!("{name} is loaded without a srcversion, so whose module it is can't be told");
            return Err(Box::new(Finding::inconclusive(PRESENT, boot.number, message).seen([seen])));
        }
        _ => return refuse(format!("{name} is loaded, but it is {here}"), seen),
    }
    if let Some(repository) = &expected.repository {
        let images = boot.facts.into_iter().flat_map(|facts| &facts.images);
        let of_it = images.filter(|image| image.repository == repository.as_str());
        let versions: Vec<&str> = of_it.filter_map(|image| image.modules.get(name)).map(String::as_str).collect();
        if versions.is_empty() || module.srcversion.is_empty() {
            let message = format!("whether {name} is that of {repository} can't be told: a srcversion is not known");
            return Err(Box::new(Finding::inconclusive(PRESENT, boot.number, message).seen([seen])));
        }
        if !versions.contains(&module.srcversion.as_str()) {
            let message = format!("{name} is loaded, but it is {here}, and not that of {repository}");
            return refuse(message, seen);
        }
    }
    let since = if expected.since_initramfs { since_initramfs(boot, name)? } else { String::new() };
    if expected.may_have_been_removed {
        let message = format!("{whose} is loaded{since}");
        return Ok(Finding::pass(PRESENT, boot.number, message)
            .seen([Evidence::new(event, format!("/sys/module/{name} exists")), seen]));
    }
    let changes = traced(boot, PRESENT)?;
    if let Some(out) = changes.iter().find(|change| !change.loaded && change.change.module == name) {
        let message = format!("{name} was taken out at {} and put back", moment(out.change.mono_us));
        return refuse(message, Evidence::new(out.event, format!("taken out by {}", out.change.comm)));
    }
    let message = format!("{whose} is loaded{since} and was never taken out");
    Ok(Finding::pass(PRESENT, boot.number, message)
        .seen([Evidence::new(event, format!("/sys/module/{name} exists")), seen]))
}

/// Whose module is loaded.
enum Copy {
    InTree,
    Layered,
    /// That of an image of this repository.
    OfImage(String),
    OutOfTree,
}

impl std::fmt::Display for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InTree => f.write_str("the kernel's own"),
            Self::Layered => f.write_str("the copy that is layered into the node image"),
            Self::OfImage(repository) => write!(f, "the copy of {repository}"),
            Self::OutOfTree => f.write_str("out-of-tree"),
        }
    }
}

fn is_layered(boot: &Boot<'_>) -> bool {
    boot.facts.is_some_and(|facts| facts.layer.is_some())
}

/// By taint and srcversion. Where the layer and an image have the same, it is the layer's: that was there first.
fn origin_of(boot: &Boot<'_>, name: &str, module: &Module) -> Copy {
    if !module.taint.contains('O') {
        return Copy::InTree;
    }
    let is =
        |version: Option<&String>| version.is_some_and(|version| !version.is_empty() && *version == module.srcversion);
    let Some(facts) = boot.facts else { return Copy::OutOfTree };
    if facts.layer.as_ref().is_some_and(|layer| is(layer.modules.get(name))) {
        return Copy::Layered;
    }
    let image = facts.images.iter().find(|image| is(image.modules.get(name)));
    image.map_or(Copy::OutOfTree, |image| Copy::OfImage(image.repository.clone()))
}

/// When the module was last put in, which must have been in the initramfs.
fn since_initramfs(boot: &Boot<'_>, name: &str) -> Judged<String> {
    let changes = traced(boot, PRESENT)?;
    let Some(load) = changes.iter().rev().find(|change| change.loaded && change.change.module == name) else {
        let message = format!("the kernel's trace does not tell when {name} was loaded");
        return Err(Box::new(Finding::inconclusive(PRESENT, boot.number, message)));
    };
    let at = load.change.mono_us;
    match boot.switched_root_us() {
        None => {
            let message =
                format!("nothing tells when the initramfs ended, so whether {name} was loaded in it can't be told");
            Err(Box::new(Finding::inconclusive(PRESENT, boot.number, message)))
        }
        Some(end) if at < end => Ok(format!(" since {} before the initramfs ended", span(end - at))),
        Some(end) => {
            let message = format!("{name} was loaded {} after the initramfs had ended", span(at - end));
            let evidence = Evidence::new(load.event, format!("by {} at {}", load.change.comm, moment(at)));
            Err(Box::new(Finding::fail(PRESENT, boot.number, message).seen([evidence])))
        }
    }
}

/// A module is not there, and never was.
pub(super) fn absent(boot: &Boot<'_>, expected: &ModuleAbsent) -> Finding {
    try_absent(boot, expected).unwrap_or_else(|finding| *finding)
}

fn try_absent(boot: &Boot<'_>, expected: &ModuleAbsent) -> Judged<Finding> {
    let name = expected.module.as_str();
    let (event, snapshot) = snapshot(boot, ABSENT)?;
    if snapshot.modules.contains_key(name) {
        let evidence = Evidence::new(event, format!("/sys/module/{name} exists"));
        return Err(Box::new(Finding::fail(ABSENT, boot.number, format!("{name} is loaded")).seen([evidence])));
    }
    let evidence = Evidence::new(event, format!("/sys/module/{name} does not exist"));
    if expected.may_have_been_loaded {
        return Ok(Finding::pass(ABSENT, boot.number, format!("{name} is not loaded")).seen([evidence]));
    }
    let changes = traced(boot, ABSENT)?;
    if let Some(load) = changes.iter().find(|change| change.loaded && change.change.module == name) {
        let message = format!("{name} was loaded at {} and taken out again", moment(load.change.mono_us));
        let evidence = Evidence::new(load.event, format!("loaded by {}", load.change.comm));
        return Err(Box::new(Finding::fail(ABSENT, boot.number, message).seen([evidence])));
    }
    Ok(Finding::pass(ABSENT, boot.number, format!("{name} is not loaded and never was")).seen([evidence]))
}

/// The kernel's trace of this boot. A trace with nothing in it proves nothing: every boot loads modules.
fn traced<'t>(boot: &Boot<'t>, check: &str) -> Judged<Vec<ModuleChange<'t>>> {
    let changes = boot.module_changes();
    if changes.is_empty() {
        let message = "the kernel's trace of modules is empty, so nothing tells what was loaded or taken out meanwhile";
        return Err(Box::new(Finding::inconclusive(check, boot.number, message)));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{LOAD, Node, boot_of, expect};
    use crate::timeline::LayerFact;

    type Spoil = fn(&mut Node);

    fn swap(node: &Node) -> Finding {
        let timeline = node.timeline();
        replaced(&boot_of(&timeline, 2), &expect("{module: day1_nic, in-tree: [e1000]}"))
    }

    fn there(node: &Node, text: &str) -> Finding {
        let timeline = node.timeline();
        present(&boot_of(&timeline, 2), &expect(text))
    }

    fn gone(node: &Node, text: &str) -> Finding {
        let timeline = node.timeline();
        absent(&boot_of(&timeline, 2), &expect(text))
    }

    #[test]
    fn a_good_swap_passes() {
        let finding = swap(&Node::pulled_and_loaded());
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        assert_eq!(finding.message, "day1_nic is loaded in place of e1000 since 52 ms before NetworkManager");
    }

    #[test]
    fn a_green_unit_without_the_module_fails() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.modules.remove("day1_nic");
        let finding = swap(&node);
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.message.contains("although") && finding.message.contains("reports success"), "{finding:?}");
    }

    #[test]
    fn each_half_truth_fails() {
        let broken: [(Spoil, &str); 5] = [
            (|node| node.ready(2).module("day1_nic", |m| m.srcversion = "IN-TREE".into()), "another day1_nic"),
            (|node| node.ready(2).module("day1_nic", |m| m.taint.clear()), "no taint `O`"),
            (|node| node.ready(2).module("day1_nic", |m| m.state = "coming".into()), "coming"),
            (|node| node.ready(2).module("e1000", |m| m.state = "live".into()), "e1000 is still loaded"),
            (|node| node.boot(2).modules(|change| change.mono_us += 9_000_000), "late swap"),
        ];
        for (break_it, wanted) in broken {
            let mut node = Node::pulled_and_loaded();
            break_it(&mut node);
            let finding = swap(&node);
            assert!(finding.outcome == Outcome::Fail && finding.message.contains(wanted), "{wanted}: {finding:?}");
        }
    }

    #[test]
    fn a_swap_without_evidence_is_inconclusive() {
        let broken: [fn(&mut Node); 4] = [
            |node| node.facts().images.clear(),
            |node| node.boot(2).remove_snapshot(),
            |node| node.boot(2).remove_modules(),
            |node| node.ready(2).module("day1_nic", |m| m.srcversion.clear()),
        ];
        for (which, break_it) in broken.into_iter().enumerate() {
            let mut node = Node::pulled_and_loaded();
            break_it(&mut node);
            let finding = swap(&node);
            assert_eq!(finding.outcome, Outcome::Inconclusive, "{which}: {finding:?}");
        }
    }

    #[test]
    fn a_load_that_ends_after_the_network_began_leaves_it_open_whether_the_module_was_ready() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(LOAD, |unit| unit.active_enter_us = 2_600_000);
        let finding = swap(&node);
        assert!(finding.outcome == Outcome::Inconclusive && finding.message.contains("was ready"), "{finding:?}");
    }

    #[test]
    fn of_several_images_only_this_kernel_s_counts() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.kernel_release = "6.12.41+deb13-amd64".into();
        let mut other = node.facts().images[0].clone();
        (other.tags, other.modules) = (vec!["6.12.41_rt".into()], [("day1_nic".to_owned(), "0LD".to_owned())].into());
        node.facts().images.push(other);
        assert_eq!(swap(&node).outcome, Outcome::Pass);
        node.ready(2).module("day1_nic", |module| module.srcversion = "0LD".into());
        assert!(swap(&node).message.contains("another day1_nic"), "{:?}", swap(&node));
    }

    #[test]
    fn what_was_never_there_was_not_replaced() {
        let timeline = Node::pulled_and_loaded().timeline();
        let finding = replaced(&boot_of(&timeline, 2), &expect("{module: day1_nic, in-tree: [e1000, e100]}"));
        assert!(finding.message.contains("in place of e1000, without ever a e100"), "{finding:?}");
    }

    #[test]
    fn an_image_s_module_is_known_by_its_srcversion() {
        let mut node = Node::pulled_and_loaded();
        let of = |node: &Node, repository: &str| {
            there(node, &format!("{{module: day1_nic, repository: quay.io/day1/{repository}}}")).outcome
        };
        assert_eq!(of(&node, "day1-nic"), Outcome::Pass);
        assert_eq!(of(&node, "day1-nic-next"), Outcome::Inconclusive);
        let mut next = node.facts().images[0].clone();
        next.repository = "quay.io/day1/day1-nic-next".into();
        next.modules.insert("day1_nic".into(), "0TH3R".into());
        node.facts().images.push(next);
        assert_eq!((of(&node, "day1-nic"), of(&node, "day1-nic-next")), (Outcome::Pass, Outcome::Fail));
        node.ready(2).module("day1_nic", |module| module.srcversion.clear());
        assert_eq!(of(&node, "day1-nic"), Outcome::Inconclusive);
    }

    #[test]
    fn present_means_never_taken_out() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).module("e1000", |m| (m.state, m.refcnt) = ("live".into(), Some(0)));
        let finding = there(&node, "{module: e1000}");
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("put back"), "{finding:?}");
        assert_eq!(there(&node, "{module: e1000, may-have-been-removed: true}").outcome, Outcome::Pass);
        assert_eq!(there(&node, "{module: virtio_net, origin: in-tree}").outcome, Outcome::Pass);
        assert_eq!(there(&node, "{module: virtio_net, origin: out-of-tree}").outcome, Outcome::Fail);
        assert_eq!(there(&node, "{module: igb}").outcome, Outcome::Fail);
    }

    /// A node whose boot 2 runs a layered `day1_nic`, loaded in the initramfs.
    fn layered() -> Node {
        let mut node = Node::pulled_and_loaded();
        let version = node.facts().images[0].modules["day1_nic"].clone();
        node.facts().images[0].modules.insert("day1_nic".into(), "N3XT".into());
        let modules = [("day1_nic".to_owned(), version)].into();
        node.facts().layer = Some(LayerFact { kernel: "6.12".into(), modules, without: vec!["e1000".into()] });
        node.boot(2).systemd("", "", "Switching root.", 2_000_000);
        node.boot(2).modules(|change| change.mono_us = 1_400_000);
        node
    }

    #[test]
    fn a_layered_module_is_told_from_an_image_s_and_since_when_it_runs() {
        const WANTED: &str = "{module: day1_nic, origin: layered, since-initramfs: true}";
        let mut node = layered();
        let finding = there(&node, WANTED);
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        let told = "the day1_nic that is layered into the node image is loaded since 600 ms before the initramfs ended and was never taken out";
        assert_eq!(finding.message, told);
        assert_eq!(there(&node, "{module: day1_nic, origin: out-of-tree}").outcome, Outcome::Pass);
        assert_eq!(there(&node, "{module: day1_nic, origin: in-tree}").outcome, Outcome::Fail);
        let swapped = swap(&node);
        assert!(swapped.advice.is_some_and(|advice| advice.contains("layered into the node image")));

        node.boot(2).modules(|change| change.mono_us = 2_500_000);
        let late = there(&node, WANTED);
        assert!(late.outcome == Outcome::Fail && late.message.contains("500 ms after the initramfs"), "{late:?}");
        node.ready(2).module("day1_nic", |module| module.srcversion = "N3XT".into());
        let other = there(&node, WANTED);
        assert!(other.outcome == Outcome::Fail && other.message.contains("the copy of quay.io"), "{other:?}");
        node.ready(2).module("day1_nic", |module| module.srcversion = "0LD".into());
        assert!(there(&node, WANTED).message.ends_with("out-of-tree"));
    }

    #[test]
    fn whose_module_or_since_when_is_not_guessed() {
        const WANTED: &str = "{module: day1_nic, origin: layered, since-initramfs: true}";
        let broken: [fn(&mut Node); 3] = [
            |node| node.ready(2).module("day1_nic", |module| module.srcversion.clear()),
            |node| node.boot(2).remove_journal("Switching root"),
            |node| node.boot(2).remove_modules(),
        ];
        for (which, break_it) in broken.into_iter().enumerate() {
            let mut node = layered();
            break_it(&mut node);
            assert_eq!(there(&node, WANTED).outcome, Outcome::Inconclusive, "{which}: {:?}", there(&node, WANTED));
        }
    }

    #[test]
    fn absent_means_never_loaded() {
        let node = Node::pulled_and_loaded();
        assert_eq!(gone(&node, "{module: igb}").outcome, Outcome::Pass);
        assert_eq!(gone(&node, "{module: day1_nic}").outcome, Outcome::Fail);
        let once = gone(&node, "{module: e1000}");
        assert!(once.outcome == Outcome::Fail && once.message.contains("taken out again"), "{once:?}");
        assert_eq!(gone(&node, "{module: e1000, may-have-been-loaded: true}").outcome, Outcome::Pass);
    }

    #[test]
    fn an_empty_trace_proves_nothing() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_modules();
        assert_eq!(gone(&node, "{module: igb}").outcome, Outcome::Inconclusive);
        assert_eq!(there(&node, "{module: virtio_net}").outcome, Outcome::Inconclusive);
        node.boot(2).remove_snapshot();
        assert_eq!(gone(&node, "{module: igb}").outcome, Outcome::Inconclusive);
        assert_eq!(there(&node, "{module: virtio_net}").outcome, Outcome::Inconclusive);
    }
}
