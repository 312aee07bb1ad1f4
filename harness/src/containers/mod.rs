//! Containers of this host's engine, and that none is left behind: who asks for one starts a process that holds it, and
//! that removes it when its standard input ends. That ends with the process which asked, whatever ended it, so a
//! container needs nobody's clean-up code. (The engine finishes what it began to create though its client is killed: who
//! is killed must not be who creates.)
//!
//! Containers of runs whose holder was killed as well are removed before the next one is started.

mod engine;
mod run_id;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

pub use engine::{Engine, EngineError};
use hyper::StatusCode;
use run_id::RunId;
use testcontainers::bollard::models::ContainerSummary;
use testcontainers::bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use testcontainers::bollard::{self, Docker};
use testcontainers::core::error::TestcontainersError;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};

use crate::text::with_causes;

/// On each container: the run that it belongs to.
const RUN_LABEL: &str = "day1.run";

/// A command that becomes the holder of a container for this run: a hidden subcommand of `day1`, which takes the run as
/// `--run`. Its standard input is the lifeline, and its standard output says what becomes of the container.
pub(crate) fn holder(day1: &Path, subcommand: &str, engine: &Engine) -> io::Result<Command> {
    let mut command = Command::new(day1);
    command.args([subcommand, "--run", &RunId::own()?.to_string()]);
    command.env("DOCKER_HOST", engine.host());
    // It could ask to keep containers.
    command.env_remove("TESTCONTAINERS_COMMAND");
    // A process group of its own: Ctrl-C at the terminal must not end it before its work is done.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    Ok(command)
}

/// Ends when the holder's container is no longer wanted.
pub(crate) fn over() -> io::Result<impl Future<Output = ()>> {
    let mut lifeline = Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    Ok(async move {
        let mut sink = [0; 64];
        let ended = async { while lifeline.read(&mut sink).await.is_ok_and(|count| count > 0) {} };
        tokio::select! {
            () = ended => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// The engine failed.
    #[error("{}", with_causes(.0))]
    Engine(#[from] bollard::errors::Error),
    /// It can't be pulled.
    #[error("{}", with_causes(.0))]
    Pull(TestcontainersError),
}

/// The id of an image, which is pulled if the engine lacks it; `tell` hears of that.
pub(crate) async fn ensure_image(docker: &Docker, image: &str, tell: impl Fn(&str)) -> Result<String, ImageError> {
    match docker.inspect_image(image).await {
        Err(error) if is_absent(&error) => {
            tell(&format!("pulling {image}"));
            let _pulled = generic(image).pull_image().await.map_err(ImageError::Pull)?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    let id = docker.inspect_image(image).await?.id.unwrap_or_default();
    // podman leaves out the algorithm.
    Ok(if id.starts_with("sha256:") { id } else { format!("sha256:{id}") })
}

/// An image by its whole name, which testcontainers wants in two parts.
pub(crate) fn generic(image: &str) -> GenericImage {
    let (name, tag) = name_and_tag(image);
    GenericImage::new(name, tag)
}

/// A container for a run. Its image was found by its id, also where `DOCKER_DEFAULT_PLATFORM` is another one's.
pub(crate) fn of_run(image: GenericImage, name: &str, run: &str) -> ContainerRequest<GenericImage> {
    image.with_platform("").with_container_name(name).with_label(RUN_LABEL, run)
}

/// The parts around the last `:`, but for that of a port.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// Removes the containers of runs that are over. Whether the others' are is not ours to say.
pub(crate) async fn remove_those_of_dead_runs(docker: &Docker) -> Result<(), bollard::errors::Error> {
    let filters = HashMap::from([("label".to_owned(), vec![RUN_LABEL.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in docker.list_containers(Some(options)).await? {
        if let Some(id) = container.id.as_ref().filter(|_| is_of_dead_run(&container)) {
            remove(docker, id).await?;
        }
    }
    Ok(())
}

fn is_of_dead_run(container: &ContainerSummary) -> bool {
    let run = container.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL)?.parse::<RunId>().ok());
    run.is_some_and(|run| run.is_over())
}

/// Removes a container with its volumes, if it is there; another one may be doing the same.
pub(crate) async fn remove(docker: &Docker, name: &str) -> Result<(), bollard::errors::Error> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match docker.remove_container(name, Some(options)).await {
        Err(error) if !is_absent(&error) && !is_status(&error, StatusCode::CONFLICT) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the engine says that there is no such thing.
pub(crate) fn is_absent(error: &bollard::errors::Error) -> bool {
    is_status(error, StatusCode::NOT_FOUND)
}

fn is_status(error: &bollard::errors::Error, status: StatusCode) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_name_has_two_parts() {
        assert_eq!(name_and_tag("day1/registry:debian"), ("day1/registry", "debian"));
        assert_eq!(name_and_tag("localhost:5000/registry"), ("localhost:5000/registry", "latest"));
        assert_eq!(name_and_tag("a/b@sha256:0123"), ("a/b@sha256", "0123"));
        assert_eq!(name_and_tag("sha256:0123"), ("sha256", "0123"));
    }

    #[test]
    fn containers_of_others_and_of_runs_that_live_stay() {
        let with = |label: Option<String>| ContainerSummary {
            labels: label.map(|run| HashMap::from([(RUN_LABEL.to_owned(), run)])),
            ..ContainerSummary::default()
        };
        let own = RunId::own().expect("this process").to_string();
        assert!(!is_of_dead_run(&with(None)));
        assert!(!is_of_dead_run(&with(Some("of somebody else".into()))));
        assert!(!is_of_dead_run(&with(Some(own.clone()))));
        let (before, _) = own.rsplit_once('/').expect("parts");
        assert!(is_of_dead_run(&with(Some(format!("{before}/1")))));
    }
}
