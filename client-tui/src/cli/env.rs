//! What surrounds a command: environment variables, terminals, the user's files. Read once, at the start.

use std::io::{IsTerminal as _, stderr, stdin, stdout};
use std::path::PathBuf;

use quip_protocol::{Fingerprint, Identity, ServerLink};

use super::exit::CliError;
use crate::config::known::KnownServers;
use crate::config::{ConfigError, Paths, device_key};

/// What surrounds a command. Without `Debug`: a token must not reach a log.
#[derive(Clone, Default)]
pub struct Env {
    /// `QUIP_HOME`.
    pub home: Option<PathBuf>,
    /// `QUIP_SERVER`.
    pub server: Option<String>,
    /// Whether any node of that server will do: none was named for this command.
    pub any_node: bool,
    /// `QUIP_TOKEN`. A secret.
    pub token: Option<String>,
    /// Whether somebody types into standard input.
    pub stdin_terminal: bool,
    /// Whether somebody reads standard output.
    pub stdout_terminal: bool,
    /// Whether somebody can be asked: standard input and standard error are terminals.
    pub can_ask: bool,
    /// Whether output may have colour.
    pub color: bool,
    /// Whether the client talks in lines: it was told to, or the terminal is one that can do nothing else.
    pub plain: bool,
}

impl Env {
    /// What surrounds this process.
    pub fn of_process() -> Env {
        // An empty variable is one that is not set, as everywhere in a shell.
        // One that is not UTF-8 is a mistake to be told, not one that is not set.
        let var = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let stdout_terminal = stdout().is_terminal();
        let dumb = var("NO_COLOR").is_some() || var("TERM").is_none_or(|term| term == "dumb");
        Env {
            home: std::env::var_os("QUIP_HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            server: var("QUIP_SERVER"),
            any_node: var("QUIP_SERVER").is_none(),
            token: var("QUIP_TOKEN"),
            stdin_terminal: stdin().is_terminal(),
            stdout_terminal,
            can_ask: stdin().is_terminal() && stderr().is_terminal(),
            color: stdout_terminal && !dumb,
            plain: stdout_terminal && var("TERM").as_deref() == Some("dumb"),
        }
    }

    /// Where the user's files lie. With a token, nothing asks for this.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn paths(&self) -> Result<Paths, ConfigError> {
        Paths::find(self.home.as_deref())
    }

    /// The servers that are known. A token needs no files, so with one it is no error that there is no home.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn known(&self) -> Result<KnownServers, ConfigError> {
        match self.paths() {
            Ok(paths) => KnownServers::load(&paths),
            Err(ConfigError::NoHome) if self.token.is_some() => Ok(KnownServers::default()),
            Err(error) => Err(error),
        }
    }

    /// Where the nodes of the server with this key are remembered. Nowhere for who comes with a token, leaving no files
    /// behind.
    pub fn nodes_of(&self, server: &Fingerprint) -> Option<PathBuf> {
        self.paths().ok().filter(|_| self.token.is_none()).map(|paths| paths.nodes(server))
    }

    /// The server that `QUIP_SERVER` names.
    ///
    /// # Errors
    /// When it is no address.
    pub fn named_server(&self) -> Result<Option<ServerLink>, CliError> {
        let parsed = self.server.as_deref().map(str::parse::<ServerLink>).transpose();
        parsed.map_err(|error| CliError::Usage(format!("QUIP_SERVER: {error}")))
    }

    /// Who this process is: the token's account, or this device's.
    ///
    /// # Errors
    /// When the token is none, or the device's key is missing or cannot be read.
    pub fn identity(&self) -> Result<Identity, CliError> {
        match &self.token {
            Some(token) => {
                Identity::from_token(token).map_err(|error| CliError::Usage(format!("QUIP_TOKEN: {error}")))
            }
            None => device_key::load(&self.paths()?)?.ok_or_else(|| {
                CliError::Denied(
                    "this device has no key yet; join the server with `quip join LINK --name NAME`".into(),
                )
            }),
        }
    }
}
