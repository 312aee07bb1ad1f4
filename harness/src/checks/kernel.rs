//! `kernel.taint`: what the kernel says of itself, explained; `kernel.running`: which one it is; `kernel.locked-down`:
//! whether it enforces signatures.

use crate::scenario::KernelRunning;

use super::boot::{Boot, journal_line};
use super::{Evidence, Finding};

const TAINT: &str = "kernel.taint";
const RUNNING: &str = "kernel.running";
const LOCKED_DOWN: &str = "kernel.locked-down";

/// Bit, letter and meaning (`Documentation/admin-guide/tainted-kernels.rst`), and whether an out-of-tree module brings it.
const TAINTS: [(u32, char, &str, bool); 19] = [
    (0, 'P', "a proprietary module was loaded", true),
    (1, 'F', "a module was loaded by force, whatever its version says", false),
    (2, 'S', "the kernel runs on a system that is out of its specification", false),
    (3, 'R', "a module was unloaded by force", false),
    (4, 'M', "the processor reported a machine check", false),
    (5, 'B', "a page of memory was found in a bad state", false),
    (6, 'U', "a user asked for it", false),
    (7, 'D', "the kernel crashed in a task (an oops or BUG)", false),
    (8, 'A', "an ACPI table was overridden", false),
    (9, 'W', "the kernel warned of itself", false),
    (10, 'C', "a staging driver was loaded", true),
    (11, 'I', "a bug of the firmware was worked around", false),
    (12, 'O', "an out-of-tree module was loaded", true),
    (13, 'E', "an unsigned module was loaded", true),
    (14, 'L', "a CPU was held for too long (a soft lockup)", false),
    (15, 'K', "the kernel was patched while it ran", false),
    (16, 'X', "the distribution's own reason", false),
    (17, 'T', "the kernel was built with randomised structures", false),
    (18, 'N', "a test of the kernel's own was run", false),
];

/// No taint but those that an out-of-tree module brings by being one.
pub(super) fn taint(boot: &Boot<'_>) -> Finding {
    let number = boot.number;
    let Some((event, snapshot)) = boot.snapshot() else {
        return Finding::inconclusive(TAINT, number, "no snapshot of this boot: nothing tells the kernel's taint");
    };
    let set: Vec<_> = TAINTS.iter().filter(|(bit, ..)| snapshot.tainted >> bit & 1 == 1).collect();
    let letters: String = set.iter().map(|(_, letter, ..)| letter).collect();
    let explain = |(_, letter, meaning, _): &&(u32, char, &str, bool)| format!("{letter}: {meaning}");
    let evidence = Evidence::new(event, format!("/proc/sys/kernel/tainted is {}, `{letters}`", snapshot.tainted));
    let mut bad: Vec<String> = set.iter().filter(|(.., expected)| !expected).map(explain).collect();
    if snapshot.tainted >> TAINTS.len() != 0 {
        bad.push(format!("a bit beyond {} that no kernel of today has: {:#x}", TAINTS.len() - 1, snapshot.tainted));
    }
    if !bad.is_empty() {
        let message = format!("the kernel is tainted: {}", bad.join("; "));
        return Finding::fail(TAINT, number, message)
            .seen([evidence])
            .advise("The kernel's own lines in the journal of this boot tell where; `journal.clean` quotes them.");
    }
    let message = match set.as_slice() {
        [] => "the kernel is not tainted".to_owned(),
        set => format!(
            "the kernel's taint is an out-of-tree module's ({})",
            set.iter().map(explain).collect::<Vec<_>>().join("; ")
        ),
    };
    Finding::pass(TAINT, number, message).seen([evidence])
}

/// The kernel that the scenario wants is the one that runs.
pub(super) fn running(boot: &Boot<'_>, expected: &KernelRunning) -> Finding {
    let wanted = boot.facts.and_then(|facts| facts.kernels.get(expected.kernel.checked_sub(1)?));
    match wanted {
        Some(wanted) => is_running(boot, wanted),
        None => {
            let message = format!("the node image has no kernel {}", expected.kernel);
            Finding::inconclusive(RUNNING, boot.number, message)
        }
    }
}

/// The kernel that the run chose is the one that runs; nothing, where it chose none.
pub(super) fn chosen(boot: &Boot<'_>) -> Option<Finding> {
    Some(is_running(boot, boot.facts?.kernel.as_ref()?))
}

/// What the kernel says when the firmware enforces signatures, and when it does so itself.
const LOCKED: &str = "Kernel is locked down from EFI Secure Boot";
/// What it says of the firmware where it does not.
const NOT_SECURE: [&str; 2] = ["Secure boot disabled", "Secure boot could not be determined"];
/// The bit of the kernel's taint that an unsigned module sets.
const UNSIGNED: u64 = 1 << 13;

