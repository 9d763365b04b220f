//! The two lanes on which a member asks the log: a task and a connection each. Knows connections, and nothing of why something
//! is asked.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::address::Address;
use super::connection::Connection;
use super::counts::Counts;
use crate::log::shared::contract::{Answer, Ask, Lost};
use crate::log::shared::member::Lane;

/// What was answered, and on which lane.
pub(super) type Answered = (Lane, Result<Answer, Lost>);

/// Both. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Lanes {
    read: mpsc::UnboundedSender<Ask>,
    write: mpsc::UnboundedSender<Ask>,
    answers: mpsc::UnboundedReceiver<Answered>,
}

impl Lanes {
    pub(super) fn start(address: &Address, counts: &Arc<Counts>) -> Lanes {
        // On each lane one question is open: nothing fills.
        let (answer, answers) = mpsc::unbounded_channel();
        let lane = |lane| {
            let (ask, asked) = mpsc::unbounded_channel();
            let connection = Connection::new(address.clone());
            tokio::spawn(run(lane, connection, asked, answer.clone(), Arc::clone(counts)));
            ask
        };
        Lanes { read: lane(Lane::Read), write: lane(Lane::Write), answers }
    }

    pub(super) fn ask(&self, lane: Lane, ask: Ask) {
        let asks = if lane == Lane::Read { &self.read } else { &self.write };
        // A lane ends after this only.
        let _ = asks.send(ask);
    }

    /// Can be given up and awaited again.
    pub(super) async fn answered(&mut self) -> Option<Answered> {
        self.answers.recv().await
    }
}

async fn run(
    lane: Lane,
    mut connection: Connection,
    mut asked: mpsc::UnboundedReceiver<Ask>,
    answers: mpsc::UnboundedSender<Answered>,
    counts: Arc<Counts>,
) {
    while let Some(ask) = asked.recv().await {
        let (begun, made) = (Instant::now(), connection.made());
        let answer = connection.ask(&ask).await;
        counts.connected(connection.made() - made);
        counts.answered(&ask, &answer, begun.elapsed());
        if answers.send((lane, answer)).is_err() {
            return;
        }
    }
}
