//! The floor: a first and a second boot of the node image with nothing of ours in it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::Bench;
use crate::machine::{Begins, Firmware, Instruments, Keeps, Machine, Nic, Spec, wait};
use crate::scenario::NodeShape;
use crate::timeline::{Bus, Cursor, Event, What};

/// The longest that a plain boot may take, at reference speed.
const DEADLINE: Duration = Duration::from_secs(240);

/// A plain first boot and the plain boot after it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PlainBoots {
    /// Seconds from QEMU's start to the login prompt.
    pub first_s: f64,
    /// Seconds from the reset to the login prompt.
    pub second_s: f64,
}

impl PlainBoots {
    /// Both boots, in seconds, without the shutdown between them.
    pub fn sum_s(&self) -> f64 {
        self.first_s + self.second_s
    }
}

impl Bench<'_> {
    /// Boots the node image as it is: no config, no instruments, no server. It is asked for its reboot by
    /// Ctrl-Alt-Del.
    pub(super) fn plain_boots(&self) -> Result<PlainBoots> {
        let shape = NodeShape::default();
        let nic = |(nic, index): (&crate::scenario::Nic, u8)| Nic {
            model: nic.model.as_str().into(),
            mac: format!("52:54:00:d1:00:{index:02x}"),
            network: None,
            lan: None,
        };
        let spec = Spec {
            name: "day1-bench".into(),
            cpus: shape.cpus,
            memory_mib: shape.memory.as_mib(),
            architecture: self.node.disk.architecture,
            accel: self.acceleration.accel,
            firmware: Firmware::plain(self.node.disk.architecture)?,
            image: self.node.disk.path.clone(),
            begins: Begins::Fresh,
            keeps: Keeps::Nothing,
            disks: Vec::new(),
            nics: shape.nics.iter().zip(1..).map(nic).collect(),
            forwards: Vec::new(),
            boot_arguments: Vec::new(),
            ignition: None,
            instruments: Instruments::None,
            delays: Vec::new(),
            scratch: self.workshop.scratch.clone(),
        };
        let deadline = DEADLINE.mul_f64(self.acceleration.deadline_factor());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let bus = Bus::new(None);
            let mut events = bus.from_start();
            let began = Instant::now();
            let machine = Machine::start(&spec, &bus, None).await?;
            until(&mut events, "the first boot's login prompt", deadline, is_up).await?;
            let first_s = began.elapsed().as_secs_f64();
            machine.press_ctrl_alt_del().await?;
            until(&mut events, "the reset", deadline, is_reset).await?;
            let began = Instant::now();
            until(&mut events, "the second boot's login prompt", deadline, is_up).await?;
            let second_s = began.elapsed().as_secs_f64();
            machine.stop().await;
            Ok(PlainBoots { first_s, second_s })
        })
    }
}

async fn until(events: &mut Cursor, what: &str, deadline: Duration, wanted: fn(&Event) -> bool) -> Result<()> {
    let mut last_line = String::new();
    let waited = wait(events, what, deadline, |event| {
        if let What::Console(console) = &event.what {
            last_line.clone_from(&console.line);
        }
        wanted(event).then_some(())
    });
    match waited.await {
        Ok(()) => Ok(()),
        Err(error) if last_line.is_empty() => bail!("a plain boot came to no end: {error}; the console stayed silent"),
        Err(error) => {
            Err(error).with_context(|| format!("a plain boot came to no end; its console said last: {last_line}"))
        }
    }
}

/// systemd's word on the console that a person could log in: without a journal out of the guest nothing later is
/// seen, and nothing earlier would be the whole boot.
fn is_up(event: &Event) -> bool {
    let reached = ["multi-user.target", "Multi-User System", "getty.target", "Login Prompts"];
    matches!(&event.what, What::Console(console)
        if console.line.contains("Reached target") && reached.iter().any(|target| console.line.contains(target)))
}

fn is_reset(event: &Event) -> bool {
    matches!(&event.what, What::Qmp(qmp) if qmp.event == "RESET")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Console;

    #[test]
    fn a_boot_ends_at_its_login_prompt() {
        let says = |line: &str| {
            let what = What::Console(Console { line: line.into() });
            is_up(&Event { seq: 0, at_us: 0, boot: 1, node: None, recorded: false, what })
        };
        assert!(says("[  OK  ] Reached target getty.target - Login Prompts."));
        assert!(says("[  OK  ] Reached target Multi-User System."));
        assert!(!says("[  OK  ] Reached target basic.target - Basic System."));
        assert!(!says("         Starting getty.target"));
    }
}
