//! The door to a trial's machine from inside: lets people in, and lets a machine go that is kept for them.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Notify, watch};

use super::hands::Hands;
use crate::door::{self, Connection, Hearing, Lodging, Message, Node, Request, Saying};
use crate::machine::{Said, Told, Way};
use crate::timeline::What;

/// The longest time in which the guest's agent answers, at reference speed: a node may be on its way to its real root.
const AGENT: Duration = Duration::from_secs(120);

/// A trial's machine, and those who come to it.
pub(super) struct Visit<'l> {
    hands: &'l Hands<'l>,
    /// None where it can't be opened.
    listener: Option<UnixListener>,
    node: watch::Sender<Node>,
    entered: Notify,
    released: Notify,
}

impl<'l> Visit<'l> {
    pub(super) fn new(hands: &'l Hands<'l>, dir: &Path) -> Self {
        let listener = door::open(dir);
        if let Err(error) = &listener {
            hands.bus.push(What::Note { text: format!("nobody can come to this machine: {error}") });
        }
        let node = watch::Sender::new(Node::OnTrial);
        Self { hands, listener: listener.ok(), node, entered: Notify::new(), released: Notify::new() }
    }

    /// The trial is over, and the machine is not.
    pub(super) fn is_now(&self, node: Node) {
        self.node.send_replace(node);
    }

    /// Waits until a person wants the node of a trial that goes on, and gives the reason for its end.
    pub(super) async fn wanted(&self) -> String {
        self.entered.notified().await;
        format!("somebody came into the running node in boot {}", self.hands.bus.boot())
    }

    /// Waits until a kept machine is let go, or ends.
    pub(super) async fn hold(&self) {
        let mut events = self.hands.bus.from_start();
        let ended = async { while !matches!(events.next().await.what, What::MachineExited(_)) {} };
        tokio::select! {
            () = self.released.notified() => {}
            () = ended => {}
        }
    }

    /// Lets people in, for ever.
    pub(super) async fn serve(&self) -> Infallible {
        let visitors = futures::stream::unfold((), async |()| match &self.listener {
            Some(listener) => door::next(listener).await.ok().map(|visitor| (visitor, ())),
            None => None,
        });
        visitors.for_each_concurrent(None, async |visitor| self.receive(visitor).await).await;
        std::future::pending().await
    }

    async fn receive(&self, mut visitor: Connection) {
        let Some(Ok(Message::Request(request))) = visitor.next().await else { return };
        let answer = match &request {
            Request::Look => Ok(()),
            Request::Release if *self.node.borrow() == Node::OnTrial => {
                Err("its trial goes on, and ends the machine by itself".into())
            }
            Request::Release => {
                // The answer first: with the machine, this process may end.
                let _ = visitor.send(Message::Answer(Ok(self.lodging()))).await;
                self.released.notify_one();
                return;
            }
            Request::Continue => self.go_on().await,
            Request::Enter { now, .. } => self.admit(*now).await,
        };
        let refused = answer.is_err();
        let answered = visitor.send(Message::Answer(answer.map(|()| self.lodging()))).await;
        if let Request::Enter { way, .. } = &request
            && !refused
            && answered.is_ok()
        {
            self.accompany(way, visitor).await;
        }
    }

    fn lodging(&self) -> Lodging {
        Lodging {
            trial: self.hands.surroundings.plan().facts.trial.clone(),
            pid: std::process::id(),
            boot: self.hands.bus.boot(),
            node: self.node.borrow().clone(),
        }
    }

    /// Makes a node ready for a visitor.
    async fn admit(&self, now: bool) -> Result<(), String> {
        let node = self.node.borrow().clone();
        match node {
            Node::OnTrial if now => {
                self.entered.notify_one();
                // The trial is about to end.
                let mut node = self.node.subscribe();
                let _ = node.wait_for(|node| *node != Node::OnTrial).await;
                Ok(())
            }
            Node::OnTrial => Err("its trial goes on, and would end without a verdict if somebody came in; \
                                  to come in all the same, add --now"
                .into()),
            Node::Stopped { at } => {
                // Asked before the node goes on, so that it comes to as little as may be.
                let (still, resumed) = tokio::join!(
                    self.hands.machine.freeze(true, self.hands.stretched(AGENT)),
                    self.hands.machine.resume()
                );
                resumed.map_err(|error| error.to_string())?;
                self.node.send_replace(Node::StandsStill { at });
                still.map_err(|error| format!("the node goes on, and nobody can come in yet: {error}"))?;
                Ok(())
            }
            Node::Kept | Node::StandsStill { .. } => Ok(()),
        }
    }

    async fn go_on(&self) -> Result<(), String> {
        let node = self.node.borrow().clone();
        match node {
            Node::OnTrial | Node::Kept => return Err("its node was not stopped".into()),
            Node::Stopped { .. } => self.hands.machine.resume().await.map_err(|error| error.to_string())?,
            Node::StandsStill { .. } => {
                let thawed = self.hands.machine.freeze(false, self.hands.stretched(AGENT)).await;
                thawed.map_err(|error| error.to_string())?;
            }
        }
        self.node.send_replace(Node::Kept);
        Ok(())
    }

    /// Stays with the visitor until one of both ends.
    async fn accompany(&self, way: &Way, visitor: Connection) {
        let (saying, hearing) = visitor.split();
        let saying: Arc<Mutex<Saying>> = Arc::new(Mutex::new(saying));
        let say = async |said: Said| {
            // One who is gone is noticed by what is heard no more.
            let _ = saying.lock().await.send(Message::Said(said)).await;
        };
        let told = Box::pin(told(hearing));
        let ended = self.hands.machine.enter(way, self.hands.stretched(AGENT), told, say).await;
        let ended = ended.map_err(|error| error.to_string());
        let _ = saying.lock().await.send(Message::Ended(ended)).await;
    }
}

/// What the visitor tells the session.
fn told(hearing: Hearing) -> impl futures::Stream<Item = Told> {
    hearing.take_while(|message| std::future::ready(message.is_ok())).filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Told(told)) => Some(told),
            _ => None,
        })
    })
}
