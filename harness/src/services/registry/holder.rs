//! The process that holds a registry's container: it starts it, tells where it is, and removes it when it is no longer
//! wanted.

use std::collections::HashMap;
use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::Empty;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use testcontainers::bollard::{self, Docker};
use testcontainers::core::IntoContainerPort;
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::error::{ClientError, TestcontainersError};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::containers::{self, ImageError};
use crate::process::tail;
use crate::services::socket::random_uuid;
use crate::text::with_causes;

/// The hidden subcommand of `day1` that [`hold`] stands behind.
pub const HOLD_SUBCOMMAND: &str = "hold-registry";

/// Where a registry listens, by its images' own configuration.
const PORT: u16 = 5000;

/// The longest time until a registry answers: it has a few megabytes to read.
const READY: Duration = Duration::from_secs(60);

/// How often a registry that does not answer yet is asked; nothing tells when a program of others listens.
const BEAT: Duration = Duration::from_millis(20);

/// Lines of a registry's own log that an error shows.
const LAST_WORDS: usize = 12;

/// What the holder says, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// Something that takes time begins, for a person.
    Step(String),
    /// The registry answers.
    Ready(Ready),
    /// There is no registry, or no more: why.
    Ended(String),
}

/// A registry that answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// `http://127.0.0.1:PORT`.
    pub(super) base_url: String,
    /// `sha256:…`.
    pub(super) image_id: String,
}

/// Why there is no registry, or no more.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", with_causes(.0))]
    Engine(#[from] bollard::errors::Error),
    #[error("{}", with_causes(.0))]
    Client(#[from] ClientError),
    #[error("{}", with_causes(.0))]
    Container(#[from] TestcontainersError),
    #[error("{0}")]
    System(#[from] io::Error),
    #[error(
        "{}. It can be brought by hand (`docker load`, `podman load`), be another one (`--registry container=IMAGE`), or be made of Debian's packages: `cargo xtask registry-image` says its name",
        with_causes(.0)
    )]
    Pull(TestcontainersError),
    #[error("its container ended: {how}{last_words}")]
    Ended { how: String, last_words: String },
    #[error("nothing answered GET /v2/ on its port {PORT} within {} s{last_words}", READY.as_secs())]
    Silent { last_words: String },
    #[error(
        "it answers GET /v2/ with {0}; a registry without a password of its own answers 200 (the gateway in front of it asks nodes for one)"
    )]
    Refuses(StatusCode),
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Engine(error) => Self::Engine(error),
            ImageError::Pull(error) => Self::Pull(error),
        }
    }
}

/// Runs a registry from `image` until standard input, a pipe, ends; says on standard output what becomes of it. `run` is
/// the [`RunId`] of the process that asks.
pub fn hold(image: &str, run: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome: Result<(), Failure> =
        runtime.block_on(async { held(image, run, std::pin::pin!(containers::over()?)).await });
    if let Err(failure) = outcome {
        say(&Said::Ended(failure.to_string()));
    }
    Ok(())
}

fn say(said: &Said) {
    let Ok(line) = serde_json::to_string(said) else { return };
    // Nobody may be listening any more.
    let _ = writeln!(io::stdout(), "{line}");
}

async fn held(image: &str, run: &str, mut over: Pin<&mut impl Future<Output = ()>>) -> Result<(), Failure> {
    let docker = docker_client_instance().await?;
    let image_id = tokio::select! {
        () = over.as_mut() => return Ok(()),
        found = async {
            containers::remove_those_of_dead_runs(&docker).await?;
            Ok::<_, Failure>(containers::ensure_image(&docker, image, |step| say(&Said::Step(step.to_owned()))).await?)
        } => found?,
    };
    let name = format!("day1-registry-{}", random_uuid()?);
    // Not given up half-way: the engine would go on, and nothing would remove what it makes.
    let outcome = match start(&name, &image_id, run).await {
        Ok(container) => {
            let outcome = tokio::select! {
                () = over => Ok(()),
                failure = serve(&docker, &name, &container, image_id) => Err(failure),
            };
            // What it leaves is removed by name.
            let _ = container.rm().await;
            outcome
        }
        Err(error) => Err(error.into()),
    };
    let removed = containers::remove(&docker, &name).await;
    outcome?;
    Ok(removed?)
}

