//! What keeps a node from the config server, by what its kernel and its initramfs said.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use crate::scenario;
use crate::timeline::{Event, JournalRecord};

use super::boot::{Boot, journal_line};
use super::{Evidence, Finding};

/// The kernel's word of a network card (class 02) that it found; 6.12 says more behind it than 6.1.
static CARD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^pci (\S+): \[([0-9a-f]{4}:[0-9a-f]{4})\] type \S+ class 0x02").ok());

/// Why the config server was not asked.
pub(super) struct Obstacle {
    kind: Kind,
    evidence: Vec<Evidence>,
}

enum Kind {
    NoCard,
    /// The cards' PCI ids.
    NoDriver(Vec<String>),
    /// A driver has taken this card.
    Beyond(String),
}

/// What there is to say once the kernel has spoken of the machine's devices.
pub(super) fn obstacle(boot: &Boot<'_>) -> Option<Obstacle> {
    let kernel: Vec<_> = boot.journal().filter(|(_, record)| record.is_from_kernel()).collect();
    // Without a word of any device, that of a card may be missing too.
    kernel.iter().find(|(_, record)| record.message().starts_with("pci "))?;
    let cards = kernel.iter().filter_map(|(event, record)| {
        let found = CARD.as_ref()?.captures(record.message())?;
        Some((found[1].to_owned(), found[2].to_owned(), journal_line(event, record)))
    });
    let cards: Vec<_> = cards.collect();
    let taken = cards.iter().find_map(|(address, ..)| kernel.iter().find(|(_, record)| speaks_for(record, address)));
    let mut evidence: Vec<Evidence> = cards.iter().map(|(.., line)| line.clone()).collect();
    evidence.extend(taken.map(|(event, record)| journal_line(event, record)));
    evidence.extend(last_word(boot).map(|(event, record)| journal_line(event, record)));
    let kind = match taken {
        Some((_, record)) => Kind::Beyond(record.message().split(": ").next().unwrap_or_default().to_owned()),
        None if cards.is_empty() => Kind::NoCard,
        None => Kind::NoDriver(cards.into_iter().map(|(_, id, _)| id).collect()),
    };
    Some(Obstacle { kind, evidence })
}

/// Whether a line is a driver's about a device: the kernel puts the driver's name in front of the device's, and the bus's
/// as long as there is no driver.
fn speaks_for(record: &JournalRecord, address: &str) -> bool {
    let mut words = record.message().splitn(3, ' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    first != "pci" && !first.ends_with(':') && second.trim_end_matches(':') == address
}

/// The last error that Ignition tells in the initramfs; else its last line.
fn last_word<'t>(boot: &Boot<'t>) -> Option<(&'t Event, &'t JournalRecord)> {
    let said: Vec<_> = boot.journal().filter(|(_, record)| record.field("SYSLOG_IDENTIFIER") == "ignition").collect();
    said.iter().rev().find(|(_, record)| record.message().contains("error")).or(said.last()).copied()
}

impl Obstacle {
    pub fn is(&self, expected: scenario::Obstacle) -> bool {
        match expected {
            scenario::Obstacle::NoCard => matches!(self.kind, Kind::NoCard),
            scenario::Obstacle::NoDriver => matches!(self.kind, Kind::NoDriver(_)),
        }
    }

    /// The finding with where that is seen, and what to do about it.
    pub fn told_by(self, finding: Finding) -> Finding {
        let finding = finding.seen(self.evidence);
        match self.kind {
            Kind::NoCard => finding,
            Kind::NoDriver(_) => finding.advise(
                "A driver that the node needs for its config can't come with it: layer it into the node image, in the root file system and in the initramfs.",
            ),
            Kind::Beyond(_) => finding.advise("Look at NetworkManager's and Ignition's lines in the initramfs's journal."),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::NoCard => f.write_str("the node has no network card"),
            Kind::NoDriver(ids) => match ids.as_slice() {
                [id] => write!(f, "no driver for the only network card (PCI {id})"),
                ids => write!(f, "no driver for any of the {} network cards (PCI {})", ids.len(), ids.join(", ")),
            },
            Kind::Beyond(driver) => write!(f, "its network card has a driver ({driver}), so it is for another reason"),
        }
    }
}
