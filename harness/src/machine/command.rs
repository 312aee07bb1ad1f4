//! QEMU's command line, from a typed description of the machine.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Error;
use super::accel::Accel;
use super::delay::Delay;
use super::firmware::{Firmware, Uefi};
use super::instruments::{self, Instruments};
use super::session;
use super::template::{self, Template};
use crate::architecture::Architecture;
use crate::network::Socket;

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name, shown in QEMU's process list.
    pub name: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Its processor.
    pub architecture: Architecture,
    /// How the guest's instructions run.
    pub accel: Accel,
    /// What it runs before its boot loader.
    pub firmware: Firmware,
    /// The node image; the machine writes to an overlay of its own.
    pub image: PathBuf,
    /// Where it begins.
    pub begins: Begins,
    /// What stays of it.
    pub keeps: Keeps,
    /// More disks, empty at the start.
    pub disks: Vec<Disk>,
    /// Network cards, in the order of their PCI slots.
    pub nics: Vec<Nic>,
    /// Addresses that the first card's network answers at.
    pub forwards: Vec<Forward>,
    /// What the node image's boot loader reads from the firmware's tables, of letters, digits and punctuation.
    pub boot_arguments: Vec<String>,
    /// Ignition config for fw_cfg `opt/com.coreos/config`.
    pub ignition: Option<Vec<u8>>,
    /// How the instruments are brought in.
    pub instruments: Instruments,
    /// Units that are held up; with instruments only.
    pub delays: Vec<Delay>,
    /// Where the disks are made; QEMU gets them without a name.
    pub scratch: PathBuf,
}

/// Where a machine begins.
#[derive(Debug, Clone)]
pub enum Begins {
    /// At power-on, with the node image and empty disks.
    Fresh,
    /// At power-on, with the disks that another machine left in this directory.
    WithDisks(PathBuf),
    /// In the middle of a boot, where a machine of the same shape was paused.
    Forked(Template),
}

/// What stays of a machine, in an empty directory that exists.
#[derive(Debug, Clone)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// Its disks. A reboot of the guest pauses the machine, so that they are those of a node that is off.
    Disks(PathBuf),
    /// Its disks and its memory, for [`super::Machine::into_template`].
    Template(PathBuf),
}

impl Keeps {
    pub(super) fn dir(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::Disks(dir) | Self::Template(dir) => Some(dir),
        }
    }
}

/// The name of a kept disk, counted from the node image's, 0.
pub(crate) fn disk_name(index: usize) -> String {
    format!("disk-{index}.qcow2")
}

impl Spec {
    /// What the guest can see of the machine before it asks for its config, and what runs it: machines that
    /// differ in it can't be forked from one template. The code that makes the command line is part of it.
    pub fn shape(&self, qemu: &str) -> String {
        let Self {
            cpus,
            memory_mib,
            architecture,
            accel,
            firmware,
            image,
            disks,
            nics,
            boot_arguments,
            ignition,
            instruments,
            ..
        } = self;
        let forwards: Vec<&str> = self.forwards.iter().map(|forward| forward.guest.as_str()).collect();
        let strings = instruments::smbios_strings(*instruments, &[]);
        let host = accel.host();
        format!(
            "{CODE} {qemu} {architecture} {host} {:?} {firmware:?} {cpus} {memory_mib} {image:?} {disks:?} {nics:?} {forwards:?} {boot_arguments:?} {ignition:?} {instruments:?} {strings:?}",
            accel.arguments(*architecture)
        )
    }
}

/// An empty disk.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Serial number, which names it as `/dev/disk/by-id/virtio-SERIAL`.
    pub serial: String,
    /// Size in MiB.
    pub size_mib: u64,
    /// Reads and writes per second together; none for no limit.
    pub iops: Option<u64>,
    /// Bytes per second, read and written together; none for no limit.
    pub bytes_per_second: Option<u64>,
}

/// A network card, on a network of its own with DHCP and no way out.
#[derive(Debug, Clone)]
pub struct Nic {
    /// `virtio-net`, or QEMU's own name of the device model, such as `e1000`.
    pub model: String,
    /// MAC address.
    pub mac: String,
    /// The network behind it, such as `10.88.0.0/16`; none for `10.0.N.0/24`, N being 2 for the first card.
    pub network: Option<String>,
    /// Where it is plugged into a network with other nodes; none for a network of its own.
    pub lan: Option<LanPort>,
}

