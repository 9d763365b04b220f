//! The shell around the app: terminal, clock and network in, effects out. Imports everything the client has.

mod local;
mod network;
mod outside;
mod search;
mod terminal;

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use quip_protocol::client::Client;
use quip_protocol::{AccountName, MessageId, SafeLine, Target, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use crate::app::first_run::FirstRun;
use crate::app::first_run::FirstRunScreen;
use crate::app::{App, Effect, Input, Level, Preferences, Setup};
use crate::config::settings::{Alerts, Levels, Settings};
use crate::view::{self, Look};
use local::{Answer, Local};
use network::Network;
use outside::Outside;
use terminal::Screen;

/// The shortest time between two paintings.
const FRAME: Duration = Duration::from_millis(16);
/// How often texts that depend on the time are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long saying goodbye to the server may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the client is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server's address; best a link with its fingerprint, which invite links are then made of.
    pub server: String,
    /// Lines shown once, such as the invite link when hosting.
    pub notice: Vec<String>,
    /// Where the replica and the outbox lie; `None` keeps nothing.
    pub local: Option<PathBuf>,
    /// Whether to use colours.
    pub color: bool,
    /// Whether the background is light.
    pub light: bool,
    /// What `quip.toml` says.
    pub settings: Settings,
    /// Where it is kept which rooms call the user; `None` keeps nothing.
    pub levels: Option<Levels>,
}

/// Why the client ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// There is no terminal, or it is gone.
    #[error("the terminal cannot be used: {0}; in scripts use `quip send` and `quip tail`")]
    Terminal(#[from] io::Error),
}

/// Runs the terminal client until the user quits. Returns how many deliveries are kept for the next start.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(client: Client, options: Options) -> Result<usize, ShellError> {
    let mut shell = Shell::new(client, options)?;
    let end = shell.run().await;
    let Shell { screen, client, local, app, .. } = shell;
    drop(screen);
    let kept = if local.is_some() { app.waiting() } else { 0 };
    if let Some(local) = local {
        local.close(&app);
    }
    // The server notices by itself if this takes too long.
    let _ = tokio::time::timeout(GOODBYE, client.close()).await;
    end.map(|()| kept).map_err(ShellError::from)
}

/// Asks what to do where no server is known yet.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn first_run(default_name: AccountName, look: Look) -> Result<FirstRun, ShellError> {
    let mut screen = Screen::enter()?;
    let mut state = FirstRunScreen::new(&default_name);
    let mut keys = EventStream::new();
    loop {
        screen.draw(|frame| view::first_run::draw(frame, &state, look))?;
        let Some(event) = keys.next().await else { return Ok(FirstRun::Quit) };
        match event? {
            TerminalEvent::Key(event) => {
                if let Some(chosen) = terminal::key(event).and_then(|key| state.key(key)) {
                    return Ok(chosen);
                }
            }
            TerminalEvent::Paste(text) => state.paste(&text),
            _ => {}
        }
    }
}

struct Shell {
    app: App,
    look: Look,
    screen: Screen,
    client: Client,
    network: Network,
    /// The replica and the outbox.
    local: Option<Local>,
    /// The client library has said its last word.
    over: bool,
    drawn_at: Instant,
    /// A program that has the terminal; until it ends nothing is painted and no key is ours.
    outside: Option<Outside>,
    alerts: Alerts,
    levels: Option<Levels>,
    quit: bool,
}

/// What the loop wakes up for.
enum Woken {
    Input(Option<Input>),
    /// From the server.
    Heard(Option<Input>),
    Draw,
    End,
    Failed(io::Error),
}

