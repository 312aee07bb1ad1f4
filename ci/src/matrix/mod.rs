//! `cargo xtask ci-matrix`: the nightly workflow and the Kubernetes Job, made of the same catalogue.

mod catalogue;
mod schema;
#[cfg(test)]
mod scripts;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use catalogue::{Night, Node};
pub use schema::validate;

/// The workflow's file, and what it is made of.
const WORKFLOW: (&str, &str) = (".github/workflows/nightly.yml", include_str!("nightly.yml"));
/// The Job's file, and what it is made of.
const JOB: (&str, &str) = ("ci/kubernetes/nightly-job.yaml", include_str!("nightly-job.yaml"));

/// Writes both files; with `check`, tells which one is not what would be written.
pub fn generate(root: &Path, check: bool) -> Result<()> {
    let night = catalogue::read(root)?;
    for (file, text) in [(WORKFLOW.0, workflow(&night.nodes)), (JOB.0, job(&night))] {
        let path = root.join(file);
        let is_there = fs::read_to_string(&path).is_ok_and(|there| there == text);
        if check && !is_there {
            bail!(
                "{file} is not what `cargo xtask ci-matrix` makes of vm-images/ and ci/matrix.yaml: run that, and commit"
            );
        }
        if !is_there {
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{file} is written");
        }
    }
    Ok(())
}

/// Puts lines in the place of `@name@`, which has a line for itself, with an indent.
fn fill(text: &str, name: &str, indent: usize, lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{:indent$}{}", "", line.trim_end())).collect();
    text.replace(&format!("@{name}@"), &lines.join("\n"))
}

fn workflow(nodes: &[Node]) -> String {
    let quoted = |text: &str| format!("\"{text}\"");
    let mut images = Vec::new();
    let (mut trials, mut names) = (Vec::new(), Vec::new());
    for node in nodes {
        let (name, arguments) = (&node.name, quoted(&node.arguments.join(" ")));
        let kernel =
            |cell: &catalogue::Cell| cell.kernel.as_ref().map(|(place, _)| place.to_string()).unwrap_or_default();
        let plans: Vec<String> =
            node.cells.iter().map(|cell| format!("{}={}", node.plan(cell), kernel(cell))).collect();
        let plans = quoted(&plans.join(" "));
        let engine = node.engine;
        images.push(format!("- {{node: {name}, arguments: {arguments}, engine: {engine}, plans: {plans}}}"));
        for cell in &node.cells {
            let plan = node.plan(cell);
            trials.extend(cell.kernel.iter().map(|(place, package)| format!("# {name}'s kernel {place}: {package}")));
            trials.extend((1..=cell.shards).map(|part| {
                let (part, kernel) = (quoted(&format!("{part}/{}", cell.shards)), quoted(&kernel(cell)));
                format!("- {{plan: {plan}, node: {name}, kernel: {kernel}, part: {part}, arguments: {arguments}}}")
            }));
            names.push(plan);
        }
    }
    let text = fill(WORKFLOW.1, "images", 10, &images);
    let text = fill(&text, "trials", 10, &trials);
    fill(&text, "plans", 8, &names)
}

