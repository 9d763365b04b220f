//! Senders: numbered, stamped messages, by a window or by a clock, with every receipt kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hdrhistogram::Histogram;
use quip_protocol::client::{Error, Handle};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{MessageId, MessageKind, Refusal, SafeText, Seq, Target};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::check;
use crate::latency::new_histogram;
use crate::stamp::{Clock, Stamp};

/// When a sender sends its next message.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// When fewer than so many are unacknowledged.
    Window(usize),
    /// At `first` and then each `every`, whatever is unacknowledged. Latencies count from then, so that a server that
    /// holds up the sender does not hide it.
    Clock {
        /// The first.
        first: Instant,
        /// The others.
        every: Duration,
    },
}

/// When a sender has sent enough.
#[derive(Debug, Clone)]
pub enum Enough {
    /// At this time.
    At(Instant),
    /// At so many messages.
    Messages(u64),
    /// When this is set.
    Told(Arc<AtomicBool>),
}

/// One who sends.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Of its connection.
    pub handle: Handle,
    /// Which it is.
    pub index: u32,
    /// The number of its next message.
    pub first: u64,
    /// Where to.
    pub to: Target,
    /// Bytes of each message.
    pub size: usize,
    /// Of the run.
    pub clock: Clock,
}

/// What a sender has sent.
#[derive(Debug)]
pub struct Sent {
    first: u64,
    /// The place of each message, in their order.
    pub places: Vec<Seq>,
    /// Until the receipt, in nanoseconds.
    pub receipts: Histogram<u64>,
    /// How often the server said that it takes no more now.
    pub held_back: u64,
}

/// When each message is due, told then. By a thread: tokio's timers come a millisecond or two late, which is as long as a
/// whole delivery takes.
fn ticks(first: Instant, every: Duration) -> UnboundedReceiver<Instant> {
    let (send, ticks) = unbounded_channel();
    std::thread::spawn(move || {
        let mut due = first;
        loop {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if send.send(due).is_err() {
                return;
            }
            due += every;
        }
    });
    ticks
}

struct Acknowledged {
    number: u64,
    nanos: u64,
    seq: Seq,
    held_back: u64,
}

impl Sender {
    /// Sends until it is enough, and waits for every receipt.
    ///
    /// # Errors
    /// When one is refused, or receipts are out of order.
    pub async fn send(self, pace: Pace, enough: Enough) -> Result<Sent> {
        let mut sent =
            Sent { first: self.first, places: Vec::new(), receipts: new_histogram(), held_back: 0 };
        match pace {
            Pace::Window(window) => self.by_window(window, enough, &mut sent).await?,
            Pace::Clock { first, every } => self.by_clock(first, every, enough, &mut sent).await?,
        }
        if sent.held_back == 0 && !check::in_order(&sent.places) {
            bail!("the receipts of sender {} are not in the order it sent", self.index);
        }
        Ok(sent)
    }

    /// Sends the message that ends the run.
    pub async fn end(&self) -> Result<Seq> {
        self.post(Stamp::end()).await.map(|(seq, _)| seq)
    }

    async fn by_window(&self, window: usize, enough: Enough, sent: &mut Sent) -> Result<()> {
        let mut waiting = FuturesUnordered::new();
        let mut number = 0;
        loop {
            while waiting.len() < window && enough.not_yet(number) {
                waiting.push(in_turn(self.message(self.first + number, self.clock.now())));
                number += 1;
            }
            let Some(acknowledged) = waiting.next().await else { return Ok(()) };
            sent.note(&acknowledged?);
        }
    }

    async fn by_clock(&self, first: Instant, every: Duration, enough: Enough, sent: &mut Sent) -> Result<()> {
        let mut ticks = ticks(first, every);
        let mut waiting = FuturesUnordered::new();
        let mut number = 0;
        loop {
            let more = enough.not_yet(number);
            tokio::select! {
                Some(due) = ticks.recv(), if more => {
                    waiting.push(in_turn(self.message(self.first + number, self.clock.at(due))));
                    number += 1;
                }
                Some(acknowledged) = waiting.next() => sent.note(&acknowledged?),
                else => return Ok(()),
            }
        }
    }

    async fn message(&self, number: u64, due: u64) -> Result<Acknowledged> {
        let (seq, held_back) = self.post(Stamp { sender: self.index, number, nanos: due }).await?;
        Ok(Acknowledged { number, nanos: self.clock.now().saturating_sub(due), seq, held_back })
    }

    /// Posts a message until it is taken: its place, and how often it was held back.
    async fn post(&self, stamp: Stamp) -> Result<(Seq, u64)> {
        let (target, id) = (self.to.clone(), MessageId::generate());
        let text = SafeText::new(&stamp.text(self.size));
        let post = Request::Post { target, id, kind: MessageKind::Plain, text, reply_to: None };
        for held_back in 0.. {
            let reply = match self.handle.request(post.clone()).await {
                Err(Error::Refused(Refusal { retry_after_ms: Some(ms), .. })) => {
                    tokio::time::sleep(spread(ms, stamp.number)).await;
                    continue;
                }
                reply => reply,
            };
            return match reply
                .with_context(|| format!("message {} of sender {}", stamp.number, self.index))?
            {
                Reply::Receipt(receipt) if receipt.id == id => Ok((receipt.seq, held_back)),
                other => bail!("a message was answered with {other:?}"),
            };
        }
        bail!("message {} of sender {} was never taken", stamp.number, self.index)
    }
}

/// As long as the server asks for, and up to half as long again, as clients wait, so that not all come at once.
fn spread(ms: u32, number: u64) -> Duration {
    Duration::from_millis(u64::from(ms) + u64::from(ms) * (number % 64) / 128)
}

/// The first polls of what is pushed are in the order of pushing, and the first poll asks: unless tokio holds one
/// of them back because its task has done enough for now.
fn in_turn<F: Future>(message: F) -> tokio::task::Unconstrained<F> {
    tokio::task::unconstrained(message)
}

impl Enough {
    fn not_yet(&self, sent: u64) -> bool {
        match self {
            Enough::At(end) => Instant::now() < *end,
            Enough::Messages(messages) => sent < *messages,
            Enough::Told(told) => !told.load(Ordering::Relaxed),
        }
    }
}

impl Sent {
    fn note(&mut self, acknowledged: &Acknowledged) {
        let at =
            usize::try_from(acknowledged.number - self.first).expect("what is counted in memory fits it");
        if self.places.len() <= at {
            self.places.resize(at + 1, Seq::ZERO);
        }
        self.places[at] = acknowledged.seq;
        self.receipts.saturating_record(acknowledged.nanos);
        self.held_back += acknowledged.held_back;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.places.len() as u64
    }
}

/// All receipts of all senders.
pub fn receipts(sent: &[Sent]) -> Histogram<u64> {
    let mut all = new_histogram();
    for one in sent {
        all.add(&one.receipts).expect("all histograms have the same bounds");
    }
    all
}
