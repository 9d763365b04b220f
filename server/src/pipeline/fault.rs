//! Failures: what happens when a thread that everything depends on panics, and failures to come, for tests.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::error;

use crate::node::Node;

/// A failure to come, for tests of what happens then.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The writer panics in its next group.
    WriterPanics,
    /// The store's thread panics in its next batch.
    StorePanics,
    /// The store turns out to be damaged in its next batch.
    StoreBreaks,
    /// The disk takes long to sync, from now on.
    SlowDisk,
    /// sled says in its next batch that the disk is full.
    StoreIsFull,
}

impl Fault {
    /// By the name that `QUIPD_FAULT` has for it, in tests with a real process.
    pub fn from_env() -> Option<Fault> {
        match std::env::var("QUIPD_FAULT").ok()?.as_str() {
            "writer-panics" => Some(Fault::WriterPanics),
            "store-panics" => Some(Fault::StorePanics),
            "store-breaks" => Some(Fault::StoreBreaks),
            "slow-disk" => Some(Fault::SlowDisk),
            "store-is-full" => Some(Fault::StoreIsFull),
            _ => None,
        }
    }

    /// While it lasts, what it slows takes so long.
    pub(super) fn linger(self, node: &Node, long: Duration) {
        if *node.fault.lock() == Some(self) {
            thread::sleep(long);
        }
    }

    /// Does it if it is to come now.
    pub(super) fn strike(self, node: &Node, harm: impl FnOnce()) {
        if node.fault.lock().take_if(|fault| *fault == self).is_some() {
            harm();
        }
    }
}

/// Held by a thread that everything depends on: should it panic, the server is over. A panic is a mistake in the
/// program, so what is in memory is not to be trusted; the journal is.
pub(super) struct EndsWithPanic(pub Arc<Node>);

impl Drop for EndsWithPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(
                thread = thread::current().name(),
                "a thread of the server panicked: quipd ends, to be started again; nothing acknowledged is lost; please report this"
            );
            self.0.durable.die();
        }
    }
}