impl Shell {
    fn new(client: Client, options: Options) -> io::Result<Shell> {
        let mut screen = Screen::enter()?;
        let setup =
            Setup { server: options.server, zone: TimeZone::system(), new_id: Box::new(MessageId::generate) };
        let mut app = App::new(setup, Timestamp::now());
        app.prefer(Preferences {
            keys: options.settings.keys,
            notify: options.settings.notify,
            levels: options.levels.as_ref().map(Levels::load).unwrap_or_default(),
            mouse: options.settings.mouse,
        });
        if options.settings.mouse {
            screen.mouse(true)?;
        }
        let (columns, rows) = screen.size()?;
        app.handle(Input::Resize { columns, rows }, Timestamp::now());
        if !options.notice.is_empty() {
            let lines = options.notice.iter().map(|line| SafeLine::new(line)).collect();
            app.handle(Input::Show { title: SafeLine::new("Welcome"), lines }, Timestamp::now());
        }
        let network = Network::new(&client);
        let drawn_at = Instant::now();
        let look = Look { color: options.color, light: options.light };
        let local = None;
        let (alerts, levels) = (options.settings.alerts, options.levels);
        let mut shell = Shell {
            app,
            look,
            screen,
            client,
            network,
            local,
            over: false,
            drawn_at,
            outside: None,
            alerts,
            levels,
            quit: false,
        };
        if let Some(dir) = options.local {
            shell.open_local(&dir)?;
        }
        Ok(shell)
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut keys = None;
        // Ctrl+C in an editor or a pager is for that program; it must not end this one.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.draw()?;
        let mut dirty = false;
        while !self.quit {
            dirty |= self.app.take_changed();
            match self.outside {
                // Its thread reads what is typed: only where that is for us.
                Some(_) => keys = None,
                None => drop(keys.get_or_insert_with(EventStream::new)),
            }
            let next_frame = self.drawn_at + FRAME;
            let woken = tokio::select! {
                event = next_key(&mut keys) => terminal_input(event),
                input = outside::ended(&mut self.outside) => self.back(input),
                event = next(&mut self.client, self.over) => {
                    self.over = event.is_none();
                    Woken::Heard(event.and_then(network::input))
                }
                answer = self.network.next() => Woken::Heard(Some(answer)),
                answer = answer(&mut self.local) => self.found(answer),
                () = sleep_until(next_frame), if dirty && self.outside.is_none() => Woken::Draw,
                _ = ticks.tick() => Woken::Input(Some(Input::Tick)),
                _ = interrupt.recv() => Woken::Input(None),
                _ = terminate.recv() => Woken::End,
                _ = hang_up.recv() => Woken::End,
            };
            match woken {
                Woken::Heard(Some(input)) => self.hear(input)?,
                Woken::Input(Some(input)) => self.take(input)?,
                Woken::Input(None) | Woken::Heard(None) => {}
                Woken::Draw => {
                    self.draw()?;
                    dirty = false;
                }
                Woken::End => return Ok(()),
                Woken::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Shows what lies on the disk, before the server is asked anything.
    fn open_local(&mut self, dir: &Path) -> io::Result<()> {
        match Local::open(dir) {
            Ok((local, loaded, deliver)) => {
                self.local = Some(local);
                self.take(Input::Local(Ok(loaded)))?;
                deliver.into_iter().for_each(|effect| drop(self.network.perform(effect)));
                Ok(())
            }
            Err(why) => self.take(Input::Local(Err(local::not_kept(&why)))),
        }
    }

    /// Takes what the server said, and writes it down.
    fn hear(&mut self, input: Input) -> io::Result<()> {
        if let Some(local) = &mut self.local {
            for effect in local.note(&input) {
                self.network.perform(effect);
            }
        }
        self.take(input)
    }

    /// What the replica has; what it does not have is for the server.
    fn found(&mut self, answer: Answer) -> Woken {
        match answer {
            Answer::Found(input) => Woken::Input(Some(input)),
            Answer::Missing(asked) if self.app.is_up() => {
                self.network.perform(asked);
                Woken::Input(None)
            }
            Answer::Missing(asked) => Woken::Input(local::page_failed(&asked)),
        }
    }

    fn take(&mut self, input: Input) -> io::Result<()> {
        let now = Timestamp::now();
        if let (Input::Tick | Input::Answer { .. }, Some(local)) = (&input, &mut self.local) {
            local.keep_rooms(&self.app);
        }
        let effects = self.app.handle(input, now);
        for effect in effects {
            let effect = match &mut self.local {
                Some(local) => local.perform(effect, &self.app, now),
                None => Ok(Some(effect)),
            };
            let effect = match effect {
                Ok(Some(effect)) => effect,
                Ok(None) => continue,
                Err(input) => {
                    self.take(*input)?;
                    continue;
                }
            };
            let Some(effect) = self.network.perform(effect) else { continue };
            match effect {
                Effect::Bell => self.screen.ring()?,
                Effect::Suspend => {
                    self.screen.suspend()?;
                    // The window may have another size now, and nobody said so.
                    let (columns, rows) = self.screen.size()?;
                    self.app.handle(Input::Resize { columns, rows }, Timestamp::now());
                }
                Effect::KeepLevels(levels) => self.keep_levels(&levels),
                Effect::Mouse(ours) => self.screen.mouse(ours)?,
                Effect::Copy(text) => self.screen.copy(&text)?,
                Effect::Alert { title, text } if self.outside.is_none() => {
                    self.screen.alert(self.alerts, &title, &text)?
                }
                Effect::Alert { .. } => {}
                Effect::Show(text) => self.lend(outside::show(text)),
                Effect::Compose(text) => self.lend(outside::compose(text)),
                Effect::Redraw => self.screen.forget()?,
                Effect::Quit => self.quit = true,
                // There is nothing to forget it from.
                Effect::Forget(_) => {}
                Effect::Search { query, .. } => {
                    let why =
                        SafeLine::new("nothing is kept on this disk, so that there is nothing to search");
                    self.take(Input::Found { query, found: Err(why), remaining: 0 })?;
                }
                // Performed by the network.
                Effect::Deliver(_) | Effect::Ask(_) | Effect::FetchPage { .. } | Effect::Mark { .. } => {}
            }
        }
        Ok(())
    }

    fn keep_levels(&mut self, levels: &BTreeMap<Target, Level>) {
        if let Some(Err(error)) = self.levels.as_ref().map(|kept| kept.save(levels)) {
            let why = SafeLine::new(&error.to_string());
            self.app.handle(Input::Composed(Err(why)), Timestamp::now());
        }
    }

    /// Lets a program have the terminal.
    fn lend(&mut self, outside: Outside) {
        self.screen.lend();
        self.outside = Some(outside);
    }

    /// It has ended.
    fn back(&mut self, input: Input) -> Woken {
        let size = self.screen.reclaim().and_then(|()| self.screen.size());
        match size {
            Ok((columns, rows)) => {
                self.app.handle(Input::Resize { columns, rows }, Timestamp::now());
                Woken::Input(Some(input))
            }
            Err(error) => Woken::Failed(error),
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (app, look) = (&self.app, self.look);
        self.screen.draw(|frame| view::draw(frame, app, look))?;
        self.drawn_at = Instant::now();
        Ok(())
    }
}

/// What the client library says next; nothing once it is over.
async fn next(
    client: &mut Client,
    over: bool,
) -> Option<Result<quip_protocol::client::Event, quip_protocol::client::Error>> {
    if over { pending().await } else { client.next().await }
}

/// What the replica has found next.
async fn answer(local: &mut Option<Local>) -> Answer {
    match local {
        Some(local) => local.next().await,
        None => pending().await,
    }
}

/// What the terminal says next; nothing while another program has it.
async fn next_key(keys: &mut Option<EventStream>) -> Option<io::Result<TerminalEvent>> {
    match keys {
        Some(keys) => keys.next().await,
        None => pending().await,
    }
}

fn terminal_input(event: Option<io::Result<TerminalEvent>>) -> Woken {
    match event {
        None => Woken::End,
        Some(Err(error)) => Woken::Failed(error),
        Some(Ok(TerminalEvent::Key(event))) => Woken::Input(terminal::key(event).map(Input::Key)),
        Some(Ok(TerminalEvent::Paste(text))) => Woken::Input(Some(Input::Paste(text))),
        Some(Ok(TerminalEvent::Resize(columns, rows))) => Woken::Input(Some(Input::Resize { columns, rows })),
        Some(Ok(TerminalEvent::Mouse(event))) => Woken::Input(terminal::mouse(event)),
        Some(Ok(TerminalEvent::FocusGained)) => Woken::Input(Some(Input::Focus(true))),
        Some(Ok(TerminalEvent::FocusLost)) => Woken::Input(Some(Input::Focus(false))),
    }
}
