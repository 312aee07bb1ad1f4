//! The one event bus of a trial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::{Event, HandedOver, JournalRecord, What, Writer};

/// The one event bus of a trial: sources push, waits and the writer read, nothing is lost.
///
/// Cloning gives another handle on the same bus; [`Bus::of_node`] one that is about a single node of several.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
    node: Option<String>,
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
    changed: watch::Sender<usize>,
}

struct State {
    events: Vec<Arc<Event>>,
    /// Of each node; of a trial with one, that has no name.
    boots: BTreeMap<Option<String>, BootCounter>,
    writer: Option<Writer>,
    /// Whether the recording is over.
    handed_over: bool,
}

impl Bus {
    /// A bus whose clock starts now, which writes each event to `writer` before anyone sees it.
    pub fn new(writer: Option<Writer>) -> Self {
        let state = State { events: Vec::new(), boots: BTreeMap::new(), writer, handed_over: false };
        Self {
            shared: Arc::new(Shared {
                began: Instant::now(),
                state: Mutex::new(state),
                changed: watch::Sender::new(0),
            }),
            node: None,
        }
    }

    /// A handle about one node: what it adds is that node's, and what it reads, too.
    pub fn of_node(&self, name: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), node: Some(name.to_owned()) }
    }

    /// A moment on this bus's clock, in microseconds.
    pub fn at_us(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.shared.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds an event, stamped with the host's time and the boot that the machine is in.
    pub fn push(&self, what: What) {
        self.add(what, None, false);
    }

    /// Adds an event of an earlier recording, in the boot that it belongs to.
    pub fn push_recorded(&self, event: &Event) {
        self.add(event.what.clone(), None, true);
    }

    /// Adds an event that belongs to a boot which may be over by now, such as a request that a reset cut.
    pub fn push_in(&self, boot: u32, what: What) {
        self.add(what, Some(boot), false);
    }

    fn add(&self, what: What, boot: Option<u32>, recorded: bool) {
        let length = {
            let mut state = self.state();
            if state.handed_over && !matches!(what, What::Qmp(_) | What::MachineExited(_)) {
                return;
            }
            self.append(&mut state, what, boot, recorded);
            state.events.len()
        };
        self.shared.changed.send_replace(length);
    }

    fn append(&self, state: &mut State, what: What, boot: Option<u32>, recorded: bool) {
        let boot = boot.unwrap_or_else(|| state.boots.entry(self.node.clone()).or_default().observe(&what));
        let event = Event {
            seq: state.events.len() as u64,
            at_us: self.at_us(Instant::now()),
            boot,
            node: self.node.clone(),
            recorded,
            what,
        };
        if let Some(writer) = &mut state.writer {
            writer.write(&event);
        }
        state.events.push(Arc::new(event));
    }

    /// A reader that begins with the first event of the trial.
    pub fn from_start(&self) -> Cursor {
        Cursor { bus: self.clone(), next: 0, changed: self.shared.changed.subscribe() }
    }

    /// A reader that begins with the next event.
    pub fn from_now(&self) -> Cursor {
        let next = self.state().events.len();
        Cursor { bus: self.clone(), next, changed: self.shared.changed.subscribe() }
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.state().events.iter().filter(|event| self.is_about(event)).cloned().collect()
    }

    fn is_about(&self, event: &Event) -> bool {
        self.node.is_none() || event.node == self.node
    }

    /// The boot that the machine is in, from 1; 0 before its first start.
    pub fn boot(&self) -> u32 {
        self.state().boots.get(&self.node).map_or(0, |counter| counter.current)
    }

    /// Flushes the writer and gives back the error that it met, if any: without a whole file there is no
    /// evidence.
    pub fn finish(&self) -> std::io::Result<()> {
        self.state().writer.take().map_or(Ok(()), Writer::finish)
    }

    /// Ends the recording, though the machine runs on, and gives what was recorded. Of what comes later, only what QEMU
    /// tells of itself can still be waited for; the writer gets nothing of it.
    pub fn hand_over(&self, how: HandedOver) -> std::io::Result<Vec<Arc<Event>>> {
        let (events, writer) = {
            let mut state = self.state();
            self.append(&mut state, What::HandedOver(how), None, false);
            state.handed_over = true;
            (state.events.clone(), state.writer.take())
        };
        self.shared.changed.send_replace(events.len());
        writer.map_or(Ok(()), Writer::finish)?;
        Ok(events)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, index: usize) -> Option<Arc<Event>> {
        self.state().events.get(index).cloned()
    }
}

