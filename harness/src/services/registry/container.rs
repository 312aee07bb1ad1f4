//! A registry in a container, as the run sees it: a process of the `day1` program that holds it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use super::Error;
use super::holder::{HOLD_SUBCOMMAND, Ready, Said};
use crate::containers::{self, Engine};

/// How a registry's container is made, known to work.
#[derive(Debug, Clone)]
pub struct Recipe {
    day1: PathBuf,
    engine: Engine,
    /// As it was asked for.
    image: String,
    image_id: String,
}

impl Recipe {
    /// Runs a registry from `image` once.
    pub(super) async fn prove(day1: &Path, image: &str, tell: &(dyn Fn(&str) + Sync)) -> Result<Self, Error> {
        let engine = Engine::find().await?;
        let container = Container::start(day1, &engine, image, tell).await?;
        let image_id = container.ready.image_id.clone();
        container.stop().await;
        let recipe = Self { day1: day1.to_owned(), engine, image: image.to_owned(), image_id };
        tell(&format!("registry: container {recipe}, by {}", recipe.engine));
        Ok(recipe)
    }

    pub(super) async fn start(&self) -> Result<Container, Error> {
        Container::start(&self.day1, &self.engine, &self.image_id, &|_| ()).await
    }

    pub(super) fn image_id(&self) -> &str {
        &self.image_id
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.image, self.image_id)
    }
}

/// A running container; when it is dropped, the engine has removed it.
pub struct Container {
    ready: Ready,
    ended: watch::Receiver<Option<String>>,
    _holder: Holder,
}

impl Container {
    async fn start(day1: &Path, engine: &Engine, image: &str, tell: &(dyn Fn(&str) + Sync)) -> Result<Self, Error> {
        let no_holder = |source| Error::Holder { day1: day1.to_owned(), source };
        let (holder, mut words) = Holder::start(day1, engine, image).map_err(no_holder)?;
        let ready = loop {
            let reason = match next(&mut words).await {
                Said::Step(step) => {
                    tell(&step);
                    continue;
                }
                Said::Ready(ready) => break ready,
                Said::Ended(reason) => reason,
            };
            return Err(Error::Container { engine: engine.to_string(), image: image.to_owned(), reason });
        };
        let (sender, ended) = watch::channel(None);
        tokio::spawn(async move {
            if let Said::Ended(reason) = next(&mut words).await {
                sender.send_replace(Some(reason));
            }
        });
        Ok(Self { ready, ended, _holder: holder })
    }

    pub(super) fn base_url(&self) -> &str {
        &self.ready.base_url
    }

    pub(super) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // Nobody listens to the holder any more, for the runtime ends.
            Err(_) => std::future::pending().await,
        }
    }

    pub(super) async fn stop(self) {
        // It waits for the holder. Only a panic in there or the runtime's end could fail it.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// The process that holds the container, and removes it when the lifeline ends: with this value, or with this process,
/// however that ends.
struct Holder {
    process: Child,
    lifeline: Option<ChildStdin>,
}

impl Holder {
    fn start(day1: &Path, engine: &Engine, image: &str) -> io::Result<(Self, Words)> {
        let mut command = containers::holder(day1, HOLD_SUBCOMMAND, engine)?;
        let mut process = command.arg(image).spawn()?;
        let (lifeline, words) = (process.stdin.take(), process.stdout.take());
        let holder = Self { process, lifeline };
        let words = words.ok_or_else(|| io::Error::other("it has no standard output"))?;
        let words = BufReader::new(Receiver::from_owned_fd(OwnedFd::from(words))?).lines();
        Ok((holder, words))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // It ends when the container is removed, or the engine did not answer for two minutes.
        let _ = self.process.wait();
    }
}

type Words = Lines<BufReader<Receiver>>;

/// What the holder says next.
async fn next(words: &mut Words) -> Said {
    match words.next_line().await {
        Ok(Some(line)) => serde_json::from_str(&line).unwrap_or_else(|error| {
            Said::Ended(format!("its holder said {line:?}, which can't be understood: {error}"))
        }),
        Ok(None) => Said::Ended("the process that held the container ended".to_owned()),
        Err(error) => Said::Ended(format!("the process that holds the container can't be heard: {error}")),
    }
}
