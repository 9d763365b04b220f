//! The first screen of all: no server is known yet. PURE. Imports the composer and the protocol's names and links.

use quip_protocol::{AccountName, ServerLink};

use super::{Code, Composer, Key};

/// What the user chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstRun {
    /// To start a server here.
    Host {
        /// The account's name.
        name: AccountName,
    },
    /// To join with a link.
    Join {
        /// The link.
        link: ServerLink,
        /// The account's name; `None` if the link is for one more device of an account that exists.
        name: Option<AccountName>,
    },
    /// To end.
    Quit,
}

/// What is asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To host, to join, or to quit.
    Choose,
    /// The link.
    Link,
    /// The name.
    Name,
}

/// What can be chosen, and what it means.
pub const CHOICES: [(&str, &str); 3] = [
    ("Host a server here", "starts one on this machine, with a link for your colleagues"),
    ("Join with a link", "someone sent you a line that begins with quip://"),
    ("Quit", ""),
];

/// The first screen.
#[derive(Debug, Clone)]
pub struct FirstRunScreen {
    /// What is asked now.
    pub step: Step,
    /// Which of [`CHOICES`] is marked.
    pub choice: usize,
    /// What is being typed.
    pub field: Composer,
    /// What was wrong with it.
    pub error: Option<String>,
    login: String,
    /// What is in the field was not typed: the first key writes over it.
    pub chosen: bool,
    link: Option<ServerLink>,
}

impl FirstRunScreen {
    /// The screen, which offers the name of the login.
    pub fn new(login: Option<&AccountName>) -> FirstRunScreen {
        FirstRunScreen {
            step: Step::Choose,
            choice: 0,
            field: Composer::default(),
            error: None,
            login: login.map_or_else(String::new, |name| name.as_str().to_owned()),
            chosen: false,
            link: None,
        }
    }

    /// Takes a key; returns what was chosen once it is.
    pub fn key(&mut self, key: Key) -> Option<FirstRun> {
        self.error = None;
        let is = |c: char| key == Key::ctrl(Code::Char(c));
        if is('c') || is('q') || (is('d') && self.field.is_empty()) {
            return Some(FirstRun::Quit);
        }
        match self.step {
            Step::Choose => self.choose(key),
            Step::Link | Step::Name => self.type_in(key),
        }
    }

    /// Takes a paste into the field.
    pub fn paste(&mut self, text: &str) {
        self.error = None;
        if self.step == Step::Choose && text.trim().starts_with("quip://") {
            self.choice = 1;
            self.step = Step::Link;
        }
        self.write_over();
        if self.step != Step::Choose && self.field.insert(text.trim()).is_err() {
            self.error = Some("that is far too long for a link".to_owned());
        }
    }

    fn choose(&mut self, key: Key) -> Option<FirstRun> {
        let last = CHOICES.len() - 1;
        match key.code {
            Code::Up | Code::BackTab => self.choice = self.choice.checked_sub(1).unwrap_or(last),
            Code::Down | Code::Tab => self.choice = if self.choice == last { 0 } else { self.choice + 1 },
            Code::Char('h' | '1') => return self.chosen(0),
            Code::Char('j' | '2') => return self.chosen(1),
            Code::Char('q' | '3') | Code::Esc => return self.chosen(2),
            Code::Enter => return self.chosen(self.choice),
            _ => {}
        }
        None
    }

    fn chosen(&mut self, choice: usize) -> Option<FirstRun> {
        self.choice = choice;
        match choice {
            0 => self.ask_name(),
            1 => self.step = Step::Link,
            _ => return Some(FirstRun::Quit),
        }
        None
    }

    fn ask_name(&mut self) {
        self.step = Step::Name;
        self.field.set(&self.login);
        self.chosen = !self.login.is_empty();
    }

    /// Empties the field of what is chosen in it; whether there was something.
    fn write_over(&mut self) -> bool {
        let chosen = std::mem::take(&mut self.chosen);
        if chosen {
            self.field.set("");
        }
        chosen
    }

    fn type_in(&mut self, key: Key) -> Option<FirstRun> {
        let is_text = matches!((key.code, key.ctrl, key.alt), (Code::Char(_), false, false));
        let deletes = matches!(key.code, Code::Backspace | Code::Delete);
        let wrote_over = (is_text || deletes) && self.write_over();
        if wrote_over && deletes {
            return None;
        }
        // Any other key takes what is offered to be changed.
        self.chosen = false;
        match (key.code, key.ctrl, key.alt) {
            (Code::Enter, ..) => return self.entered(),
            (Code::Esc, ..) => {
                self.field.take();
                self.link = None;
                self.step = Step::Choose;
            }
            (Code::Backspace, ..) => self.field.backspace(),
            (Code::Delete, ..) => self.field.delete(),
            (Code::Left, ..) => self.field.left(),
            (Code::Right, ..) => self.field.right(),
            (Code::Home, ..) | (Code::Char('a'), true, _) => self.field.home(),
            (Code::End, ..) | (Code::Char('e'), true, _) => self.field.end(),
            (Code::Char('u'), true, _) => drop(self.field.cut_to_start()),
            (Code::Char('w'), true, _) => drop(self.field.cut_word()),
            (Code::Char(c), false, false) => {
                // A field that is full takes no more.
                let _ = self.field.insert(c.encode_utf8(&mut [0; 4]));
            }
            _ => {}
        }
        None
    }

    fn entered(&mut self) -> Option<FirstRun> {
        let text = self.field.text().trim().trim_matches(['\'', '"']).to_owned();
        if self.step == Step::Link {
            match text.parse::<ServerLink>() {
                Ok(link) if link.code.is_none() => {
                    self.error = Some("the part behind # is missing; copy the whole link".to_owned());
                }
                Ok(link) => {
                    self.link = Some(link);
                    self.ask_name();
                }
                Err(why) => self.error = Some(why.to_string()),
            }
            return None;
        }
        match (text.parse::<AccountName>(), self.link.clone()) {
            (_, Some(link)) if text.is_empty() => Some(FirstRun::Join { link, name: None }),
            (Ok(name), Some(link)) => Some(FirstRun::Join { link, name: Some(name) }),
            (Ok(name), None) => Some(FirstRun::Host { name }),
            (Err(why), _) => {
                self.error = Some(why.to_string());
                None
            }
        }
    }

    /// Whether a link was given, so that the name may be left out.
    pub fn has_link(&self) -> bool {
        self.link.is_some()
    }
}
