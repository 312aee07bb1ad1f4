//! Who signed the modules, and whether that is enough for the nodes.

use super::super::Finding;
use super::{Context, Known, Subject, join, part};
use crate::kmod::Trust;

const CHECK: &str = "module.signature";
const SOURCE: &str = "kernel/module/signing.c: module_sig_check";
const REFUSED: &str = "the signature is damaged, or of a form that every kernel refuses";
const FAILS: &str = "a kernel that enforces signatures answers `Key was rejected by service`, or `Required key not available`, and one that has the key answers the first of other bytes in any case: the load unit fails, and the in-tree driver stays";

pub(super) fn check(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    let enforced = part(kernel, "config", |kernel| kernel.has_option("MODULE_SIG_FORCE"));
    let judges = part(kernel, "config", |kernel| kernel.has_option("MODULE_SIG"));
    let wanted = !context.request.trusted_keys.is_empty();
    let (mut signed, mut unsigned, mut wrong, mut unknown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut broken, mut own) = (Vec::new(), Vec::new());
    let of_kernel = kernel.ok().and_then(|kernel| kernel.signature.as_ref());
    for name in subject.load {
        let (Some(info), Some((_, file))) = (subject.driver.info(name), subject.driver.file(name)) else { continue };
        let Some(signature) = &info.signature else {
            unsigned.push(name.clone());
            continue;
        };
        if let Some(reason) = &signature.broken {
            broken.push(format!("{name}: {reason}"));
            continue;
        }
        if !signature.is_pkcs7 {
            // To a kernel that does not enforce signatures it is as good as none.
            unsigned.push(format!("{name}, whose signature is of a kind that no kernel knows any more"));
            continue;
        }
        let by_kernel = of_kernel.is_some_and(|kernels| signature.names_key_of(kernels));
        match &file.trust {
            None | Some(Trust::OtherKey) if by_kernel => {
                own.push(format!("{name}: the kernel's own key, which the nodes trust ({signature})"));
            }
            None => signed.push(format!("{name}: {signature}")),
            Some(Trust::Valid(subject)) => signed.push(format!("{name}: signed by {subject}, verified ({signature})")),
            Some(Trust::OtherKey) => {
                wrong.push(format!("{name}: none of the trusted certificates made it ({signature})"))
            }
            Some(Trust::Invalid(subject)) => {
                wrong.push(format!("{name}: says {subject} signed it, but its bytes are not those that were signed"));
            }
            Some(Trust::Unsigned) => unsigned.push(name.clone()),
            Some(Trust::Unknown(reason)) => unknown.push(format!("{name}: {reason} ({signature})")),
        }
    }
    let mut findings = Vec::new();
    if !unsigned.is_empty() {
        let told = format!("not signed: {}", join(&unsigned));
        let finding =
            if wanted || enforced == Ok(true) { Finding::error(CHECK, told) } else { Finding::warning(CHECK, told) };
        let why = match &enforced {
            Ok(true) => {
                "the kernel's config has CONFIG_MODULE_SIG_FORCE: it loads signed modules only, and the in-tree driver stays"
            }
            _ => {
                "with Secure Boot, lockdown or module.sig_enforce a node loads signed modules only; others load it with taint E"
            }
        };
        findings.push(
            finding
                .why(why)
                .advise("sign it with the kernel's scripts/sign-file and a key that the nodes trust, after stripping and before compressing it")
                .source(SOURCE),
        );
    }
    if !broken.is_empty() {
        let (finding, why) = if judges == Ok(false) {
            (
                Finding::warning(CHECK, REFUSED),
                "this kernel reads no signatures (CONFIG_MODULE_SIG is not set); one that does answers `Bad message` or `Key was rejected by service`, and loads nothing",
            )
        } else {
            (
                Finding::error(CHECK, REFUSED),
                "the kernel answers `Bad message` or `Key was rejected by service`, also where signatures are not enforced: no node loads the module",
            )
        };
        findings.push(
            finding
                .seen(broken)
                .why(why)
                .advise("sign the module again with the kernel's scripts/sign-file, after stripping and before compressing it; `openssl cms -sign` needs -binary and -noattr, and no -nodetach")
                .source(SOURCE),
        );
    }
    if !wrong.is_empty() {
        findings.push(
            Finding::error(CHECK, "the signature is not one that the nodes trust")
                .seen(wrong)
                .why(FAILS)
                .advise("sign the module as it is in the image, with the key of a certificate that the nodes trust; strip it before, not after")
                .source(SOURCE),
        );
    }
    if !unknown.is_empty() {
        findings.push(Finding::not_checked(CHECK, "whether the certificates made the signature").seen(unknown));
    }
    if !own.is_empty() {
        findings.push(
            Finding::not_checked(CHECK, "whether modules are as the kernel's own key signed them, because its certificate is not given")
                .seen(own)
                .why("modules that were copied from the kernel's package load; one that was altered after that does not, also where signatures are not enforced: the kernel knows the key, and answers `Key was rejected by service`")
                .advise("leave the kernel's own modules as they are; sign altered ones with another key, or add --trusted-key with the kernel's certificate"),
        );
    }
    if !signed.is_empty() {
        findings.push(Finding::ok(CHECK, "signed").seen(signed));
        if !wanted {
            findings.push(Finding::not_checked(
                CHECK,
                "whether the nodes trust that key, because no certificate is given: add --trusted-key CERT",
            ));
        }
    }
    findings
}
