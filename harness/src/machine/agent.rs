//! The agent in the guest: asks it for snapshots and for commands to run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, oneshot};

use super::Error;
use crate::timeline::{Link, Module, PciDevice, Snapshot, Unit};

/// What a command in the guest gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// Standard output and standard error together.
    pub text: String,
}

/// The harness's end of the agent's port. It answers several requests at once.
pub(super) struct Agent {
    requests: Mutex<WriteHalf<UnixStream>>,
    pending: Pending,
    next: AtomicU64,
}

/// Who waits for which answer; none when the port has closed.
type Pending = Arc<std::sync::Mutex<Option<BTreeMap<u64, oneshot::Sender<Output>>>>>;

impl Agent {
    /// Takes the socket; the returned future reads answers until the socket closes.
    pub(super) fn new(socket: UnixStream) -> (Self, impl Future<Output = ()>) {
        let (read, write) = tokio::io::split(socket);
        let pending = Pending::new(std::sync::Mutex::new(Some(BTreeMap::new())));
        let agent = Self { requests: Mutex::new(write), pending: Arc::clone(&pending), next: AtomicU64::new(1) };
        (agent, read_answers(read, pending))
    }

    /// The guest's state now. The caller bounds the wait.
    pub(super) async fn snapshot(&self, label: &str) -> Result<Snapshot, Error> {
        let output = self.ask("snapshot").await?;
        let mut snapshot = parse_snapshot(&output.text).map_err(|what| Error::Agent { what })?;
        snapshot.label = label.to_owned();
        Ok(snapshot)
    }

    /// Runs a shell script as root in the guest. The caller bounds the wait.
    pub(super) async fn run(&self, script: &str) -> Result<Output, Error> {
        self.ask(&format!("sh {}", STANDARD.encode(script))).await
    }

    /// Makes the guest's services stand still, or go on. The caller bounds the wait.
    pub(super) async fn freeze(&self, still: bool) -> Result<Output, Error> {
        self.ask(&format!("freeze {}", u8::from(still))).await
    }

    async fn ask(&self, request: &str) -> Result<Output, Error> {
        let closed = || Error::Agent { what: "nothing: its port closed".into() };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            let pending = pending.as_mut().ok_or_else(closed)?;
            // Those that their callers gave up.
            pending.retain(|_, sender| !sender.is_closed());
            pending.insert(id, sender);
        }
        let line = format!("{id} {request}\n");
        self.requests.lock().await.write_all(line.as_bytes()).await.map_err(Error::io("write to the agent's port"))?;
        answer.await.map_err(|_| closed())
    }
}

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, Option<BTreeMap<u64, oneshot::Sender<Output>>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_answers(read: ReadHalf<UnixStream>, pending: Pending) {
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = line.split(' ');
        let (Some(id), Some(status)) = (words.next(), words.next()) else { continue };
        let (Ok(id), Ok(status)) = (id.parse::<u64>(), status.parse()) else { continue };
        let Ok(bytes) = STANDARD.decode(words.next().unwrap_or_default()) else { continue };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(sender) = lock(&pending).as_mut().and_then(|pending| pending.remove(&id)) {
            // Its caller may have given it up.
            let _ = sender.send(Output { status, text });
        }
    }
    lock(&pending).take();
}

/// Reads what `instruments.sh` prints for a snapshot.
fn parse_snapshot(text: &str) -> Result<Snapshot, String> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        match line.strip_prefix("@@ ") {
            Some(name) => {
                current = name;
                sections.entry(name).or_default();
            }
            None => sections.entry(current).or_default().push(line),
        }
    }
    if !sections.contains_key("end") {
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        return Err(format!("a snapshot without its end, whose last lines are: {last}"));
    }
    let lines = |name: &str| sections.get(name).map_or(&[] as &[&str], Vec::as_slice);
    let boot: BTreeMap<&str, &str> = lines("boot").iter().filter_map(|line| line.split_once(' ')).collect();
    let value = |name: &str| boot.get(name).copied().ok_or_else(|| format!("a snapshot without {name}"));
    let seconds: f64 = value("uptime")?.parse().map_err(|_| "an uptime that is no number".to_owned())?;
    let mut snapshot = Snapshot {
        label: String::new(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an uptime is small and not negative"
        )]
        mono_us: (seconds * 1e6) as u64,
        boot_id: value("boot_id")?.to_owned(),
        kernel_release: value("kernel_release")?.to_owned(),
        tainted: value("tainted")?.parse().map_err(|_| "a taint that is no number".to_owned())?,
        modules: parse_modules(lines("modules"), lines("module-fields"), lines("module-holders")),
        links: BTreeMap::new(),
        pci: parse_pci(lines("pci"), lines("pci-drivers")),
        units: parse_units(lines("units"), lines("jobs")),
        mounts: lines("mounts").iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect(),
        containers: lines("containers").iter().map(|line| (*line).to_owned()).collect(),
        volumes: lines("volumes").iter().map(|line| (*line).to_owned()).collect(),
    };
    snapshot.links = parse_links(lines("links"), &lines("addresses").join("\n"))?;
    Ok(snapshot)
}