/// A card's place in a network with other nodes: its frames go through the harness, on their way to its router as well.
#[derive(Clone)]
pub struct LanPort {
    /// The name that DHCP gives the node.
    pub hostname: String,
    /// The address that DHCP gives the node.
    pub address: Ipv4Addr,
    /// QEMU's ends of the network's sockets; none for a machine that is not plugged in, and has its router to itself.
    pub socket: Option<Arc<Socket>>,
}

/// What the guest can see of it.
impl std::fmt::Debug for LanPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LanPort").field("hostname", &self.hostname).field("address", &self.address).finish()
    }
}

/// An address of the guest's network that leads to a program of the host.
#[derive(Debug, Clone)]
pub struct Forward {
    /// `ADDRESS:PORT`, as the guest sees it.
    pub guest: String,
    /// Command whose standard input and output the connection becomes, without spaces in its words.
    pub command: Vec<String>,
}

/// A command line, and the files that QEMU inherits under the numbers it names.
pub(super) struct CommandLine {
    pub(super) arguments: Vec<String>,
    pub(super) files: Vec<(i32, OwnedFd)>,
}

impl CommandLine {
    /// Numbers for inherited files, above the standard ones.
    const FIRST_FILE: i32 = 3;

    fn new() -> Self {
        Self { arguments: Vec::new(), files: Vec::new() }
    }

    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.arguments.push(format!("-{option}"));
        self.arguments.push(value.into());
    }

    /// Hands a file on; gives the number under which QEMU finds it.
    fn pass(&mut self, file: OwnedFd) -> i32 {
        let number = Self::FIRST_FILE + i32::try_from(self.files.len()).unwrap_or(i32::MAX);
        self.files.push((number, file));
        number
    }

    /// Hands bytes on as a file that exists in memory only.
    fn pass_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<String, Error> {
        let memory = memfd_create(name, MFdFlags::MFD_CLOEXEC)
            .map_err(|errno| Error::Io { what: format!("create {name} in memory"), source: errno.into() })?;
        let mut file = File::from(memory);
        file.write_all(bytes).map_err(Error::io(format!("write {name} in memory")))?;
        let number = self.pass(file.into());
        Ok(format!("/proc/self/fd/{number}"))
    }

    fn chardev(&mut self, id: &str, socket: OwnedFd) {
        let number = self.pass(socket);
        self.add("chardev", format!("socket,id={id},fd={number}"));
    }
}

/// QEMU's ends of the machine's sockets.
pub(super) struct Sockets {
    pub(super) qmp: OwnedFd,
    pub(super) console: OwnedFd,
    pub(super) instruments: InstrumentSockets,
}

/// Those of the instruments.
pub(super) struct InstrumentSockets {
    pub(super) journal_initramfs: OwnedFd,
    pub(super) journal: OwnedFd,
    pub(super) trace: OwnedFd,
    pub(super) agent: OwnedFd,
    pub(super) clock: OwnedFd,
}

/// This file, which says what devices there are and in what order.
const CODE: &str = include_str!("command.rs");

/// QEMU's machine type. System management mode keeps the guest's kernel away from the variables that Secure Boot
/// rests on; only the younger type has it.
fn machine_type(architecture: Architecture, firmware: &Firmware) -> &'static str {
    match architecture {
        Architecture::X86_64 if firmware.is_secure_boot() => "q35,vmport=off,smm=on",
        Architecture::X86_64 => "pc,vmport=off",
        // The newest interrupt controller that the host's KVM, or QEMU, has.
        Architecture::Aarch64 => "virt,gic-version=max",
    }
}

