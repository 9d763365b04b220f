//! The user's own programs, which have the terminal for a while: editor and pager. Imports the app's inputs.

use std::future::pending;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use quip_protocol::SafeLine;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::app::Input;

/// A program that has the terminal; what is to be told when it ends. Dropped, it is ended.
pub type Outside = LocalBoxFuture<'static, Input>;

/// The user's editor with `text` in it: [`Input::Composed`].
pub fn compose(text: String) -> Outside {
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    async move { Input::Composed(composed(&editor, &text).await) }.boxed_local()
}

/// The user's pager with `text` in it: [`Input::Composed`] if it does not work, else a tick.
pub fn show(text: String) -> Outside {
    let pager = variable("PAGER").unwrap_or_else(|| "less".to_owned());
    async move {
        let shown = match written(&text) {
            Ok(file) => run(&pager, file.path()).await,
            Err(error) => Err(no_file(&error)),
        };
        match shown {
            // What the shell says of a program that is not there. However else a pager ends, it was read.
            Ok(status) if matches!(status.code(), Some(126 | 127)) => {
                let why = format!("{pager} cannot be started; is $PAGER right?");
                Input::Composed(Err(SafeLine::new(&why)))
            }
            Ok(_) => Input::Tick,
            Err(why) => Input::Composed(Err(why)),
        }
    }
    .boxed_local()
}

/// What the program's end brings; never without one. Then there is none any more.
pub async fn ended(outside: &mut Option<Outside>) -> Input {
    let input = match outside {
        Some(running) => running.await,
        None => pending().await,
    };
    *outside = None;
    input
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

async fn composed(editor: &str, text: &str) -> Result<String, SafeLine> {
    let file = written(text).map_err(|error| no_file(&error))?;
    match run(editor, file.path()).await? {
        status if status.success() => {}
        status => return Err(SafeLine::new(&format!("{editor} ended with {status}; nothing was changed"))),
    }
    // By name, not by the open file: many editors put a new file in its place.
    let bytes = std::fs::read(file.path()).map_err(|error| no_file(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A file that only the user can read; it is removed when this is dropped.
fn written(text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("quip-").suffix(".md").tempfile()?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(file)
}

/// Through the shell, as git does: the variables hold arguments too.
async fn run(program: &str, file: &Path) -> Result<ExitStatus, SafeLine> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{program} \"$1\"")).arg("quip").arg(file).kill_on_drop(true);
    let status = command.stdin(Stdio::inherit()).status().await;
    status.map_err(|error| SafeLine::new(&format!("{program} cannot be started: {error}")))
}

fn no_file(error: &io::Error) -> SafeLine {
    SafeLine::new(&format!("a file for it cannot be used: {error}; is there room on the disk?"))
}
