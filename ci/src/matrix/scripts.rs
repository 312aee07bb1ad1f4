//! What the scripts of a night do when something fails, with programs in the place of `day1`, docker and kubectl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_yaml::Value;

use super::{catalogue, job, workflow};

/// A directory to work in, with programs that are found first.
struct Desk {
    dir: tempfile::TempDir,
}

/// How a script ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    told: String,
}

impl Desk {
    fn new(programs: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let desk = Self { dir };
        desk.write("bin/sudo", "#!/bin/sh\n[ \"$1\" = chown ] || exec \"$@\"\n");
        for (name, text) in programs {
            desk.write(&format!("bin/{name}"), &format!("#!/usr/bin/env bash\n{text}"));
        }
        for program in fs::read_dir(desk.path("bin")).expect("listed") {
            fs::set_permissions(program.expect("listed").path(), fs::Permissions::from_mode(0o755)).expect("set");
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The entries of the cache, `KIND/KEY`.
    fn cached(&self) -> Vec<String> {
        let list = |path: &Path| -> Vec<PathBuf> {
            fs::read_dir(path).into_iter().flatten().map(|entry| entry.expect("listed").path()).collect()
        };
        let entries = list(&self.path("cache")).into_iter().flat_map(|kind| list(&kind));
        let cache = self.path("cache");
        let named = |path: PathBuf| path.strip_prefix(&cache).expect("below it").display().to_string();
        let mut entries: Vec<String> = entries.map(named).collect();
        entries.sort();
        entries
    }

    /// Runs a script as bash does for an engine, with `input`; variables are set beforehand.
    fn run(&self, script: &str, variables: &[(&str, &str)], input: &str) -> Ended {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(self.dir.path());
        let path = std::env::var("PATH").expect("a PATH");
        let night = concat!(env!("CARGO_MANIFEST_DIR"), "/container/day1-night");
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.env("NIGHT", night).env("DAY1_CACHE", self.path("cache")).env("DAY1_NIGHT", self.dir.path());
        command.env("GITHUB_STEP_SUMMARY", self.path("summary")).env("DAY1_PAUSE", "0");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        // A script that reads nothing may have closed it.
        let _ = std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes());
        let output = child.wait_with_output().expect("ended");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), told: text(&output.stderr) }
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn github() -> Value {
    serde_yaml::from_str(&workflow(&catalogue::read(root()).expect("a matrix").nodes)).expect("YAML")
}

fn cluster() -> Vec<Value> {
    let text = job(&catalogue::read(root()).expect("a matrix"));
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.map(|document| serde::Deserialize::deserialize(document).expect("YAML")).collect()
}

/// A step of a job in the workflow.
fn step<'v>(workflow: &'v Value, job: &str, name: &str) -> &'v Value {
    let steps = workflow["jobs"][job]["steps"].as_sequence().expect("steps");
    steps.iter().find(|step| step["name"] == name || step["uses"] == name).expect(name)
}

/// The pod of a Job in the cluster.
fn pod(documents: &[Value], name: &str) -> Value {
    let job = documents.iter().find(|one| one["kind"] == "Job" && one["metadata"]["name"] == name).expect(name);
    job["spec"]["template"]["spec"].clone()
}

/// Makes what a real one makes: what is named for this boot of the host, what is built, and what the node image is. A node
/// image `gone` can't be had, and of kernel 2 there is no plan.
const DAY1: &str = r#"
echo "day1 $*" >>"$DAY1_NIGHT/called"
case "$*" in
*"images get gone"*) echo "error: no such place" >&2; exit 3 ;;
"images get "*)
    mkdir -p "$DAY1_CACHE/node-image/$3-now"
    touch "$DAY1_CACHE/node-image/.lock-$3-now" ;;
*--no-run*)
    for entry in "acceleration/boot-$RANDOM$RANDOM" leases/1 kmod/now ca/1 kmod-build-root/now; do
        mkdir -p "$DAY1_CACHE/$entry"
    done
    echo secret >"$DAY1_CACHE/ca/1/key"
    chmod 0600 "$DAY1_CACHE/ca/1/key" ;;