/// Builds the command line; `overlays` are the writable disks, the node image's first.
pub(super) fn build(spec: &Spec, sockets: Sockets, overlays: Vec<OwnedFd>) -> Result<CommandLine, Error> {
    let mut line = CommandLine::new();
    line.arguments.extend(["-nodefaults", "-no-user-config", "-S"].map(str::to_owned));
    line.add("name", format!("guest={},debug-threads=on", spec.name.replace(',', ",,")));
    for (option, value) in spec.accel.arguments(spec.architecture) {
        line.add(option, value);
    }
    line.add("smp", spec.cpus.to_string());
    line.add("m", format!("{}M", spec.memory_mib));
    add_machine(&mut line, spec)?;
    line.add("display", "none");
    if let Keeps::Disks(_) = spec.keeps {
        line.add("action", "reboot=shutdown,shutdown=pause");
    }
    line.chardev("qmp", sockets.qmp);
    line.add("mon", "chardev=qmp,mode=control");
    line.chardev("console", sockets.console);
    line.add("serial", "chardev:console");
    line.add("object", "rng-random,id=rng,filename=/dev/urandom");
    line.add("device", "virtio-rng-pci,rng=rng");
    if spec.architecture == Architecture::X86_64 {
        // A new number for each QEMU: a forked guest's kernel notices and seeds its random numbers anew.
        line.add("device", "vmgenid,guid=auto");
    }
    add_disks(&mut line, spec, overlays);
    add_nics(&mut line, spec)?;
    if let Some(ignition) = &spec.ignition {
        let path = line.pass_bytes("ignition", ignition)?;
        line.add("fw_cfg", format!("name=opt/com.coreos/config,file={path}"));
    }
    if spec.instruments != Instruments::None {
        add_instruments(&mut line, sockets.instruments, instruments::smbios_strings(spec.instruments, &spec.delays))?;
    }
    if !spec.boot_arguments.is_empty() {
        // The last of the strings: it is what `grub.cfg` reads.
        let arguments = spec.boot_arguments.join(" ").replace(',', ",,");
        line.add("smbios", format!("type=11,value=day1-arguments={arguments}"));
    }
    Ok(line)
}

/// The machine, with its memory and its firmware.
fn add_machine(line: &mut CommandLine, spec: &Spec) -> Result<(), Error> {
    let mut machine = machine_type(spec.architecture, &spec.firmware).to_owned();
    if add_memory(line, spec) {
        machine.push_str(",memory-backend=ram");
    }
    if let Firmware::Uefi(uefi) = &spec.firmware {
        add_flash(line, uefi)?;
        machine.push_str(",pflash0=code,pflash1=variables");
    }
    line.add("machine", machine);
    Ok(())
}

/// The guest's memory where it is not QEMU's own: a file's that others fork from, or a private copy of such a file.
fn add_memory(line: &mut CommandLine, spec: &Spec) -> bool {
    let (file, mode) = match (&spec.begins, &spec.keeps) {
        (Begins::Forked(template), _) => (template.memory(), "share=off,readonly=on,rom=off"),
        (_, Keeps::Template(dir)) => (dir.join(template::MEMORY), "share=on"),
        _ => return false,
    };
    let file = file.display().to_string().replace(',', ",,");
    line.add("object", format!("memory-backend-file,id=ram,size={}M,mem-path={file},{mode}", spec.memory_mib));
    if let Begins::Forked(_) = spec.begins {
        line.add("incoming", "defer");
    }
    true
}

/// The firmware's code, and a copy of its variables that is this machine's own and has no name.
fn add_flash(line: &mut CommandLine, uefi: &Uefi) -> Result<(), Error> {
    let code = uefi.code().display().to_string().replace(',', ",,");
    line.add("blockdev", format!("raw,node-name=code,read-only=on,file.driver=file,file.filename={code}"));
    let variables = line.pass_bytes("variables", &uefi.variables()?)?;
    line.add("blockdev", format!("raw,node-name=variables,file.driver=file,file.filename={variables}"));
    if uefi.is_secure_boot() {
        line.add("global", "driver=cfi.pflash01,property=secure,value=on");
    }
    Ok(())
}

