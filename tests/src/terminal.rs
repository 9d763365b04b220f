//! A real terminal: the client inside tmux, typed into and looked at.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::poll::{DEADLINE, eventually};
use crate::{Quip, binary};

static TERMINALS: AtomicU32 = AtomicU32::new(0);

/// One terminal, in a tmux server of its own.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
}

impl Terminal {
    /// Opens a terminal of this size with a shell command in it, as this user.
    pub fn run(quip: &Quip, columns: u16, rows: u16, command: &str) -> Terminal {
        let number = TERMINALS.fetch_add(1, Ordering::Relaxed);
        let terminal = Terminal { socket: format!("quip-test-{}-{number}", std::process::id()) };
        let home = format!("QUIP_HOME={}", quip.home().display());
        let size = [columns.to_string(), rows.to_string()];
        let args =
            ["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "-e", &home, command];
        terminal.tmux(&args);
        terminal
    }

    /// Opens the client.
    pub fn client(quip: &Quip, columns: u16, rows: u16) -> Terminal {
        // Without a shell in between, so that the program is what is killed.
        Terminal::run(quip, columns, rows, &format!("exec {}", binary("quip").display()))
    }

    /// Presses keys, by tmux' names for them.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types text, and Enter.
    pub fn say(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.press(&["Enter"]);
    }

    /// Pastes a file, as a terminal does that brackets what is pasted.
    pub fn paste(&self, file: &Path) {
        self.tmux(&["load-buffer", &file.display().to_string()]);
        self.tmux(&["paste-buffer", "-p", "-r"]);
    }

    /// Gives the window another size.
    pub fn resize(&self, columns: usize, rows: usize) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is on the screen now.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What tmux knows of the terminal, by its name for it: `alternate_on`, `cursor_flag`.
    pub fn knows(&self, what: &str) -> String {
        self.tmux(&["display-message", "-p", &format!("#{{{what}}}")]).trim().to_owned()
    }

    /// What is on the screen now, with its escape sequences.
    pub fn screen_with_attributes(&self) -> String {
        self.tmux(&["capture-pane", "-e", "-p"])
    }

    /// Waits until the screen is as `check` wants it; returns it.
    ///
    /// # Panics
    /// At the deadline, with the screen.
    pub fn until(&self, what: &str, check: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if check(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}\n{screen}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until this text is on the screen.
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Waits until the client is connected, and in one of its rooms if it has any.
    pub fn connected(&self) -> String {
        self.connected_to("")
    }

    /// The same, with the server that is called so in sight.
    pub fn connected_to(&self, server: &str) -> String {
        let connected = format!("● connected to {server}");
        self.until(&connected, |screen| screen.contains(&connected) && !screen.contains("listing your rooms"))
    }

    /// Waits until a message with this text is in the timeline, and on its way no more. The client may yet have to hear
    /// of its place in the room: to do something with it, wait for what somebody says after it.
    pub fn delivered(&self, text: &str) -> String {
        let on_its_way = format!("{text} …");
        self.until(&format!("{text}, delivered"), |screen| {
            let said = |line: &str| line.contains(text) && !line.starts_with('›');
            screen.lines().any(said) && !screen.contains(&on_its_way)
        })
    }

    /// Presses Escape and waits until this text is gone: a letter right behind an Escape is read as Alt and that letter.
    pub fn escape_from(&self, text: &str) {
        self.press(&["Escape"]);
        self.until(&format!("{text} is gone"), |screen| !screen.contains(text));
    }

    /// kill -9 of the program, which must be the only one in the terminal.
    pub fn kill(&self) {
        let pid = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        // It may have ended meanwhile.
        let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).status();
        self.ends();
    }

    /// Waits until the program has ended, and the terminal with it.
    ///
    /// # Panics
    /// At the deadline.
    pub fn ends(&self) {
        eventually("the program in the terminal ends", || {
            let listed = Command::new("tmux").args(["-L", &self.socket, "list-panes"]).output();
            (!listed.expect("tmux is installed").status.success()).then_some(())
        });
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output =
            Command::new("tmux").args(["-L", &self.socket]).args(args).output().expect("tmux is installed");
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    #[allow(clippy::print_stderr, reason = "a test that failed shows it")]
    fn drop(&mut self) {
        let tmux = |args: &[&str]| Command::new("tmux").args(["-L", &self.socket]).args(args).output();
        if let (true, Ok(last)) = (std::thread::panicking(), tmux(&["capture-pane", "-p"])) {
            eprintln!("the last screen of {}:\n{}", self.socket, String::from_utf8_lossy(&last.stdout));
        }
        // It ends with its last program.
        let _ = tmux(&["kill-server"]);
    }
}
