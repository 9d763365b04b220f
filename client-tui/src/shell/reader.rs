//! The thread that reads code for the app. Imports `syntax`, and the app's inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::app::Input;
use crate::syntax::Reader;

/// So long at most one block is read; what is behind that has no colours.
const LONGEST: Duration = Duration::from_secs(2);
/// After so long without a block the syntaxes are forgotten: some take 20 MiB of memory each.
const IDLE: Duration = Duration::from_secs(30);

/// Reads code aside. The thread begins with the first block: most starts of the client see none.
pub struct CodeReader {
    blocks: Option<Sender<String>>,
    said: UnboundedSender<Input>,
    answers: UnboundedReceiver<Input>,
}

impl CodeReader {
    /// One that has nothing to do.
    pub fn new() -> CodeReader {
        let (said, answers) = unbounded_channel();
        CodeReader { blocks: None, said, answers }
    }

    /// Has these blocks read: [`Input::Highlighted`] for each. Without a thread there are no colours, and that is all.
    pub fn ask(&mut self, blocks: Vec<String>) {
        for block in blocks {
            let sender = self.blocks.get_or_insert_with(|| begin(self.said.clone()));
            // A thread that could not be started hears nothing.
            let _ = sender.send(block);
        }
    }

    /// The next answer.
    pub async fn next(&mut self) -> Option<Input> {
        self.answers.recv().await
    }
}

fn begin(said: UnboundedSender<Input>) -> Sender<String> {
    let (sender, blocks) = channel();
    // It ends with the channel, or with the process.
    let _ = thread::Builder::new().name("code".to_owned()).spawn(move || read(&blocks, &said));
    sender
}

fn read(blocks: &Receiver<String>, said: &UnboundedSender<Input>) {
    while let Ok(first) = blocks.recv() {
        let reader = Reader::load();
        let mut next = Ok(first);
        while let Ok(block) = next {
            // What one block does to a library is no reason to read none of the others.
            let read = || reader.read(&block, Instant::now() + LONGEST);
            let words = catch_unwind(AssertUnwindSafe(read)).unwrap_or(None);
            if said.send(Input::Highlighted { block, words }).is_err() {
                return;
            }
            next = blocks.recv_timeout(IDLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::highlights::Syntax;

    #[tokio::test]
    async fn each_block_is_answered() {
        let mut reader = CodeReader::new();
        reader.ask(vec!["rust\nfn".to_owned(), "nosuch\nx".to_owned()]);
        let words = Some(vec![(5..7, Syntax::Keyword)]);
        for (block, words) in [("rust\nfn", words), ("nosuch\nx", None)] {
            assert_eq!(reader.next().await, Some(Input::Highlighted { block: block.to_owned(), words }));
        }
    }
}