fn add_disks(line: &mut CommandLine, spec: &Spec, overlays: Vec<OwnedFd>) {
    for (index, overlay) in overlays.into_iter().enumerate() {
        let number = line.pass(overlay);
        line.add("add-fd", format!("fd={number},set={index}"));
        let disk = index.checked_sub(1).and_then(|i| spec.disks.get(i));
        // Writes stay in the host's page cache, which outlives a killed QEMU: flushing it would protect only
        // against a crash of the host, which no trial survives.
        let cache = "cache.direct=off,cache.no-flush=on";
        line.add(
            "blockdev",
            format!(
                "qcow2,node-name=disk{index},{cache},discard=unmap,file.driver=file,file.filename=/dev/fdset/{index}"
            ),
        );
        let device = match disk {
            Some(disk) => {
                let drive = throttled(line, disk, index);
                let bus = bus_of_its_own(line, spec, index);
                format!("virtio-blk-pci,id={}{bus},drive={drive},serial={}", device_name(index - 1), disk.serial)
            }
            None => format!("virtio-blk-pci,drive=disk{index},bootindex=0"),
        };
        line.add("device", device);
    }
}

/// PCI Express has no hot unplug on its root bus, only below a port of it. Gives the disk's property.
fn bus_of_its_own(line: &mut CommandLine, spec: &Spec, index: usize) -> String {
    if spec.architecture == Architecture::X86_64 && !spec.firmware.is_secure_boot() {
        return String::new();
    }
    line.add("device", format!("pcie-root-port,id=port{index},chassis={index}"));
    format!(",bus=port{index}")
}

/// QEMU's name of the n-th of [`Spec::disks`], from 0.
pub(super) fn device_name(index: usize) -> String {
    format!("data{index}")
}

/// Puts the disk's limits in front of it; gives the name of what the guest gets.
fn throttled(line: &mut CommandLine, disk: &Disk, index: usize) -> String {
    let limit = |name: &str, value: Option<u64>| value.map(|value| format!(",{name}={value}")).unwrap_or_default();
    let limits = limit("x-iops-total", disk.iops) + &limit("x-bps-total", disk.bytes_per_second);
    if limits.is_empty() {
        return format!("disk{index}");
    }
    line.add("object", format!("throttle-group,id=limit{index}{limits}"));
    line.add("blockdev", format!("throttle,node-name=slow{index},throttle-group=limit{index},file=disk{index}"));
    format!("slow{index}")
}

/// QEMU's name of the network of the n-th card.
pub(super) fn network_name(index: usize) -> String {
    format!("net{index}")
}

fn add_nics(line: &mut CommandLine, spec: &Spec) -> Result<(), Error> {
    for (index, nic) in spec.nics.iter().enumerate() {
        let name = network_name(index);
        let behind = nic.network.clone().unwrap_or_else(|| format!("10.0.{}.0/24", index + 2));
        let socket = nic.lan.as_ref().and_then(|lan| lan.socket.as_ref());
        let router = if socket.is_some() { format!("router{index}") } else { name.clone() };
        let mut network = format!("user,id={router},restrict=on,ipv6=off,net={behind}");
        if let Some(lan) = &nic.lan {
            network.push_str(&format!(",dhcpstart={},hostname={}", lan.address, lan.hostname));
        }
        if index == 0 {
            for forward in &spec.forwards {
                let command = forward.command.join(" ").replace(',', ",,");
                network.push_str(&format!(",guestfwd=tcp:{}-cmd:{command}", forward.guest));
            }
        }
        line.add("netdev", network);
        let model = match nic.model.as_str() {
            "virtio-net" => "virtio-net-pci",
            model => model,
        };
        if let Some(socket) = socket {
            add_lan(line, index, socket)?;
        }
        line.add("device", format!("{model},netdev={name},mac={},romfile=", nic.mac));
    }
    Ok(())
}

/// The card's and its router's wires to the harness's switch. A router has no wire of its own but through a hub.
fn add_lan(line: &mut CommandLine, index: usize, socket: &Socket) -> Result<(), Error> {
    for (name, end) in [(network_name(index), &socket.nic), (format!("uplink{index}"), &socket.router)] {
        let end = end.try_clone().map_err(Error::io("hand a network's socket to QEMU"))?;
        let number = line.pass(end);
        line.add("netdev", format!("dgram,id={name},local.type=fd,local.str={number}"));
    }
    for peer in ["router", "uplink"] {
        line.add("netdev", format!("hubport,id={peer}port{index},hubid={index},netdev={peer}{index}"));
    }
    Ok(())
}

