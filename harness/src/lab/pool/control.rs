//! The control plane of a pool: the MCO's node controller, and Day-2 management. It knows of a node what the node's kubelet
//! tells over the network, and does to it what that kubelet takes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::day2::{self, Job};
use super::member::Member;
use super::plan::{PoolConfig, PoolPlan, Stage, WORKLOAD};
use super::pods::{self, PodError};
use crate::checks::step_label;
use crate::machine::wait;
use crate::mco::{NodeStatus, PREREQUISITES_NAME, PoolStatus, next_nodes};
use crate::network::{Lan, Link};
use crate::scenario::{Expectation, Module, NodeDisruptionPolicy, PodKind, PoolAction, PoolStep, Spec, pool_of};
use crate::timeline::{Asked, Bus, Event, NodeState, Pod, PodState, RenderedFor, Step, What};

/// How long a kubelet may be silent before its node counts as not ready, at reference speed. It asks every few seconds.
const GRACE: Duration = Duration::from_secs(15);
/// What a small script on a node may take, from its order to its end.
const POD: Duration = Duration::from_secs(90);
/// How long the followed nodes may take to settle once nothing more is done to them.
const SETTLE: Duration = Duration::from_secs(240);
/// How long a look at a node may take.
const LOOK: Duration = Duration::from_secs(60);

/// The control plane, with all that it has been told.
pub(super) struct Control<'l> {
    plan: &'l PoolPlan,
    spec: &'l Spec,
    members: Vec<Member<'l>>,
    lan: &'l Lan,
    bus: &'l Bus,
    factor: f64,
    state: RefCell<State>,
    /// A node became Ready, or is no more.
    news: Notify,
}

/// What the cluster is to be.
struct State {
    stage: Stage,
    paused: BTreeSet<String>,
    modules: BTreeMap<String, Module>,
    /// Whether nodes will be Ready, where a step has changed their links.
    awaited: BTreeMap<String, bool>,
}

type Work<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;

impl<'l> Control<'l> {
    pub(super) fn new(
        plan: &'l PoolPlan,
        spec: &'l Spec,
        members: Vec<Member<'l>>,
        lan: &'l Lan,
        bus: &'l Bus,
        factor: f64,
    ) -> Self {
        let paused = spec.pools.iter().filter(|pool| pool.paused).map(|pool| pool.name.to_string()).collect();
        let state = State { stage: plan.stages[0].clone(), paused, modules: BTreeMap::new(), awaited: BTreeMap::new() };
        Self { plan, spec, members, lan, bus, factor, state: RefCell::new(state), news: Notify::new() }
    }

    fn stretched(&self, at_reference: Duration) -> Duration {
        at_reference.mul_f64(self.factor)
    }

    pub(super) fn plan(&self) -> &PoolPlan {
        self.plan
    }

    pub(super) fn policies(&self) -> &NodeDisruptionPolicy {
        &self.spec.node_disruption_policy
    }

    /// What a small script on a node may take on this host.
    pub(super) fn pod_deadline(&self) -> Duration {
        self.stretched(POD)
    }

    /// Waits for the nodes, then does one step after the other.
    pub(super) async fn run(&self) {
        for (pool, config) in &self.plan.stages[0] {
            self.says_what_is_rendered(pool, config);
        }
        if !join_all(self.members.iter().map(|member| self.first_boots(member))).await.into_iter().all(|came| came) {
            self.bus.push(What::Note { text: "no step is done: not all nodes came up".into() });
            return;
        }
        // What a step costs is told by what was there before it.
        join_all(self.members.iter().map(|member| self.is_seen_to_serve(member, true, self.pod_deadline()))).await;
        for (index, step) in self.spec.steps.iter().enumerate() {
            self.step(index, step).await;
        }
    }

    /// Waits until a node has done its first boots and is Ready; tells whether it is.
    async fn first_boots(&self, member: &Member<'_>) -> bool {
        let boots = u32::try_from(self.spec.boots.len()).unwrap_or(u32::MAX);
        let mut seen = member.seen.clone();
        let followed = seen.wait_for(|seen| seen.looked >= boots || seen.is_over).await;
        let looked = followed.is_ok_and(|seen| seen.looked >= boots);
        looked && self.is_ready(member).await
    }

    async fn is_ready(&self, member: &Member<'_>) -> bool {
        let mut heard = member.api.heard();
        let came = heard.wait_for(|_| member.record.borrow().ready);
        // A node becomes Ready in `watch`, which hears of it first or right after.
        tokio::time::timeout(self.stretched(POD), came).await.is_ok_and(|came| came.is_ok())
    }

