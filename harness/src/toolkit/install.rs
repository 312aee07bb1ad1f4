//! The process that holds the container in which what modules are built with is installed: it starts it, waits for its
//! end, writes its files to an archive, and removes it.

use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use testcontainers::bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use testcontainers::bollard::{self, Docker};
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::error::{ClientError, TestcontainersError};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::io::AsyncWriteExt;

use crate::containers::{self, ImageError};
use crate::process::tail;
use crate::services::socket::random_uuid;
use crate::text::with_causes;

/// The hidden subcommand of `day1` that [`install`] stands behind.
pub const INSTALL_SUBCOMMAND: &str = "install-toolkit";

/// Runs in the container.
pub(super) const SCRIPT: &str = include_str!("install.sh");

/// What the script's lines for a person begin with.
const STEP: &str = "STEP ";

/// The longest time that installing takes; a mirror that keeps silent must not hold a run for ever.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Lines of the container's log that an error shows.
const LAST_WORDS: usize = 12;

/// Variables that tell the package manager how the network is reached.
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// What the holder says, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// Something that takes time begins, for a person.
    Step(String),
    /// The archive is written.
    Done,
    /// There is none: why.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", with_causes(.0))]
    Engine(#[from] bollard::errors::Error),
    #[error("{}", with_causes(.0))]
    Client(#[from] ClientError),
    #[error("{}", with_causes(.0))]
    Container(#[from] TestcontainersError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("its container ended with exit code {code}; its log ends with:\n{last_words}")]
    Ended { code: i64, last_words: String },
    #[error("it took longer than {} min", DEADLINE.as_secs() / 60)]
    Late,
}

/// What is to be installed, where, and where its files go.
#[derive(Debug, Clone, Copy)]
pub struct Installation<'i> {
    /// The container's image.
    pub image: &'i str,
    /// The kernel's release.
    pub kernel: &'i str,
    /// The address of its `kernel-devel`, for when the repositories have none.
    pub url: &'i str,
    /// The archive that is written.
    pub archive: &'i Path,
    /// What is installed beside it.
    pub packages: &'i [String],
}

/// Installs in a container, and says on standard output what becomes of it; gives up when standard input, a pipe, ends.
/// `run` is the identity of the process that asks.
pub fn install(installation: &Installation<'_>, run: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome: Result<bool, Failure> =
        runtime.block_on(async { held(installation, run, std::pin::pin!(containers::over()?)).await });
    match outcome {
        Ok(true) => say(&Said::Done),
        Ok(false) => {}
        Err(failure) => say(&Said::Failed(failure.to_string())),
    }
    Ok(())
}

fn say(said: &Said) {
    let Ok(line) = serde_json::to_string(said) else { return };
    // Nobody may be listening any more.
    let _ = writeln!(io::stdout(), "{line}");
}

fn step(text: &str) {
    say(&Said::Step(text.to_owned()));
}

/// Whether the archive is written; it is not if nobody wants it any more.
async fn held(
    installation: &Installation<'_>,
    run: &str,
    mut over: Pin<&mut impl Future<Output = ()>>,
) -> Result<bool, Failure> {
    let docker = docker_client_instance().await?;
    let image_id = tokio::select! {
        () = over.as_mut() => return Ok(false),
        found = async {
            containers::remove_those_of_dead_runs(&docker).await?;
            Ok::<_, Failure>(containers::ensure_image(&docker, installation.image, step).await?)
        } => found?,
    };
    let name = format!("day1-toolkit-{}", random_uuid()?);
    // Not given up half-way: the engine would go on, and nothing would remove what it makes.
    let outcome = match start(&name, &image_id, installation, run).await {
        Ok(container) => {
            let outcome = tokio::select! {
                () = over => Ok(false),
                () = tokio::time::sleep(DEADLINE) => Err(Failure::Late),
                written = write(&docker, &name, installation.archive) => written.map(|()| true),
            };
            // What it leaves is removed by name.
            let _ = container.rm().await;
            outcome
        }
        Err(error) => Err(error.into()),
    };
    let removed = containers::remove(&docker, &name).await;
    let written = outcome?;
    removed?;
    Ok(written)
}

async fn start(
    name: &str,
    image_id: &str,
    installation: &Installation<'_>,
    run: &str,
) -> Result<ContainerAsync<GenericImage>, TestcontainersError> {
    let image = containers::generic(image_id).with_entrypoint("/bin/sh");
    let words = ["-c", SCRIPT, "install.sh", installation.kernel, installation.url];
    let words = words.into_iter().chain(installation.packages.iter().map(String::as_str));
    let mut request = containers::of_run(image, name, run).with_cmd(words).with_user("0");
    for variable in PROXIES {
        if let Ok(value) = std::env::var(variable) {
            request = request.with_env_var(variable, value);
        }
    }
    request.start().await
}

/// Waits for the container's end, and writes its files to an archive.
async fn write(docker: &Docker, name: &str, archive: &Path) -> Result<(), Failure> {
    let mut log = String::new();
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).build();
    let mut lines = docker.logs(name, Some(options));
    let mut told = 0;
    while let Some(piece) = lines.try_next().await? {
        log.push_str(&piece.to_string());
        let whole = log.rfind('\n').map_or(0, |end| end + 1);
        if let Some(new) = log.get(told..whole) {
            new.lines().filter_map(|line| line.strip_prefix(STEP)).for_each(step);
            told = told.max(whole);
        }
    }
    let code = exit_code(docker, name).await?;
    if code != 0 {
        return Err(Failure::Ended { code, last_words: tail(&log, LAST_WORDS) });
    }
    step("taking the files out of the container");
    let mut file = tokio::fs::File::create(archive).await?;
    let mut files = std::pin::pin!(docker.export_container(name));
    while let Some(bytes) = files.try_next().await? {
        file.write_all(&bytes).await?;
    }
    Ok(file.flush().await?)
}

