//! The few kinds of frames that the switch and the observer tell apart, read and made by `etherparse`.

use std::net::Ipv4Addr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IcmpEchoHeader, Icmpv4Type, NetSlice, PacketBuilder,
    SlicedPacket, TransportSlice,
};

use super::{Mac, OBSERVER, ROUTER_PREFIX};

/// Where a node's frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// To the node's own router.
    Router,
    /// To one other station.
    Station(Mac),
    /// To the router and every other station.
    All,
}

/// DHCP is the node's and its router's own matter.
const DHCP_SERVER: u16 = 67;

/// Where a frame of a node goes; none for what is no frame.
pub(super) fn course(frame: &[u8]) -> Option<Course> {
    let destination: Mac = frame.get(..6)?.try_into().ok()?;
    if destination[0] & 1 == 0 {
        let to_router = destination.starts_with(&ROUTER_PREFIX);
        return Some(if to_router { Course::Router } else { Course::Station(destination) });
    }
    let is_dhcp = SlicedPacket::from_ethernet(frame).is_ok_and(
        |packet| matches!(packet.transport, Some(TransportSlice::Udp(udp)) if udp.destination_port() == DHCP_SERVER),
    );
    Some(if is_dhcp { Course::Router } else { Course::All })
}

/// What a node says to the observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It asks for the observer's address on the layer below.
    WhereAreYou(Mac, Ipv4Addr),
    /// It is there: the answer to this number.
    Pong(u16),
    /// Its service takes the connection that the observer offered from this port; its own number.
    Serves(u16, u32),
    /// It takes none.
    Refuses(u16),
}

/// Reads a frame that came to the observer.
pub(super) fn said(frame: &[u8]) -> Option<Said> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    if let Some(NetSlice::Arp(arp)) = &packet.net {
        let is_for_us = arp.operation() == ArpOperation::REQUEST && arp.target_protocol_addr() == OBSERVER.1.octets();
        let sender: [u8; 4] = arp.sender_protocol_addr().try_into().ok()?;
        return is_for_us
            .then(|| Some(Said::WhereAreYou(arp.sender_hw_addr().try_into().ok()?, sender.into())))
            .flatten();
    }
    match packet.transport? {
        TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
            Icmpv4Type::EchoReply(IcmpEchoHeader { seq, .. }) => Some(Said::Pong(seq)),
            _ => None,
        },
        TransportSlice::Tcp(tcp) if tcp.syn() && tcp.ack() => {
            Some(Said::Serves(tcp.destination_port(), tcp.sequence_number()))
        }
        TransportSlice::Tcp(tcp) if tcp.rst() => Some(Said::Refuses(tcp.destination_port())),
        _ => None,
    }
}

/// Frames of the observer to one node.
pub(super) struct To {
    pub(super) mac: Mac,
    pub(super) address: Ipv4Addr,
}

const TTL: u8 = 64;
const WINDOW: u16 = 1024;