    /// Waits until the network's observer sees a node's workload serve, or see it no more. What is told of a node after that
    /// comes after it on the timeline, too.
    pub(super) async fn is_seen_to_serve(&self, member: &Member<'_>, serves: bool, deadline: Duration) {
        let answer = |event: &Event| match &event.what {
            What::Answering(one) if one.asked == Asked::Service => Some(one.answers),
            _ => None,
        };
        let mut events = member.hands.bus.from_now();
        let last = member.hands.bus.events().iter().rev().find_map(|event| answer(event));
        if last == Some(serves) {
            return;
        }
        let is_so = |event: &Event| (answer(event) == Some(serves)).then_some(());
        if wait(&mut events, "the workload's next answer", deadline, is_so).await.is_err() {
            let what = if serves { "was not seen to serve" } else { "was seen to serve on" };
            self.bus.push(What::Note { text: format!("the workload of {} {what}", member.name) });
        }
    }

    async fn step(&self, index: usize, step: &PoolStep) {
        let text = step.describe();
        self.bus.push(What::Step(Step { index, text: text.clone(), asked: self.lan.asked(), ..Step::default() }));
        self.state.borrow_mut().awaited.clear();
        for member in self.members.iter().filter(|member| member.record.borrow().ready) {
            // One that was heard all the time, and had no time left, goes on now.
            member.change(|record| record.lost = false);
        }
        self.state.borrow_mut().stage.clone_from(&self.plan.stages[index + 1]);
        for (pool, config) in &self.plan.stages[index + 1] {
            if self.plan.stages[index].get(pool).is_none_or(|old| old.rendered.name != config.rendered.name) {
                self.says_what_is_rendered(pool, config);
            }
        }
        for action in step.actions.iter() {
            self.act(action);
            if let PoolAction::OsUpdate(image) = action {
                self.says_who_is_updated(image);
            }
        }
        self.reconcile(step.deadline().duration()).await;
        self.settle().await;
        let label = step_label(index);
        join_all(self.members.iter().map(|member| self.look(member, step, &label))).await;
        self.bus.push(What::Step(Step {
            index,
            text,
            ended: true,
            asked: self.lan.asked(),
            unfinished: self.unfinished(),
        }));
    }

    fn says_what_is_rendered(&self, pool: &str, config: &PoolConfig) {
        let sources = config.rendered.sources.iter().filter(|name| *name != PREREQUISITES_NAME);
        self.bus.push(What::Rendered(RenderedFor {
            pool: pool.to_owned(),
            config: config.rendered.name.clone(),
            machine_configs: sources.cloned().collect(),
        }));
    }

    fn says_who_is_updated(&self, image: &str) {
        for (pool, config) in &self.state.borrow().stage {
            let text = match config.rendered.os_image_url.as_deref() {
                Some(own) if own != image => {
                    format!("pool {pool} keeps its own operating system {own}: a MachineConfig of it names that")
                }
                _ => format!("pool {pool} is to have the operating system {image}"),
            };
            self.bus.push(What::Note { text });
        }
    }

    fn act(&self, action: &PoolAction) {
        match action {
            // What they make of the pools is in the stage.
            PoolAction::Apply(_) | PoolAction::Remove(_) | PoolAction::OsUpdate(_) => {}
            PoolAction::Pause(pool) => {
                self.state.borrow_mut().paused.insert(pool.to_string());
            }
            PoolAction::Resume(pool) => {
                self.state.borrow_mut().paused.remove(pool.as_str());
            }
            PoolAction::Label(label) => {
                let Some(member) = self.member(label.node.as_str()) else { return };
                member.change(|record| {
                    if !label.roles.is_empty() {
                        record.roles.clone_from(&label.roles);
                    }
                    let versions = label.versions.iter();
                    record.versions.extend(versions.map(|(name, version)| (name.to_string(), version.clone())));
                });
            }
            PoolAction::Module(module) => {
                self.state.borrow_mut().modules.insert(module.name.to_string(), module.clone());
            }
            PoolAction::Link(link) => {
                let link_of = Link {
                    cut: link.cut,
                    delay: link.delay.map(|delay| delay.duration()).unwrap_or_default(),
                    bytes_per_second: link.bytes_per_second.map(|size| size.bytes()),
                };
                let was = self.lan.link(link.node.as_str()).unwrap_or_default();
                self.lan.set_link(link.node.as_str(), link_of);
                if was.cut != link_of.cut {
                    self.state.borrow_mut().awaited.insert(link.node.to_string(), !link_of.cut);
                }
            }
        }
    }