fn add_instruments(line: &mut CommandLine, sockets: InstrumentSockets, strings: Vec<String>) -> Result<(), Error> {
    for (index, string) in strings.into_iter().enumerate() {
        let path = line.pass_bytes(&format!("credential-{index}"), string.as_bytes())?;
        line.add("smbios", format!("type=11,path={path}"));
    }
    // Room for the ports of those who come in.
    line.add("device", format!("virtio-serial-pci,id={},max_ports={}", session::BUS, session::BUS_PORTS));
    let ports: [_; instruments::PORTS as usize] = [
        (instruments::JOURNAL_INITRAMFS, sockets.journal_initramfs),
        (instruments::JOURNAL, sockets.journal),
        (instruments::TRACE, sockets.trace),
        (instruments::AGENT, sockets.agent),
        (instruments::CLOCK, sockets.clock),
    ];
    for (name, socket) in ports {
        line.chardev(name, socket);
        line.add("device", format!("virtserialport,chardev={name},name={name}"));
    }
    Ok(())
}

/// Makes QEMU's child close-on-exec files inheritable under their numbers.
pub(super) fn mappings(files: Vec<(i32, OwnedFd)>) -> Vec<command_fds::FdMapping> {
    files.into_iter().map(|(child_fd, parent_fd)| command_fds::FdMapping { parent_fd, child_fd }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            name: "a/b@c".into(),
            cpus: 2,
            memory_mib: 2048,
            architecture: Architecture::X86_64,
            accel: Accel::Tcg,
            firmware: Firmware::Bios,
            image: "/cache/image/disk.qcow2".into(),
            begins: Begins::Fresh,
            keeps: Keeps::Nothing,
            disks: Vec::new(),
            nics: vec![Nic { model: "e1000".into(), mac: "52:54:00:d1:00:01".into(), network: None, lan: None }],
            boot_arguments: Vec::new(),
            forwards: vec![Forward { guest: "10.0.2.100:443".into(), command: vec!["day1".into(), "x".into()] }],
            ignition: Some(b"{}".to_vec()),
            instruments: Instruments::Credentials,
            delays: Vec::new(),
            scratch: "/tmp/x".into(),
        }
    }

    #[test]
    fn machines_of_another_shape_are_not_forked_from_one_template() {
        let shape = |change: fn(&mut Spec)| {
            let mut spec = spec();
            change(&mut spec);
            spec.shape("QEMU emulator version 10.0.2")
        };
        let plain = shape(|_| {});
        let others: [fn(&mut Spec); 13] = [
            |spec| spec.architecture = Architecture::Aarch64,
            |spec| spec.cpus = 1,
            |spec| spec.memory_mib = 4096,
            |spec| spec.image = "/cache/other/disk.qcow2".into(),
            |spec| spec.nics[0].mac = "52:54:00:d1:00:02".into(),
            |spec| spec.nics.clear(),
            |spec| spec.forwards[0].guest = "10.0.2.101:443".into(),
            |spec| spec.ignition = Some(b"{ }".to_vec()),
            |spec| spec.instruments = Instruments::None,
            |spec| spec.boot_arguments.push("enforcing=1".into()),
            |spec| spec.firmware = Uefi::for_tests(false, &[]),
            |spec| spec.firmware = Uefi::for_tests(true, &[]),
            |spec| {
                let disk = Disk { serial: "var".into(), size_mib: 10, iops: None, bytes_per_second: None };
                spec.disks.push(disk);
            },
        ];
        for (index, other) in others.into_iter().enumerate() {
            assert_ne!(shape(other), plain, "{index}");
        }
        assert_ne!(spec().shape("QEMU emulator version 10.0.3"), plain);
        // What the guest can't see.
        assert_eq!(shape(|spec| spec.name = "d/e@f".into()), plain);
        assert_eq!(shape(|spec| spec.forwards[0].command = vec!["day1".into(), "y".into()]), plain);
        assert_eq!(shape(|spec| spec.delays.push(Delay::default())), plain);
        assert_eq!(shape(|spec| spec.scratch = "/tmp/y".into()), plain);
    }

    fn words(spec: &Spec) -> String {
        let end = || std::os::unix::net::UnixStream::pair().expect("a pair").0.into();
        let instruments =
            InstrumentSockets { journal_initramfs: end(), journal: end(), trace: end(), agent: end(), clock: end() };
        let sockets = Sockets { qmp: end(), console: end(), instruments };
        let overlays = (0..=spec.disks.len()).map(|_| end()).collect();
        build(spec, sockets, overlays).expect("a command line").arguments.join(" ")
    }

    #[test]
    fn a_card_in_a_network_with_others_has_its_router_behind_the_switch() {
        let end = || std::os::unix::net::UnixDatagram::pair().expect("a pair").0.into();
        let mut spec = spec();
        spec.nics[0].lan = Some(LanPort {
            hostname: "worker-1".into(),
            address: Ipv4Addr::new(10, 0, 2, 11),
            socket: Some(Arc::new(Socket { nic: end(), router: end() })),
        });
        let words = words(&spec);
        assert!(
            words.contains(
                "user,id=router0,restrict=on,ipv6=off,net=10.0.2.0/24,dhcpstart=10.0.2.11,hostname=worker-1,guestfwd="
            ),
            "{words}"
        );
        assert!(
            words.contains("-netdev dgram,id=net0,local.type=fd,") && words.contains("-device e1000,netdev=net0,"),
            "{words}"
        );
        assert!(words.contains("hubid=0,netdev=router0") && words.contains("hubid=0,netdev=uplink0"), "{words}");
        // The guest can't see which sockets these are, or whether there are any.
        let shape = spec.shape("x");
        spec.nics[0].lan.as_mut().expect("a port").socket = None;
        assert_eq!(spec.shape("x"), shape);
    }

    #[test]
    fn each_processor_has_its_own_machine() {
        let pc = words(&spec());
        assert!(pc.contains("-cpu qemu64") && pc.contains("vmgenid"), "{pc}");
        let dir = tempfile::tempdir().expect("temporary directory");
        let arm =
            Spec { architecture: Architecture::Aarch64, firmware: Uefi::for_tests(false, &[dir.path()]), ..spec() };
        let arm = words(&arm);
        assert!(arm.contains("-machine virt,gic-version=max,pflash0=code,pflash1=variables"), "{arm}");
        assert!(arm.contains("-cpu cortex-a72") && arm.contains("-device e1000,"), "{arm}");
        assert!(!arm.contains("vmport") && !arm.contains("vmgenid"), "{arm}");
    }

    #[test]
    fn a_disk_can_be_pulled_out_of_each_machine() {
        let disk = Disk { serial: "var".into(), size_mib: 10, iops: None, bytes_per_second: None };
        let pc = Spec { disks: vec![disk], ..spec() };
        assert!(words(&pc).contains("-device virtio-blk-pci,id=data0,drive=disk1"));
        let dir = tempfile::tempdir().expect("temporary directory");
        let below_a_port = "-device pcie-root-port,id=port1,chassis=1 -device virtio-blk-pci,id=data0,bus=port1,";
        let secure = words(&Spec { firmware: Uefi::for_tests(true, &[dir.path()]), ..pc.clone() });
        assert!(secure.contains(below_a_port), "{secure}");
        let firmware = Uefi::for_tests(false, &[dir.path()]);
        let arm = words(&Spec { architecture: Architecture::Aarch64, firmware, ..pc });
        assert!(arm.contains(below_a_port), "{arm}");
    }

    #[test]
    fn firmware_is_in_the_machine_s_flash_and_secure_boot_keeps_the_guest_from_it() {
        let bios = words(&spec());
        assert!(bios.contains("-machine pc,vmport=off -") && !bios.contains("pflash"), "{bios}");
        let dir = tempfile::tempdir().expect("temporary directory");
        let uefi = |secure_boot| words(&Spec { firmware: Uefi::for_tests(secure_boot, &[dir.path()]), ..spec() });
        let plain = uefi(false);
        assert!(plain.contains("-machine pc,vmport=off,pflash0=code,pflash1=variables"), "{plain}");
        assert!(plain.contains("node-name=code,read-only=on,") && !plain.contains("property=secure"), "{plain}");
        assert!(plain.contains("node-name=variables,file.driver=file,file.filename=/proc/self/fd/"), "{plain}");
        let secure = uefi(true);
        assert!(secure.contains("-machine q35,vmport=off,smm=on,pflash0=code"), "{secure}");
        assert!(secure.contains("-global driver=cfi.pflash01,property=secure,value=on"), "{secure}");
    }
}