*--list=artifacts*)
    printf '{\n  "artifacts": [\n    {"cache": "node-image/%s-now"},\n    {"cache": null},\n' "$3"
    printf '    {"cache": "kmod-build-root/now", "cached": true}\n  ]\n}\n' ;;
*--list*"--kernel 2"* | *"--kernel 2"*--list*) echo '{"half": '; exit 2 ;;
*--list*) echo '{"plan": true}' ;;
"report merge"*) echo "joined"; echo "warning: a stranger" >&2; exit "${MERGED:-0}" ;;
esac
"#;

/// Docker that runs `day1-night` at once.
const DOCKER: &str = r#"
echo "docker $*" >>"$DAY1_NIGHT/called"
while [ "$1" != --entrypoint ]; do shift; done
shift 3
exec "$NIGHT" "$@"
"#;

#[test]
fn what_fails_for_one_plan_costs_no_other() {
    let desk = Desk::new(&[("day1", DAY1)]);
    desk.write("cache/node-image/last/disk", "of the last night");
    let lines = "gone - gone\none 1 one-kernel-1 --all\none 2 one-kernel-2 --all\ntwo - two\n";
    let ended = desk.run("\"$NIGHT\" make", &[], lines);
    assert_eq!(ended.code, 3, "{ended:?}");
    for plan in ["gone", "one-kernel-2"] {
        assert!(ended.told.contains(&format!("error: {plan} can't run tonight")), "{ended:?}");
    }
    let mut plans: Vec<_> =
        fs::read_dir(desk.path("plans")).expect("listed").map(|one| one.expect("one").file_name()).collect();
    plans.sort();
    assert_eq!(plans, ["one-kernel-1.json", "two.json"]);
    assert!(desk.read("called").contains("day1 run --node one --all --kernel 1 --no-run\n"), "{}", desk.read("called"));
    // What the failed ones need of last night's is not known.
    assert!(desk.cached().contains(&"node-image/last".to_owned()), "{:?}", desk.cached());
    let mode = fs::metadata(desk.path("cache/ca/1/key")).expect("there").permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "other users' pods read it");
}

#[test]
fn the_cache_of_a_night_is_named_as_last_night_s_where_nothing_new_came() {
    let (desk, workflow) = (Desk::new(&[("day1", DAY1), ("docker", DOCKER)]), github());
    let script =
        step(&workflow, "images", "Make what the trials need, and plan them")["run"].as_str().expect("a script");
    desk.write("cache/kmod-build-root/last/usr/bin/gcc", "of a kernel that is gone");
    desk.write("cache/kmod/last/module.ko", "of a kernel that is gone");
    fs::set_permissions(desk.path("cache/kmod-build-root/last/usr"), fs::Permissions::from_mode(0o555)).expect("set");
    fs::create_dir(desk.path("plans")).expect("made");
    let night = || {
        let variables = [
            ("NODE", "one"),
            ("ARGUMENTS", "--all"),
            ("PLANS", "one-kernel-1=1 one="),
            ("ENGINE", "false"),
            ("IMAGE", "i"),
        ];
        let ended = desk.run(script, &variables, "");
        assert_eq!(ended.code, 0, "{ended:?}");
        desk.read("plans/one.entries")
    };
    let first = night();
    assert_eq!(first, "./ca/1\n./kmod-build-root/now\n./kmod/now\n./node-image/one-now\n");
    assert_eq!(night(), first);
    assert_eq!(desk.cached(), ["ca/1", "kmod-build-root/now", "kmod/now", "node-image/one-now"]);
    assert!(desk.path("plans/one-kernel-1.json").is_file() && desk.path("plans/one.json").is_file());
    // A plan that can't be made leaves what there is of the others to be kept and told.
    let variables = [("NODE", "one"), ("ARGUMENTS", ""), ("PLANS", "a=1 b=2"), ("ENGINE", "false"), ("IMAGE", "i")];
    assert_eq!(desk.run(script, &variables, "").code, 3);
    assert!(desk.path("plans/a.json").is_file() && desk.read("plans/one.entries") == first);
    for name in ["Look whether the cache has it already", "Keep it", "actions/upload-artifact@v4"] {
        let condition = step(&workflow, "images", name)["if"].as_str().expect(name);
        assert!(condition.contains("!cancelled()"), "{name}: {condition}");
    }
}

