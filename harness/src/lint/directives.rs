//! The directives that systemd knows: `directives.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What is known of one directive in one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directive {
    /// Kind of value, as systemd names it: `BOOLEAN`, `SECONDS`, …
    pub(super) kind: &'static str,
    /// Whether systemd 252 does not have it.
    pub(super) new: bool,
}

type Sections = HashMap<&'static str, HashMap<&'static str, Directive>>;

static SECTIONS: LazyLock<Sections> = LazyLock::new(|| {
    let mut sections = Sections::new();
    for line in include_str!("directives.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (Some(name), Some(kind), Some(names)) = (words.next(), words.next(), words.next()) else { continue };
        let directive = Directive { kind, new: words.next() == Some("new") };
        for section in names.split(',') {
            sections.entry(section).or_default().insert(name, directive);
        }
    }
    sections
});

/// The directive of that name in a section.
pub(super) fn directive(section: &str, name: &str) -> Option<Directive> {
    SECTIONS.get(section)?.get(name).copied()
}

/// The names that a section has, sorted.
pub(super) fn names(section: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = SECTIONS.get(section).into_iter().flat_map(HashMap::keys).copied().collect();
    names.sort_unstable();
    names
}

/// The sections of a unit that have a directive of that name.
pub(super) fn sections_with(name: &str, among: &[&'static str]) -> Option<&'static str> {
    among.iter().copied().find(|section| directive(section, name).is_some())
}

/// The sections that a unit of this name may have.
pub(super) fn sections_of(unit: &str) -> Vec<&'static str> {
    let own = match unit.rsplit_once('.').map_or("", |(_, suffix)| suffix) {
        "service" => "Service",
        "socket" => "Socket",
        "mount" => "Mount",
        "automount" => "Automount",
        "swap" => "Swap",
        "timer" => "Timer",
        "path" => "Path",
        "slice" => "Slice",
        "scope" => "Scope",
        _ => return vec!["Unit", "Install"],
    };
    vec!["Unit", own, "Install"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert_eq!(SECTIONS.len(), 11);
        assert_eq!(directive("Service", "TimeoutStartSec"), Some(Directive { kind: "SECONDS", new: false }));
        assert_eq!(directive("Unit", "WantsMountsFor").map(|directive| directive.new), Some(true));
        assert_eq!(directive("Install", "WantedBy").map(|directive| directive.new), Some(false));
        // An old name that systemd still takes.
        assert!(directive("Service", "StartLimitInterval").is_some());
        assert_eq!(directive("Unit", "ExecStart"), None);
        assert_eq!(sections_with("ExecStart", &sections_of("a.service")), Some("Service"));
        assert!(SECTIONS.values().map(HashMap::len).sum::<usize>() > 1300);
    }
}
