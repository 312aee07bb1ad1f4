//! Ctrl-C and SIGTERM: the first ends every trial in order, the second ends the process at once.

use std::io;
use std::sync::OnceLock;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

static INTERRUPTED: OnceLock<watch::Receiver<bool>> = OnceLock::new();

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
    if INTERRUPTED.set(receiver).is_err() {
        return Ok(());
    }
    std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        runtime.block_on(async move {
            let (mut interrupt, mut terminate) = signals;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if *sender.borrow() {
                    eprintln!("\ninterrupted twice: ending at once; the kernel ends the machines with this process");
                    std::process::exit(130);
                }
                eprintln!("\ninterrupted: ending the machines in order; once more ends at once");
                sender.send_replace(true);
            }
        });
    })?;
    Ok(())
}

/// Whether the run was interrupted.
pub fn is_set() -> bool {
    INTERRUPTED.get().is_some_and(|receiver| *receiver.borrow())
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