/// A reader of the bus with a place of its own; it sees every event once, in order.
pub struct Cursor {
    bus: Bus,
    next: usize,
    changed: watch::Receiver<usize>,
}

impl Cursor {
    /// The next event; waits for it. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> Arc<Event> {
        loop {
            self.changed.borrow_and_update();
            if let Some(event) = self.bus.get(self.next) {
                self.next += 1;
                if self.bus.is_about(&event) {
                    return event;
                }
                continue;
            }
            // The sender lives in the bus that this cursor holds, so the channel can't be closed.
            let _ = self.changed.changed().await;
        }
    }
}

/// Tells which boot an event belongs to.
///
/// QEMU sends two RESET events per reboot, 15–40 ms apart, so a reset begins a new boot only after the
/// current one showed its kernel: on the console, or in a journal record.
#[derive(Default)]
struct BootCounter {
    current: u32,
    kernel_seen: bool,
    boot_ids: Vec<(String, u32)>,
}

impl BootCounter {
    fn observe(&mut self, what: &What) -> u32 {
        match what {
            What::MachineStarted(_) => self.begin(),
            What::Qmp(qmp) if qmp.event == "RESET" && self.kernel_seen => self.begin(),
            What::Console(console) if console.is_kernel_banner() => self.kernel_seen = true,
            What::Journal(record) => return self.boot_of(record),
            // One that was asked for before a reset may come after it.
            What::Snapshot(snapshot) => return self.known(&snapshot.boot_id).unwrap_or(self.current),
            // The same with a module: without a kernel in this boot it was the one before.
            What::ModuleLoad(_) | What::ModuleFree(_) if !self.kernel_seen && self.current > 1 => {
                return self.current - 1;
            }
            _ => {}
        }
        self.current
    }

    fn begin(&mut self) {
        self.current += 1;
        self.kernel_seen = false;
    }

    fn known(&self, boot_id: &str) -> Option<u32> {
        self.boot_ids.iter().find(|(known, _)| known == boot_id).map(|(_, boot)| *boot)
    }

    /// A record that is still on its way when the reset comes belongs to the boot that its boot id began.
    fn boot_of(&mut self, record: &JournalRecord) -> u32 {
        let id = record.boot_id();
        if let Some(boot) = self.known(id) {
            return boot;
        }
        self.kernel_seen = true;
        self.boot_ids.push((id.to_owned(), self.current));
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Console, MachineExited, MachineStarted, ModuleEvent, Qmp, Snapshot};

    fn reset() -> What {
        What::Qmp(Qmp { event: "RESET".into(), ..Qmp::default() })
    }

    fn banner() -> What {
        What::Console(Console { line: "[    0.000000] Linux version 6.12.1+deb13-amd64".into() })
    }

    fn record(boot_id: &str) -> What {
        let fields = [("_BOOT_ID".to_owned(), boot_id.to_owned())].into();
        What::Journal(JournalRecord { initramfs: false, fields })
    }

    #[test]
    fn two_resets_of_one_reboot_begin_one_boot() {
        let bus = Bus::new(None);
        for what in [What::MachineStarted(MachineStarted::default()), banner(), reset(), reset(), banner(), reset()] {
            bus.push(what);
        }
        let boots: Vec<u32> = bus.events().iter().map(|e| e.boot).collect();
        assert_eq!(boots, [1, 1, 2, 2, 2, 3]);
    }

