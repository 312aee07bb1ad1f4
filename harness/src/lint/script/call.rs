//! One command of a script, and what it is known to do.

/// A command with its words, quotes removed and variables left as they are written.
#[derive(Debug, Clone)]
pub(in crate::lint) struct Call {
    pub(in crate::lint) words: Vec<String>,
    pub(in crate::lint) redirects: Vec<(Redirect, String)>,
    pub(in crate::lint) line: usize,
    pub(in crate::lint) column: usize,
    /// The function that it stands in.
    pub(in crate::lint) function: Option<String>,
    pub(in crate::lint) looped: bool,
    /// Whether its output is taken (`$(…)`).
    pub(in crate::lint) captured: bool,
    pub(in crate::lint) status: Status,
}

/// What becomes of an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lint) enum Status {
    /// Something looks at it, or it is the script's own.
    Used,
    /// The next command hides it.
    Hidden,
    /// It is thrown away on purpose.
    Ignored,
    /// The next command of the pipe hides it.
    Piped,
}

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lint) enum Redirect {
    Read,
    Write,
}

/// Programs that run another one: how many words of their own stand before it, and the options that take the next word.
const WRAPPERS: [(&str, usize, &[&str]); 16] = [
    ("sudo", 0, &["-u", "-g", "-h", "-p", "-D", "-R", "-T", "--user", "--group"]),
    ("exec", 0, &["-a"]),
    ("nohup", 0, &[]),
    ("command", 0, &[]),
    ("builtin", 0, &[]),
    ("nice", 0, &["-n", "--adjustment"]),
    ("ionice", 0, &["-c", "-n", "--class", "--classdata"]),
    ("env", 0, &["-u", "-C", "--unset", "--chdir"]),
    ("setsid", 0, &[]),
    ("time", 0, &["-f", "-o"]),
    ("stdbuf", 0, &["-i", "-o", "-e"]),
    ("systemd-run", 0, &["-p", "-u", "-E", "--property", "--unit", "--setenv", "--description"]),
    ("timeout", 1, &["-k", "-s", "--kill-after", "--signal"]),
    ("flock", 1, &["-w", "-E", "--timeout"]),
    ("nsenter", 0, &["-t", "-S", "-G", "--target", "--setuid", "--setgid"]),
    ("chroot", 1, &[]),
];

impl Call {
    pub(in crate::lint) fn at(line: usize, column: usize) -> Self {
        Self {
            words: vec![],
            redirects: vec![],
            line,
            column,
            function: None,
            looped: false,
            captured: false,
            status: Status::Used,
        }
    }

    /// The program's name without its directory, and its arguments; what only runs another command is passed over.
    pub(in crate::lint) fn program(&self) -> (&str, &[String]) {
        let mut words = self.words.as_slice();
        loop {
            let Some((first, rest)) = words.split_first() else { return ("", &[]) };
            let name = first.rsplit('/').next().unwrap_or_default();
            let Some((_, own, valued)) = WRAPPERS.iter().find(|(wrapper, ..)| *wrapper == name) else {
                return (name, rest);
            };
            let mut at = 0;
            while let Some(option) = rest.get(at).filter(|word| word.starts_with('-') || word.contains('=')) {
                at += 1 + usize::from(valued.contains(&option.as_str()));
            }
            words = rest.get(at + own..).unwrap_or_default();
        }
    }

    /// What podman is asked to do, such as `pull` or `pod start`.
    pub(in crate::lint) fn podman(&self) -> Option<String> {
        const GROUPS: [&str; 7] = ["pod", "volume", "image", "container", "network", "system", "kube"];
        const VERBS: [&str; 40] = [
            "attach", "build", "commit", "cp", "create", "diff", "exec", "exists", "export", "history", "images",
            "import", "info", "init", "inspect", "kill", "load", "login", "logs", "ls", "mount", "pause", "play",
            "port", "prune", "ps", "pull", "push", "rename", "restart", "rm", "rmi", "run", "save", "start", "stop",
            "tag", "unmount", "umount", "wait",
        ];
        let (name, words) = self.program();
        if !["podman", "docker"].contains(&name) {
            return None;
        }
        let mut group = None;
        for word in words {
            if GROUPS.contains(&word.as_str()) && group.is_none() {
                group = Some(word);
            } else if VERBS.contains(&word.as_str()) {
                return Some(group.map_or_else(|| word.clone(), |group| format!("{group} {word}")));
            }
        }
        Some(String::new())
    }

