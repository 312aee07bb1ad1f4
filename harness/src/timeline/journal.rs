//! A record of the guest's journal, and the message ids that systemd documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One journal record: all its fields, as `journalctl -o json` gives them, with non-UTF-8 values made
/// lossy text and repeated fields joined by a line feed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// Whether the initramfs's stream brought it (the real root's stream replays those records too; each is
    /// kept once).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initramfs: bool,
    /// The fields, such as `MESSAGE`, `_BOOT_ID`, `__SEQNUM`, `UNIT`.
    pub fields: BTreeMap<String, String>,
}

impl JournalRecord {
    /// A field's value, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The text.
    pub fn message(&self) -> &str {
        self.field("MESSAGE")
    }

    /// The boot id, 32 hex digits.
    pub fn boot_id(&self) -> &str {
        self.field("_BOOT_ID")
    }

    /// The unit that the record is about: `UNIT` where systemd itself speaks of a unit, else the unit that
    /// the sending process belongs to; empty for none.
    pub fn unit(&self) -> &str {
        match self.field("UNIT") {
            "" => self.field("_SYSTEMD_UNIT"),
            unit => unit,
        }
    }

    /// The documented message id, 32 hex digits; empty for none.
    pub fn message_id(&self) -> &str {
        self.field("MESSAGE_ID")
    }

    /// Whether the record comes from systemd's own process 1.
    pub fn is_from_systemd(&self) -> bool {
        self.field("_PID") == "1" && self.field("_TRANSPORT") == "journal"
    }

    /// Whether the record comes from the kernel.
    pub fn is_from_kernel(&self) -> bool {
        self.field("_TRANSPORT") == "kernel"
    }

    /// Syslog priority, 0 (emerg) to 7 (debug); 6 where it has none.
    pub fn priority(&self) -> u8 {
        self.field("PRIORITY").parse().unwrap_or(6)
    }

    /// CLOCK_MONOTONIC of the guest in microseconds: the sender's where the record has it, else the journal's.
    pub fn mono_us(&self) -> Option<u64> {
        ["_SOURCE_MONOTONIC_TIMESTAMP", "__MONOTONIC_TIMESTAMP"].into_iter().find_map(|f| self.field(f).parse().ok())
    }

    /// Sequence number within `__SEQNUM_ID` (systemd ≥ 254).
    pub fn seqnum(&self) -> Option<u64> {
        self.field("__SEQNUM").parse().ok()
    }
}

/// Message ids that systemd documents in `sd-messages.h`.
pub mod message_id {
    /// A unit starts (`SD_MESSAGE_UNIT_STARTING`).
    pub const UNIT_STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
    /// A unit's start job is done (`SD_MESSAGE_UNIT_STARTED`).
    pub const UNIT_STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
    /// A unit's start job failed (`SD_MESSAGE_UNIT_FAILED`).
    pub const UNIT_FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";
    /// A unit entered the failed state with a result (`SD_MESSAGE_UNIT_FAILURE_RESULT`).
    pub const UNIT_FAILURE_RESULT: &str = "d9b373ed55a64feb8242e02dbe79a49c";
    /// A unit was deactivated with success (`SD_MESSAGE_UNIT_SUCCESS`).
    pub const UNIT_SUCCESS: &str = "7ad2d189f7e94e70a38c781354912448";
    /// A unit was skipped by a condition (`SD_MESSAGE_UNIT_SKIPPED`).
    pub const UNIT_SKIPPED: &str = "0e4284a0caca4bfc81c0bb6786972673";
    /// A unit's process exited (`SD_MESSAGE_UNIT_PROCESS_EXIT`).
    pub const UNIT_PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
    /// The system is up: no more jobs are queued (`SD_MESSAGE_STARTUP_FINISHED`).
    pub const STARTUP_FINISHED: &str = "b07a249cd024414a82dd00cd181378ff";
}
