//! What a line does that was typed as a whole, as plain mode takes them: it is sent or carried out at once, or answers
//! what was asked.

use super::App;
use super::composer::About;
use super::input::{Code, Key};
use super::keymap::Action;
use super::prompt::Kind;

impl App {
    /// Takes a line.
    pub(super) fn line(&mut self, text: &str) {
        self.lines = true;
        self.said = None;
        self.sheet = None;
        if self.prompt.is_some() {
            return self.line_to_prompt(text.trim());
        }
        if text.trim().is_empty() && self.composer.about == About::New {
            return;
        }
        // What could not be sent stays in the composer: here the next line takes its place.
        self.composer.set("");
        if self.composer.insert(text).is_err() {
            return self.complain("that line is far too long for a message; nothing was sent");
        }
        self.enter();
    }

    /// A letter answers a question, a number chooses from a list; anything else leaves it.
    fn line_to_prompt(&mut self, text: &str) {
        let Some(prompt) = &mut self.prompt else { return };
        let count = prompt.items.len();
        if let Kind::Sure(..) = prompt.kind {
            let answer = text.chars().next().map_or(Code::Enter, Code::Char);
            self.key(Key::plain(answer));
        } else if let Some(number) = text.parse::<usize>().ok().filter(|number| (1..=count).contains(number))
        {
            prompt.selected = number - 1;
            self.key(Key::plain(Code::Enter));
        } else {
            self.prompt_key(Some(Action::Escape), None);
        }
    }
}