async fn exit_code(docker: &Docker, name: &str) -> Result<i64, Failure> {
    use bollard::errors::Error;
    loop {
        match docker.wait_container(name, None::<WaitContainerOptions>).next().await {
            // An engine may answer with the end only, and the client has less patience.
            Some(Err(Error::RequestTimeoutError)) => {}
            Some(Err(Error::DockerContainerWaitError { code, .. })) => return Ok(code),
            Some(Ok(end)) => return Ok(end.status_code),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(io::Error::other("the engine does not say how its container ended").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_passes_shellcheck() {
        if Command::new("shellcheck").arg("--version").output().is_err() {
            eprintln!("skipped: shellcheck is not installed");
            return;
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/toolkit/install.sh");
        crate::process::output(Command::new("shellcheck").arg(path)).expect("a clean script");
    }

    /// The script with a `dnf` that notes what it is asked for, and does not have the packages in `lacks`.
    fn installed(lacks: &str) -> (Option<i32>, String, String) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dnf = dir.path().join("dnf");
        let text = "#!/bin/sh\necho \"$*\" >>\"$NOTES\"\nfor one; do [ \"$one\" != \"$LACKS\" ] || exit 1; done\n";
        std::fs::write(&dnf, text).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&dnf, mode).expect("executable");
        let notes = dir.path().join("notes");
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "install.sh", "6.1.fc43", "https://x/kernel-devel.rpm", "gcc", "make"]);
        let output = command.env("PATH", path).env("NOTES", &notes).env("LACKS", lacks).output().expect("started");
        let notes = std::fs::read_to_string(notes).expect("notes");
        (output.status.code(), notes, String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn what_the_repositories_no_longer_have_comes_from_the_build_system() {
        let (code, notes, told) = installed("none");
        assert_eq!(code, Some(0), "{told}");
        assert!(notes.contains("install gcc make\n") && notes.contains("install kernel-devel-6.1.fc43\n"), "{notes}");
        assert!(!notes.contains("https:"), "{notes}");
        let (code, notes, told) = installed("kernel-devel-6.1.fc43");
        assert_eq!(code, Some(0), "{told}");
        assert!(notes.contains("install https://x/kernel-devel.rpm\n"), "{notes}");
        assert!(told.contains("STEP installing https://x/kernel-devel.rpm\n"), "{told}");
        assert_eq!(installed("make").0, Some(1));
        assert_eq!(installed("gcc").1.lines().count(), 1, "nothing is installed after a failure");
    }
}
