//! Who answers when: a host of the network asks every node again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::frame::{Said, To, said};
use super::lan::{Lan, Port, Switch};
use crate::timeline::{Answering, Asked, Bus, What};

/// How often each node is asked.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// The port of the service that is asked for: the workload's.
pub const SERVICE_PORT: u16 = 8080;

/// How long an answer may take at reference speed, before the node counts as silent from the question on.
const PATIENCE: Duration = Duration::from_secs(1);

/// The first of the ports that offers come from; each offer has the next.
const FIRST_PORT: u16 = 40_000;
/// How many of them there are.
const PORTS: u16 = 20_000;

impl Lan {
    /// Begins to ask every node that is there, and tells in the node's bus when it begins and ceases to answer.
    /// `factor` is how much slower than the reference this host is.
    pub fn observe(&mut self, buses: &[(String, Bus)], factor: f64) {
        let Some(inbox) = self.to_observer.take() else { return };
        let ports = self.switch.ports().into_iter();
        let nodes = ports.filter_map(|port| {
            let (_, bus) = buses.iter().find(|(name, _)| *name == port.station.name)?;
            Some(Observed::new(port, bus.clone(), PATIENCE.mul_f64(factor)))
        });
        let nodes: Vec<Observed> = nodes.collect();
        self.spawn(observe(nodes, inbox));
    }
}

async fn observe(mut nodes: Vec<Observed>, mut inbox: mpsc::Receiver<Vec<u8>>) {
    let mut ticks = tokio::time::interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Answers first: what has come must not count as silence because it was not read in time.
            biased;
            frame = inbox.recv() => match frame {
                Some(frame) => nodes.iter_mut().for_each(|node| node.hears(&frame, Instant::now())),
                None => return,
            },
            _ = ticks.tick() => nodes.iter_mut().for_each(|node| node.asks(Instant::now())),
        }
    }
}

/// A node, as the observer sees it.
struct Observed {
    port: Arc<Port>,
    bus: Bus,
    to: To,
    number: u16,
    ping: Watch,
    service: Watch,
}

impl Observed {
    fn new(port: Arc<Port>, bus: Bus, patience: Duration) -> Self {
        let to = To { mac: port.station.mac, address: port.station.address };
        Self { port, bus, to, number: 0, ping: Watch::new(patience), service: Watch::new(patience) }
    }

    fn port_of(number: u16) -> u16 {
        FIRST_PORT + number % PORTS
    }

    fn asks(&mut self, now: Instant) {
        for (asked, watch) in [(Asked::Ping, &mut self.ping), (Asked::Service, &mut self.service)] {
            tell(&self.bus, asked, watch.looks(now));
        }
        self.port.asked.fetch_add(1, Ordering::Relaxed);
        // Below the number of ports, so that an answer tells which question it is for.
        self.number = (self.number + 1) % PORTS;
        self.ping.asks(self.number, now);
        self.service.asks(self.number, now);
        Switch::to_node(&self.port, self.to.ping(self.number));
        Switch::to_node(&self.port, self.to.knock(Self::port_of(self.number), SERVICE_PORT));
    }

    fn hears(&mut self, frame: &[u8], now: Instant) {
        let is_mine = frame.get(6..12) == Some(self.to.mac.as_slice());
        let (changes, asked) = match said(frame).filter(|_| is_mine) {
            Some(Said::WhereAreYou(_, _)) => {
                Switch::to_node(&self.port, self.to.here_i_am());
                return;
            }
            Some(Said::Pong(number)) => (self.ping.hears(number, true, now), Asked::Ping),
            Some(Said::Serves(port, theirs)) => {
                Switch::to_node(&self.port, self.to.never_mind(port, SERVICE_PORT, theirs));
                (self.service.hears(port.wrapping_sub(FIRST_PORT), true, now), Asked::Service)
            }
            Some(Said::Refuses(port)) => {
                (self.service.hears(port.wrapping_sub(FIRST_PORT), false, now), Asked::Service)
            }
            None => return,
        };
        tell(&self.bus, asked, changes);
    }
}

