//! Patterns of module aliases and firmware names, as fnmatch(3) matches them.

/// What comparing may still cost: patterns are made by others, and there may be many of them.
#[derive(Debug)]
pub(super) struct Effort {
    left: u64,
}

impl Effort {
    /// That many steps.
    pub(super) fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// None when nothing is left.
    fn spend(&mut self, steps: usize) -> Option<()> {
        let left = self.left.checked_sub(steps as u64);
        self.left = left.unwrap_or(0);
        left.map(|_| ())
    }
}

/// Whether all of `text` is matched by a pattern of `*`, `?` and `[…]`; none where that takes more than may be spent.
pub(super) fn matches(pattern: &str, text: &str, effort: &mut Effort) -> Option<bool> {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star is, and the text from which it is tried next: earlier stars need no second try.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        effort.spend(1)?;
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => {
                effort.spend(pattern.len() - p)?;
                set(pattern, p, text[t])
            }
            Some(byte) => (*byte == text[t]).then_some(p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((star, from))) => {
                retry = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            (None, None) => return Some(false),
        }
    }
    Some(pattern[p..].iter().all(|byte| *byte == b'*'))
}

/// The place behind a set that has the byte.
fn set(pattern: &[u8], start: usize, byte: u8) -> Option<usize> {
    let end = start + 1 + pattern[start + 1..].iter().position(|byte| *byte == b']')?;
    let mut inner = &pattern[start + 1..end];
    let negated = matches!(inner.first(), Some(b'!' | b'^'));
    if negated {
        inner = &inner[1..];
    }
    let mut found = false;
    while let Some((first, rest)) = inner.split_first() {
        match rest {
            [b'-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&byte);
                inner = rest;
            }
            rest => {
                found |= *first == byte;
                inner = rest;
            }
        }
    }
    (found != negated).then_some(end + 1)
}

/// Whether each device that one of two patterns stands for is also the other's. Patterns that have only some devices in
/// common, such as those of a vendor and of a class, are not compared: nearly all would. None where that takes more than may
/// be spent.
pub(super) fn one_covers_other(one: &str, other: &str, effort: &mut Effort) -> Option<bool> {
    Some(matches(one, other, effort)? || matches(other, one, effort)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        super::matches(pattern, text, &mut Effort::new(1_000_000)).expect("little effort")
    }

    fn one_covers_other(one: &str, other: &str) -> bool {
        super::one_covers_other(one, other, &mut Effort::new(1_000_000)).expect("little effort")
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("pci:v00008086d*", "pci:v00008086d0000100E", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("usb:v1d[0-9][!a]*", "usb:v1d5bX", true),
            ("usb:v1d[0-9][!a]*", "usb:v1d5aX", false),
            ("[", "[", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn only_whole_overlaps_count() {
        let device = "pci:v00008086d0000100Esv*sd*bc*sc*i*";
        assert!(one_covers_other(device, device));
        assert!(one_covers_other(device, "pci:v00008086d*sv*sd*bc*sc*i*"));
        assert!(one_covers_other("pci:v00008086d0000100Esv00001234sd*bc*sc*i*", device));
        assert!(!one_covers_other(device, "pci:v*d*sv*sd*bc01sc06i01*"));
        assert!(!one_covers_other(device, "pci:v00008086d0000100Fsv*sd*bc*sc*i*"));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&"*a".repeat(500), &"a".repeat(499)));
    }

    #[test]
    fn what_takes_more_than_may_be_spent_is_left() {
        let mut effort = Effort::new(10);
        assert_eq!(super::matches("a*", "abcd", &mut effort), Some(true));
        assert_eq!(super::matches(&"[".repeat(9), "a", &mut effort), None);
        assert_eq!(super::matches("a", "a", &mut effort), None);
    }
}
