//! The terminal: entered, and given back on quit, on errors, on panic and around Ctrl+Z. Imports crossterm and
//! ratatui; of the app only its keys.

use std::io::{self, Stdout, Write};
use std::panic::{self, PanicHookInfo};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent,
    MouseEventKind,
};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use quip_protocol::SafeLine;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::app::input::Mouse;
use crate::app::{Code, Input, Key};
use crate::config::settings::Alerts;

/// Whether the terminal is ours now: giving it back twice would take the user's screen from the next program.
static OURS: AtomicBool = AtomicBool::new(false);
/// Whether the mouse is ours as well.
static MOUSE: AtomicBool = AtomicBool::new(false);
/// Panics of other threads, said once the screen is the user's again.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The terminal in our hands; dropping it gives it back.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal: alternate screen, raw mode, bracketed paste.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn enter() -> io::Result<Screen> {
        catch_panics();
        take()?;
        // From here on dropping gives it back, also if the next line fails.
        let screen = Terminal::new(CrosstermBackend::new(io::stdout())).map(|terminal| Screen { terminal });
        screen.inspect_err(|_| give_back())
    }

    /// Paints.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, paint: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(paint).map(drop)
    }

    /// Its columns and rows.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Forgets what is on it, so that the next `draw` paints everything.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn forget(&mut self) -> io::Result<()> {
        // Not ratatui's `clear`: it asks the terminal where the cursor is, and the answer is read elsewhere.
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Rings.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn ring(&mut self) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(b"\x07")?;
        out.flush()
    }

    /// Asks the terminal something; the answer comes among the keys.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn ask(&mut self, question: &[u8]) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(question)?;
        out.flush()
    }

    /// Puts `text` into the user's clipboard, as OSC 52. Only for what the user asked for by a key.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout();
        write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(text))?;
        out.flush()
    }

    /// Rings, and tells the terminal's desktop what there is, as far as it takes that.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn alert(&mut self, how: Alerts, title: &SafeLine, text: &SafeLine) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(alert(how, title, text).as_bytes())?;
        out.flush()
    }

    /// Takes the mouse, or gives it back.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn mouse(&mut self, ours: bool) -> io::Result<()> {
        MOUSE.store(ours, Ordering::SeqCst);
        if ours {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    /// Gives the terminal to another program.
    pub fn lend(&mut self) {
        give_back();
    }

    /// Takes it again.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn reclaim(&mut self) -> io::Result<()> {
        take()?;
        self.forget()
    }

    /// Gives the terminal back, stops as Ctrl+Z does, and takes it again when the shell says so.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // The whole process group, as the terminal itself does it: whoever started us must stop too. The signal
        // cannot be raised without `unsafe`, so `kill` does it; a failure means that we just go on.
        let _ = Command::new("kill").args(["-s", "TSTP", "0"]).stderr(Stdio::null()).status();
        take()?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let mut err = io::stderr();
        for line in panics {
            // The last word, on the way out: nobody is left to tell that it failed.
            let _ = writeln!(err, "{line}");
        }
    }
}

/// Terminals that know OSC 777 and not OSC 9.
fn speaks_777() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    term.starts_with("foot") || term.starts_with("rxvt")
}

/// A bell, and OSC 9 or OSC 777. A semicolon divides what they say.
fn alert(how: Alerts, title: &SafeLine, text: &SafeLine) -> String {
    let title = title.as_str().replace(';', ",");
    match how {
        Alerts::Off => String::new(),
        Alerts::Bell => "\x07".to_owned(),
        Alerts::Auto if speaks_777() => format!("\x07\x1b]777;notify;{title};{text}\x07"),
        Alerts::Osc777 => format!("\x07\x1b]777;notify;{title};{text}\x07"),
        Alerts::Auto | Alerts::Osc9 => format!("\x07\x1b]9;{title}: {text}\x07"),
    }
}