    fn member(&self, name: &str) -> Option<&Member<'l>> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Does what is to be done, until nothing is left that can be.
    async fn reconcile(&self, deadline: Duration) {
        let deadline = self.stretched(deadline);
        let mut works: FuturesUnordered<Work<'_>> = FuturesUnordered::new();
        let mut since = Instant::now();
        // Each node has its part once, and once more what comes back late.
        let last = since + deadline * (2 * u32::try_from(self.members.len()).unwrap_or(1));
        loop {
            for member in self.next_updates() {
                member.busy.set(true);
                works.push(Box::pin(async move {
                    self.update(member, deadline).await;
                    member.busy.set(false);
                }));
            }
            for (member, jobs) in self.next_jobs() {
                member.busy.set(true);
                works.push(Box::pin(async move {
                    self.manage(member, jobs, deadline).await;
                    member.busy.set(false);
                }));
            }
            if works.is_empty() && !self.awaits_more() {
                return;
            }
            tokio::select! {
                Some(()) = works.next() => since = Instant::now(),
                () = self.news.notified() => {}
                () = tokio::time::sleep_until(since + deadline), if works.is_empty() => return,
                () = tokio::time::sleep_until(last) => {
                    self.bus.push(What::Note { text: "the step comes to no end".into() });
                    drop(works);
                    for member in self.members.iter().filter(|member| member.busy.replace(false)) {
                        member.change(|record| record.lost = true);
                    }
                    return;
                }
            }
        }
    }

    /// Whether something may still come though nothing is being done: what a link's change makes of a node, and the return of
    /// one that keeps others from their turn.
    fn awaits_more(&self) -> bool {
        let state = self.state.borrow();
        let links = self
            .members
            .iter()
            .any(|member| state.awaited.get(member.name).is_some_and(|ready| *ready != member.record.borrow().ready));
        let is_kept = |pool: &String, target: &str| {
            let of_pool = self.members.iter().filter(|member| member.pool() == *pool);
            let records: Vec<_> = of_pool.map(|member| member.record.borrow()).collect();
            let waits = records.iter().any(|record| record.current != target && !record.degraded);
            waits && records.iter().any(|record| !record.ready && !record.lost)
        };
        let mut pools = state.stage.iter().filter(|(pool, _)| !state.paused.contains(*pool));
        links || pools.any(|(pool, config)| is_kept(pool, &config.rendered.name))
    }

