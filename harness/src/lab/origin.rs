//! Where a trial's node begins, and what must be made for that: a template or a checkpoint, in the cache.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::checkpoint::{self, Checkpoint};
use super::surroundings::{Sockets, instruments, machine_spec};
use super::{Error, Host, Plan, Surroundings};
use crate::cache;
use crate::machine::{self, Begins, Instruments, Keeps, Template, WaitError};
use crate::scenario::Start;
use crate::timeline::{Bus, What};

/// Where a trial's node begins.
#[derive(Debug, Clone)]
pub enum Origin {
    /// At power-on.
    Cold,
    /// In its first boot's initramfs, about to ask for its config.
    Template(Template),
    /// At power-on, with its first boot done.
    Pulled(Checkpoint),
    /// Of several nodes, each where it begins itself.
    OfMembers(Vec<Origin>),
}

impl Origin {
    /// In the scenario's words.
    pub fn start(&self) -> Start {
        match self {
            Self::Cold => Start::Cold,
            Self::Template(_) => Start::Template,
            Self::Pulled(_) => Start::Pulled,
            Self::OfMembers(all) => all.first().map_or(Start::Cold, Self::start),
        }
    }

    /// Where one of several nodes begins, from 0.
    pub(super) fn of_member(&self, index: usize) -> &Self {
        match self {
            Self::OfMembers(all) => all.get(index).unwrap_or(&Self::Cold),
            alone => alone,
        }
    }

    /// What a machine begins with there.
    pub fn begins(&self) -> Begins {
        match self {
            Self::Cold | Self::OfMembers(_) => Begins::Fresh,
            Self::Template(template) => Begins::Forked(template.clone()),
            Self::Pulled(checkpoint) => Begins::WithDisks(checkpoint.dir().to_owned()),
        }
    }
}

/// Changes when a template or a checkpoint of the same inputs would be another.
const FORMAT: &[u8] = b"day1 origin 2";

/// Free space that a template takes: the pages that its guest has touched, and its disks.
const TEMPLATE_MIB: u64 = 1024;
/// Free space that a checkpoint takes: what a first boot writes.
const CHECKPOINT_MIB: u64 = 1024;

/// The longest way to the first request for a config, at reference speed.
const FIRST_REQUEST: Duration = Duration::from_secs(180);

/// The longest time in which a node reads the answer to its first request.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// The trial's origin; made first where the cache has none. Of several processes that want one, one makes it.
///
/// It runs an event loop of its own: don't call it in one. The machines that it starts die with this thread.
/// A checkpoint whose first boot does not come to its reboot is none: the trial then begins with the template,
/// and its checks tell what went wrong. With a QEMU that can't fork such machines every trial begins at power-on.
pub fn origin(plan: &Plan, host: &Host<'_>, interrupted: impl AsyncFn()) -> Result<Origin, Error> {
    match &plan.members {
        Some(pool) => {
            let all = pool.members.iter().map(|member| of_one(&member.plan, host, &interrupted));
            Ok(Origin::OfMembers(all.collect::<Result<_, _>>()?))
        }
        None => of_one(plan, host, &interrupted),
    }
}

fn of_one(plan: &Plan, host: &Host<'_>, interrupted: &impl AsyncFn()) -> Result<Origin, Error> {
    let start = plan.start;
    if start == Start::Cold {
        return Ok(Origin::Cold);
    }
    if instruments(&plan.node) == Instruments::Config {
        let trial = &plan.facts.trial;
        (host.tell)(&format!(
            "{trial} begins at power-on: its systemd takes no units as credentials, which a template needs"
        ));
        return Ok(Origin::Cold);
    }
    let architecture = plan.node.disk.architecture;
    let qemu = machine::qemu_version(architecture)?;
    if let Some(why) = machine::why_no_fork(architecture, &qemu) {
        (host.tell)(&format!("{} begins at power-on: {why}", plan.facts.trial));
        return Ok(Origin::Cold);
    }
    let spec = machine_spec(plan, host, Sockets::default(), Begins::Fresh, Keeps::Nothing);
    let shape = spec.shape(&qemu);
    let template_key = cache::key([FORMAT, plan.node.disk.digest.as_bytes(), shape.as_bytes()]);
    let cache = &host.workshop.cache;
    let template = cache.sealed_entry("template", &template_key, TEMPLATE_MIB, host.tell, |dir| {
        (host.tell)(&format!("making the template that {} begins with (once)", plan.facts.trial));
        host.workshop.failures.once(&template_key, || in_loop(make_template(plan, host, dir), interrupted))
    });
    let template = Template::in_dir(template?);
    if start == Start::Template {
        return Ok(Origin::Template(template));
    }
    let facts = serde_json::to_vec(&plan.facts.images).unwrap_or_default();
    let registry = format!("{:?}", plan.scenario.spec.registry);
    let delays = format!("{:?}", plan.scenario.spec.delays);
    let mut parts = vec![
        delays.as_bytes(),
        template_key.as_bytes(),
        plan.rendered.ignition_json.as_slice(),
        facts.as_slice(),
        registry.as_bytes(),
    ];
    // Who served the first boot is in what was recorded of it.
    parts.extend(host.workshop.registry.image_id().map(str::as_bytes));
    let key = cache::key(parts);
    let checkpoint = cache.sealed_entry("checkpoint", &key, CHECKPOINT_MIB, host.tell, |dir| {
        (host.tell)(&format!("making the checkpoint that {} begins with (once)", plan.facts.trial));
        in_loop(checkpoint::make(plan, host, &template, dir), interrupted)
    });
    match checkpoint {
        Ok(dir) => Ok(Origin::Pulled(Checkpoint::in_dir(dir))),
        Err(Error::NoCheckpoint { why }) => {
            (host.tell)(&format!("no checkpoint for {}: {why}; it begins with the template", plan.facts.trial));
            Ok(Origin::Template(template))
        }
        Err(error) => Err(error),
    }
}

