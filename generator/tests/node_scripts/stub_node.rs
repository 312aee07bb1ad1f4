//! A directory that looks like a node to the scripts, with stubs of the programs they use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use day1_generator::{Builder, Day1Config};
use ignition_config::v3_2;

pub const KERNEL: &str = "6.12.41+deb13-amd64";
pub const VERMAGIC: &str = "6.12.41+deb13-amd64 SMP preempt mod_unload modversions ";
pub const REPOSITORY: &str = "quay.io/day1/day1-nic";

/// What a script did.
pub struct Outcome {
    pub code: i32,
    pub log: String,
}

/// The module files of an image or of the kernel, as lines that the stubs read.
#[derive(Clone)]
pub struct ModuleFile {
    pub name: &'static str,
    pub lines: Vec<(&'static str, String)>,
}

impl ModuleFile {
    pub fn out_of_tree(name: &'static str) -> Self {
        let lines =
            vec![("vermagic", VERMAGIC.to_owned()), ("srcversion", format!("OOT{name}")), ("taint", "OE".into())];
        Self { name, lines }
    }
    pub fn in_tree(name: &'static str) -> Self {
        let lines =
            vec![("vermagic", VERMAGIC.to_owned()), ("srcversion", format!("INTREE{name}")), ("taint", String::new())];
        Self { name, lines }
    }
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.lines.retain(|(k, _)| *k != key);
        self.lines.push((key, value.to_owned()));
        self
    }
    fn text(&self) -> String {
        let lines: String = self.lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        format!("module\nname={}\n{lines}", self.name.replace('-', "_"))
    }
}

pub struct StubNode {
    dir: tempfile::TempDir,
    pub config: Day1Config,
}