fn take() -> io::Result<()> {
    OURS.store(true, Ordering::SeqCst);
    let taken = enable_raw_mode().and_then(|()| {
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        if MOUSE.load(Ordering::SeqCst) { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
    });
    taken.inspect_err(|_| give_back())
}

fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        // Each step on its own: if one fails the next may still help.
        if MOUSE.load(Ordering::SeqCst) {
            let _ = execute!(io::stdout(), DisableMouseCapture);
        }
        let _ = execute!(io::stdout(), DisableFocusChange, DisableBracketedPaste);
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A mistake to come, for tests of the real program: `QUIP_FAULT` says in which thread there is a panic.
pub fn fault() {
    match std::env::var("QUIP_FAULT").as_deref() {
        Ok("panic") => panic!("QUIP_FAULT\nasked for it"),
        Ok("panic-aside") => drop(thread::spawn(|| panic!("QUIP_FAULT\nasked for it")).join()),
        _ => {}
    }
}

/// What is said of a panic, on one line.
fn mistake(info: &PanicHookInfo<'_>, ended: &str) -> String {
    let what = info.payload_as_str().unwrap_or("no words");
    let place =
        info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    let what = SafeLine::new(&what.split_whitespace().collect::<Vec<_>>().join(" "));
    format!("quip: {ended} because of a mistake in quip ({what}{place}); please report this line")
}

/// A panic of this thread gives the terminal back before it is reported. One of another thread (a server that runs
/// in this process) ends a task, not the client: it is reported later.
fn catch_panics() {
    let own = thread::current().id();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() == own || !OURS.load(Ordering::SeqCst) {
            give_back();
            if std::env::var("RUST_BACKTRACE").is_ok_and(|wish| wish != "0") {
                return before(info);
            }
            // Nobody is left to tell that it failed.
            let _ = writeln!(io::stderr(), "{}", mistake(info, "ended"));
        } else if let Ok(mut panics) = PANICS.lock() {
            panics.push(mistake(info, "a part of it ended"));
        }
    }));
}

/// The app's input for what a mouse does, if it has one.
pub fn mouse(event: MouseEvent) -> Option<Input> {
    let what = match event.kind {
        MouseEventKind::ScrollUp => Mouse::WheelUp,
        MouseEventKind::ScrollDown => Mouse::WheelDown,
        MouseEventKind::Down(MouseButton::Left) => Mouse::Click,
        _ => return None,
    };
    Some(Input::Mouse { what, x: event.column, y: event.row })
}

/// The app's key for crossterm's, if it has one.
pub fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let has = |modifier| event.modifiers.contains(modifier);
    let (mut ctrl, mut alt) = (has(KeyModifiers::CONTROL), has(KeyModifiers::ALT));
    let code = match event.code {
        KeyCode::Char(c) => {
            // AltGr is reported as Ctrl and Alt by some terminals; what it writes is a character.
            if ctrl && alt && !c.is_ascii_alphanumeric() {
                (ctrl, alt) = (false, false);
            }
            Code::Char(c)
        }
        KeyCode::F(number) => Code::F(number),
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab if has(KeyModifiers::SHIFT) => Code::BackTab,
        KeyCode::Tab => Code::Tab,
        KeyCode::BackTab => Code::BackTab,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Delete => Code::Delete,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Up if alt && has(KeyModifiers::SHIFT) => Code::ShiftUp,
        KeyCode::Down if alt && has(KeyModifiers::SHIFT) => Code::ShiftDown,
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        _ => return None,
    };
    Some(Key { code, ctrl, alt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_hold_no_sequence_but_their_own() {
        let (title, text) = (SafeLine::new("#a;b\x07"), SafeLine::new("hi\x1b]52;c;aGk=\x07\u{9c}"));
        let table =
            [(Alerts::Osc777, "\x07\x1b]777;notify;#a,b␇;hi"), (Alerts::Osc9, "\x07\x1b]9;#a,b␇: hi")];
        for (how, start) in table {
            let written = alert(how, &title, &text);
            let inner = written.strip_prefix(start).and_then(|rest| rest.strip_suffix('\x07'));
            let inner = inner.unwrap_or_else(|| panic!("{written:?}"));
            assert!(!inner.contains(|c: char| c.is_control()), "{inner:?}");
        }
        assert_eq!(alert(Alerts::Bell, &title, &text), "\x07");
        assert_eq!(alert(Alerts::Off, &title, &text), "");
    }
}
