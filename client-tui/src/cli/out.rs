//! Standard output: data only, one object or record a line; and standard error, one line for each thing to say.

use std::io::{self, BufWriter, Write};

use quip_protocol::{SafeLine, SafeText};
use serde::Serialize;

use super::exit::CliError;

/// Where a command's data goes.
pub struct Out {
    writer: BufWriter<Box<dyn Write + Send>>,
    json: bool,
}

impl Out {
    /// Standard output, as JSON lines or for people.
    pub fn stdout(json: bool) -> Out {
        Out::to(io::stdout(), json)
    }

    /// Any other place.
    pub fn to(writer: impl Write + Send + 'static, json: bool) -> Out {
        Out { writer: BufWriter::new(Box::new(writer)), json }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes `object` if JSON was asked for, else what `human` says.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn show<T: Serialize>(&mut self, object: &T, human: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.json { self.object(object) } else { self.line(&human()) }
    }

    /// Writes one JSON object on a line of its own.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn object<T: Serialize>(&mut self, object: &T) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(object).expect("maps with text keys are always JSON");
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Writes text and a line end. The text was made safe when it came in; once more costs little and holds even
    /// where a caller forgot.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(SafeText::new(text).as_str().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes bytes that this program made itself, as they are.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.writer.write_all(bytes).map_err(CliError::from_output)
    }

    /// Hands over everything written so far.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(CliError::from_output)
    }
}

/// Says one line on standard error.
pub fn say(text: &str) {
    say_plain(&format!("quip: {text}"));
}

/// Says one line on standard error that is to be copied as it is. That it cannot be said is nothing that could
/// be said.
pub fn say_plain(text: &str) {
    let _ = writeln!(io::stderr(), "{}", SafeLine::new(text));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use std::sync::{Arc, Mutex};

    /// A place to write to that a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn either_json_or_lines() {
        for (json, text) in [(true, "{\"a\":1}\n"), (false, "one ␛ a\n")] {
            let written = Written::default();
            let mut out = Out::to(written.clone(), json);
            out.show(&serde_json::json!({"a": 1}), || "one \u{1b} a".into()).unwrap();
            out.flush().unwrap();
            assert_eq!(written.text(), text);
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
        for (kind, exit) in [(io::ErrorKind::BrokenPipe, Exit::Done), (io::ErrorKind::StorageFull, Exit::Io)]
        {
            let mut out = Out::to(Fails(kind), false);
            let error = out.line("text").and_then(|()| out.flush()).unwrap_err();
            assert_eq!(error.exit(), exit);
        }
    }
}
