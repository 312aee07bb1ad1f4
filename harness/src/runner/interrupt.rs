//! Ctrl-C and SIGTERM: the first ends every trial in order, the second ends the process at once, as the first does
//! before there are machines.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::progress;

/// Whether there are machines to end in order. Before, what runs is a build, which ends with this process.
static IN_ORDER: AtomicBool = AtomicBool::new(false);

static INTERRUPTED: OnceLock<watch::Receiver<bool>> = OnceLock::new();

/// Ends, as a pipe does, when the run is interrupted.
static ENDED: OnceLock<PipeReader> = OnceLock::new();

/// Begins to listen, once per process.
pub fn listen() -> io::Result<()> {
    if INTERRUPTED.get().is_some() {
        return Ok(());
    }
    let (sender, receiver) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (ended, still_on) = io::pipe()?;
    if INTERRUPTED.set(receiver).is_err() || ENDED.set(ended).is_err() {
        return Ok(());
    }
    std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        runtime.block_on(async move {
            let (mut interrupt, mut terminate) = signals;
            let mut still_on = Some(still_on);
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if !IN_ORDER.load(Ordering::SeqCst) {
                    progress::warn("\ninterrupted before the first trial began");
                    std::process::exit(130);
                }
                if *sender.borrow() {
                    progress::warn(
                        "\ninterrupted twice: ending at once; the kernel ends the machines with this process",
                    );
                    std::process::exit(130);
                }
                progress::warn("\ninterrupted: ending the machines in order; once more ends at once");
                sender.send_replace(true);
                still_on.take();
            }
        });
    })?;
    Ok(())
}

/// From here on, the first interrupt ends the machines in order.
pub fn end_in_order() {
    IN_ORDER.store(true, Ordering::SeqCst);
}

/// Whether the run was interrupted.
pub fn is_set() -> bool {
    INTERRUPTED.get().is_some_and(|receiver| *receiver.borrow())
}

/// Can be read (it is at its end) when the run is interrupted; none, if nobody listens.
pub fn fd() -> Option<BorrowedFd<'static>> {
    ENDED.get().map(AsFd::as_fd)
}

/// Ends when the run is interrupted; never, if nobody listens.
pub async fn wait() {
    if let Some(receiver) = INTERRUPTED.get() {
        let mut receiver = receiver.clone();
        if receiver.wait_for(|interrupted| *interrupted).await.is_ok() {
            return;
        }
    }
    std::future::pending::<()>().await;
}