/// Templates that could not be made in this run: the next trials that want them are told so at once, and don't wait as
/// long again.
#[derive(Debug, Default)]
pub struct Failures(Mutex<BTreeMap<String, String>>);

impl Failures {
    fn once(&self, key: &str, make: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let failures = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = failures().get(key) {
            return Err(Error::FailedBefore { why: why.clone() });
        }
        let made = make();
        if let Err(error @ Error::Template { .. }) = &made {
            failures().insert(key.to_owned(), error.to_string());
        }
        made
    }
}

fn in_loop(made: impl Future<Output = Result<(), Error>>, interrupted: &impl AsyncFn()) -> Result<(), Error> {
    // One thread for the machine, which dies with it, and one for the servers.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(Error::Loop)?;
    runtime.block_on(async {
        tokio::select! {
            made = made => made,
            () = interrupted() => Err(Error::Interrupted),
        }
    })
}

/// Boots a node until it asks for its config, and keeps it there.
async fn make_template(plan: &Plan, host: &Host<'_>, dir: &Path) -> Result<(), Error> {
    let bus = Bus::new(None);
    let surroundings = Surroundings::new(plan, host, &bus).await?;
    let keeps = Keeps::Template(dir.to_owned());
    let machine = surroundings.start_without_config(Begins::Fresh, keeps, None).await?;
    let mut last_line = String::new();
    let deadline = FIRST_REQUEST.mul_f64(host.acceleration.deadline_factor());
    let asked = machine.wait_for("request for its config", deadline, |event| match &event.what {
        What::ConfigServed(served) => (served.status == 503).then_some(()),
        What::Console(console) => {
            last_line.clone_from(&console.line);
            None
        }
        _ => None,
    });
    // An answer on its way would be lost to every fork, and each would wait in vain for it.
    let read = async {
        tokio::time::timeout(FIRST_ANSWER, surroundings.config_was_read()).await.map_err(|_| WaitError::Deadline {
            what: "end of the node's request for its config, which was answered".into(),
            after_s: FIRST_ANSWER.as_secs_f64(),
        })
    };
    let paused = async {
        asked.await?;
        read.await
    };
    if let Err(source) = paused.await {
        machine.stop().await;
        return Err(Error::Template { image: plan.node.name().to_owned(), source, last_line });
    }
    machine.into_template(dir).await?;
    surroundings.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_can_t_be_made_is_tried_once_in_a_run() {
        let failures = Failures::default();
        let failing = || {
            let source = WaitError::Deadline { what: "request for its config".into(), after_s: 180.0 };
            Err(Error::Template { image: "mine".into(), source, last_line: "login:".into() })
        };
        assert!(matches!(failures.once("a", failing), Err(Error::Template { .. })));
        let again = failures.once("a", || panic!("tried again")).expect_err("no template").to_string();
        assert!(again.contains("mine") && again.contains("earlier trial"), "{again}");
        assert!(failures.once("b", || Ok(())).is_ok());
        // An interrupt says nothing about the template.
        assert!(failures.once("c", || Err(Error::Interrupted)).is_err());
        assert!(failures.once("c", || Ok(())).is_ok());
    }
}
