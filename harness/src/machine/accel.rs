//! How the guest's instructions run, and the proof that it works on this host.
//!
//! A `/dev/kvm` that opens can still hang a stock kernel, so KVM is believed only after it has booted the
//! node's own kernel. The same probe measures how fast the host boots it, which scales every deadline.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::program::qemu_version;
use super::{Begins, Error, Firmware, Keeps, Machine, Spec};
use crate::architecture::Architecture;
use crate::cache;
use crate::timeline::{Bus, What};

/// How the guest's instructions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// In hardware.
    Kvm,
    /// Translated by QEMU.
    Tcg,
}

impl Accel {
    /// `kvm` or `tcg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// A larger translation cache makes the second boot a seventh shorter, and the plainest CPU model boots
    /// fastest when it is translated; without `svm` udev does not load KVM inside the guest. The kernel of an Arm processor
    /// with pointer authentication uses it in every function.
    pub(super) fn arguments(self, architecture: Architecture) -> [(&'static str, &'static str); 2] {
        let plainest = match architecture {
            Architecture::X86_64 => "qemu64,-svm",
            Architecture::Aarch64 => "cortex-a72",
        };
        match self {
            Self::Kvm => [("accel", "kvm"), ("cpu", "host")],
            Self::Tcg => [("accel", "tcg,thread=multi,tb-size=256"), ("cpu", plainest)],
        }
    }

    /// What of the host the guest can see: where instructions run in hardware, its processor and what the host's
    /// kernel makes of it.
    pub(super) fn host(self) -> String {
        if let Self::Tcg = self {
            return String::new();
        }
        let wanted = ["vendor_id", "cpu family", "model", "stepping", "microcode", "flags"];
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (processors, kernel) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"));
        let first = processors.lines().take_while(|line| !line.is_empty());
        let seen = first.filter(|line| line.split('\t').next().is_some_and(|name| wanted.contains(&name.trim())));
        seen.chain([kernel.trim()]).collect::<Vec<_>>().join(";")
    }
}

/// What the probe found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceleration {
    /// The one to use.
    pub accel: Accel,
    /// Why, for a person.
    pub reason: String,
    /// Seconds from the machine's start to the first process of the node's kernel.
    pub init_s: f64,
}

impl Acceleration {
    /// The host that deadlines are written for reaches the first process in this many seconds.
    const REFERENCE_INIT_S: f64 = 8.0;

    /// By how much deadlines are stretched on this host; never below 1.
    pub fn deadline_factor(&self) -> f64 {
        (self.init_s / Self::REFERENCE_INIT_S).max(1.0)
    }
}

/// The node's kernel must reach its first process in this time for KVM to be believed; a host with working
/// KVM takes 2 to 5 s, bootloader included.
const KVM_DEADLINE: Duration = Duration::from_secs(20);
const TCG_DEADLINE: Duration = Duration::from_secs(300);

/// Chooses by a real boot of `image`, once per boot of the host; later calls read the remembered answer.
/// `tell` gets a line where the probe runs.
pub fn choose(
    cache: &cache::Cache,
    architecture: Architecture,
    image: &Path,
    image_digest: &str,
    scratch: &Path,
    tell: &dyn Fn(&str),
) -> Result<Acceleration, Error> {
    let host_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(Error::io("read /proc/sys/kernel/random/boot_id"))?;
    let version = qemu_version(architecture)?;
    let kvm_state = if architecture.is_native() { kvm_device() } else { KvmDevice::OfAnother };
    let key = cache::key([
        host_boot.as_bytes(),
        version.as_bytes(),
        image_digest.as_bytes(),
        format!("{kvm_state:?}").as_bytes(),
    ]);
    let entry = cache.entry("acceleration", &key, 1, |partial| -> Result<(), ProbeError> {
        let found = probe(architecture, image, kvm_state, scratch, tell)?;
        let text =
            serde_json::to_vec(&found).map_err(std::io::Error::from).map_err(Error::io("encode the probe's result"))?;
        fs::write(partial.join("acceleration.json"), text).map_err(Error::io("write the probe's result"))?;
        Ok(())
    });
    let path = match entry {
        Ok(dir) => dir.join("acceleration.json"),
        Err(ProbeError::Machine(error)) => return Err(error),
        Err(ProbeError::Cache(error)) => {
            return Err(Error::Io { what: "use the cache for the probe".into(), source: std::io::Error::other(error) });
        }
    };
    let text = fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?;
    serde_json::from_slice(&text).map_err(std::io::Error::from).map_err(Error::io(format!("read {}", path.display())))
}

