//! Questions to whoever sits at the terminal. Nothing is asked without one: callers look at `Env::can_ask`.

use std::io::{self, BufRead as _, Read as _, Write as _};

use quip_protocol::{AccountName, Fingerprint, SafeLine};

use super::exit::CliError;

/// More than any answer takes.
const MAX_ANSWER: u64 = 1_024;

/// Whether this is the server that is meant. Anything but `yes` or `no` is asked again, as ssh does.
///
/// # Errors
/// When there is no answer.
pub fn trust(address: &str, fingerprint: &Fingerprint) -> Result<bool, CliError> {
    sure(&format!(
        "The server {address} is not known. Its key is {fingerprint}.\n\
         Compare it with what its operator tells you. Trust it from now on?"
    ))
}

/// Yes or no.
///
/// # Errors
/// When there is no answer.
pub fn sure(question: &str) -> Result<bool, CliError> {
    let mut question = format!("{question} (yes/no) ");
    loop {
        match line(&question)?.to_ascii_lowercase().as_str() {
            "yes" | "y" => return Ok(true),
            "no" | "n" => return Ok(false),
            _ => question = "Please type yes or no: ".into(),
        }
    }
}

/// What the user wants to be called.
///
/// # Errors
/// When there is no answer.
pub fn name(server: &str) -> Result<AccountName, CliError> {
    let mut question = format!("Your name at {server}: ");
    loop {
        match line(&question)?.parse() {
            Ok(name) => return Ok(name),
            Err(error) => question = format!("{error}. Your name: "),
        }
    }
}

fn line(question: &str) -> Result<String, CliError> {
    let mut stderr = io::stderr();
    for part in question.split_inclusive('\n') {
        let end = if part.ends_with('\n') { "\n" } else { "" };
        let _ = write!(stderr, "{}{end}", SafeLine::new(part.trim_end_matches('\n')));
    }
    let _ = stderr.flush();
    let mut answer = String::new();
    io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer).map_err(CliError::Stdin)?;
    if answer.is_empty() {
        return Err(CliError::Usage("there was no answer; nothing was done".into()));
    }
    Ok(answer.trim().to_owned())
}
