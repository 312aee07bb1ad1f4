//! Whose turn it is when a pool is to get another config: the MCO's node controller
//! (`pkg/controller/node/node_controller.go`, `getAllCandidateMachines`, `getUnavailableMachines`).

/// A pool as the node controller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus<'p> {
    /// The rendered config that its nodes are to have.
    pub target: &'p str,
    /// How many of its nodes may be away at once.
    pub max_unavailable: usize,
    /// Whether nothing is to be changed.
    pub paused: bool,
}

/// A node of that pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus<'p> {
    /// Its name.
    pub name: &'p str,
    /// The rendered config that it has.
    pub current: &'p str,
    /// The one that it was told to have.
    pub desired: &'p str,
    /// Whether its kubelet is heard.
    pub ready: bool,
    /// Whether nothing new is put on it.
    pub cordoned: bool,
    /// Whether the daemon failed on it.
    pub degraded: bool,
}

impl NodeStatus<'_> {
    /// Whether it has what it was told to have.
    fn is_done(&self) -> bool {
        self.current == self.desired && !self.degraded
    }

    /// Whether it counts as away (`isNodeUnavailable`). One that the daemon failed on while its kubelet is heard and it is not
    /// cordoned is not: it may be told to have another config.
    pub fn is_unavailable(&self) -> bool {
        !self.ready || self.cordoned || !(self.is_done() || self.degraded)
    }
}

/// The nodes that are told to have the target now, of `nodes` in the order of their turns.
///
/// Nodes that are away count, whatever the reason, and so do those that failed to get this very target: with one of them and
/// `max_unavailable` 1 the rollout stands still.
pub fn next_nodes<'p>(pool: &PoolStatus<'_>, nodes: &[NodeStatus<'p>]) -> Vec<&'p str> {
    if pool.paused {
        return vec![];
    }
    let away = nodes.iter().filter(|node| node.is_unavailable()).count();
    // One that is away and failed counts twice (`failingThisConfig`).
    let failed = nodes.iter().filter(|node| node.desired == pool.target && node.degraded);
    let room = pool.max_unavailable.saturating_sub(away + failed.count());
    let waiting = nodes.iter().filter(|node| node.desired != pool.target && !node.is_unavailable());
    waiting.take(room).map(|node| node.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(max_unavailable: usize) -> PoolStatus<'static> {
        PoolStatus { target: "new", max_unavailable, paused: false }
    }

    fn node(name: &'static str, current: &'static str, desired: &'static str) -> NodeStatus<'static> {
        NodeStatus { name, current, desired, ready: true, cordoned: false, degraded: false }
    }

    #[test]
    fn one_after_the_other_in_their_order() {
        let mut nodes = [node("a", "old", "old"), node("b", "old", "old"), node("c", "old", "old")];
        assert_eq!(next_nodes(&pool(1), &nodes), ["a"]);
        (nodes[0].desired, nodes[0].cordoned) = ("new", true);
        assert_eq!(next_nodes(&pool(1), &nodes), [""; 0]);
        (nodes[0].current, nodes[0].cordoned) = ("new", false);
        assert_eq!(next_nodes(&pool(1), &nodes), ["b"]);
        nodes[1..].iter_mut().for_each(|node| (node.current, node.desired) = ("new", "new"));
        assert_eq!(next_nodes(&pool(1), &nodes), [""; 0]);
    }

    #[test]
    fn as_many_at_once_as_may_be_away() {
        let mut nodes = [node("a", "old", "old"), node("b", "old", "old"), node("c", "old", "old")];
        assert_eq!(next_nodes(&pool(2), &nodes), ["a", "b"]);
        assert_eq!(next_nodes(&pool(9), &nodes), ["a", "b", "c"]);
        nodes[2].ready = false;
        assert_eq!(next_nodes(&pool(2), &nodes), ["a"]);
    }

    #[test]
    fn a_node_that_is_away_for_whatever_reason_stops_the_rollout() {
        let spoilt: [fn(&mut NodeStatus<'_>); 5] = [
            |node| node.ready = false,
            |node| node.cordoned = true,
            |node| node.degraded = true,
            |node| (node.current, node.degraded) = ("older", true),
            |node| node.current = "older",
        ];
        for spoil in spoilt {
            let mut nodes = [node("a", "new", "new"), node("b", "new", "new"), node("c", "old", "old")];
            spoil(&mut nodes[1]);
            assert_eq!(next_nodes(&pool(1), &nodes), [""; 0], "{:?}", nodes[1]);
        }
    }

    #[test]
    fn a_node_that_failed_can_be_told_to_have_another_config() {
        let mut nodes = [node("a", "older", "old"), node("b", "old", "old")];
        nodes[0].degraded = true;
        assert_eq!(next_nodes(&pool(1), &nodes), ["a"]);
        nodes[0].cordoned = true;
        assert_eq!(next_nodes(&pool(1), &nodes), [""; 0]);
    }

    #[test]
    fn one_that_failed_after_its_drain_leaves_no_room_for_another_where_two_may_be_away() {
        let mut nodes = [node("a", "old", "new"), node("b", "old", "old"), node("c", "old", "old")];
        (nodes[0].degraded, nodes[0].cordoned) = (true, true);
        assert_eq!(next_nodes(&pool(2), &nodes), [""; 0]);
        assert_eq!(next_nodes(&pool(3), &nodes), ["b"]);
    }

    #[test]
    fn a_paused_pool_stands_still() {
        let nodes = [node("a", "old", "old")];
        assert_eq!(next_nodes(&PoolStatus { paused: true, ..pool(1) }, &nodes), [""; 0]);
    }
}
