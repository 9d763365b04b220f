//! `quip completions` and `quip man`: made from the same definitions as the command line itself.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::exit::CliError;
use super::out::Out;
use crate::config::ConfigError;

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quip completions bash > ~/.local/share/bash-completion/completions/quip")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, or writes one for each subcommand into a directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quip man | man -l -\n  quip man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Where to write `quip.1`, `quip-send.1` and so on
    dir: Option<PathBuf>,
}

/// Runs `quip completions`.
///
/// # Errors
/// When the output takes no more.
pub fn completions(args: &CompletionsArgs, out: &mut Out) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quip", &mut script);
    out.bytes(&script)
}

/// Runs `quip man`.
///
/// # Errors
/// When the output takes no more, or the directory cannot be written.
pub fn man(args: ManArgs, out: &mut Out) -> Result<(), CliError> {
    match args.dir {
        Some(dir) => std::fs::create_dir_all(&dir)
            .and_then(|()| clap_mangen::generate_to(definitions(), &dir))
            .map_err(|source| CliError::Config(ConfigError::Write { path: dir, source })),
        None => out.bytes(&page().map_err(CliError::Output)?),
    }
}

/// Without `quip help`, which would have a page for each page.
fn definitions() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(definitions()).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_has_completions_and_the_page_names_the_commands() {
        for shell in Shell::value_variants() {
            let written = crate::cli::out::tests::Written::default();
            let mut out = Out::to(written.clone(), false);
            completions(&CompletionsArgs { shell: *shell }, &mut out).unwrap();
            out.flush().unwrap();
            assert!(written.text().contains("history"), "{shell}");
        }
        let page = String::from_utf8(page().unwrap()).unwrap();
        for word in [".TH quip", "quip\\-send(1)", "quip\\-export(1)"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn a_page_for_each_subcommand() {
        let dir = tempfile::tempdir().unwrap();
        let mut out = Out::to(io::sink(), false);
        let missing = dir.path().join("man/man1");
        man(ManArgs { dir: Some(missing.clone()) }, &mut out).unwrap();
        for name in ["quip.1", "quip-send.1", "quip-room-create.1"] {
            assert!(missing.join(name).is_file(), "{name}");
        }
        let helps = std::fs::read_dir(&missing).unwrap().flatten();
        let helps = helps.filter(|page| page.file_name().to_string_lossy().contains("help"));
        assert_eq!(helps.count(), 0, "help has no pages of its own");
    }
}