/// What is dropped of the cache that shards read, and what they do not take of it, is the same.
#[test]
fn what_is_of_one_host_is_the_same_in_both_scripts() {
    let read = |name: &str| fs::read_to_string(root().join("ci/container").join(name)).expect("a script");
    let line =
        read("day1-entrypoint").lines().find(|line| line.trim().ends_with("continue ;;")).expect("a line").to_owned();
    let (night, kinds) = (read("day1-night"), line.trim().split(')').next().expect("kinds").to_owned());
    let kinds: Vec<&str> = kinds.split(" | ").filter(|kind| !kind.contains('*')).collect();
    let mut dropped: Vec<&str> =
        night.split("/{").nth(1).expect("kinds").split('}').next().expect("kinds").split(',').collect();
    dropped.sort_unstable();
    let mut kinds = kinds;
    kinds.sort_unstable();
    assert_eq!(dropped, kinds);
}

#[test]
fn no_node_image_takes_another_one_s_cache() {
    let workflow = github();
    let prefix =
        step(&workflow, "images", "Take what the last night had")["with"]["restore-keys"].as_str().expect("a key");
    let key = step(&workflow, "images", "Keep it")["with"]["key"].as_str().expect("a key");
    let of = |text: &str, node: &str| text.replace("${{ matrix.node }}", node);
    let nodes = catalogue::read(root()).expect("a matrix").nodes;
    for (one, other) in nodes.iter().flat_map(|one| nodes.iter().map(move |other| (&one.name, &other.name))) {
        assert_eq!(of(key, one).starts_with(&of(prefix, other)), one == other, "{one} and {other}");
    }
    let taken = step(&workflow, "trials", "actions/cache/restore@v4");
    assert_eq!(taken["with"]["key"].as_str(), Some(key));
}

#[test]
fn a_merge_names_what_was_never_planned_and_shows_the_rest() {
    let desk = Desk::new(&[("day1", DAY1)]);
    desk.write("plans/one.json", "{}");
    desk.write("shards/a/results.json", "{}");
    let merge = |plans: &str, merged: &str| desk.run(&format!("\"$NIGHT\" merge {plans}"), &[("MERGED", merged)], "");
    let whole = merge("one", "0");
    assert_eq!((whole.code, whole.out.as_str()), (0, "joined\n"), "{whole:?}");
    let at = desk.dir.path().display();
    let called =
        format!("day1 report merge --rerun --link --plan {at}/plans/one.json --into {at}/run {at}/shards/a/\n");
    assert_eq!(desk.read("called"), called);
    for (merged, code) in [("0", 3), ("1", 1), ("3", 3)] {
        let ended = merge("one two", merged);
        assert_eq!((ended.code, ended.out.as_str()), (code, "joined\n"), "{ended:?}");
        assert!(ended.told.contains("error: two was never planned"), "{ended:?}");
    }
    assert_eq!(merge("two", "0").code, 3, "nothing is there to join");
    assert_eq!(merge("", "0").code, 2, "no plan at all is no green night");
}

#[test]
fn the_summary_on_github_has_what_the_merge_told() {
    let (desk, workflow) = (Desk::new(&[("day1", DAY1), ("docker", DOCKER)]), github());
    let script = step(&workflow, "merge", "Join the shards")["run"].as_str().expect("a script");
    desk.write("plans/one.json", "{}");
    let (_, script) = script.split_once("\"$TOKEN\"\n").expect("a login first");
    let ended = desk.run(script, &[("PLANS", "one two"), ("IMAGE", "i"), ("MERGED", "1")], "");
    assert_eq!(ended.code, 1, "{ended:?}");
    for text in ["    warning: a stranger\n", "    error: two was never planned"] {
        assert!(desk.read("summary").contains(text), "{}", desk.read("summary"));
    }
    let told = step(&workflow, "merge", "Tell what is red");
    assert!(told["if"].as_str().is_some_and(|text| text.contains("always()")), "{told:?}");
    let run = workflow["jobs"]["merge"]["steps"].as_sequence().expect("steps").last().expect("a step");
    assert_eq!(run["with"]["path"], "run");
}