    /// The nodes whose turn it is to get another config.
    fn next_updates(&self) -> Vec<&Member<'l>> {
        let state = self.state.borrow();
        let mut next = vec![];
        for (pool, config) in &state.stage {
            let records: Vec<_> = self.members.iter().map(|member| (member, member.record.borrow())).collect();
            let of_pool = records.iter().filter(|(_, record)| pool_of(&record.roles) == pool);
            let nodes: Vec<NodeStatus<'_>> = of_pool
                .map(|(member, record)| NodeStatus {
                    name: member.name,
                    current: &record.current,
                    desired: &record.desired,
                    ready: record.ready,
                    cordoned: record.cordoned,
                    degraded: record.degraded,
                })
                .collect();
            let status = PoolStatus {
                target: &config.rendered.name,
                max_unavailable: self.spec.max_unavailable(pool) as usize,
                paused: state.paused.contains(pool),
            };
            next.extend(next_nodes(&status, &nodes).into_iter().filter_map(|name| self.member(name)));
        }
        next.retain(|member| !member.busy.get());
        for member in &next {
            let target = state.stage[&member.pool()].rendered.name.clone();
            member.becomes(NodeState::Targeted, target.clone());
            member.change(|record| record.desired = target);
        }
        // Those that were not heard of while they had their turn, and are now.
        let goes_on = |member: &&Member<'l>| {
            let record = member.record.borrow();
            let is_amid = record.current != record.desired && !record.degraded;
            is_amid && record.ready && !record.lost && !member.busy.get()
        };
        let told: Vec<&str> = next.iter().map(|member| member.name).collect();
        next.extend(self.members.iter().filter(|member| !told.contains(&member.name)).filter(goes_on));
        next
    }

    fn next_jobs(&self) -> Vec<(&Member<'l>, Vec<Job>)> {
        let state = self.state.borrow();
        let free = self.members.iter().filter(|member| !member.busy.get());
        free.filter_map(|member| {
            let record = member.record.borrow();
            let jobs = state.modules.values().map(|module| day2::jobs(module, &record)).find(|jobs| !jobs.is_empty());
            jobs.map(|jobs| (member, jobs))
        })
        .collect()
    }

    /// Has Day-2 management's pods run on a node, each when the one before has ended.
    async fn manage(&self, member: &Member<'_>, jobs: Vec<Job>, deadline: Duration) {
        let name = jobs.last().map(|job| job.module.name.to_string()).unwrap_or_default();
        let wanted = jobs.last().map(|job| job.module.clone());
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            let outcome = pods::run(member, &job.name(), job.script(), deadline).await;
            match (outcome, job.kind) {
                (Ok(_), PodKind::Load) => member.change(|record| {
                    record.loaded.insert(name.clone(), job.module);
                }),
                (Ok(_), PodKind::Unload) => member.change(|record| {
                    record.loaded.remove(&name);
                }),
                // In the next boot everything is to be loaded anew.
                (Err(PodError::Rebooted), _) => return,
                (Err(_), _) => {
                    member.change(|record| record.gave_up.extend(wanted.map(|module| (name, module))));
                    let why = "it comes when the pod before it has ended, and nobody hears of that";
                    for job in jobs {
                        let pod = Pod { name: job.name(), is: PodState::Pending, why: why.into() };
                        member.hands.bus.push(What::Pod(pod));
                    }
                    return;
                }
            }
        }
    }

    /// Waits until the nodes that are followed have come to rest.
    async fn settle(&self) {
        let settled = self.members.iter().map(|member| async {
            let mut seen = member.seen.clone();
            let at_rest = seen.wait_for(|seen| seen.is_over || seen.looked >= member.hands.bus.boot());
            let _ = tokio::time::timeout(self.stretched(SETTLE), at_rest).await;
        });
        join_all(settled).await;
    }

    async fn look(&self, member: &Member<'_>, step: &PoolStep, label: &str) {
        // What is missing is in the timeline, and the checks say what it was needed for.
        let _ = member.hands.machine.snapshot(label, self.stretched(LOOK)).await;
        let expected = step.expect.of(member.name).filter_map(|(_, expectation)| match expectation {
            Expectation::FileState(file) => Some(file.path.as_str()),
            _ => None,
        });
        let paths: BTreeSet<&str> = expected.collect();
        if !paths.is_empty() {
            member.hands.look_at(&paths.into_iter().collect::<Vec<_>>()).await;
        }
    }

    /// What the cluster wants and does not have.
    fn unfinished(&self) -> Vec<String> {
        let state = self.state.borrow();
        let missing = self.members.iter().filter_map(|member| {
            let record = member.record.borrow();
            let pool = pool_of(&record.roles);
            let target = &state.stage.get(pool)?.rendered.name;
            let (name, is_paused) = (member.name, state.paused.contains(pool));
            if record.degraded {
                Some(format!("{name} is degraded"))
            } else if !record.ready {
                Some(format!("{name} is not ready"))
            } else {
                (record.current != *target && !is_paused).then(|| format!("{name} has not got {target}"))
            }
        });
        missing.collect()
    }

    /// Watches the nodes' kubelets, for ever: who is Ready, and whose workload is to be started.
    pub(super) async fn watch(&self) {
        let watched = self.members.iter().map(|member| async {
            tokio::join!(self.watch_kubelet(member), self.watch_workload(member));
        });
        join_all(watched).await;
    }

    async fn watch_kubelet(&self, member: &Member<'_>) {
        let mut heard = member.api.heard();
        let grace = self.stretched(GRACE);
        loop {
            let ready = member.record.borrow().ready;
            let news = tokio::time::timeout(grace, heard.changed()).await;
            let last = heard.borrow_and_update().clone();
            let (Some(last), Ok(Ok(()))) = (last, news) else {
                if ready {
                    member.change(|record| record.ready = false);
                    self.news.notify_one();
                    member.becomes(NodeState::NotReady, format!("its kubelet is silent for {} s", grace.as_secs()));
                }
                continue;
            };
            let is_new_boot = member.record.borrow().boot_id != last.boot_id;
            if ready && !is_new_boot {
                continue;
            }
            member.change(|record| {
                (record.ready, record.lost, record.boot_id) = (true, false, last.boot_id);
                // What no pod could do to a node that was away is tried again; what was loaded is gone with its boot.
                record.gave_up.clear();
                if is_new_boot {
                    record.loaded.clear();
                }
            });
            member.becomes(NodeState::Ready, "");
            self.news.notify_one();
            member.nudge.notify_one();
        }
    }

    /// Starts the workload of a node in each boot, once the node is Ready and may work. A start that came to nothing is tried
    /// again when the node is heard.
    async fn watch_workload(&self, member: &Member<'_>) {
        let mut heard = member.api.heard();
        loop {
            let boot = {
                let record = member.record.borrow();
                let is_to_start = record.ready && !record.cordoned && record.serves_in != record.boot_id;
                is_to_start.then(|| record.boot_id.clone())
            };
            if let Some(boot) = boot {
                let started =
                    pods::run(member, "workload", format!("systemctl start {WORKLOAD}"), self.pod_deadline()).await;
                // It may have been drained meanwhile.
                if started.is_ok() && !member.record.borrow().cordoned {
                    member.change(|record| record.serves_in = boot);
                    continue;
                }
            }
            tokio::select! {
                _ = heard.changed() => {}
                () = member.nudge.notified() => {}
            }
        }
    }
}