fn tell(bus: &Bus, asked: Asked, changes: Vec<Change>) {
    for (answers, since) in changes {
        bus.push(What::Answering(Answering { asked, answers, since_us: bus.at_us(since) }));
    }
}

/// Whether it is answered from a moment on.
type Change = (bool, Instant);

/// As many questions in a row without an answer, and the next one with one, are a silence, however short.
const LOST: usize = 2;

/// Whether one thing that is asked again and again is answered.
struct Watch {
    patience: Duration,
    answers: Option<bool>,
    /// Questions without an answer, the oldest first.
    open: Vec<(u16, Instant)>,
}

impl Watch {
    fn new(patience: Duration) -> Self {
        Self { patience, answers: None, open: Vec::new() }
    }

    fn asks(&mut self, number: u16, now: Instant) {
        self.open.push((number, now));
    }

    /// An answer; tells what is new by it.
    fn hears(&mut self, number: u16, yes: bool, now: Instant) -> Vec<Change> {
        let Some(index) = self.open.iter().position(|(open, _)| *open == number) else { return vec![] };
        let (_, oldest) = self.open[0];
        self.open.drain(..=index);
        // Those before it were lost.
        let lost = if index >= LOST { self.becomes(false, oldest) } else { None };
        lost.into_iter().chain(self.becomes(yes, now)).collect()
    }

    /// Whether questions have been open for too long.
    fn looks(&mut self, now: Instant) -> Vec<Change> {
        let Some((_, oldest)) = self.open.first().copied() else { return vec![] };
        if now.duration_since(oldest) < self.patience {
            return vec![];
        }
        // What is known of them is known; an answer that comes after all is one to a later question at best.
        let patience = self.patience;
        self.open.retain(|(_, asked)| now.duration_since(*asked) < patience);
        self.becomes(false, oldest).into_iter().collect()
    }

    fn becomes(&mut self, answers: bool, since: Instant) -> Option<Change> {
        let is_new = self.answers.replace(answers) != Some(answers);
        is_new.then_some((answers, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_node_is_silent_from_its_first_question_without_an_answer_to_its_next_answer() {
        let began = Instant::now();
        let at = |ms: u32| began + MS * ms;
        let mut watch = Watch::new(MS * 1000);
        watch.asks(1, at(0));
        assert_eq!(watch.hears(1, true, at(10)), [(true, at(10))]);
        watch.asks(2, at(250));
        watch.asks(3, at(500));
        assert_eq!(watch.looks(at(1000)), []);
        assert_eq!(watch.looks(at(1250)), [(false, at(250))]);
        assert_eq!(watch.looks(at(1500)), []);
        watch.asks(4, at(1500));
        assert_eq!(watch.hears(4, true, at(1510)), [(true, at(1510))]);
    }

    #[test]
    fn a_silence_that_is_shorter_than_the_patience_is_seen_by_its_lost_questions() {
        let began = Instant::now();
        let at = |ms: u32| began + MS * ms;
        let mut watch = Watch::new(MS * 1000);
        watch.asks(1, at(0));
        assert_eq!(watch.hears(1, true, at(10)), [(true, at(10))]);
        for (number, ms) in [(2, 250), (3, 500), (4, 750)] {
            watch.asks(number, at(ms));
        }
        assert_eq!(watch.hears(4, true, at(760)), [(false, at(250)), (true, at(760))]);
        // One that is lost by itself is no silence.
        watch.asks(5, at(1000));
        watch.asks(6, at(1250));
        assert_eq!(watch.hears(6, true, at(1260)), []);
    }

    #[test]
    fn a_late_answer_is_one_and_an_unknown_one_is_none() {
        let began = Instant::now();
        let at = |ms: u32| began + MS * ms;
        let mut watch = Watch::new(MS * 1000);
        watch.asks(1, at(0));
        watch.asks(2, at(250));
        assert_eq!(watch.hears(7, true, at(300)), []);
        assert_eq!(watch.hears(2, true, at(900)), [(true, at(900))]);
        // Nothing is open before it any more.
        assert_eq!(watch.looks(at(2000)), []);
        watch.asks(3, at(2000));
        assert_eq!(watch.hears(3, false, at(2010)), [(false, at(2010))]);
    }
}