fn parse_modules(names: &[&str], fields: &[&str], holders: &[&str]) -> BTreeMap<String, Module> {
    let mut modules: BTreeMap<String, Module> =
        names.iter().map(|name| ((*name).to_owned(), Module::default())).collect();
    for line in fields {
        // ./NAME/FIELD:VALUE
        let Some((path, value)) = line.trim_start_matches("./").split_once(':') else { continue };
        let Some((name, field)) = path.split_once('/') else { continue };
        let Some(module) = modules.get_mut(name) else { continue };
        let value = value.trim();
        match field {
            "initstate" => value.clone_into(&mut module.state),
            "srcversion" => value.clone_into(&mut module.srcversion),
            "version" => value.clone_into(&mut module.version),
            "taint" => value.clone_into(&mut module.taint),
            "refcnt" => module.refcnt = value.parse().ok(),
            _ => {}
        }
    }
    for line in holders {
        // ./NAME/holders HOLDER
        let Some((path, holder)) = line.trim_start_matches("./").split_once(' ') else { continue };
        let name = path.split('/').next().unwrap_or_default();
        if let Some(module) = modules.get_mut(name) {
            module.holders.push(holder.to_owned());
        }
    }
    modules
}

fn parse_pci(ids: &[&str], drivers: &[&str]) -> BTreeMap<String, PciDevice> {
    let mut devices: BTreeMap<String, PciDevice> = BTreeMap::new();
    let hex = |value: &str| value.trim().trim_start_matches("0x").to_owned();
    for wanted in ["vendor", "device"] {
        for line in ids {
            // ./0000:00:03.0/vendor:0x8086
            let Some((address, rest)) = line.trim_start_matches("./").split_once('/') else { continue };
            let Some((field, value)) = rest.split_once(':') else { continue };
            if field != wanted {
                continue;
            }
            let device = devices.entry(address.to_owned()).or_default();
            if !device.id.is_empty() {
                device.id.push(':');
            }
            device.id.push_str(&hex(value));
        }
    }
    for line in drivers {
        // ./0000:00:03.0/driver ../../../../bus/pci/drivers/e1000
        let Some((path, target)) = line.trim_start_matches("./").split_once(' ') else { continue };
        let address = path.split('/').next().unwrap_or_default();
        if let Some(device) = devices.get_mut(address) {
            last_component(target).clone_into(&mut device.driver);
        }
    }
    devices
}

fn parse_links(lines: &[&str], addresses: &str) -> Result<BTreeMap<String, Link>, String> {
    #[derive(serde::Deserialize)]
    struct Interface {
        ifname: String,
        #[serde(default)]
        address: String,
        #[serde(default)]
        operstate: String,
        #[serde(default)]
        addr_info: Vec<Address>,
    }
    #[derive(serde::Deserialize)]
    struct Address {
        local: Option<String>,
        prefixlen: u8,
    }
    let interfaces: Vec<Interface> = serde_json::from_str(addresses)
        .map_err(|error| format!("addresses that are no JSON ({error}): {addresses}"))?;
    let mut links: BTreeMap<String, Link> = interfaces
        .into_iter()
        .map(|one| {
            let addresses = one.addr_info.iter();
            let link = Link {
                mac: one.address,
                operstate: one.operstate.to_lowercase(),
                addresses: addresses.filter_map(|a| Some(format!("{}/{}", a.local.as_ref()?, a.prefixlen))).collect(),
                ..Link::default()
            };
            (one.ifname, link)
        })
        .collect();
    for line in lines {
        // eth0 /sys/devices/pci0000:00/0000:00:03.0/virtio0 ../../../../bus/virtio/drivers/virtio_net
        let mut words = line.split(' ');
        let Some(link) = words.next().and_then(|name| links.get_mut(name)) else { continue };
        let device = words.next().unwrap_or_default();
        link.pci = device.split('/').rfind(|part| is_pci_address(part)).unwrap_or_default().to_owned();
        last_component(words.next().unwrap_or_default()).clone_into(&mut link.driver);
    }
    Ok(links)
}