#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Cache(#[from] cache::Error),
    #[error(transparent)]
    Machine(#[from] Error),
}

/// What opening `/dev/kvm` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KvmDevice {
    OfAnother,
    Missing,
    Forbidden,
    Opens,
}

fn kvm_device() -> KvmDevice {
    match fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => KvmDevice::Opens,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => KvmDevice::Forbidden,
        Err(_) => KvmDevice::Missing,
    }
}

fn probe(
    architecture: Architecture,
    image: &Path,
    kvm: KvmDevice,
    scratch: &Path,
    tell: &dyn Fn(&str),
) -> Result<Acceleration, Error> {
    let time_to_init = |accel, deadline| time_to_init(architecture, image, accel, deadline, scratch);
    let refused = match kvm {
        KvmDevice::OfAnother => format!("this host's processor is no {architecture}"),
        KvmDevice::Missing => "this host has no /dev/kvm".to_owned(),
        KvmDevice::Forbidden => "/dev/kvm may not be opened by this user (is it in the group kvm?)".to_owned(),
        KvmDevice::Opens => {
            tell("probing KVM with the node's own kernel");
            match time_to_init(Accel::Kvm, KVM_DEADLINE)? {
                Ok(init_s) => {
                    let reason = format!("KVM booted the node's kernel in {init_s:.1} s");
                    return Ok(Acceleration { accel: Accel::Kvm, reason, init_s });
                }
                Err(why) => format!("/dev/kvm opens, but {why}"),
            }
        }
    };
    tell("measuring the speed of this host without KVM");
    match time_to_init(Accel::Tcg, TCG_DEADLINE)? {
        Ok(init_s) => Ok(Acceleration { accel: Accel::Tcg, reason: refused, init_s }),
        Err(why) => {
            Err(Error::Agent { what: format!("nothing: {why} without KVM either, so this node image does not boot") })
        }
    }
}

/// Seconds until the kernel starts its first process, or why it did not.
fn time_to_init(
    architecture: Architecture,
    image: &Path,
    accel: Accel,
    deadline: Duration,
    scratch: &Path,
) -> Result<Result<f64, String>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start the probe's event loop"))?;
    let spec = Spec {
        name: "day1-probe".into(),
        cpus: 2,
        memory_mib: 1024,
        architecture,
        accel,
        firmware: Firmware::plain(architecture)?,
        image: PathBuf::from(image),
        begins: Begins::Fresh,
        keeps: Keeps::Nothing,
        disks: Vec::new(),
        nics: Vec::new(),
        forwards: Vec::new(),
        boot_arguments: Vec::new(),
        ignition: None,
        instruments: super::Instruments::None,
        delays: Vec::new(),
        scratch: scratch.to_owned(),
    };
    runtime.block_on(async {
        let bus = Bus::new(None);
        let began = Instant::now();
        let machine = match Machine::start(&spec, &bus, None).await {
            Ok(machine) => machine,
            // QEMU itself refuses KVM on some hosts (nested, or a CPU that it doesn't know).
            Err(Error::EndedEarly { stderr, .. }) if accel == Accel::Kvm => {
                // A line of its own in every report.
                let said = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
                return Ok(Err(format!("QEMU says: {said}")));
            }
            Err(error) => return Err(error),
        };
        let mut last_line = String::new();
        let waited = machine
            .wait_for("first process of the kernel", deadline, |event| match &event.what {
                What::Console(console) => {
                    last_line.clone_from(&console.line);
                    is_first_process(&console.line).then_some(())
                }
                _ => None,
            })
            .await;
        let took = began.elapsed().as_secs_f64();
        machine.stop().await;
        let last_words = match last_line.as_str() {
            "" => "the console stayed silent".to_owned(),
            line => format!("the last console line was {line:?}"),
        };
        Ok(waited.map(|()| took).map_err(|error| format!("{error}; {last_words}")))
    })
}

/// `Run /init as init process` by the kernel, or systemd's own first words.
fn is_first_process(line: &str) -> bool {
    line.contains("Run /init as init process") || line.contains("systemd[1]: systemd ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_stretched_on_a_slow_host_and_never_shrunk() {
        let at = |init_s| Acceleration { accel: Accel::Tcg, reason: String::new(), init_s }.deadline_factor();
        assert!((at(16.0) - 2.0).abs() < 1e-9);
        assert!((at(2.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_kernel_that_hangs_after_its_banner_is_no_first_process() {
        assert!(!is_first_process("[    0.000000] Linux version 6.12.57+deb13-amd64"));
        assert!(is_first_process("[    1.502113] Run /init as init process"));
    }
}
