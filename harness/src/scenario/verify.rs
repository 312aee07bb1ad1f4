//! Cross-references and contradictions within one scenario.

use super::decode::nearest;
use super::{
    Action, BASE_CHECKS, Base, Boot, ConfigSource, Document, Ends, Expectation, Expectations, JOURNAL_PATTERNS,
    MachineConfig, Mistake, Origin, Path, Reach, Repository, Spec, Start, Trigger, UnitRef,
};

/// Every mistake that no single value shows. Where a part was taken out since it was wrong itself, what refers
/// into it is not judged.
pub(super) fn verify(spec: &Spec, document: &Document, taken_out: &[Path]) -> Vec<Mistake> {
    let mut verifier = Verifier { spec, document, taken_out, mistakes: vec![] };
    verifier.start();
    verifier.node();
    verifier.registry();
    verifier.machine_configs();
    verifier.boots();
    verifier.pool();
    verifier.happens();
    verifier.without();
    for (at, expectations) in spec.expectations() {
        verifier.expect(&at, expectations);
    }
    verifier.mistakes
}

pub(super) struct Verifier<'s> {
    pub(super) spec: &'s Spec,
    document: &'s Document,
    taken_out: &'s [Path],
    mistakes: Vec<Mistake>,
}

pub(super) fn at(key: &str) -> Path {
    Path::default().key(key)
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// The name of one that is generated.
fn generated_name(config: &MachineConfig) -> Option<&str> {
    match &config.source {
        ConfigSource::Generate(parameters) => parameters.text("machine_config_name"),
        ConfigSource::File(_) => None,
    }
}

impl<'s> Verifier<'s> {
    pub(super) fn wrong(&mut self, at: &Path, message: String, help: impl Into<String>) {
        self.mistakes.push(self.document.mistake(at, message, help));
    }

    /// Whether a part is as the file has it, nothing taken out.
    pub(super) fn is_whole(&self, part: &Path) -> bool {
        !self.taken_out.iter().any(|taken| taken.is_within(part) || part.is_within(taken))
    }

    pub(super) fn unique<'w>(&mut self, list: &Path, key: &str, values: impl IntoIterator<Item = &'w str>) {
        let mut seen: Vec<&str> = vec![];
        for (index, value) in values.into_iter().enumerate() {
            if seen.contains(&value) {
                self.wrong(
                    &list.index(index).key(key),
                    format!("`{value}` stands twice"),
                    format!("Give each a `{key}` of its own."),
                );
            }
            seen.push(value);
        }
    }

    pub(super) fn known<'w>(
        &mut self,
        part: &Path,
        at: &Path,
        what: &str,
        wanted: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        if known.contains(&wanted) || !self.is_whole(part) {
            return;
        }
        let near =
            nearest(wanted, known.iter().copied()).map(|near| format!("Did you mean `{near}`? ")).unwrap_or_default();
        self.wrong(at, format!("no {what} is called `{wanted}`"), format!("{near}In `{part}`: {}.", words(known)));
    }

    fn start(&mut self) {
        if self.spec.start == Start::Pulled && !self.spec.has_first_boot_to_skip() && self.is_whole(&at("boots")) {
            self.wrong(
                &at("start"),
                "there is no first boot to begin after".to_owned(),
                "A scenario with `start: pulled` has all its boots: the first ends with `reboot`, and is judged on what was seen of it when the checkpoint was made. Another one follows it.",
            );
        }
    }

    fn node(&mut self) {
        let spec = self.spec;
        self.unique(&at("node").key("nics"), "id", spec.node.nics.iter().map(|nic| nic.id.as_str()));
        self.unique(&at("node").key("disks"), "id", spec.node.disks.iter().map(|disk| disk.id.as_str()));
        self.unique(&at("node").key("files"), "path", spec.node.files.iter().map(|file| file.path.as_str()));
        self.unique(&at("node").key("units"), "name", spec.node.units.iter().map(|unit| unit.name.as_str()));
        if spec.node.nics.first().is_some_and(|first| first.network.is_some()) {
            let help = "Give another card a network; the first one's has the registry's address in it.";
            let place = at("node").key("nics").index(0).key("network");
            self.wrong(&place, "the network behind the first card can't be chosen".to_owned(), help);
        }
        if spec.node.layer.as_ref().is_some_and(|layer| layer.modules.is_empty() && layer.without.is_empty()) {
            let help = "Write `modules` that it brings, in-tree modules that it is `without`, or leave it out.";
            self.wrong(&at("node").key("layer"), "this layer changes nothing".to_owned(), help);
        }
        if spec.node.cpus == 0 {
            self.wrong(&at("node").key("cpus"), "a node without a CPU".to_owned(), "Write at least 1.");
        }
        for (key, is_empty) in [
            ("enrolled-keys", spec.node.enrolled_keys.is_empty()),
            ("enrolled-certificates", spec.node.enrolled_certificates.is_empty()),
        ] {
            if !is_empty && !spec.node.secure_boot && self.is_whole(&at("node").key("secure-boot")) {
                let help = "Write `secure-boot: true` beside it, or leave it out.";
                self.wrong(&at("node").key(key), "keys for a node without Secure Boot".to_owned(), help);
            }
        }
        for (index, disk) in spec.node.disks.iter().enumerate() {
            let throttle = disk.throttle.as_ref();
            if throttle.is_some_and(|throttle| {
                throttle.iops.is_none_or(|iops| iops == 0) && throttle.bytes_per_second.is_none()
            }) {
                let place = at("node").key("disks").index(index).key("throttle");
                self.wrong(
                    &place,
                    "this throttle slows nothing".to_owned(),
                    "Give `iops`, `bytes-per-second`, or both.",
                );
            }
        }
    }

    fn registry(&mut self) {
        for (index, image) in self.spec.registry.images.iter().enumerate() {
            let place = at("registry").key("images").index(index).key("modules");
            if image.from.is_some() {
                if image.is_described() {
                    let place = at("registry").key("images").index(index).key("from");
                    let help = "With `from` go `repository`, `kernel` and `tags` only.";
                    self.wrong(&place, "an image from elsewhere is taken as it is".to_owned(), help);
                }
                continue;
            }
            if image.modules.is_empty() && image.base != Base::Worker && self.is_whole(&place) {
                self.wrong(&place, "an image without a module".to_owned(), "Name at least one of `vm-images/kmods/`.");
            }
        }
        for (index, fault) in self.spec.registry.faults.iter().enumerate() {
            let place = at("registry").key("faults").index(index);
            if fault.answer.is_none() && fault.delay.is_none() && fault.rate.is_none() && fault.cut_at.is_none() {
                let help = "Give `answer`, `delay`, `rate` or `cut-at`.";
                self.wrong(&place, "this fault does nothing".to_owned(), help);
            }
            if fault.first == Some(0) {
                let help = "Write how many requests it concerns, or leave it out for all.";
                self.wrong(&place.key("first"), "this fault strikes nothing".to_owned(), help);
            }
            if fault.answer.is_some_and(|status| !(400..600).contains(&status)) {
                let help = "Write a status from 400 to 599, such as 503.";
                self.wrong(&place.key("answer"), "this answer refuses nothing".to_owned(), help);
            }
            if let Some(repository) = &fault.repository {
                self.repository(&place, repository);
            }
        }
    }

    /// The names of those that are generated, each once.
    fn names(&self) -> Vec<&'s str> {
        let mut names: Vec<&str> = vec![];
        for name in self.spec.machine_configs.iter().filter_map(generated_name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn machine_configs(&mut self) {
        for (place, message, help) in self.spec.node_disruption_policy.mistakes(&at("node-disruption-policy")) {
            if self.is_whole(&place) {
                self.wrong(&place, message, help);
            }
        }
        let configs = &self.spec.machine_configs;
        for (index, config) in configs.iter().enumerate() {
            let Some(name) = generated_name(config).filter(|_| !config.later) else { continue };
            if configs[..index].iter().any(|other| generated_name(other) == Some(name)) {
                self.wrong(
                    &at("machine-configs"),
                    format!("two MachineConfigs are called `{name}`"),
                    "The MCO knows them by name; the second would replace the first. If it is to do so on the running node, give it `later: true`.",
                );
            }
        }
    }

    fn boots(&mut self) {
        if self.spec.boots.is_empty() && self.is_whole(&at("boots")) {
            self.wrong(&at("boots"), "no boot is asked for".to_owned(), "Say at least `- ends: ready`.");
        }
        self.list_of_boots(&at("boots"), &self.spec.boots);
    }

    pub(super) fn list_of_boots(&mut self, list: &Path, boots: &[Boot]) {
        let last = boots.len().saturating_sub(1);
        for (index, boot) in boots.iter().enumerate() {
            let place = list.index(index);
            self.end(boot, &place, index == last);
            if let (Some(by), Ends::Ready | Ends::Cut | Ends::Never) = (&boot.by, boot.ends) {
                self.wrong(
                    &place.key("by"),
                    format!("`by: {by}` with a boot that does not reboot by itself"),
                    "`by` goes with `ends: reboot`.",
                );
            }
            if let Some(by) = &boot.by {
                self.unit(&place.key("by"), by);
            }
        }
    }

    /// What ends a boot, and what follows it.
    pub(super) fn end(&mut self, boot: &Boot, place: &Path, is_last: bool) {
        let is_whole = self.is_whole(&at("boots"));
        let then = place.key("then");
        match (boot.ends, boot.is_ended_by_the_trial(), is_last) {
            (Ends::Never, ..) if !boot.then.is_empty() => {
                let help = "Remove `then`, or write `ends: ready`.";
                self.wrong(&then, "nothing can be done to a node that never settles".to_owned(), help);
            }
            (Ends::Never, _, false) => {
                let help = "Let it be the last of `boots`.";
                self.wrong(&place.key("ends"), "a boot follows on one that never ends".to_owned(), help);
            }
            (Ends::Reboot | Ends::Cut, ..) if !boot.then.is_empty() => {
                let help = "Remove `then`, or write `ends: ready`.";
                self.wrong(&then, "a boot that ends by itself leaves nothing to do".to_owned(), help);
            }
            (Ends::Reboot | Ends::Cut, _, true) if is_whole => {
                let help = "Say how the next boot ends: add `- ends: ready`.";
                self.wrong(&place.key("ends"), "the boot ends, but no boot follows".to_owned(), help);
            }
            (Ends::Ready, false, false) => {
                let help = "Add `then: reboot` here, or write `ends: reboot`.";
                self.wrong(&place.key("ends"), "a boot follows, but nothing reboots this one".to_owned(), help);
            }
            (Ends::Ready, true, true) if is_whole => {
                let help = "Add the boot that follows, or remove `then`.";
                self.wrong(&then, "the node is rebooted, but no boot follows".to_owned(), help);
            }
            _ => {}
        }
        let early = boot.then.iter().rev().skip(1).find(|action| action.ends_the_boot());
        if let Some(early) = early {
            let message = format!("`{}` ends the boot, but more is to be done in it", early.name());
            self.wrong(&then, message, "Put it last.");
        }
        if let Some(most) = boot.at_most {
            let wrong = match (most, boot.ends, is_last) {
                (0, ..) => "a node can't settle in no boot",
                (100.., ..) => "a bound of so many boots bounds nothing",
                (_, Ends::Reboot | Ends::Cut | Ends::Never, _) => "`at-most` goes with `ends: ready`",
                (_, _, false) => "only the last boot can stand for several",
                _ => return,
            };
            let help = "Write it into the last of `boots`, with at least 1 and at most 99.";
            self.wrong(&place.key("at-most"), wrong.to_owned(), help);
        }
    }

    fn happens(&mut self) {
        let spec = self.spec;
        let mut cuts = false;
        for (index, happening) in spec.happens.iter().enumerate() {
            let place = at("happens").index(index);
            let of_node = happening.node.as_ref().map(|node| spec.of_member(node.as_str()).most_boots());
            let most = of_node.unwrap_or_else(|| spec.most_boots());
            if happening.boot.is_some_and(|boot| boot == 0 || boot > most) && self.is_whole(&at("boots")) {
                let help = format!("Boots are counted from 1, and this scenario has {most} at most.");
                self.wrong(&place.key("boot"), "there is no such boot".to_owned(), help);
            }
            if spec.start == Start::Pulled && happening.boot.is_none_or(|boot| boot < 2) {
                let help = "Say `boot:`, 2 or later; or write `start: template`.";
                let message = "with `start: pulled` the first boot was before this trial, so nothing can happen in it";
                self.wrong(&place, message.to_owned(), help);
            }
            self.trigger(&place.key("when"), &happening.when);
            for action in happening.actions.iter() {
                self.action(&place.key("do"), action);
            }
            cuts |= happening.actions.iter().any(Action::ends_the_boot);
        }
        for (index, boot) in spec.boots.iter().enumerate() {
            let place = at("boots").index(index);
            for action in boot.then.iter() {
                self.action(&place.key("then"), action);
            }
            if boot.ends == Ends::Cut && !cuts && self.is_whole(&at("happens")) {
                let help = "Say when: add `- {when: …, do: power-cut}` to `happens`.";
                self.wrong(&place.key("ends"), "nothing cuts the power of this boot".to_owned(), help);
            }
        }
        for (index, delay) in spec.delays.iter().enumerate() {
            if spec.delays[..index].iter().any(|other| other.unit == delay.unit) {
                let place = at("delays").index(index).key("unit");
                self.wrong(&place, format!("`{}` is delayed twice", delay.unit), "Say the whole time once.");
            }
            self.unit(&at("delays").index(index).key("unit"), &delay.unit);
        }
    }

    fn trigger(&mut self, place: &Path, trigger: &Trigger) {
        match trigger {
            Trigger::Unit(unit) => self.unit(&place.key("unit").key("name"), &unit.name),
            Trigger::Journal(journal) => {
                if let Some(unit) = &journal.unit {
                    self.unit(&place.key("journal").key("unit"), unit);
                }
            }
            Trigger::Pulled(pulled) => self.repository(&place.key("pulled"), &pulled.repository),
            Trigger::Phase(_) | Trigger::Module(_) => {}
        }
    }

    fn action(&mut self, place: &Path, action: &Action) {
        if let Action::Unplug(disk) = action {
            let known = self.spec.node.disks.iter().map(|disk| disk.id.as_str());
            self.known(&at("node").key("disks"), place, "disk", disk.as_str(), known);
        }
        if let Action::Link(link) = action {
            let known = self.spec.node.nics.iter().map(|nic| nic.id.as_str());
            self.known(&at("node").key("nics"), &place.key("link"), "network card", link.nic.as_str(), known);
        }
    }

    fn without(&mut self) {
        for (index, opt_out) in self.spec.without.iter().enumerate() {
            let place = at("without").index(index);
            let (check, pattern) = match opt_out.check.split_once('/') {
                Some((check, pattern)) => (check, Some(pattern)),
                None => (opt_out.check.as_str(), None),
            };
            let (known, found): (&[&str], &str) = match pattern {
                Some(pattern) if check == "journal.clean" => (&JOURNAL_PATTERNS, pattern),
                _ => (&BASE_CHECKS, opt_out.check.as_str()),
            };
            if !known.contains(&found) {
                let near = nearest(found, known.iter().copied())
                    .map(|near| format!("Did you mean `{near}`? "))
                    .unwrap_or_default();
                self.wrong(
                    &place.key("check"),
                    format!("`{found}` is nothing to do without"),
                    format!("{near}Known here: {}.", words(known.iter().copied())),
                );
            }
            if opt_out.check == "evidence" {
                self.wrong(
                    &place.key("check"),
                    "no scenario does without evidence".to_owned(),
                    "Without evidence nothing is proven; remove this.",
                );
            }
            if opt_out.reason.trim().is_empty() {
                self.wrong(
                    &place.key("reason"),
                    "the reason is empty".to_owned(),
                    "Say why this scenario does without the check.",
                );
            }
        }
    }

    pub(super) fn expect(&mut self, place: &Path, expectations: &Expectations) {
        let units: Vec<String> = expectations.unit_result.iter().map(|one| one.unit.to_string()).collect();
        self.unique(&place.key("unit.result"), "unit", units.iter().map(String::as_str));
        for (index, expectation) in expectations.each() {
            let place = place.key(expectation.check()).index(index);
            match expectation {
                Expectation::UnitResult(one) => self.unit(&place.key("unit"), &one.unit),
                Expectation::UnitBefore(one) => {
                    self.unit(&place.key("unit"), &one.unit);
                    self.unit(&place.key("before"), &one.before);
                    if one.unit == one.before {
                        let help = "Name the unit that must wait.";
                        self.wrong(&place.key("before"), "no unit is before itself".to_owned(), help);
                    }
                }
                Expectation::JournalSays(one) => self.unit(&place.key("unit"), &one.unit),
                Expectation::NicDriver(one) => {
                    let known = self.spec.node.nics.iter().map(|nic| nic.id.as_str());
                    self.known(&at("node").key("nics"), &place.key("nic"), "network card", one.nic.as_str(), known);
                }
                Expectation::ModuleReplaced(one) => {
                    let images = &self.spec.registry.images;
                    let known = images.iter().flat_map(|image| &image.modules).map(|module| module.as_str());
                    // What is in an image from elsewhere is known when it is read.
                    if images.iter().all(|image| image.from.is_none()) {
                        self.known(
                            &at("registry").key("images"),
                            &place.key("module"),
                            "module of an image",
                            one.module.as_str(),
                            known,
                        );
                    }
                    if let Some(repository) = &one.repository {
                        self.repository(&place, repository);
                    }
                    if one.in_tree.contains(&one.module) {
                        let help = "One name stands for one module: which of the two is loaded is told by srcversion. Leave it out of `in-tree`.";
                        self.wrong(&place.key("in-tree"), format!("`{}` can't be present and gone", one.module), help);
                    }
                }
                Expectation::ImagePulled(one) => {
                    self.repository(&place, &one.repository);
                    if !self.spec.registry.reachable && !self.registry_comes_back() {
                        self.wrong(
                            &place,
                            "nothing can be pulled from a registry that is not reachable".to_owned(),
                            "Remove this, or `reachable: false`.",
                        );
                    }
                }
                Expectation::ImageNotPulled(one) => {
                    if let Some(repository) = &one.repository {
                        self.repository(&place, repository);
                    }
                }
                Expectation::ImageRefused(one) => {
                    self.repository(&place, &one.repository);
                    if !(400..600).contains(&one.status) {
                        self.wrong(
                            &place.key("status"),
                            format!("{} refuses nothing", one.status),
                            "Write a status from 400 to 599, such as 404.",
                        );
                    }
                }
                Expectation::JournalLacks(one) => {
                    if let Some(unit) = &one.unit {
                        self.unit(&place.key("unit"), unit);
                    }
                }
                Expectation::FileState(one) => {
                    if !one.exists && (one.mode.is_some() || one.matches.is_some()) {
                        let help = "Remove `exists: false`, or what is said of the file.";
                        self.wrong(&place, "a file that is not there has neither mode nor text".to_owned(), help);
                    }
                }
                Expectation::ModulePresent(one) => {
                    if one.origin == Some(Origin::Layered) {
                        let layer = self.spec.node.layer.iter();
                        let known = layer.flat_map(|layer| &layer.modules).map(|module| module.as_str());
                        let place = place.key("module");
                        self.known(&at("node").key("layer"), &place, "layered module", one.module.as_str(), known);
                    }
                    if let Some(repository) = &one.repository {
                        self.repository(&place, repository);
                    }
                }
                Expectation::ModuleAbsent(_) | Expectation::KernelRunning(_) | Expectation::ConfigNeverAsked(_) => {}
            }
        }
    }

    fn registry_comes_back(&self) -> bool {
        let happens = self.spec.happens.iter().flat_map(|one| one.actions.iter());
        let then = self.spec.boots.iter().flat_map(|boot| boot.then.iter());
        happens.chain(then).any(|action| matches!(action, Action::Registry(Reach::Reachable)))
    }

    pub(super) fn repository(&mut self, place: &Path, repository: &Repository) {
        let images = self.spec.registry.images.iter().map(|image| image.repository.as_str());
        let named = self.spec.machine_configs.iter().filter_map(|config| match &config.source {
            ConfigSource::Generate(parameters) => parameters.text("kernel_module_image"),
            ConfigSource::File(_) => None,
        });
        let known: Vec<&str> = images.chain(named).collect();
        self.known(&at("registry").key("images"), &place.key("repository"), "repository", repository.as_str(), known);
    }

    pub(super) fn unit(&mut self, place: &Path, unit: &UnitRef) {
        let configs = &self.spec.machine_configs;
        let part = at("machine-configs");
        let UnitRef::Role { role, machine_config } = unit else { return };
        let role = role.as_str();
        let any_file = configs.iter().any(|config| matches!(config.source, ConfigSource::File(_)));
        match machine_config {
            Some(name) if !any_file => {
                let names = self.names();
                self.known(&part, place, "MachineConfig under test", name, names);
            }
            None if configs.is_empty() && self.is_whole(&part) => {
                self.wrong(
                    place,
                    format!("no MachineConfig is under test, so there is no `{role}` unit"),
                    "Name a unit in full, or add a MachineConfig.",
                );
            }
            None if configs.len() > 1 && (any_file || self.names().len() > 1) => {
                let known: Vec<String> = self.names().iter().map(|name| format!("{role}/{name}")).collect();
                self.wrong(
                    place,
                    format!("`{role}` could be a unit of any of {} MachineConfigs", configs.len()),
                    format!("Say whose: {}.", words(known.iter().map(String::as_str))),
                );
            }
            _ => {}
        }
    }
}
