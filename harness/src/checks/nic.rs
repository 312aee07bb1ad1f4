//! `nic.driver`: which driver a network card is bound to.

use crate::scenario::NicDriver;
use crate::timeline::{Link, Snapshot};

use super::boot::Boot;
use super::{Evidence, Finding};

const CHECK: &str = "nic.driver";

pub(super) fn driver(boot: &Boot<'_>, expected: &NicDriver) -> Finding {
    let nics = boot.facts.into_iter().flat_map(|facts| &facts.nics);
    let Some(nic) = nics.into_iter().find(|nic| nic.id == expected.nic.as_str()) else {
        let message = format!("the address of network card `{}` is not recorded", expected.nic);
        return Finding::inconclusive(CHECK, boot.number, message);
    };
    let Some((event, snapshot)) = boot.snapshot() else {
        return Finding::inconclusive(CHECK, boot.number, "no snapshot of this boot: nothing tells the cards' drivers");
    };
    let wanted = expected.driver.as_str();
    // The kernel's modules are written with `_`, drivers of a bus may be with `-`.
    let same = |driver: &str| driver.replace('-', "_") == wanted;
    let Some((interface, link)) = by_mac(snapshot, &nic.mac) else {
        return without_interface(boot, expected, &nic.model, &nic.mac)
            .seen([Evidence::new(event, "no link has its address")]);
    };
    let driver = if link.driver.is_empty() {
        snapshot.pci.get(&link.pci).map_or("", |device| device.driver.as_str())
    } else {
        link.driver.as_str()
    };
    let evidence = Evidence::new(event, format!("{interface} ({}, PCI {}) has driver `{driver}`", nic.mac, link.pci));
    let card = format!("network card `{}` ({interface})", expected.nic);
    match driver {
        "" => Finding::inconclusive(CHECK, boot.number, format!("the driver of {card} can't be told")).seen([evidence]),
        driver if same(driver) => {
            Finding::pass(CHECK, boot.number, format!("{card} is driven by {driver}")).seen([evidence])
        }
        driver => {
            let message = format!("{card} is driven by {driver}, expected: {wanted}");
            Finding::fail(CHECK, boot.number, message).seen([evidence])
        }
    }
}

fn by_mac<'s>(snapshot: &'s Snapshot, mac: &str) -> Option<(&'s String, &'s Link)> {
    // A bridge or bond carries its port's address; the card itself has a device below it.
    let mut links = snapshot.links.iter().filter(|(_, link)| link.mac.eq_ignore_ascii_case(mac));
    let all: Vec<_> = links.by_ref().collect();
    all.iter().find(|(_, link)| !link.pci.is_empty()).or(all.first()).copied()
}

/// A card without an interface has no driver that works, or none at all.
fn without_interface(boot: &Boot<'_>, expected: &NicDriver, model: &str, mac: &str) -> Finding {
    let message = format!("network card `{}` ({model}, {mac}) has no interface: no driver made one", expected.nic);
    Finding::fail(CHECK, boot.number, message)
        .advise("Is the driver loaded, did its probe fail, or does another driver hold the device?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, boot_of, expect};

    fn judged(node: &Node, text: &str) -> Finding {
        let timeline = node.timeline();
        driver(&boot_of(&timeline, 2), &expect(text))
    }

    const TEST: &str = "{nic: test, driver: day1_nic}";

    #[test]
    fn the_driver_is_found_by_the_cards_address() {
        let finding = judged(&Node::pulled_and_loaded(), TEST);
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        let finding = judged(&Node::pulled_and_loaded(), "{nic: test, driver: e1000}");
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("driven by day1_nic"), "{finding:?}");
    }

    #[test]
    fn a_card_without_an_interface_fails() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.links.remove("ens4");
        assert_eq!(judged(&node, TEST).outcome, Outcome::Fail);
    }

    #[test]
    fn without_snapshot_or_address_it_is_inconclusive() {
        let mut node = Node::pulled_and_loaded();
        node.facts().nics.clear();
        assert_eq!(judged(&node, TEST).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_snapshot();
        assert_eq!(judged(&node, TEST).outcome, Outcome::Inconclusive);
    }
}
