//! QEMU's machine protocol: commands as calls, events onto the bus.

use futures::StreamExt;
use qapi::futures::{QapiService, QmpStreamTokio};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::Error;
use crate::timeline::{Bus, Qmp, What};

/// A connection to QEMU's machine protocol.
pub(super) struct Protocol {
    service: QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>,
    /// QEMU's version, such as `10.0.2`.
    pub(super) version: String,
}

impl Protocol {
    /// Greets QEMU and begins to push its events; the task ends when QEMU closes the connection.
    pub(super) async fn connect(socket: UnixStream, bus: Bus) -> Result<(Self, JoinHandle<()>), Error> {
        let failed = |error: std::io::Error| Error::Qmp { what: "the greeting", message: error.to_string() };
        let (read, write) = tokio::io::split(socket);
        let greeted: qapi::futures::QmpStreamNegotiation<QmpStreamTokio<ReadHalf<UnixStream>>, _> =
            QmpStreamTokio::open_split(read, write).await.map_err(failed)?;
        let qemu = &greeted.capabilities.QMP.version.qemu;
        let version = format!("{}.{}.{}", qemu.major, qemu.minor, qemu.micro);
        let (service, mut events) = greeted.negotiate().await.map_err(failed)?.into_parts();
        let _ = events.release();
        let reader = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => bus.push(What::Qmp(to_event(&event))),
                    Err(error) => bus.push(What::Note { text: format!("an event of QEMU's can't be read: {error}") }),
                }
            }
        });
        Ok((Self { service, version }, reader))
    }

    /// Executes a command.
    pub(super) async fn execute<C: qapi::qmp::QmpCommand>(
        &self,
        what: &'static str,
        command: C,
    ) -> Result<C::Ok, Error> {
        self.service.execute(command).await.map_err(|error| Error::Qmp { what, message: error.to_string() })
    }
}

fn to_event(event: &qapi::qmp::Event) -> Qmp {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    Qmp {
        event: value["event"].as_str().unwrap_or("unreadable").to_owned(),
        data: value.get_mut("data").map(serde_json::Value::take).unwrap_or_default(),
    }
}
