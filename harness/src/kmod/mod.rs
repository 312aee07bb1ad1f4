//! The kmod room.