impl To {
    /// The answer to [`Said::WhereAreYou`].
    pub(super) fn here_i_am(&self) -> Vec<u8> {
        let (sender, target) = (OBSERVER.1.octets(), self.address.octets());
        let arp = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REPLY,
            &OBSERVER.0,
            &sender,
            &self.mac,
            &target,
        );
        let mut frame = Vec::new();
        // Addresses of these lengths fit, and writing to memory does not fail.
        if let Ok(arp) = arp {
            let _ = PacketBuilder::ethernet2(OBSERVER.0, self.mac).arp(arp).write_to_vec(&mut frame);
        }
        frame
    }

    /// Asks whether the node is there.
    pub(super) fn ping(&self, number: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(OBSERVER.0, self.mac)
            .ipv4(OBSERVER.1.octets(), self.address.octets(), TTL)
            .icmpv4_echo_request(1, number);
        let _ = builder.write_to_vec(&mut frame, b"day1");
        frame
    }

    /// Offers a connection to the node's service.
    pub(super) fn knock(&self, from: u16, to: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(OBSERVER.0, self.mac)
            .ipv4(OBSERVER.1.octets(), self.address.octets(), TTL)
            .tcp(from, to, u32::from(from), WINDOW)
            .syn();
        let _ = builder.write_to_vec(&mut frame, &[]);
        frame
    }

    /// Takes the offer back.
    pub(super) fn never_mind(&self, from: u16, to: u16, number: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(OBSERVER.0, self.mac)
            .ipv4(OBSERVER.1.octets(), self.address.octets(), TTL)
            .tcp(from, to, u32::from(from).wrapping_add(1), 0)
            .rst()
            .ack(number.wrapping_add(1));
        let _ = builder.write_to_vec(&mut frame, &[]);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Mac = [0x52, 0x54, 0, 0xd1, 0, 1];

    fn to_node() -> To {
        To { mac: NODE, address: Ipv4Addr::new(10, 0, 2, 11) }
    }

    fn from_node(destination: Mac, build: impl FnOnce(PacketBuilder2) -> Vec<u8>) -> Vec<u8> {
        build(PacketBuilder::ethernet2(NODE, destination).ipv4([10, 0, 2, 11], OBSERVER.1.octets(), 64))
    }

    type PacketBuilder2 = etherparse::PacketBuilderStep<etherparse::IpHeaders>;

    #[test]
    fn a_node_s_frame_goes_to_its_router_to_one_station_or_to_all() {
        let plain = |destination| {
            from_node(destination, |ip| {
                let mut frame = Vec::new();
                ip.udp(1000, 53).write_to_vec(&mut frame, b"x").expect("written");
                frame
            })
        };
        assert_eq!(course(&plain([0x52, 0x55, 10, 0, 2, 2])), Some(Course::Router));
        let other = [0x52, 0x54, 0, 0xd1, 1, 1];
        assert_eq!(course(&plain(other)), Some(Course::Station(other)));
        assert_eq!(course(&plain([0xff; 6])), Some(Course::All));
        let dhcp = from_node([0xff; 6], |ip| {
            let mut frame = Vec::new();
            ip.udp(68, 67).write_to_vec(&mut frame, b"discover").expect("written");
            frame
        });
        assert_eq!(course(&dhcp), Some(Course::Router));
        assert_eq!(course(b"short"), None);
    }

    #[test]
    fn the_observer_reads_its_answers_and_no_others() {
        let answer = |build: fn(PacketBuilder2) -> Vec<u8>| said(&from_node(OBSERVER.0, build));
        assert_eq!(
            answer(|ip| {
                let mut frame = Vec::new();
                ip.icmpv4_echo_reply(1, 7).write_to_vec(&mut frame, b"day1").expect("written");
                frame
            }),
            Some(Said::Pong(7))
        );
        assert_eq!(
            answer(|ip| {
                let mut frame = Vec::new();
                ip.tcp(8080, 40_001, 99, 10).syn().ack(1).write_to_vec(&mut frame, &[]).expect("written");
                frame
            }),
            Some(Said::Serves(40_001, 99))
        );
        assert_eq!(
            answer(|ip| {
                let mut frame = Vec::new();
                ip.tcp(8080, 40_001, 0, 0).rst().ack(1).write_to_vec(&mut frame, &[]).expect("written");
                frame
            }),
            Some(Said::Refuses(40_001))
        );
        // Its own questions are no answers.
        assert_eq!(said(&to_node().ping(7)), None);
        assert_eq!(said(&to_node().knock(40_001, 8080)), None);
    }

    #[test]
    fn the_observer_s_frames_are_whole() {
        let to = to_node();
        let all = [to.here_i_am(), to.ping(1), to.knock(40_000, 8080), to.never_mind(40_000, 8080, 5)];
        for frame in all {
            let packet = SlicedPacket::from_ethernet(&frame).expect("a frame");
            assert!(packet.net.is_some());
            assert_eq!((&frame[..6], &frame[6..12]), (NODE.as_slice(), OBSERVER.0.as_slice()));
        }
    }

    #[test]
    fn a_node_that_looks_for_the_observer_is_heard() {
        let ask = |for_whom: Ipv4Addr| {
            let arp = ArpPacket::new(
                ArpHardwareId::ETHERNET,
                EtherType::IPV4,
                ArpOperation::REQUEST,
                &NODE,
                &[10, 0, 2, 11],
                &[0; 6],
                &for_whom.octets(),
            );
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2(NODE, [0xff; 6]).arp(arp.expect("an ARP packet"));
            builder.write_to_vec(&mut frame).expect("written");
            frame
        };
        assert_eq!(said(&ask(OBSERVER.1)), Some(Said::WhereAreYou(NODE, Ipv4Addr::new(10, 0, 2, 11))));
        assert_eq!(said(&ask(Ipv4Addr::new(10, 0, 2, 12))), None);
    }
}
