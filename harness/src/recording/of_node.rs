//! One node of a trial with several.

use crate::timeline::Timeline;

/// Why a node's part of a trial can't be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nobody said which.
    #[error("the trial has several nodes, and each has its own; say which with --of: {}", known.join(", "))]
    Which {
        /// Its nodes.
        known: Vec<String>,
    },
    /// It is none of them.
    #[error("the trial has no node {wanted}; there are: {}", known.join(", "))]
    None {
        /// What was asked for.
        wanted: String,
        /// Its nodes.
        known: Vec<String>,
    },
    /// There are not several.
    #[error("the trial has a single node, which has no name: leave out --of {wanted}")]
    Single {
        /// What was asked for.
        wanted: String,
    },
}

/// A node's part of a timeline: all of it, if the trial has no more than one.
pub fn of_node(timeline: Timeline, wanted: Option<&str>) -> Result<Timeline, Error> {
    let known = timeline.pool().map(|pool| pool.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>());
    match (known, wanted) {
        (None, None) => Ok(timeline),
        (None, Some(wanted)) => Err(Error::Single { wanted: wanted.to_owned() }),
        (Some(known), Some(wanted)) if known.iter().any(|name| name == wanted) => Ok(timeline.of_node(wanted)),
        (Some(known), Some(wanted)) => Err(Error::None { wanted: wanted.to_owned(), known }),
        (Some(known), None) => Err(Error::Which { known }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::fixture::Node;
    use crate::checks::pool::fixture::Pool;

    #[test]
    fn of_several_nodes_one_must_be_named() {
        let pool = || Pool::rolled_out().timeline();
        let own = of_node(pool(), Some("worker-2")).expect("a node");
        assert!(own.boots() == 2 && own.events.iter().all(|event| event.node.as_deref() == Some("worker-2")));
        let said = |wanted| of_node(pool(), wanted).expect_err("none").to_string();
        assert!(said(None).ends_with("say which with --of: worker-1, worker-2"), "{}", said(None));
        assert_eq!(said(Some("worker-3")), "the trial has no node worker-3; there are: worker-1, worker-2");
        let single = || Node::pulled_and_loaded().timeline();
        assert_eq!(of_node(single(), None).expect("all of it").events, single().events);
        assert!(of_node(single(), Some("worker-1")).is_err());
    }
}