/// `0000:00:03.0`
fn is_pci_address(text: &str) -> bool {
    text.len() == 12 && text.split([':', '.']).map(str::len).eq([4, 2, 2, 1])
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn parse_units(lines: &[&str], jobs: &[&str]) -> BTreeMap<String, Unit> {
    let mut units = BTreeMap::new();
    for block in lines.split(|line| line.is_empty()) {
        let properties: BTreeMap<&str, &str> = block.iter().filter_map(|line| line.split_once('=')).collect();
        let Some(id) = properties.get("Id") else { continue };
        let get = |name: &str| properties.get(name).copied().unwrap_or_default();
        let words = |name: &str| get(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let time = |name: &str| get(name).parse().unwrap_or(0);
        let mut wants = words("Wants");
        wants.extend(words("Requires"));
        let unit = Unit {
            load_state: get("LoadState").to_owned(),
            active_state: get("ActiveState").to_owned(),
            sub_state: get("SubState").to_owned(),
            result: get("Result").to_owned(),
            exec_main_status: get("ExecMainStatus").parse().ok(),
            condition_result: (time("ConditionTimestampMonotonic") > 0).then(|| get("ConditionResult") == "yes"),
            inactive_exit_us: time("InactiveExitTimestampMonotonic"),
            active_enter_us: time("ActiveEnterTimestampMonotonic"),
            inactive_enter_us: time("InactiveEnterTimestampMonotonic"),
            start_timeout_us: properties.get("TimeoutStartUSec").and_then(|span| time_span_us(span)),
            after: words("After"),
            wants,
            job: String::new(),
        };
        units.insert((*id).to_owned(), unit);
    }
    for line in jobs {
        // 123 name.service start running
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [id, name, kind, ..] = words[..]
            && id.parse::<u64>().is_ok()
        {
            // A unit with a job counts, though nothing more may be known about it: a device that never comes, say.
            let unit: &mut Unit = units.entry(name.to_owned()).or_default();
            kind.clone_into(&mut unit.job);
        }
    }
    units
}

/// A time span as systemd prints it (`systemd.time(7)`): `1min 30s`, `infinity`.
fn time_span_us(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(Unit::FOR_EVER);
    }
    let units = [
        ("us", 1.0),
        ("ms", 1e3),
        ("month", 2_629_800e6),
        ("min", 60e6),
        ("s", 1e6),
        ("h", 3_600e6),
        ("d", 86_400e6),
        ("w", 604_800e6),
        ("y", 31_557_600e6),
    ];
    let word = |word: &str| {
        let at = word.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = word.split_at(at);
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        Some(number.parse::<f64>().ok()? * factor)
    };
    let sum: f64 = text.split_whitespace().map(word).sum::<Option<f64>>()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time span is not negative")]
    let us = sum as u64;
    Some(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: &str = "\
@@ boot
boot_id 0123456789abcdef0123456789abcdef
kernel_release 6.12.57+deb13-amd64
tainted 12288
uptime 31.50
@@ modules
day1_nic
kernel
@@ module-fields
./day1_nic/initstate:live
./day1_nic/srcversion:ABCDEF
./day1_nic/taint:OE
./day1_nic/refcnt:0
@@ module-holders
./day1_nic/holders other
@@ pci
./0000:00:04.0/vendor:0x8086
./0000:00:04.0/device:0x100e
@@ pci-drivers
./0000:00:04.0/driver ../../../bus/pci/drivers/day1_nic
@@ links
ens4 /sys/devices/pci0000:00/0000:00:04.0 ../../../bus/pci/drivers/day1_nic
@@ addresses
[{\"ifname\":\"lo\",\"operstate\":\"UNKNOWN\",\"addr_info\":[{\"local\":\"127.0.0.1\",\"prefixlen\":8}]},
{\"ifname\":\"ens4\",\"address\":\"52:54:00:d1:00:02\",\"operstate\":\"DOWN\",\"addr_info\":[]}]
@@ units
Id=a.service
LoadState=loaded
ActiveState=active
SubState=exited
Result=success
ExecMainStatus=0
ConditionResult=yes
ConditionTimestampMonotonic=5
InactiveExitTimestampMonotonic=7
ActiveEnterTimestampMonotonic=9
InactiveEnterTimestampMonotonic=0
TimeoutStartUSec=1min 30s
After=b.target basic.target
Wants=b.target
Requires=

Id=b.target
ActiveState=inactive
ConditionTimestampMonotonic=0
@@ mounts
/ ext4
/var/lib/containers/storage/overlay/x/merged overlay
@@ containers
kmm-pod-infra
@@ volumes
kmm-volume
@@ jobs
17 b.target start waiting
18 dev-vdb.device start running
Failed to list more
@@ end
";

    #[tokio::test]
    async fn a_request_that_hangs_keeps_no_other_from_its_answer() {
        let (ours, mut guest) = UnixStream::pair().expect("a pair");
        let (agent, answers) = Agent::new(ours);
        let guest = async move {
            let (read, mut write) = guest.split();
            let mut lines = BufReader::new(read).lines();
            let first = lines.next_line().await.expect("read").expect("a request");
            let second = lines.next_line().await.expect("read").expect("a request");
            assert!(first.starts_with("1 sh ") && second.starts_with("2 sh "), "{first} {second}");
            write.write_all(b"\nhalf a li\n2 7 aGk=\n").await.expect("written");
            // The first is never answered: the port closes.
        };
        let asked = async {
            let (hangs, answered) = tokio::join!(agent.run("hang"), agent.run("echo hi"));
            assert!(hangs.is_err());
            assert_eq!(answered.expect("an answer"), Output { status: 7, text: "hi".into() });
            assert!(agent.run("late").await.is_err());
        };
        tokio::join!(guest, asked, answers);
    }

    #[test]
    fn a_snapshot_is_read() {
        let snapshot = parse_snapshot(SNAPSHOT).expect("a snapshot");
        assert_eq!(snapshot.mono_us, 31_500_000);
        let module = &snapshot.modules["day1_nic"];
        assert_eq!((module.state.as_str(), module.taint.as_str(), module.refcnt), ("live", "OE", Some(0)));
        assert_eq!(module.holders, ["other"]);
        assert_eq!(snapshot.pci["0000:00:04.0"], PciDevice { id: "8086:100e".into(), driver: "day1_nic".into() });
        let link = &snapshot.links["ens4"];
        assert_eq!((link.driver.as_str(), link.pci.as_str()), ("day1_nic", "0000:00:04.0"));
        assert_eq!(snapshot.links["lo"].addresses, ["127.0.0.1/8"]);
        let unit = &snapshot.units["a.service"];
        assert_eq!((unit.condition_result, unit.active_enter_us), (Some(true), 9));
        assert_eq!(unit.after, ["b.target", "basic.target"]);
        assert_eq!(unit.start_timeout_us, Some(90_000_000));
        assert_eq!((snapshot.containers, snapshot.volumes), (vec!["kmm-pod-infra".into()], vec!["kmm-volume".into()]));
        assert_eq!(snapshot.mounts[1], "/var/lib/containers/storage/overlay/x/merged");
        assert_eq!(snapshot.units["b.target"].job, "start");
        assert_eq!(snapshot.units["b.target"].condition_result, None);
        assert_eq!(snapshot.units["dev-vdb.device"].job, "start");
        assert_eq!(snapshot.units.len(), 3);
    }

    #[test]
    fn time_spans_are_read_as_systemd_prints_them() {
        assert_eq!(time_span_us("2min 30.500s"), Some(150_500_000));
        assert_eq!(time_span_us("1h 15min"), Some(4_500_000_000));
        assert_eq!(time_span_us("250ms"), Some(250_000));
        assert_eq!(time_span_us("infinity"), Some(Unit::FOR_EVER));
        assert_eq!(time_span_us("soon"), None);
    }

    #[test]
    fn a_snapshot_cut_short_is_refused() {
        let cut = SNAPSHOT.trim_end().trim_end_matches("@@ end");
        assert!(parse_snapshot(cut).is_err());
    }
}