async fn start(name: &str, image_id: &str, run: &str) -> Result<ContainerAsync<GenericImage>, TestcontainersError> {
    let image = containers::generic(image_id).with_exposed_port(PORT.tcp());
    let request = containers::of_run(image, name, run).with_startup_timeout(READY);
    request.with_host_config_modifier(on_loopback).start().await
}

/// Publishes the registry's port on a free port of 127.0.0.1, and no other.
fn on_loopback(host: &mut HostConfig) {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
    host.port_bindings = Some(HashMap::from([(format!("{PORT}/tcp"), Some(vec![binding]))]));
    host.publish_all_ports = Some(false);
}

/// Tells when the registry answers; gives the reason when it ends.
async fn serve(docker: &Docker, name: &str, container: &ContainerAsync<GenericImage>, image_id: String) -> Failure {
    let ready = async {
        let base_url = format!("http://127.0.0.1:{}", container.get_host_port_ipv4(PORT).await?);
        match tokio::time::timeout(READY, first_answer(&base_url)).await {
            Ok(StatusCode::OK) => Ok(base_url),
            Ok(status) => Err(Failure::Refuses(status)),
            Err(_) => Err(Failure::Silent { last_words: last_words(docker, name).await }),
        }
    };
    let mut ended = std::pin::pin!(ended(docker, name));
    // A container that has ended has no port any more: its end is the better reason.
    let base_url = tokio::select! {
        biased;
        failure = ended.as_mut() => return failure,
        ready = ready => match ready {
            Ok(base_url) => base_url,
            Err(Failure::Container(_)) => return ended.await,
            Err(failure) => return failure,
        },
    };
    say(&Said::Ready(Ready { base_url, image_id }));
    ended.await
}

/// The status of the first answer. Until the program listens, the engine may take connections and cut them.
async fn first_answer(base_url: &str) -> StatusCode {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    loop {
        let url: Uri = format!("{base_url}/v2/").parse().expect("a port makes a URL");
        match client.get(url).await {
            Ok(response) => return response.status(),
            Err(_) => tokio::time::sleep(BEAT).await,
        }
    }
}

/// Waits for the container's end.
async fn ended(docker: &Docker, name: &str) -> Failure {
    let how = loop {
        use bollard::errors::Error;
        match docker.wait_container(name, None::<WaitContainerOptions>).next().await {
            // An engine may answer with the end only, and the client has less patience.
            Some(Err(Error::RequestTimeoutError)) => {}
            Some(Err(Error::DockerContainerWaitError { code, .. })) => break format!("exit code {code}"),
            Some(Ok(end)) => break format!("exit code {}", end.status_code),
            Some(Err(error)) if containers::is_absent(&error) => break "it was removed".to_owned(),
            Some(Err(error)) => return error.into(),
            None => break "the engine says no more of it".to_owned(),
        }
    };
    Failure::Ended { how, last_words: last_words(docker, name).await }
}

/// The end of the registry's own log, as the end of an error.
async fn last_words(docker: &Docker, name: &str) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LAST_WORDS.to_string()).build();
    let log: Result<Vec<_>, _> = docker.logs(name, Some(options)).map_ok(|line| line.to_string()).try_collect().await;
    match log {
        Ok(lines) if !lines.is_empty() => format!("; its log ends with:\n{}", tail(&lines.concat(), LAST_WORDS)),
        Ok(_) => "; its log is empty".to_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_published_on_loopback_alone() {
        let mut host = HostConfig { publish_all_ports: Some(true), ..HostConfig::default() };
        on_loopback(&mut host);
        assert_eq!(host.publish_all_ports, Some(false));
        let bindings = host.port_bindings.expect("bindings");
        let [(port, Some(binding))] = bindings.iter().collect::<Vec<_>>()[..] else { panic!("{bindings:?}") };
        assert_eq!(port, "5000/tcp");
        let addresses: Vec<_> = binding.iter().map(|one| one.host_ip.as_deref()).collect();
        assert_eq!(addresses, [Some("127.0.0.1")]);
    }
}
