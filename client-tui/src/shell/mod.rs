//! The shell around the app: terminal, clock and network in, effects out. Imports everything the client has.

mod background;
mod copy;
mod face;
mod local;
mod mentions;
mod merges;
mod network;
mod outside;
mod reader;
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
use crate::app::plain::Narrator;
use crate::app::{App, Effect, Input, Key, Level, Preferences, Setup};
use crate::config::settings::{Alerts, Levels, Settings};
use crate::view::{self, Look};
use background::{Background, Heard};
use copy::Answer;
use face::{Face, Typed};
use local::Local;
use network::Network;
use outside::Outside;
use reader::CodeReader;
use terminal::Screen;

/// The shortest time between two paintings: a sixtieth of a second.
const FRAME: Duration = Duration::from_micros(16_667);
/// How often texts that depend on the time are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long plain mode waits at the end of its input for what is not delivered yet.
const LAST_WORDS: Duration = Duration::from_secs(5);
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
    /// Lines in, lines out, instead of a screen.
    pub plain: bool,
    /// Whether to use colours.
    pub color: bool,
    /// Whether the background is light.
    pub light: bool,
    /// Whether that is not known, and the terminal is to be asked.
    pub ask_background: bool,
    /// What `quip.toml` says.
    pub settings: Settings,
    /// Where it is kept which rooms call the user; `None` keeps nothing.
    pub levels: Option<Levels>,
}

/// Why the client ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// There is no terminal, or it is gone.
    #[error(
        "the terminal cannot be used: {0}; `quip --plain` needs none, and scripts use `quip send` and `quip tail`"
    )]
    Terminal(#[from] io::Error),
}

/// Runs the terminal client until the user quits. Returns how many deliveries are kept for the next start.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(client: Client, options: Options) -> Result<usize, ShellError> {
    let mut shell = Shell::new(client, options)?;
    let end = shell.run().await;
    let Shell { face, client, local, app, .. } = shell;
    drop(face);
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
pub async fn first_run(login: Option<AccountName>, look: Look) -> Result<FirstRun, ShellError> {
    let mut screen = Screen::enter()?;
    let mut state = FirstRunScreen::new(login.as_ref());
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
    face: Face,
    client: Client,
    network: Network,
    /// The replica and the outbox.
    local: Option<Local>,
    /// The client library has said its last word.
    over: bool,
    drawn_at: Instant,
    /// A program that has the terminal; until it ends nothing is painted and no key is ours.
    outside: Option<Outside>,
    /// The terminal was asked for its background.
    background: Option<Background>,
    reader: CodeReader,
    alerts: Alerts,
    levels: Option<Levels>,
    /// The input has ended; what is not delivered is waited for until then.
    over_at: Option<Instant>,
    quit: bool,
}

/// What the loop wakes up for.
enum Woken {
    Input(Option<Input>),
    /// From the server.
    Heard(Option<Input>),
    Draw,
    /// There is no more input.
    Over,
    End,
    Failed(io::Error),
}

