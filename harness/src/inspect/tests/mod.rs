//! Images with one fault each, and the finding that each must bring; and good ones of every kind, which bring no error.

mod case;
mod doubtful;
mod good;
mod hostile;
mod in_tree;
mod licence;
mod modules;

use super::*;
use case::{Case, at, edit, expect, key};
