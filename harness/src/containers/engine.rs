//! The container engine of this host: Docker, or podman's service, which speaks Docker's language.

use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use testcontainers::bollard::{API_DEFAULT_VERSION, Docker};

use crate::text::with_causes;

/// Seconds in which an engine says what it is; podman's is started by the question.
const PATIENCE_S: u64 = 30;

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
    name: String,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The environment names one that can't be used.
    #[error(
        "{variable} is {value:?}: the engine has to be on this host, for containers' ports are published on its loopback address; name its socket as in {variable}=unix:///var/run/docker.sock"
    )]
    NotLocal {
        /// The variable.
        variable: &'static str,
        /// What it is set to.
        value: String,
    },
    /// None answers.
    #[error(
        "no container engine answers: {tried}. Start one (`systemctl start docker`, `systemctl --user start podman.socket`), or name its socket in DOCKER_HOST (`unix:///…`)"
    )]
    NoneAnswers {
        /// Each socket with what happened there.
        tried: String,
    },
}

impl Engine {
    /// The engine that `DOCKER_HOST` or `CONTAINER_HOST` names, or else the first that answers at a usual place.
    pub async fn find() -> Result<Self, EngineError> {
        let mut tried = Vec::new();
        for socket in sockets(&|name| std::env::var(name).ok())? {
            match name_of(&socket).await {
                Ok(name) => return Ok(Self { socket, name }),
                Err(reason) => tried.push(format!("{}: {reason}", socket.display())),
            }
        }
        Err(EngineError::NoneAnswers { tried: tried.join("; ") })
    }

    /// As `DOCKER_HOST` names it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.socket.display())
    }
}

/// Where engines listen, in the order in which they are asked.
fn sockets(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<PathBuf>, EngineError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
        if let Some(value) = variable(name) {
            return match value.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
                Some(path) => Ok(vec![path.into()]),
                None => Err(EngineError::NotLocal { variable: name, value }),
            };
        }
    }
    let below = |name: &str, paths: &[&str]| {
        let dir = variable(name).map(PathBuf::from);
        let paths: Vec<PathBuf> = dir.iter().flat_map(|dir| paths.iter().map(|path| dir.join(path))).collect();
        paths
    };
    let mut sockets = vec![PathBuf::from("/var/run/docker.sock")];
    sockets.extend(below("XDG_RUNTIME_DIR", &["docker.sock"]));
    sockets.extend(below("HOME", &[".docker/run/docker.sock", ".docker/desktop/docker.sock"]));
    sockets.extend(below("XDG_RUNTIME_DIR", &["podman/podman.sock"]));
    sockets.push("/run/podman/podman.sock".into());
    Ok(sockets)
}

/// What listens there, by its own words.
async fn name_of(socket: &Path) -> Result<String, String> {
    // The client's own error does not say why.
    UnixStream::connect(socket).map_err(|error| error.to_string())?;
    let docker = Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE_S, API_DEFAULT_VERSION);
    let version = docker.map_err(|error| with_causes(&error))?.version().await.map_err(|error| with_causes(&error))?;
    let parts = version.components.unwrap_or_default();
    let is_podman = parts.iter().any(|part| part.name.to_lowercase().contains("podman"));
    let number = version.version.unwrap_or_else(|| "of an unknown version".to_owned());
    Ok(format!("{} {number}", if is_podman { "podman" } else { "Docker" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Vec<PathBuf>, EngineError> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        sockets(&value)
    }

    #[test]
    fn what_the_environment_names_is_asked_alone() {
        let docker = [("DOCKER_HOST", "unix:///a/b.sock"), ("CONTAINER_HOST", "unix:///c.sock")];
        assert_eq!(with(&docker).expect("sockets"), [Path::new("/a/b.sock")]);
        assert_eq!(with(&docker[1..]).expect("sockets"), [Path::new("/c.sock")]);
    }

    #[test]
    fn an_engine_elsewhere_is_refused() {
        for host in ["tcp://127.0.0.1:2375", "ssh://a", "unix://relative.sock", "/var/run/docker.sock", "x"] {
            let refused = with(&[("DOCKER_HOST", host)]).expect_err(host).to_string();
            assert!(refused.contains(host) && refused.contains("unix:///"), "{refused}");
        }
    }

    #[test]
    fn the_usual_places_are_asked_in_order() {
        let found = with(&[("DOCKER_HOST", ""), ("XDG_RUNTIME_DIR", "/run/user/1"), ("HOME", "/h")]).expect("sockets");
        let paths: Vec<_> = found.iter().map(|path| path.to_string_lossy()).collect();
        let expected = [
            "/var/run/docker.sock",
            "/run/user/1/docker.sock",
            "/h/.docker/run/docker.sock",
            "/h/.docker/desktop/docker.sock",
            "/run/user/1/podman/podman.sock",
            "/run/podman/podman.sock",
        ];
        assert_eq!(paths, expected);
        assert_eq!(with(&[]).expect("sockets").len(), 2);
    }

    #[tokio::test]
    async fn a_socket_without_an_engine_says_why() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let absent = name_of(&dir.path().join("absent")).await.expect_err("nothing there");
        assert!(absent.contains("No such file"), "{absent}");
        let path = dir.path().join("mute");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a listener");
        let mute = std::thread::spawn(move || (0..2).for_each(|_| drop(listener.accept())));
        assert!(name_of(&path).await.is_err(), "it closes every connection");
        mute.join().expect("both connections came");
    }
}
