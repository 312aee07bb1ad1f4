//! The mco room.