/// A job at its own limit counts as cancelled; what a shard has until then must be told, and be uploaded.
#[test]
fn a_shard_that_takes_too_long_is_interrupted_once_and_reports() {
    let docker = r#"
trap 'echo interrupted >>"$DAY1_NIGHT/called"' INT
for _ in {1..40}; do [ -s "$DAY1_NIGHT/called" ] || sleep 0.5; done
sleep 0.5
echo results >>"$DAY1_NIGHT/called"
exit 3
"#;
    let (desk, workflow) = (Desk::new(&[("docker", docker)]), github());
    let run = step(&workflow, "trials", "Run this shard");
    let variables =
        [("LIMIT", "3s"), ("NODE", "one"), ("ARGUMENTS", ""), ("KERNEL", ""), ("PART", "1/2"), ("IMAGE", "i")];
    let ended = desk.run(run["run"].as_str().expect("a script"), &variables, "");
    assert_eq!(ended.code, 124, "{ended:?}");
    assert_eq!(desk.read("called"), "interrupted\nresults\n");
    let minutes = |value: &Value| value["timeout-minutes"].as_u64().expect("a limit");
    let limit: u64 =
        run["env"]["LIMIT"].as_str().and_then(|text| text.strip_suffix('m')?.parse().ok()).expect("minutes");
    assert!(limit + 10 < minutes(run) && minutes(run) < minutes(&workflow["jobs"]["trials"]));
    let made = step(&workflow, "images", "Make what the trials need, and plan them");
    assert!(minutes(made) < minutes(&workflow["jobs"]["images"]));
    let upload = step(&workflow, "trials", "actions/upload-artifact@v4");
    assert_eq!(upload["if"], "${{ always() }}");
}

#[test]
fn each_try_of_an_index_has_its_own_results() {
    let documents = cluster();
    let pod = pod(&documents, "day1-nightly");
    let container = &pod["containers"][0];
    assert_eq!(container["env"][0]["name"], "POD_NAME");
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    let desk = Desk::new(&[("day1-entrypoint", "echo \"$*\" >>\"$DAY1_NIGHT/called\"\n")]);
    desk.write("cells", documents[0]["data"]["cells"].as_str().expect("lines"));
    let script = container["args"][0].as_str().expect("a script");
    let script = script.replace("/etc/day1", &desk.dir.path().display().to_string());
    for name in ["day1-nightly-1-aaaaa", "day1-nightly-1-bbbbb"] {
        let variables = [("JOB_COMPLETION_INDEX", "1"), ("HOSTNAME", "day1-nightly-1"), ("POD_NAME", name)];
        assert_eq!(desk.run(&script, &variables, "").code, 0);
    }
    let of = |name| {
        format!("run --node debian-13 --partition slice:2/4 --kernel 1 --all --results /results/shards/{name}\n")
    };
    assert_eq!(desk.read("called"), of("day1-nightly-1-aaaaa") + &of("day1-nightly-1-bbbbb"));
}

#[test]
fn the_pod_that_makes_goes_on_and_the_one_that_joins_has_every_plan() {
    let documents = cluster();
    let desk = Desk::new(&[("day1", DAY1), ("day1-night", "exec \"$NIGHT\" \"$@\"\n")]);
    desk.write("etc/plans", "gone - gone\none 1 one-kernel-1 --all\n");
    desk.write("shards/last/results.json", "{}");
    let run = |name: &str| {
        let script = pod(&documents, name)["containers"][0]["args"][0].as_str().expect("a script").to_owned();
        let here = desk.dir.path().display().to_string();
        desk.run(&script.replace("/etc/day1", &format!("{here}/etc")).replace("/results", &here), &[], "")
    };
    assert_eq!(run("day1-nightly-images").code, 3);
    assert!(desk.path("plans/one-kernel-1.json").is_file() && !desk.path("shards/last").exists());
    let mode = fs::metadata(desk.path("shards")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o777, "other users' pods write there");
    let merged = run("day1-nightly-merge");
    assert_eq!(merged.code, 3, "{merged:?}");
    assert!(merged.told.contains("gone was never planned") && merged.out.contains("joined"), "{merged:?}");
}

