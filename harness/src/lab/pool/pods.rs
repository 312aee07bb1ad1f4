//! Having something run on a node by its kubelet.

use std::time::Duration;

use super::member::Member;
use crate::services::node_api::State;
use crate::timeline::{Pod, PodState, What};

/// Why a pod's success is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PodError {
    /// No kubelet took it in time.
    NotTaken,
    /// The kubelet took it, and did not tell its end in time.
    Unknown,
    /// The node rebooted under it.
    Rebooted,
    /// It failed.
    Failed {
        /// Its exit status.
        status: i32,
        /// What it printed.
        output: String,
    },
}

impl std::fmt::Display for PodError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotTaken => f.write_str("no kubelet took it"),
            Self::Unknown => f.write_str("the node's kubelet took it, and has not told its end"),
            Self::Rebooted => f.write_str("the node rebooted under it"),
            Self::Failed { status, output } => write!(f, "status {status}: {}", last_words(output)),
        }
    }
}

/// The end of what a pod printed, but the shell's trace of its commands.
fn last_words(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('+')).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// Has a script run as a pod, and gives what it printed.
pub(super) async fn run(
    member: &Member<'_>,
    name: &str,
    script: String,
    deadline: Duration,
) -> Result<String, PodError> {
    let tell = |is, why: String| member.hands.bus.push(What::Pod(Pod { name: name.to_owned(), is, why }));
    tell(PodState::Pending, String::new());
    let mut ordered = member.api.order(script);
    let mut taken_in = None;
    let ended = tokio::time::timeout(deadline, async {
        let mut heard = member.api.heard();
        let mut gone = std::pin::pin!(member.ended());
        loop {
            let state = ordered.state().borrow_and_update().clone();
            match state {
                State::Ended { status: 0, output } => return Ok(output),
                State::Ended { status, output } => return Err(PodError::Failed { status, output }),
                State::Taken { boot_id } if taken_in.is_none() => {
                    tell(PodState::Scheduled, String::new());
                    taken_in = Some(boot_id);
                }
                _ => {}
            }
            let boot = heard.borrow_and_update().as_ref().map(|heard| heard.boot_id.clone());
            if let (Some(then), Some(now)) = (&taken_in, &boot)
                && then != now
            {
                return Err(PodError::Rebooted);
            }
            // The senders live as long as the node's surroundings.
            tokio::select! {
                _ = ordered.state().changed() => {}
                _ = heard.changed() => {}
                () = &mut gone => return Err(if taken_in.is_some() { PodError::Unknown } else { PodError::NotTaken }),
            }
        }
    });
    let ended = ended.await.unwrap_or_else(|_| {
        let withdrawn = ordered.withdraw();
        Err(if withdrawn { PodError::NotTaken } else { PodError::Unknown })
    });
    match &ended {
        Ok(output) => tell(PodState::Succeeded, last_words(output)),
        Err(error @ PodError::Failed { .. }) => tell(PodState::Failed, error.to_string()),
        Err(_) => {}
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_s_last_words_are_its_own() {
        let output =
            "one\n+ modprobe -r x\ntwo\n\nthree\n++ uname -r\nmodprobe: FATAL: Module x is in use.\n+ exit 1\n";
        assert_eq!(last_words(output), "two; three; modprobe: FATAL: Module x is in use.");
        let failed = PodError::Failed { status: 1, output: "no".into() };
        assert_eq!(failed.to_string(), "status 1: no");
    }
}
