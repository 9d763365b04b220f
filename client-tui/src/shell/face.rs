//! What the user sits at: a screen that is painted and sends keys, or lines that are printed and read. Imports the
//! terminal, the view, and the app's narrator.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};

use crossterm::event::EventStream;
use futures_util::StreamExt as _;
use quip_protocol::SafeLine;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Woken;
use super::terminal::Screen;
use crate::app::composer::COMPOSER_LIMIT;
use crate::app::plain::Narrator;
use crate::app::{Input, Seen};
use crate::config::settings::Alerts;
use crate::view::{self, Look};

/// Columns and rows that the app is told of where there is no screen.
const LINES: (u16, u16) = (80, 24);

/// One of the two.
pub enum Face {
    /// A terminal in our hands.
    Screen(Screen),
    /// Lines on standard output.
    Lines(Narrator),
}

impl Face {
    /// Shows how everything is now: all of it on a screen, what is new in lines.
    pub fn draw(&mut self, seen: Seen<'_>, look: Look) -> io::Result<()> {
        match self {
            Face::Screen(screen) => screen.draw(|frame| view::draw(frame, seen, look)),
            Face::Lines(narrator) => print(&narrator.news(seen)),
        }
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        match self {
            Face::Screen(screen) => screen.size(),
            Face::Lines(_) => Ok(LINES),
        }
    }

    /// Calls the user, who looks at something else.
    pub fn alert(&mut self, how: Alerts, title: &SafeLine, text: &SafeLine) -> io::Result<()> {
        match self {
            Face::Screen(screen) => screen.alert(how, title, text),
            Face::Lines(_) => print(&[format!("[{title}] {text}")]),
        }
    }

    /// The screen, for what lines cannot do.
    pub fn screen(&mut self) -> Option<&mut Screen> {
        match self {
            Face::Screen(screen) => Some(screen),
            Face::Lines(_) => None,
        }
    }
}

/// The text was made safe when it came in; once more costs little.
fn print(lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{}", SafeLine::new(line))?;
    }
    out.flush()
}

/// Where what the user types comes from.
pub enum Typed {
    /// Keys of a terminal; not while another program has it.
    Keys(Option<EventStream>),
    /// Lines of standard input.
    Lines(UnboundedReceiver<io::Result<String>>),
}

impl Typed {
    /// For this face.
    pub fn at(face: &Face) -> Typed {
        match face {
            Face::Screen(_) => Typed::Keys(None),
            Face::Lines(_) => Typed::Lines(lines()),
        }
    }

    /// Takes the keys, or leaves them to another program.
    pub fn take(&mut self, ours: bool) {
        if let Typed::Keys(keys) = self {
            match ours {
                true => drop(keys.get_or_insert_with(EventStream::new)),
                // Its thread reads what is typed: only where that is for us.
                false => *keys = None,
            }
        }
    }

    /// What is typed next.
    pub async fn next(&mut self) -> Woken {
        match self {
            Typed::Keys(Some(keys)) => super::terminal_input(keys.next().await),
            Typed::Keys(None) => std::future::pending().await,
            Typed::Lines(lines) => match lines.recv().await {
                Some(Ok(line)) => Woken::Input(Some(Input::Line(line))),
                Some(Err(error)) => Woken::Failed(error),
                None => Woken::Over,
            },
        }
    }
}

/// Reads standard input in a thread, as nothing else can without a terminal's help; it ends with the process.
fn lines() -> UnboundedReceiver<io::Result<String>> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let mut input = BufReader::new(io::stdin());
        loop {
            let line = line(&mut input);
            let over = !matches!(line, Ok(Some(_)));
            if line.transpose().is_some_and(|line| sender.send(line).is_err()) || over {
                return;
            }
        }
    });
    receiver
}

/// The next line without its end. One that is far too long comes in pieces, each of which is too long still.
fn line(input: &mut impl io::BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let most = COMPOSER_LIMIT as u64 + 1;
    if input.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whatever_they_hold() {
        let mut input = &b"one\r\ntwo \xff\n\nlast"[..];
        let mut read = Vec::new();
        while let Some(line) = line(&mut input).unwrap() {
            read.push(line);
        }
        assert_eq!(read, ["one", "two \u{fffd}", "", "last"]);
        let long = vec![b'x'; COMPOSER_LIMIT + 100];
        assert_eq!(line(&mut &long[..]).unwrap().unwrap().len(), COMPOSER_LIMIT + 1);
    }
}