    #[test]
    fn what_began_in_a_boot_is_filed_there_also_when_it_ends_later() {
        let bus = Bus::new(None);
        for what in [What::MachineStarted(MachineStarted::default()), banner()] {
            bus.push(what);
        }
        let asked = bus.boot();
        bus.push(reset());
        bus.push_in(asked, What::Note { text: "a request that the reset cut".into() });
        let boots: Vec<u32> = bus.events().iter().map(|e| e.boot).collect();
        assert_eq!(boots, [1, 1, 2, 1]);
    }

    #[test]
    fn a_record_that_comes_after_the_reset_stays_in_its_boot() {
        let bus = Bus::new(None);
        for what in [What::MachineStarted(MachineStarted::default()), record("a"), reset(), record("a"), record("b")] {
            bus.push(what);
        }
        let boots: Vec<u32> = bus.events().iter().map(|e| e.boot).collect();
        assert_eq!(boots, [1, 1, 2, 1, 2]);
    }

    #[test]
    fn what_the_guest_told_before_the_reset_stays_in_its_boot() {
        let snapshot =
            |boot_id: &str| What::Snapshot(Box::new(Snapshot { boot_id: boot_id.into(), ..Snapshot::default() }));
        let load = || What::ModuleLoad(ModuleEvent::default());
        let started = What::MachineStarted(MachineStarted::default());
        let bus = Bus::new(None);
        for what in [started, record("a"), load(), reset(), load(), snapshot("a"), banner(), load(), snapshot("b")] {
            bus.push(what);
        }
        let boots: Vec<u32> = bus.events().iter().map(|e| e.boot).collect();
        assert_eq!(boots, [1, 1, 1, 2, 1, 1, 2, 2, 2]);
    }

    #[tokio::test]
    async fn a_node_s_handle_counts_its_own_boots_and_reads_its_own_events() {
        let bus = Bus::new(None);
        let (one, two) = (bus.of_node("one"), bus.of_node("two"));
        for what in [What::MachineStarted(MachineStarted::default()), banner(), reset(), banner()] {
            one.push(what);
        }
        two.push(What::MachineStarted(MachineStarted::default()));
        bus.push(What::Note { text: "about all".into() });
        assert_eq!((one.boot(), two.boot(), bus.boot()), (2, 1, 0));
        assert_eq!((one.events().len(), two.events().len(), bus.events().len()), (4, 1, 6));
        assert_eq!(two.from_start().next().await.node.as_deref(), Some("two"));
        let timeline = crate::timeline::Timeline::from(bus.events());
        assert_eq!((timeline.of_node("one").boots(), timeline.of_node("two").boots()), (2, 1));
    }

    #[test]
    fn after_it_was_handed_over_nothing_is_recorded_and_the_machine_s_end_is_still_seen() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("timeline.jsonl");
        let bus = Bus::new(Some(Writer::create(&path).expect("a file")));
        bus.push(What::MachineStarted(MachineStarted::default()));
        let recorded = bus.hand_over(HandedOver::default()).expect("written");
        for what in [record("a"), banner(), What::MachineExited(MachineExited::default())] {
            bus.push(what);
        }
        assert_eq!(recorded.len(), 2);
        assert_eq!(crate::timeline::Timeline::read(&path).expect("readable").events, recorded);
        assert_eq!(bus.events().len(), 3);
        assert!(matches!(bus.events()[2].what, What::MachineExited(_)));
    }

    #[tokio::test]
    async fn a_cursor_sees_what_came_before_and_after_it_was_made() {
        let bus = Bus::new(None);
        bus.push(What::Note { text: "one".into() });
        let mut all = bus.from_start();
        let mut late = bus.from_now();
        bus.push(What::Note { text: "two".into() });
        assert_eq!(all.next().await.seq, 0);
        assert_eq!(all.next().await.seq, 1);
        assert_eq!(late.next().await.seq, 1);
    }
}