#[test]
fn the_pods_are_as_the_cluster_wants_them() {
    let documents = cluster();
    for name in ["day1-nightly-images", "day1-nightly", "day1-nightly-merge"] {
        assert_eq!(pod(&documents, name)["containers"][0]["imagePullPolicy"], "Always", "{name}");
    }
    // Its builds mount; the API takes an unmasked /proc only of a pod with its own user namespace.
    let pod_of_images = pod(&documents, "day1-nightly-images");
    let context = &pod_of_images["containers"][0]["securityContext"];
    assert_eq!(
        (&context["appArmorProfile"]["type"], &context["procMount"]),
        (&"Unconfined".into(), &"Unmasked".into())
    );
    assert_eq!(pod_of_images["hostUsers"], false);
    let mut night = catalogue::read(root()).expect("a matrix");
    assert!(!job(&night).contains("supplementalGroups"));
    night.cluster.kvm_groups = vec![36, 104];
    let text = job(&night);
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).expect("YAML"))
        .collect();
    let groups = &pod(&documents, "day1-nightly")["securityContext"]["supplementalGroups"];
    assert_eq!(groups, &serde_yaml::from_str::<Value>("[36, 104]").expect("YAML"));
}

/// A cluster whose Jobs end at once; `AWAY` requests of the first wait fail, and what the merge's pod says is given.
const KUBECTL: &str = r#"
echo "kubectl $*" >>"$DAY1_NIGHT/called"
case "$*" in
"apply "*) exit "${APPLIED:-0}" ;;
"get job "*) if [ -e "$DAY1_NIGHT/ended" ]; then echo "SuccessCriteriaMet Complete"; else echo FailureTarget; fi ;;
"wait "*)
    if [ "${AWAY:-0}" -gt "$(grep -c '^kubectl wait' "$DAY1_NIGHT/called")" ]; then exit 1; fi
    touch "$DAY1_NIGHT/ended" ;;
"logs "*) [ -z "${LOST:-}" ] ;;
"get pods --selector job-name=day1-nightly-images"*) printf %s "${MADE-0}" ;;
"get pods "*) [ -n "${JOINED-0}" ] || exit 1; printf %s "${JOINED-0}" ;;
esac
"#;

#[test]
fn the_cluster_s_night_ends_with_the_joined_run_s_code_or_3() {
    let script = root().join("ci/kubernetes/nightly.sh").canonicalize().expect("a script").display().to_string();
    let night = |variables: &[(&str, &str)]| {
        let desk = Desk::new(&[("kubectl", KUBECTL)]);
        let ended = desk.run(&format!("exec {script}"), variables, "");
        (ended, desk.read("called"))
    };
    for (joined, code) in [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("137", 3), ("", 3)] {
        let (ended, _) = night(&[("JOINED", joined)]);
        assert_eq!(ended.code, code, "{joined}: {ended:?}");
    }
    let (ended, _) = night(&[("LOST", "yes"), ("JOINED", "0")]);
    assert_eq!(ended.code, 0, "its log is one thing, its code another: {ended:?}");
    let (ended, _) = night(&[("APPLIED", "1")]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.told.contains("did not come to its end"), "{ended:?}");
    let (ended, called) = night(&[("MADE", "")]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.told.contains("of another night") && !called.contains("job/day1-nightly-merge"), "{called}");
    // The trials do not begin because the API server did not answer.
    let (ended, called) = night(&[("AWAY", "5")]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let begun = called.find("patch job day1-nightly ").expect("begun");
    assert!(called[..begun].matches("kubectl wait").count() >= 5, "{called}");
}
