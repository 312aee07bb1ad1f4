//! A trial with several nodes: one network, one control plane, and each node followed as if it stood alone.

mod control;
mod daemon;
mod day2;
mod member;
mod plan;
mod pods;

pub use plan::{MemberPlan, PoolConfig, PoolPlan, Stage};
pub(super) use plan::{PoolDraft, base, draft, plan};

use std::path::Path;
use std::sync::Arc;

use control::Control;
use futures::future::join_all;
use member::{Follower, Member};

use super::hands::Hands;
use super::happen::Happenings;
use super::origin::Origin;
use super::{Error, Host, Plan, Surroundings, files};
use crate::machine::Keeps;
use crate::network::Lan;
use crate::timeline::{Bus, What};

/// Runs a trial with several nodes to its end.
pub(super) async fn run(
    plan: &Plan,
    pool: &PoolPlan,
    origin: &Origin,
    host: &Host<'_>,
    dir: &Path,
    bus: &Bus,
) -> Result<(), Error> {
    bus.push(What::Facts(plan.facts.clone()));
    let buses: Vec<(String, Bus)> =
        pool.members.iter().map(|member| (member.name.clone(), bus.of_node(&member.name))).collect();
    let mut lan = Lan::new();
    let mut surroundings = vec![];
    for (member, (name, bus)) in pool.members.iter().zip(&buses) {
        let mut own = Surroundings::new(&member.plan, host, bus).await?;
        if let Some(station) = &member.plan.station {
            let socket = lan.attach(station.clone()).map_err(|source| Error::Network { node: name.clone(), source })?;
            own.plug(Arc::new(socket));
        }
        bus.push(What::Facts(member.plan.facts.clone()));
        surroundings.push(own);
    }
    let factor = host.acceleration.deadline_factor();
    lan.observe(&buses, factor);
    let mut machines = vec![];
    for (index, (own, member)) in surroundings.iter().zip(&pool.members).enumerate() {
        let dir = dir.join(files::NODES).join(&member.name);
        let written = |source| Error::Write { path: dir.clone(), source };
        std::fs::create_dir_all(&dir).map_err(written)?;
        std::fs::write(dir.join(files::RENDERED), &member.plan.rendered.ignition_json).map_err(written)?;
        let begins = origin.of_member(index).begins();
        machines.push(own.start(begins, Keeps::Nothing, Some(&dir.join(files::CONSOLE))).await?);
    }
    let hands: Vec<Hands<'_>> = machines
        .iter()
        .zip(&surroundings)
        .zip(&buses)
        .map(|((machine, surroundings), (_, bus))| Hands { machine, surroundings, bus, factor })
        .collect();
    let happenings: Vec<Happenings<'_>> = hands.iter().map(Happenings::new).collect();
    let followers: Vec<Follower<'_>> =
        hands.iter().zip(&happenings).map(|(hands, happenings)| Follower::new(hands, happenings.armed())).collect();
    let members: Option<Vec<Member<'_>>> = pool
        .members
        .iter()
        .zip(&hands)
        .zip(&followers)
        .map(|((plan, hands), follower)| Member::new(plan, hands, follower.seen()))
        .collect();
    let control = Control::new(pool, &plan.scenario.spec, members.unwrap_or_default(), &lan, bus, factor);
    let whole = async {
        let aside = async {
            let happen = happenings
                .iter()
                .zip(&hands)
                .map(|(happenings, hands)| happenings.follow(&hands.surroundings.plan().scenario.spec.happens));
            tokio::join!(join_all(followers.iter().map(Follower::follow)), join_all(happen), control.watch());
            std::future::pending::<()>().await;
        };
        let lost = futures::future::select_all(surroundings.iter().map(|own| Box::pin(own.registry_ended())));
        tokio::select! {
            () = control.run() => Ok(()),
            () = aside => Ok(()),
            (why, ..) = lost => Err(Error::RegistryEnded { why }),
        }
    };
    let outcome = whole.await;
    drop(control);
    drop(followers);
    drop(happenings);
    drop(hands);
    for machine in machines {
        machine.stop().await;
    }
    for own in surroundings {
        own.stop().await;
    }
    outcome
}
