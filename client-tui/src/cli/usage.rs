//! What clap has to say about a command line, as one line. Imports clap alone.

use clap::error::ErrorKind;

/// The hint for a target that a shell took for a comment.
const QUOTE: &str = " (a room stands in quotes: '#room')";

/// Whether this is no error: help, or the version.
pub fn is_answer(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// The error and where to find help, on one line.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let command = command(&text);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return format!("a subcommand is missing; see `{command} --help`");
    }
    let what = what(&text);
    let hint = if error.kind() == ErrorKind::MissingRequiredArgument { missing_hint(&what) } else { "" };
    format!("{what}{hint}; see `{command} --help`")
}

/// Everything before the usage, without its line ends.
fn what(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut what = String::new();
    for line in
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
    {
        match line.strip_prefix("tip: ") {
            Some(_) => what += "; ",
            None if !what.is_empty() => what.push(' '),
            None => {}
        }
        what += line.strip_prefix("tip: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line);
    }
    what
}

fn missing_hint(what: &str) -> &'static str {
    if what.contains("<TARGET>") || what.contains("<ROOM>") || what.contains("<TARGET>...") {
        QUOTE
    } else {
        ""
    }
}

/// `quip room create`, from the usage line that clap wrote; `quip` if it wrote none.
fn command(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or("quip");
    let word = |w: &&str| w.chars().all(|c| c.is_ascii_lowercase());
    let words: Vec<&str> = usage.split_whitespace().take_while(word).collect();
    if words.is_empty() { "quip".into() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    fn line(args: &[&str]) -> String {
        let error = Cli::try_parse_from([&["quip"], args].concat()).unwrap_err();
        assert!(!is_answer(&error));
        one_line(&error)
    }

    #[test]
    fn every_mistake_is_one_line_that_says_where_help_is() {
        let table: &[(&[&str], &str, &str)] = &[
            (&["sned"], "unrecognized subcommand 'sned'", "`quip --help`"),
            (&["room"], "a subcommand is missing", "`quip room --help`"),
            (&["send"], "<TARGET>", "`quip send --help`"),
            (&["send"], "in quotes: '#room'", "`quip send --help`"),
            (&["send", "ops", "hi"], "quote it: '#room'", "--help`"),
            (&["send", "#ops", "--reply-to", "x"], "invalid value 'x'", "--help`"),
            (&["tail"], "<TARGET>", "`quip tail --help`"),
            (&["tail", "#ops", "-n", "3", "--since", "4"], "cannot be used with", "`quip tail --help`"),
            (&["room", "role", "#ops", "ann", "king"], "reader, member, moderator or owner", "--help`"),
            (&["room", "create"], "<ROOM>", "`quip room create --help`"),
            (&["join", "quip://h/?fp=SHA256:cut"], "in quotes", "--help`"),
            (&["invite", "--ttl", "1y"], "such as 24h", "--help`"),
            (&["invite", "--uses", "0"], "0 is not in 1..", "--help`"),
            (&["invite", "--uses", "many"], "invalid", "--help`"),
            (&["read"], "<TARGET>", "--help`"),
            (&["help", "sned"], "unrecognized subcommand 'sned'", "--help`"),
            (&["history", "#ops", "--frob"], "unexpected argument '--frob'", "`quip history --help`"),
        ];
        for (args, what, help) in table {
            let line = line(args);
            assert!(line.contains(what) && line.ends_with(help) && !line.contains('\n'), "{args:?}: {line}");
            assert!(!line.starts_with("error"), "{line}");
        }
    }

    #[test]
    fn help_has_examples_everywhere() {
        fn check(command: &mut clap::Command) {
            if command.get_name() == "help" {
                return;
            }
            let help = command.render_help().to_string();
            assert!(help.contains("Example"), "{}: {help}", command.get_name());
            command.get_subcommands_mut().for_each(check);
        }
        let mut command = <Cli as clap::CommandFactory>::command();
        command.clone().debug_assert();
        check(&mut command);
    }

    #[test]
    fn help_fits_80_columns_and_no_example_is_broken() {
        fn check(command: &mut clap::Command) {
            if command.get_name() == "help" {
                return;
            }
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            for line in after.lines().filter(|line| line.starts_with("  ")) {
                assert!(help.lines().any(|whole| whole == line.trim_end()), "{name}: broken: {line}");
            }
            command.get_subcommands_mut().for_each(check);
        }
        let mut command = <Cli as clap::CommandFactory>::command().term_width(80);
        command.build();
        check(&mut command);
    }

    #[test]
    fn help_and_version_are_answers() {
        let table = [&["--help"][..], &["--version"], &["send", "--help"], &["room", "create", "--help"]];
        let help: [&[&str]; 3] = [&["help"], &["help", "send"], &["help", "room", "create"]];
        for args in table.into_iter().chain(help) {
            let error = Cli::try_parse_from([&["quip"], args].concat()).unwrap_err();
            assert!(is_answer(&error), "{args:?}");
        }
    }
}