    /// Whether it starts containers.
    pub(in crate::lint) fn runs_containers(&self) -> bool {
        const STARTS: [&str; 9] = [
            "run",
            "start",
            "create",
            "exec",
            "pod start",
            "pod create",
            "container run",
            "container start",
            "kube play",
        ];
        self.podman().is_some_and(|verb| STARTS.contains(&verb.as_str()) || verb == "play")
    }

    /// Whether it fetches something over the network.
    pub(in crate::lint) fn needs_network(&self) -> bool {
        let (name, words) = self.program();
        match name {
            "podman" | "docker" => self.podman().is_some_and(|verb| match verb.as_str() {
                "pull" | "image pull" => true,
                "run" | "create" | "container run" | "container create" => pulls_always(words),
                _ => false,
            }),
            "skopeo" => words.iter().any(|word| word == "copy" || word == "sync" || word == "inspect"),
            "crictl" => words.iter().any(|word| word == "pull"),
            "oc" => words.iter().any(|word| word == "adm" || word == "image"),
            "curl" | "wget" => true,
            _ => false,
        }
    }

    /// Whether it tries again by itself.
    pub(in crate::lint) fn retries(&self) -> bool {
        self.looped || self.words.iter().any(|word| word.starts_with("--retry") || word.starts_with("--tries"))
    }

    /// Whether it puts kernel modules in or out, itself or a container that is given the modules.
    pub(in crate::lint) fn swaps_modules(&self) -> bool {
        let (name, words) = self.program();
        match name {
            "insmod" | "rmmod" => true,
            "modprobe" => !words.iter().any(|word| is_dry(word)),
            "podman" => self.runs_containers() && words.iter().any(|word| word.contains("/lib/modules")),
            _ => false,
        }
    }

    /// Whether it asks for a reboot.
    pub(in crate::lint) fn reboots(&self) -> bool {
        let (name, words) = self.program();
        let is = |wanted: &str| words.iter().any(|word| word == wanted);
        match name {
            "reboot" => !is("--help") && !is("-w") && !is("--wtmp-only"),
            "systemctl" => {
                let verb = words.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str);
                ["reboot", "kexec", "soft-reboot"].contains(&verb)
                    || (verb == "start" && words.iter().any(|word| word == "reboot.target"))
            }
            "shutdown" => is("-r") || is("--reboot"),
            "init" | "telinit" => is("6"),
            "rpm-ostree" => is("--reboot") || is("-r"),
            // `b` reboots at once, `c` by a crash.
            "echo" | "printf" => {
                let mut written = self.redirects.iter().filter(|(way, _)| *way == Redirect::Write);
                written.any(|(_, path)| path == "/proc/sysrq-trigger")
                    && words.iter().any(|word| word.starts_with(['b', 'c']))
            }
            _ => false,
        }
    }

    /// Whether a script is written for the sake of such a command.
    pub(in crate::lint) fn matters(&self) -> bool {
        let (name, words) = self.program();
        match name {
            "podman" | "docker" => {
                const MATTER: [&str; 5] = ["pull", "image pull", "image mount", "volume create", "wait"];
                self.runs_containers()
                    || self.podman().is_some_and(|verb| MATTER.contains(&verb.as_str()) && verb != "wait")
            }
            "modprobe" => !words.iter().any(|word| is_dry(word) || removes(word)),
            "insmod" | "depmod" | "curl" | "wget" => true,
            "skopeo" => words.iter().any(|word| word == "copy"),
            "crictl" => words.iter().any(|word| word == "pull"),
            "rpm-ostree" => {
                const CHANGE: [&str; 6] = ["kargs", "install", "rebase", "upgrade", "override", "deploy"];
                words.iter().any(|word| CHANGE.contains(&word.as_str()))
            }
            _ => false,
        }
    }

    /// The name and verb, for messages.
    pub(in crate::lint) fn title(&self) -> String {
        let (name, words) = self.program();
        match self.podman() {
            Some(verb) if !verb.is_empty() => format!("{name} {verb}"),
            _ => words.first().map_or_else(|| name.to_owned(), |word| format!("{name} {word}")),
        }
    }

    /// The paths (or variables with paths) that it reads or whose being there it tests.
    pub(in crate::lint) fn looks_at(&self) -> Vec<&str> {
        let (name, words) = self.program();
        let operands = || words.iter().map(String::as_str).filter(|word| word.starts_with(['/', '$']));
        let read = self.redirects.iter().filter(|(way, _)| *way == Redirect::Read).map(|(_, word)| word.as_str());
        match name {
            "[" | "test" | "[[" | "cat" | "grep" | "head" | "tail" | "stat" | "ls" | "source" | "." | "awk" | "sed"
            | "cmp" => operands().chain(read).collect(),
            _ => read.collect(),
        }
    }

    /// The paths (or variables with paths) that it writes.
    pub(in crate::lint) fn writes(&self) -> Vec<&str> {
        let (name, words) = self.program();
        let operands = || words.iter().map(String::as_str).filter(|word| word.starts_with(['/', '$']));
        let written = self.redirects.iter().filter(|(way, _)| *way == Redirect::Write).map(|(_, word)| word.as_str());
        match name {
            "touch" | "tee" | "mkdir" | "truncate" => operands().chain(written).collect(),
            "mv" | "cp" | "install" | "ln" => operands().next_back().into_iter().chain(written).collect(),
            _ => written.collect(),
        }
    }
}