fn job(Night { nodes, cluster }: &Night) -> String {
    let (mut cells, mut plans) = (Vec::new(), Vec::new());
    for node in nodes.iter().filter(|node| !node.engine) {
        let arguments = node.arguments.join(" ");
        for cell in &node.cells {
            let kernel = cell.kernel.as_ref().map_or_else(|| "-".to_owned(), |(place, _)| place.to_string());
            plans.push(format!("{} {kernel} {} {arguments}", node.name, node.plan(cell)));
            let parts =
                (1..=cell.shards).map(|part| format!("{} {kernel} {part}/{} {arguments}", node.name, cell.shards));
            cells.extend(parts);
        }
    }
    let text = fill(JOB.1, "cells", 4, &cells);
    let text = fill(&text, "plans", 4, &plans);
    let groups = match cluster.kvm_groups.as_slice() {
        [] => String::new(),
        groups => format!("\n        supplementalGroups: {groups:?}"),
    };
    text.replace("@completions@", &cells.len().to_string())
        .replace("@image@", &cluster.image)
        .replace("@groups@", &groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn the_files_of_the_repository_are_what_would_be_made() {
        generate(root(), true).expect("nothing to write");
    }

    #[test]
    fn a_file_that_was_changed_by_hand_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(dir.path().join("ci")).expect("made");
        fs::create_dir_all(dir.path().join("vm-images")).expect("made");
        fs::write(dir.path().join("ci/matrix.yaml"), "nodes: {one: {shards: 2}}\nkubernetes: {image: a/b}\n")
            .expect("written");
        fs::write(dir.path().join("vm-images/one.yaml"), "kind: coreos-stream\n").expect("written");
        assert!(generate(dir.path(), true).is_err(), "there is none yet");
        generate(dir.path(), false).expect("written");
        generate(dir.path(), true).expect("as it was written");
        let path = dir.path().join(WORKFLOW.0);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, text.replace("fail-fast: false", "fail-fast: true")).expect("written");
        let error = generate(dir.path(), true).expect_err("changed").to_string();
        assert!(error.contains("nightly.yml"), "{error}");
    }

    /// The scripts in both, and those beside them.
    #[test]
    fn the_scripts_pass_shellcheck() {
        use std::process::{Command, Stdio};
        if Command::new("shellcheck").arg("--version").output().is_err() {
            eprintln!("skipped: shellcheck is not installed");
            return;
        }
        fn scripts(value: &serde_yaml::Value, found: &mut Vec<String>) {
            match value {
                serde_yaml::Value::Mapping(map) => {
                    for (key, value) in map {
                        match (key.as_str(), value.as_str(), value[0].as_str()) {
                            (Some("run"), Some(text), _) | (Some("args"), _, Some(text)) => found.push(text.to_owned()),
                            _ => scripts(value, found),
                        }
                    }
                }
                serde_yaml::Value::Sequence(list) => list.iter().for_each(|value| scripts(value, found)),
                _ => {}
            }
        }
        let night = catalogue::read(root()).expect("a matrix");
        let mut found = Vec::new();
        for text in [workflow(&night.nodes), job(&night)] {
            for document in serde_yaml::Deserializer::from_str(&text) {
                scripts(&serde::Deserialize::deserialize(document).expect("YAML"), &mut found);
            }
        }
        assert!(found.len() >= 8, "{found:?}");
        let files = ["container/build.sh", "container/day1-entrypoint", "container/day1-night", "container/shards.sh"];
        let files = files.into_iter().chain(["kubernetes/nightly.sh"]);
        let read = |file| fs::read_to_string(root().join("ci").join(file)).expect("a script");
        found.extend(files.map(read));
        for script in found {
            let shell = if script.starts_with("#!/bin/sh") { "sh" } else { "bash" };
            let mut command = Command::new("shellcheck");
            command.args(["--shell", shell, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut check = command.spawn().expect("started");
            std::io::Write::write_all(&mut check.stdin.take().expect("piped"), script.as_bytes()).expect("written");
            let output = check.wait_with_output().expect("ended");
            assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }

    /// Every shard of every cell has a job, and in the cluster an index, and every plan is joined.
    #[test]
    fn nothing_of_the_catalogue_is_lost_on_the_way() {
        let night = catalogue::read(root()).expect("a matrix");
        let (workflow, job, nodes) = (workflow(&night.nodes), job(&night), night.nodes);
        for text in [&workflow, &job] {
            assert!(!text.contains("@\n") && !text.contains(" @"), "a place was not filled");
            serde_yaml::Deserializer::from_str(text).for_each(|document| {
                <serde_yaml::Value as serde::Deserialize>::deserialize(document).expect("YAML");
            });
        }
        let value: serde_yaml::Value = serde_yaml::from_str(&workflow).expect("YAML");
        let trials = value["jobs"]["trials"]["strategy"]["matrix"]["include"].as_sequence().expect("a list");
        let shards: usize = nodes.iter().flat_map(|node| &node.cells).map(|cell| cell.shards).sum();
        assert_eq!(trials.len(), shards);
        let joined = value["jobs"]["merge"]["env"]["PLANS"].as_str().expect("text");
        for node in &nodes {
            assert!(node.cells.iter().all(|cell| joined.split(' ').any(|plan| plan == node.plan(cell))), "{joined}");
        }
        let mut documents = serde_yaml::Deserializer::from_str(&job);
        let config: serde_yaml::Value =
            serde::Deserialize::deserialize(documents.next().expect("a document")).expect("YAML");
        let lines = config["data"]["cells"].as_str().expect("text").lines().count();
        assert!(job.contains(&format!("completions: {lines}\n")) && lines > 0);
    }
}
