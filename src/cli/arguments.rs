//! From the words that were typed, and the environment, to a [`Cli`].

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::{Cli, Command as Subcommand, unused};

impl Cli {
    /// Reads arguments and environment. Without a subcommand it is `serve`, whose flags may come without its name.
    ///
    /// # Errors
    /// Wrong usage, or a request for help or the version: clap's own error, which knows how to show itself.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::matched(arguments).map(|(cli, _)| cli)
    }

    /// Reads like [`read`](Self::read), and refuses what was typed and would not be used.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and a flag that such a node does not use.
    pub fn read_checked(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let (mut cli, matches) = Self::matched(arguments)?;
        match (&mut cli.command, matches.subcommand()) {
            (Some(Subcommand::Serve(serve)), Some((_, matches))) => {
                serve.unused = unused::check(serve, matches, &mut command())?;
            }
            (Some(Subcommand::Worker(worker)), Some((_, matches))) => {
                worker.unused = unused::check_worker(matches, &mut command())?;
            }
            _ => {}
        }
        Ok(cli)
    }

    fn matched(arguments: impl IntoIterator<Item = OsString>) -> Result<(Self, ArgMatches), clap::Error> {
        let mut arguments: Vec<_> = arguments.into_iter().collect();
        let first = match parse(&arguments) {
            Ok((cli, _)) if cli.command.is_none() => None,
            Err(error) if error.kind() == ErrorKind::UnknownArgument => Some(error),
            done => return done,
        };
        arguments.insert(arguments.len().min(1), "serve".into());
        match (parse(&arguments), first) {
            (Err(error), Some(first)) if error.kind() == ErrorKind::UnknownArgument => {
                // The same stumble under both readings: `serve` knows better what may have been meant.
                let same = error.get(ContextKind::InvalidArg) == first.get(ContextKind::InvalidArg);
                Err(if same { error } else { first })
            }
            (read, _) => read,
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let given = |id| matches.value_source(id).is_some_and(|source| source != ValueSource::DefaultValue);
    if given("data_dir") || given("database_url") {
        cli.common.database.name();
    }
    Ok((cli, matches))
}

/// The environment variable that a wrong value came from, if it was not typed.
pub(super) fn blamed(error: &clap::Error, typed: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = shown.split([' ', '=']).next()?;
    let name = long.strip_prefix("--")?;
    let at_hand = typed.iter().filter_map(|word| word.to_str()).any(|word| word.split('=').next() == Some(long));
    let variable = format!("CUSTOMERD_{}", name.replace('-', "_").to_uppercase());
    (!at_hand && std::env::var_os(&variable).is_some()).then_some(variable)
}

/// The command line, each subcommand's help without the common flags that it has no use for. They are accepted there all
/// the same: they may be in the environment.
fn command() -> Command {
    let mut command = Cli::command();
    // Gives the subcommands the global flags.
    command.build();
    command.mut_subcommands(|subcommand| {
        let (headings, arguments): (&[&str], &[&str]) = match subcommand.get_name() {
            "serve" | "help" => return subcommand,
            "worker" => (&["Database", "Logs"], &[]),
            "migrate" | "backup" | "verify-audit" | "operator" | "customer" | "audit" => (&["Database"], &[]),
            "programme" => (&["Database", "Addresses"], &[]),
            "call" | "token" | "listen" => (&[], &["data_dir"]),
            _ => (&[], &[]),
        };
        without(subcommand, &|argument| {
            let heading = argument.get_help_heading().unwrap_or_default();
            let common = ["Database", "Addresses", "Logs"].contains(&heading);
            common && !headings.contains(&heading) && !arguments.contains(&argument.get_id().as_str())
        })
    })
}

fn without(command: Command, unused: &impl Fn(&Arg) -> bool) -> Command {
    command
        .mut_args(|argument| if unused(&argument) { argument.hide(true) } else { argument })
        .mut_subcommands(|inner| without(inner, unused))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command as Read;

    fn read(line: &str) -> Result<Read, clap::Error> {
        let words = std::iter::once("customerd").chain(line.split_whitespace()).map(OsString::from);
        Cli::read(words).map(|cli| cli.command.unwrap())
    }

    #[test]
    fn serve_may_go_without_its_name() {
        for line in ["", "serve --no-sandbox", "--no-sandbox", "--data-dir x --no-sandbox", "--no-sandbox --log debug"]
        {
            let Ok(Read::Serve(serve)) = read(line) else { panic!("{line}: not serve") };
            assert_eq!(serve.no_sandbox, line.contains("--no-sandbox"), "{line}");
        }
        assert!(matches!(read("--data-dir x migrate"), Ok(Read::Migrate)));
        for (line, kind) in [
            ("--rate-limit 5", ErrorKind::ValueValidation),
            ("migrate --no-sandbox", ErrorKind::UnknownArgument),
            ("--no-sandbox --help", ErrorKind::DisplayHelp),
            ("nothing", ErrorKind::InvalidSubcommand),
        ] {
            assert_eq!(read(line).unwrap_err().kind(), kind, "{line}");
        }
        let (typo, stranger) = (read("--rate-limi 5").unwrap_err(), read("migrate --no-sandbox").unwrap_err());
        assert!(typo.to_string().contains("'--rate-limit'"), "{typo}");
        assert!(stranger.to_string().contains("'--no-sandbox'"), "{stranger}");
    }

    #[test]
    fn a_database_is_named_wherever_its_flag_stands() {
        for (line, named) in [
            ("migrate", false),
            ("--data-dir x migrate", true),
            ("migrate --data-dir data", true),
            ("programme create --name N --database-url sqlite://x", true),
            ("programme create --name N", false),
        ] {
            let words = std::iter::once("customerd").chain(line.split_whitespace()).map(OsString::from);
            assert_eq!(Cli::read(words).unwrap().common.database.is_named(), named, "{line}");
        }
    }

    #[test]
    fn help_shows_what_is_of_use() {
        let help = |line: &str| read(&format!("{line} --help")).unwrap_err().to_string();
        for (line, shown, hidden) in [
            ("", "--grpc-addr", "--rate-limit"),
            ("serve", "--grpc-addr", "--profile"),
            ("worker", "--database-url", "--grpc-addr"),
            ("programme create", "--public-url", "--log-format"),
            ("verify-audit", "--database-url", "--public-url"),
            ("call", "--data-dir", "--database-pool-size"),
            ("keygen", "--algorithm", "--data-dir"),
            ("wallet sign", "--private-key", "--data-dir"),
        ] {
            let help = help(line);
            assert!(help.contains(shown) && !help.contains(hidden), "{line}: {help}");
        }
        assert!(read("keygen --data-dir x").is_ok(), "hidden is not refused");
    }
}