/// Options with which modprobe changes nothing.
fn is_dry(word: &str) -> bool {
    const DRY: [&str; 8] = [
        "--dry-run",
        "--show",
        "--show-depends",
        "--dump-modversions",
        "--showconfig",
        "--resolve-alias",
        "--show-config",
        "--show-modversions",
    ];
    DRY.contains(&word) || short_option(word, &['n', 'D', 'c', 'R'])
}

/// Whether `podman run` asks the registry also where the node has the image.
fn pulls_always(words: &[String]) -> bool {
    let mut policies = words.iter().enumerate().filter_map(|(index, word)| match word.split_once('=') {
        Some(("--pull", policy)) => Some(policy),
        None if word == "--pull" => words.get(index + 1).map(String::as_str),
        _ => None,
    });
    policies.any(|policy| policy == "always")
}

fn removes(word: &str) -> bool {
    word == "--remove" || short_option(word, &['r'])
}

fn short_option(word: &str, letters: &[char]) -> bool {
    word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.contains(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        Call { words: line.split(' ').map(str::to_owned).collect(), ..Call::at(1, 1) }
    }

    #[test]
    fn commands_are_known_behind_what_runs_them() {
        assert_eq!(call("sudo -E timeout --kill-after=10 30 /usr/bin/podman pull x").podman().as_deref(), Some("pull"));
        assert_eq!(call("podman --root /x image mount y").podman().as_deref(), Some("image mount"));
        assert_eq!(call("podman $OPTIONS").podman().as_deref(), Some(""));
        assert!(call("env A=b systemctl --no-block reboot").reboots());
        assert!(call("systemd-run --unit=x systemctl reboot").reboots());
        assert!(call("nsenter -t 1 -m -- systemctl reboot").reboots());
        assert!(call("chroot /rootfs nice -n 5 reboot").reboots() && !call("nsenter -t reboot ls").reboots());
        assert!(!call("systemctl status reboot.target").reboots());
        assert!(call("shutdown -r now").reboots() && !call("shutdown -h now").reboots());
        assert!(call("modprobe -rv e1000").swaps_modules() && !call("modprobe -rv e1000").matters());
        assert!(!call("modprobe --show-depends nic").swaps_modules() && !call("modprobe -n nic").matters());
        assert!(call("podman run -v /lib/modules:/lib/modules x").swaps_modules());
        assert!(call("curl --retry 5 x").retries());
        assert!(call("podman run --pull=always quay.io/x").needs_network());
        assert!(call("podman run --rm --pull always quay.io/x").needs_network());
        assert!(!call("podman run --pull=newer quay.io/x").needs_network() && !call("podman run x").needs_network());
    }

    #[test]
    fn what_is_written_and_looked_at_is_told_apart() {
        assert_eq!(call("[ -e /var/done ]").looks_at(), ["/var/done"]);
        assert_eq!(call("mv /var/new $DONE").writes(), ["$DONE"]);
        assert_eq!(call("touch /a /b").writes(), ["/a", "/b"]);
        assert!(call("echo /a").writes().is_empty());
    }
}