impl Shell {
    fn new(client: Client, options: Options) -> io::Result<Shell> {
        let mut face = match options.plain {
            true => Face::Lines(Narrator::default()),
            false => Face::Screen(Screen::enter()?),
        };
        let setup =
            Setup { server: options.server, zone: TimeZone::system(), new_id: Box::new(MessageId::generate) };
        let mut app = App::new(setup, Timestamp::now());
        app.prefer(Preferences {
            keys: options.settings.keys,
            keep: options.settings.keep,
            notify: options.settings.notify,
            levels: options.levels.as_ref().map(Levels::load).unwrap_or_default(),
            mouse: options.settings.mouse,
            typing: options.settings.typing,
            away_after_ms: u64::from(options.settings.away_after) * 60_000,
        });
        if let (true, Some(screen)) = (options.settings.mouse, face.screen()) {
            screen.mouse(true)?;
        }
        let (columns, rows) = face.size()?;
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
            face,
            client,
            network,
            local,
            over: false,
            drawn_at,
            outside: None,
            background: None,
            reader: CodeReader::new(),
            alerts,
            levels,
            over_at: None,
            quit: false,
        };
        if let Some(dir) = options.local {
            shell.open_local(&dir)?;
        }
        if options.ask_background && shell.face.screen().is_some() {
            shell.background = Some(Background::asked(Instant::now()));
        }
        Ok(shell)
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut typed = Typed::at(&self.face);
        // Ctrl+C in an editor or a pager is for that program; it must not end this one.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.draw()?;
        if let (Some(_), Some(screen)) = (&self.background, self.face.screen()) {
            screen.ask(background::QUESTION)?;
        }
        let mut dirty = false;
        while !self.quit {
            dirty |= self.app.take_changed();
            typed.take(self.outside.is_none());
            if self.over_at.is_some_and(|at| self.app.waiting() == 0 || at <= Instant::now()) {
                return self.draw();
            }
            let next_frame = self.drawn_at + FRAME;
            let woken = tokio::select! {
                woken = typed.next(), if self.takes_input() => woken,
                input = outside::ended(&mut self.outside) => self.back(input),
                event = next(&mut self.client, self.over) => {
                    self.over = event.is_none();
                    Woken::Heard(event.and_then(network::input))
                }
                answer = self.network.next() => Woken::Heard(Some(answer)),
                answer = answer(&mut self.local) => self.found(answer),
                read = self.reader.next() => Woken::Input(read),
                () = sleep_until(next_frame), if dirty && self.outside.is_none() => Woken::Draw,
                _ = ticks.tick() => Woken::Input(Some(Input::Tick)),
                _ = interrupt.recv() => match self.face {
                    Face::Screen(_) => Woken::Input(None),
                    Face::Lines(_) => Woken::End,
                },
                _ = terminate.recv() => Woken::End,
                _ = hang_up.recv() => Woken::End,
            };
            match woken {
                Woken::Heard(Some(input)) => self.hear(input)?,
                Woken::Input(Some(Input::Key(key))) if self.background.is_some() => {
                    dirty |= self.typed(key)?
                }
                Woken::Input(Some(input)) => self.take(input)?,
                Woken::Input(None) | Woken::Heard(None) => {}
                Woken::Draw => {
                    self.draw()?;
                    dirty = false;
                }
                Woken::Over => self.over_at = Some(Instant::now() + LAST_WORDS),
                Woken::End => return Ok(()),
                Woken::Failed(error) => return Err(error),
            }
            if self.face.screen().is_none() {
                // The next line may come at once, and close what this one has opened.
                self.draw()?;
            }
        }
        Ok(())
    }

    /// A key while the terminal may answer; whether it did, and everything is to be painted anew.
    fn typed(&mut self, key: Key) -> io::Result<bool> {
        let Some(background) = &mut self.background else {
            return self.take(Input::Key(key)).map(|()| false);
        };
        let heard = background.take(key);
        if background.is_over(Instant::now()) {
            self.background = None;
        }
        match heard {
            Heard::Part => {}
            Heard::Typed(keys) => keys.into_iter().try_for_each(|key| self.take(Input::Key(key)))?,
            Heard::Answer(light) => {
                self.background = None;
                self.look.light = light.unwrap_or(self.look.light);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lines may come from a file, all at once: each is taken when it is known where the one before has led.
    fn takes_input(&self) -> bool {
        match self.face {
            Face::Screen(_) => true,
            Face::Lines(_) => self.over_at.is_none() && self.network.is_idle() && self.app.is_settled(),
        }
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
        if let Input::Older { room, floor, events, head } = input {
            if let Some(local) = &mut self.local {
                local.older(room, floor, events, head.seq);
            }
            return Ok(());
        }
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
                Effect::KeepLevels(levels) => self.keep_levels(&levels),
                Effect::Alert { title, text } if self.outside.is_none() => {
                    self.face.alert(self.alerts, &title, &text)?
                }
                Effect::Quit => self.quit = true,
                Effect::Search { query, .. } => {
                    let why =
                        SafeLine::new("nothing is kept on this disk, so that there is nothing to search");
                    self.take(Input::Found { query, found: Err(why), remaining: 0 })?;
                }
                effect => self.on_screen(effect)?,
            }
        }
        Ok(())
    }

    /// Performs what only a screen can do.
    fn on_screen(&mut self, effect: Effect) -> io::Result<()> {
        let Some(screen) = self.face.screen() else { return Ok(()) };
        match effect {
            Effect::Bell => screen.ring(),
            Effect::Suspend => {
                screen.suspend()?;
                // The window may have another size now, and nobody said so.
                let (columns, rows) = screen.size()?;
                self.app.handle(Input::Resize { columns, rows }, Timestamp::now());
                Ok(())
            }
            Effect::Mouse(ours) => screen.mouse(ours),
            Effect::Copy(text) => screen.copy(&text),
            Effect::Redraw => {
                terminal::fault();
                screen.forget()
            }
            Effect::Show(text) => self.lend(outside::show(text)),
            Effect::Compose(text) => self.lend(outside::compose(text)),
            Effect::Alert { .. } | Effect::KeepLevels(_) | Effect::Quit => Ok(()),
            // There is no local copy to forget it from, or to look into.
            Effect::Forget(_) | Effect::FindMentions(_) => Ok(()),
            // Performed by the network.
            Effect::Deliver(_) | Effect::Ask(_) | Effect::FetchPage { .. } | Effect::Mark { .. } => Ok(()),
            Effect::Typing(_) => Ok(()),
            Effect::Bring { .. } => Ok(()),
            // Answered before.
            Effect::Search { .. } => Ok(()),
        }
    }

    fn keep_levels(&mut self, levels: &BTreeMap<Target, Level>) {
        if let Some(Err(error)) = self.levels.as_ref().map(|kept| kept.save(levels)) {
            let why = SafeLine::new(&error.to_string());
            self.app.handle(Input::Composed(Err(why)), Timestamp::now());
        }
    }

    /// Lets a program have the terminal.
    fn lend(&mut self, outside: Outside) -> io::Result<()> {
        if let Some(screen) = self.face.screen() {
            screen.lend();
            self.outside = Some(outside);
        }
        Ok(())
    }

    /// It has ended.
    fn back(&mut self, input: Input) -> Woken {
        let reclaimed = self.face.screen().map_or(Ok(()), Screen::reclaim);
        let size = reclaimed.and_then(|()| self.face.size());
        match size {
            Ok((columns, rows)) => {
                self.app.handle(Input::Resize { columns, rows }, Timestamp::now());
                Woken::Input(Some(input))
            }
            Err(error) => Woken::Failed(error),
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        self.face.draw(&self.app, self.look)?;
        let unread = self.app.unread_code();
        if self.look.color {
            self.reader.ask(unread);
        }
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