/// The kernel of a node with Secure Boot knows of it, is locked down, and has taken no unsigned module.
pub(super) fn locked_down(boot: &Boot<'_>) -> Finding {
    let number = boot.number;
    let said = |texts: &[&str]| {
        let mut records = boot.journal().filter(|(_, record)| record.field("_TRANSPORT") == "kernel");
        records.find(|(_, record)| texts.iter().any(|text| record.message().contains(text)))
    };
    let advice =
        "Without Secure Boot the node shows nothing of it: look at the firmware's and shim's lines on the console.";
    if let Some((event, record)) = said(&NOT_SECURE) {
        return Finding::fail(LOCKED_DOWN, number, "the firmware of this node does not enforce signatures")
            .seen([journal_line(event, record)])
            .advise(advice);
    }
    let Some((event, record)) = said(&[LOCKED]) else {
        let message = "nothing tells that the kernel is locked down by Secure Boot";
        return Finding::inconclusive(LOCKED_DOWN, number, message).advise(advice);
    };
    let locked = journal_line(event, record);
    match boot.snapshot() {
        Some((event, snapshot)) if snapshot.tainted & UNSIGNED != 0 => {
            let here = Evidence::new(event, format!("/proc/sys/kernel/tainted is {}", snapshot.tainted));
            let message = "the kernel is locked down, and has taken an unsigned module";
            Finding::fail(LOCKED_DOWN, number, message).seen([locked, here])
        }
        _ => Finding::pass(LOCKED_DOWN, number, "the kernel is locked down by Secure Boot").seen([locked]),
    }
}

fn is_running(boot: &Boot<'_>, wanted: &str) -> Finding {
    let number = boot.number;
    let Some((event, snapshot)) = boot.snapshot() else {
        return Finding::inconclusive(RUNNING, number, "no snapshot of this boot: nothing tells which kernel runs");
    };
    let here = [Evidence::new(event, format!("uname -r is {}", snapshot.kernel_release))];
    if snapshot.kernel_release == wanted {
        return Finding::pass(RUNNING, number, format!("kernel {wanted} runs")).seen(here);
    }
    Finding::fail(RUNNING, number, format!("kernel {} runs, expected: {wanted}", snapshot.kernel_release)).seen(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, boot_of};

    fn judged(tainted: u64) -> Finding {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.tainted = tainted;
        let timeline = node.timeline();
        taint(&boot_of(&timeline, 2))
    }

    #[test]
    fn an_out_of_tree_module_is_no_fault_and_all_else_is_explained() {
        assert_eq!(judged(0).outcome, Outcome::Pass);
        assert_eq!(judged(1 << 12 | 1 << 13).outcome, Outcome::Pass);
        let warned = judged(1 << 12 | 1 << 9);
        assert!(warned.outcome == Outcome::Fail && warned.message.contains("W: the kernel warned"), "{warned:?}");
        assert!(judged(1 << 20).message.contains("that no kernel of today has"));
        assert!(judged(1 << 3).message.contains("R: a module was unloaded by force"));
    }

    #[test]
    fn each_bit_has_its_own_letter() {
        let mut letters: Vec<char> = TAINTS.iter().map(|(_, letter, ..)| *letter).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), TAINTS.len());
        assert!(TAINTS.iter().zip(0..).all(|((bit, ..), place)| *bit == place));
    }

    #[test]
    fn without_a_snapshot_it_is_inconclusive() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_snapshot();
        let timeline = node.timeline();
        assert_eq!(taint(&boot_of(&timeline, 2)).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_kernel_that_the_run_chose_must_be_the_one_that_runs() {
        let judged = |kernel: Option<&str>| {
            let mut node = Node::pulled_and_loaded();
            node.facts().kernel = kernel.map(str::to_owned);
            node.ready(2).snapshot.kernel_release = "6.12-rt".into();
            let timeline = node.timeline();
            chosen(&boot_of(&timeline, 2)).map(|finding| finding.outcome)
        };
        assert_eq!(judged(None), None);
        assert_eq!(judged(Some("6.12-rt")), Some(Outcome::Pass));
        assert_eq!(judged(Some("6.12")), Some(Outcome::Fail));
    }

    #[test]
    fn the_running_kernel_is_one_of_the_images() {
        let judged = |kernels: &[&str], expected: usize| {
            let mut node = Node::pulled_and_loaded();
            node.facts().kernels = kernels.iter().map(|kernel| (*kernel).to_owned()).collect();
            node.ready(2).snapshot.kernel_release = "6.12-rt".into();
            let timeline = node.timeline();
            running(&boot_of(&timeline, 2), &KernelRunning { kernel: expected }).outcome
        };
        assert_eq!(judged(&["6.12", "6.12-rt"], 2), Outcome::Pass);
        assert_eq!(judged(&["6.12", "6.12-rt"], 1), Outcome::Fail);
        assert_eq!(judged(&["6.12"], 2), Outcome::Inconclusive);
        assert_eq!(judged(&["6.12"], 0), Outcome::Inconclusive);
    }

    #[test]
    fn secure_boot_is_the_kernel_s_word_and_an_unsigned_module_speaks_against_it() {
        let judged = |lines: &[&str], tainted: u64| {
            let mut node = Node::pulled_and_loaded();
            for line in lines {
                node.boot(2).kernel(line);
            }
            node.ready(2).snapshot.tainted = tainted;
            let timeline = node.timeline();
            locked_down(&boot_of(&timeline, 2)).outcome
        };
        let locked = "Kernel is locked down from EFI Secure Boot; see man kernel_lockdown.7";
        assert_eq!(judged(&["secureboot: Secure boot enabled", locked], 1 << 12), Outcome::Pass);
        assert_eq!(judged(&[locked], 1 << 12 | 1 << 13), Outcome::Fail);
        assert_eq!(judged(&["secureboot: Secure boot disabled"], 0), Outcome::Fail);
        assert_eq!(judged(&["secureboot: Secure boot enabled"], 0), Outcome::Inconclusive);
        assert_eq!(
            judged(&["Kernel is locked down from command line; see man kernel_lockdown.7"], 0),
            Outcome::Inconclusive
        );
        assert_eq!(judged(&[], 0), Outcome::Inconclusive);
    }
}