impl StubNode {
    /// A node with in-tree `e1000` loaded, and the files of a MachineConfig that replaces it by `day1_nic`.
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::for_config("99-day1", change)
    }

    pub fn named(machine_config: &str) -> Self {
        Self::for_config(machine_config, |builder| builder)
    }

    fn for_config(name: &str, change: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Day1Config::builder(name, "worker", REPOSITORY, "day1_nic").in_tree_modules_to_remove(["e1000"]);
        let config = change(builder).build().unwrap();
        let node = Self { dir: tempfile::tempdir().unwrap(), config };
        node.write("kernel-release", KERNEL);
        node.write("dmesg", "[    1.000000] earlier line\n");
        node.write("proc/uptime", "4.00 3.00\n");
        node.write("proc/sys/kernel/random/boot_id", "boot-1\n");
        node.write("mounts", "");
        node.write("calls", "");
        node.write("sys/module/firmware_class/parameters/path", "\n");
        node.add_kernel_module("e1000");
        node.load_in_tree("e1000");
        node.install(&node.config);
        node
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    pub fn calls(&self, program: &str) -> Vec<String> {
        self.read("calls").lines().filter(|line| line.starts_with(program)).map(str::to_owned).collect()
    }

    /// Writes the files of a MachineConfig as Ignition would.
    pub fn install(&self, config: &Day1Config) {
        for file in config.ignition().storage.unwrap().files.unwrap() {
            self.write(
                &file.path,
                &contents(&file).replace("LIBRARY='", &format!("LIBRARY='{}", self.dir.path().display())),
            );
        }
    }
    /// Changes a parameter beyond what the generator lets through, such as a timeout too short for a node.
    pub fn set(&self, parameter: &str) {
        let config = self.config.config_path();
        self.write(&config, &format!("{}\n{parameter}\n", self.read(&config)));
    }

    pub fn add_kernel_module(&self, name: &'static str) {
        self.add_kernel_file(&ModuleFile::in_tree(name));
    }
    pub fn add_kernel_file(&self, module: &ModuleFile) {
        let (tree, name) = (format!("lib/modules/{KERNEL}"), module.name);
        self.write(&format!("{tree}/kernel/{name}.ko"), &module.text());
        let dep = self.read(&format!("{tree}/modules.dep"));
        self.write(&format!("{tree}/modules.dep"), &format!("{dep}kernel/{name}.ko:\n"));
    }
    pub fn load_in_tree(&self, name: &str) {
        self.write(&format!("sys/module/{name}/initstate"), "live\n");
        self.write(&format!("sys/module/{name}/refcnt"), "0\n");
        self.write(&format!("sys/module/{name}/srcversion"), &format!("INTREE{name}\n"));
        self.write(&format!("sys/module/{name}/taint"), "\n");
        fs::create_dir_all(self.path(&format!("sys/module/{name}/holders"))).unwrap();
    }
    pub fn loaded(&self, name: &str) -> bool {
        self.exists(&format!("sys/module/{name}/initstate"))
    }

    /// Puts an image for `kernel` into the registry, under the tag for this node's kernel.
    pub fn push(&self, id: &str, kernel: &str, modules: &[ModuleFile]) {
        let reference = self.config.image_reference(KERNEL);
        let image = format!("registry/{}", reference.replace(['/', ':', '@'], "_"));
        if self.exists(&image) {
            self.remove(&image);
        }
        self.write(&format!("{image}/id"), &format!("{id}\n"));
        let tree = format!("{image}/rootfs/opt/lib/modules/{kernel}");
        let dep: String = modules.iter().map(|module| format!("{}.ko:\n", module.name)).collect();
        self.write(&format!("{tree}/modules.dep"), &dep);
        for module in modules {
            self.write(&format!("{tree}/{}.ko", module.name), &module.text());
        }
    }
    pub fn push_good(&self) {
        self.push("id1", KERNEL, &[ModuleFile::out_of_tree("day1_nic")]);
    }
    /// The image's files in the registry.
    pub fn pushed_root(&self) -> String {
        format!("registry/{}/rootfs", self.config.image_reference(KERNEL).replace(['/', ':', '@'], "_"))
    }
    /// The image's files in the node's store.
    pub fn stored_root(&self, id: &str) -> String {
        format!("{}/storage/merged/{id}", self.config.state_directory())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let stubs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_scripts/stubs");
        let mut command = Command::new("bash");
        command
            .args(["-c", "exec bash \"$@\" 2>&1", "bash"])
            .arg(self.path(arguments[0]))
            .args(&arguments[1..])
            .arg(self.path(&self.config.config_path()))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", stubs.display()))
            .env("DAY1_ROOT", self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }
    fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments).spawn().unwrap())
    }
    pub fn start_pull(&self) -> Child {
        self.command(&[&self.config.pull_script_path()]).spawn().unwrap()
    }
    pub fn pull(&self) -> Outcome {
        self.run(&[&self.config.pull_script_path()])
    }
    pub fn condition(&self) -> Outcome {
        self.run(&[&self.config.load_script_path(), "condition"])
    }
    pub fn load(&self) -> Outcome {
        self.run(&[&self.config.load_script_path(), "load"])
    }
    pub fn recover(&self) -> Outcome {
        self.run(&[&self.config.load_script_path(), "recover"])
    }
    /// What is not on disk is gone; the in-tree modules are loaded again.
    pub fn reboot(&self) {
        let _ = fs::remove_dir_all(self.path("run"));
        self.write("calls", "");
        self.write("mounts", "");
        let boot = self.read("proc/sys/kernel/random/boot_id");
        self.write("proc/sys/kernel/random/boot_id", &format!("{}+\n", boot.trim()));
        if self.loaded("day1_nic") {
            self.remove("sys/module/day1_nic");
        }
        self.load_in_tree("e1000");
    }
    /// A node whose image was pulled in the boot before.
    pub fn with_pulled_image(self) -> Self {
        let pull = self.pull();
        assert_eq!(pull.code, 0, "{}", pull.log);
        self.reboot();
        self
    }
    /// What the scripts' function prints for one argument.
    pub fn library_function(&self, function: &str, argument: &str) -> String {
        let script = ". \"$1\" && . \"$LIBRARY\" && \"$2\" \"$3\"";
        let mut command = self.command(&[""]);
        let path = self.path(&self.config.config_path());
        let environment: Vec<_> = command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        command = Command::new("bash");
        let output =
            command.args(["-c", script, "bash"]).arg(path).args([function, argument]).env_clear().envs(environment);
        String::from_utf8(output.output().unwrap().stdout).unwrap().trim_end_matches('\n').to_owned()
    }
    pub fn reboots_asked(&self) -> usize {
        self.calls("systemctl reboot").len()
    }
    /// Asserts that the node still runs on its in-tree driver, and nothing is left over.
    pub fn assert_in_tree(&self) {
        assert!(self.loaded("e1000"), "e1000 is gone");
        assert!(!self.loaded("day1_nic"), "day1_nic is loaded");
        assert_eq!(self.read("mounts"), "", "an image is still mounted");
        assert!(!self.exists("run/modprobe.d/day1-99-day1.conf"), "the blacklist is still there");
    }
}

pub fn outcome(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    Outcome { code: output.status.code().unwrap_or(-1), log: String::from_utf8(output.stdout).unwrap() }
}

/// The decoded contents of an Ignition file.
pub fn contents(file: &v3_2::File) -> String {
    use base64::Engine as _;
    let source = file.contents.as_ref().unwrap().source.as_ref().unwrap();
    let data = source.strip_prefix("data:text/plain;charset=utf-8;base64,").unwrap();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap()
}
