//! The modules that the image's want loaded beside them, where they are there.

use std::cell::LazyCell;

use super::super::Finding;
use super::super::kernel::{Alias, modules_alias};
use super::super::pattern::{Effort, matches};
use super::symbols::{Provided, provided};
use super::{Context, Known, Subject};

pub(super) fn check(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    const CHECK: &str = "module.softdeps";
    // A kernel has tens of thousands; few images want anything by such a name.
    let names = LazyCell::new(|| Names::of(subject, kernel));
    let mut effort = Effort::new(context.request.limits.steps);
    let (mut absent, mut unknown, mut count) = (Vec::new(), Vec::new(), 0);
    for name in subject.load {
        let Some(info) = subject.driver.info(name) else { continue };
        for soft in info.softdeps.pre.iter().chain(&info.softdeps.post) {
            count += 1;
            if subject.driver.file(soft).is_some() {
                continue;
            }
            match found(subject, kernel, &names, soft, &mut effort) {
                Provided::Yes(_) => {}
                Provided::No(reason) => absent.push(format!("{name} wants {soft}: {reason}")),
                Provided::Unknown => unknown.push(format!("{name} wants {soft}")),
            }
        }
    }
    let mut findings = Vec::new();
    if !absent.is_empty() {
        findings.push(
            Finding::warning(CHECK, "softdeps are not found")
                .seen(absent)
                .why("modprobe goes on without them: the module loads, and what it wanted them for may be missing")
                .advise("put them into the image, or name them in the node's /etc/modules-load.d"),
        );
    }
    if !unknown.is_empty() {
        let reason = kernel.err().map_or_else(|| "the kernel's directory has no modules.dep".to_owned(), str::to_owned);
        findings
            .push(Finding::not_checked(CHECK, format!("whether the node has them, because {reason}")).seen(unknown));
    }
    if findings.is_empty() {
        let told = if count == 0 { "there are none".to_owned() } else { format!("all {count} are found") };
        findings.push(Finding::ok(CHECK, told));
    }
    findings
}

/// Other names of modules, with underscores: those that the image's index has, and those that the kernel has beside them.
struct Names {
    of_image: Vec<Alias>,
    of_kernel: Vec<Alias>,
}

impl Names {
    fn of(subject: &Subject<'_>, kernel: Known<'_>) -> Self {
        let with_underscores = |(pattern, module): &Alias| (underscores(pattern), module.clone());
        let of_image = subject.driver.text("modules.alias").map(|text| modules_alias(&text)).unwrap_or_default();
        let of_kernel = kernel.ok().into_iter().flat_map(|kernel| {
            kernel.builtin_aliases.iter().flatten().chain(kernel.aliases.iter().flatten()).map(with_underscores)
        });
        Self { of_image: of_image.iter().map(with_underscores).collect(), of_kernel: of_kernel.collect() }
    }
}

/// Whether a name is found, be it a module's or one that modules claim.
fn found(
    subject: &Subject<'_>,
    kernel: Known<'_>,
    names: &LazyCell<Names, impl FnOnce() -> Names>,
    soft: &str,
    effort: &mut Effort,
) -> Provided {
    let find = |module: &str| {
        if subject.driver.file(module).is_some() {
            return Provided::Yes("");
        }
        let listed = subject.driver.dep.as_ref().and_then(|dep| dep.get(module)).map(|entry| &entry.path);
        provided(subject, kernel, listed, module)
    };
    let mut answer = find(soft);
    if matches!(answer, Provided::Yes(_)) {
        return answer;
    }
    let mut by_name = false;
    for (pattern, module) in names.of_image.iter().chain(&names.of_kernel) {
        if matches!(answer, Provided::Yes(_)) {
            break;
        }
        match matches(pattern, soft, effort) {
            Some(false) => {}
            None => return Provided::Unknown,
            Some(true) => match find(module) {
                Provided::No(reason) if by_name => drop(reason),
                Provided::No(reason) => {
                    by_name = true;
                    answer = Provided::No(format!("{module} has that name, and {reason}"));
                }
                better => answer = better,
            },
        }
    }
    answer
}

/// As `alias_normalize` of kmod: dashes are underscores but for those in sets.
fn underscores(pattern: &str) -> String {
    let mut in_set = false;
    let one = |c: char| {
        match c {
            '[' => in_set = true,
            ']' => in_set = false,
            _ => {}
        }
        if c == '-' && !in_set { '_' } else { c }
    };
    pattern.chars().map(one).collect()
}
