//! The checks of an image. Each is a function from what was read to findings; docs/inspect.md lists their ids.

mod aliases;
mod firmware;
mod image;
mod in_tree;
mod indexes;
mod licence;
mod module;
mod order;
mod signature;
mod softdeps;
mod symbols;
mod table;
mod upstream;

pub(super) use image::{fault, layout};
pub use table::{CHECKS, Check, table};

use super::driver::Driver;
use super::image::{Content, Image};
use super::kernel::Kernel;
use super::{Finding, Outcome, Request};

/// The image, and what was asked.
pub(super) struct Context<'c> {
    pub(super) request: &'c Request,
    pub(super) image: &'c Image,
    pub(super) content: &'c Content,
    /// Of the nodes.
    pub(super) architecture: &'c str,
}

/// The module, and what comes with it.
pub(super) struct Subject<'c> {
    pub(super) release: &'c str,
    pub(super) driver: &'c Driver<'c>,
    pub(super) module: &'c str,
    /// The modules of the image that are loaded for it, in their order.
    pub(super) load: &'c [String],
}

impl Subject<'_> {
    /// The in-tree modules that are removed, by the kernel's names.
    fn removed(&self, request: &Request) -> Vec<String> {
        match &request.in_tree {
            Some(names) => names.iter().map(|name| name.replace('-', "_")).collect(),
            None => vec![self.module.to_owned()],
        }
    }

    /// The image's file of a module, for a person.
    fn path(&self, name: &str) -> String {
        self.driver.file(name).map_or_else(|| name.to_owned(), |(path, _)| self.driver.path(path))
    }
}

/// What of the kernel a check has, or why not.
type Known<'k> = Result<&'k Kernel, &'k str>;

/// A part of what is known of the kernel; or why it is not known.
fn part<'k, T>(kernel: Known<'k>, file: &str, of: impl FnOnce(&'k Kernel) -> Option<T>) -> Result<T, String> {
    let kernel = kernel.map_err(str::to_owned)?;
    of(kernel).ok_or_else(|| format!("{} has no {file}", kernel.dir.display()))
}

/// The checks that need no module.
pub(super) fn of_image(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = vec![image::platform(context), image::size(context)];
    findings.extend(upstream::of_image(context));
    findings
}

/// The checks of the module and of what is loaded with it.
pub(super) fn of_modules(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    let mut findings = vec![image::tag(context, subject)];
    findings.extend(image::links(subject));
    let late = order::late(subject, kernel);
    findings.extend(indexes::check(subject, &late));
    findings.extend(module::readable(context, subject));
    findings.extend(module::intree(context, subject));
    findings.extend(module::vermagic(subject, kernel));
    findings.extend(symbols::check(context, subject, kernel));
    if let Some(circle) = order::circle(&late) {
        // That each is there is no good news then.
        findings.retain(|finding| finding.check != circle.check || finding.outcome != Outcome::Ok);
        findings.push(circle);
    }
    findings.extend(signature::check(context, subject, kernel));
    findings.extend(module::compression(subject, kernel));
    findings.extend(module::parameters(subject));
    findings.extend(firmware::check(context, subject, kernel));
    findings.extend(in_tree::check(context, subject, kernel));
    findings.extend(upstream::of_modules(context, subject, kernel));
    findings
}

/// What stands in the place of the checks that a failed one makes pointless.
pub(super) fn nothing_more() -> Finding {
    Finding::not_checked("module", "the checks of the module, because of the error above")
}

/// The module that was asked for is not in the image.
pub(super) fn no_module(asked: &str, driver: &Driver<'_>) -> Finding {
    let names: Vec<String> = driver.names().into_iter().collect();
    let what = if asked.is_empty() { "any module".to_owned() } else { format!("the module {asked}") };
    let mut finding = Finding::error("image.module", format!("{} has no file of {what}", driver.dir))
        .seen(driver.broken.iter().map(|(path, reason)| format!("{}: {reason}", driver.path(path))))
        .why("nothing can be loaded: the load unit fails, and the in-tree driver stays")
        .source("modprobe looks a module up by its file's name: libkmod/libkmod-module.c of kmod");
    if !names.is_empty() {
        finding = finding.seen([format!("it has {}", names.join(", "))]);
    }
    finding.advise(format!("copy the module to {}/updates/NAME.ko and run depmod after that", driver.dir))
}

/// `one`, `two` and `three`.
fn join(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
