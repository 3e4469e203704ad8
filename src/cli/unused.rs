//! Flags that a node of some kind has no use for, and the one that a service split in two cannot do without.
//!
//! A screening list that is given to a node without a worker screens nobody. Such a flag on the command line is an error that
//! names the command that uses it; from the environment, which several commands may share, it is one warning.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::config::{Only, Serve};

/// What only the worker uses.
const WORK: &[&str] = &[
    "webhook_rate",
    "sandbox_factory",
    "screening_list",
    "screening_test_addresses",
    "chainalysis_url",
    "chainalysis_key",
    "chainalysis_key_file",
];

/// What only a node with the database uses, besides [`WORK`].
const BACKEND: &[&str] = &[
    "database_url",
    "database_pool_size",
    "database_pooler",
    "statement_timeout",
    "encryption_key_file",
    "grpc_addr",
    "grpc_tls_cert",
    "grpc_tls_key",
    "grpc_client_ca",
    "no_worker",
    "no_sandbox",
    "chains",
    "rate_limit",
    "max_event_streams",
    "allow_private_callbacks",
    "sumsub_url",
    "sumsub_app_token",
    "sumsub_app_token_file",
    "sumsub_secret",
    "sumsub_secret_file",
    "sumsub_webhook_secret",
    "sumsub_webhook_secret_file",
    "sumsub_level",
];

/// What only a front before a backend uses.
const UPSTREAM: &[&str] = &["upstream", "upstream_ca", "upstream_cert", "upstream_key"];

/// What only a node with the REST listener uses.
const REST: &[&str] = &["http_addr", "http_tls_cert", "http_tls_key"];

/// What only a node with a listener for callers uses.
const SERVE: &[&str] = &["http_addr", "grpc_addr", "public_url"];

/// One process can guess how it is reached from its REST address; of two, neither knows the other's. Of `--only grpc` and
/// `--only rest`.
const NO_PUBLIC_URL: [&str; 2] = [
    "--only grpc needs --public-url URL, the same as its REST front: challenges, verification links and profiles name the front, \
     such as https://api.example.com",
    "--only rest needs --public-url URL, the same as its backend: partners sign the URL that they call, such as \
     https://api.example.com",
];

/// A kind of node, the flags that it does not use, and the command that does.
struct Rule {
    holds: fn(&Serve) -> bool,
    flags: &'static [&'static str],
    node: &'static str,
    user: &'static str,
}

const RULES: [Rule; 5] = [
    Rule {
        holds: |serve| serve.no_worker && serve.only != Some(Only::Rest),
        flags: WORK,
        node: "--no-worker",
        user: "`customerd worker`, or `customerd serve` without --no-worker",
    },
    Rule {
        holds: |serve| serve.only == Some(Only::Rest),
        flags: WORK,
        node: "--only rest",
        user: "`customerd worker` and `customerd serve --only grpc`",
    },
    Rule {
        holds: |serve| serve.only == Some(Only::Rest),
        flags: BACKEND,
        node: "--only rest",
        user: "`customerd serve --only grpc`",
    },
    Rule {
        holds: |serve| serve.only == Some(Only::Grpc),
        flags: UPSTREAM,
        node: "--only grpc",
        user: "`customerd serve --only rest`",
    },
    Rule {
        holds: |serve| serve.only == Some(Only::Grpc),
        flags: REST,
        node: "--only grpc",
        user: "`customerd serve --only rest`",
    },
];

/// What of the matches of `serve` this node does not use. Gives the names of environment variables to warn of.
///
/// # Errors
///
/// Such a flag was typed: the error names it, and the command that uses it. Or this is half of a service and was not told the
/// service's public URL.
pub(super) fn check(serve: &Serve, matches: &ArgMatches, command: &mut Command) -> Result<Vec<String>, clap::Error> {
    if let Some(only) = serve.only
        && given(matches, "public_url").is_none()
    {
        return Err(command.error(ErrorKind::MissingRequiredArgument, NO_PUBLIC_URL[usize::from(only == Only::Rest)]));
    }
    let mut variables = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.holds)(serve)) {
        let node = format!("a node with {}", rule.node);
        variables.extend(refuse(matches, rule.flags, (&node, rule.user)).map_err(|text| conflict(command, text))?);
    }
    Ok(variables)
}

/// What of the matches of `worker` it does not use.
///
/// # Errors
///
/// As those of [`check`].
pub(super) fn check_worker(matches: &ArgMatches, command: &mut Command) -> Result<Vec<String>, clap::Error> {
    refuse(matches, SERVE, ("the worker", "`customerd serve`")).map_err(|text| conflict(command, text))
}

/// The variables of those flags that come from the environment; an error if one was typed.
fn refuse(matches: &ArgMatches, flags: &[&str], (node, user): (&str, &str)) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for flag in flags {
        match given(matches, flag) {
            None => {}
            Some(ValueSource::CommandLine) => {
                return Err(format!("{node} does not use --{}: give it to {user}", flag.replace('_', "-")));
            }
            Some(_) => variables.push(format!("CUSTOMERD_{}", flag.to_uppercase())),
        }
    }
    Ok(variables)
}

fn given(matches: &ArgMatches, flag: &str) -> Option<ValueSource> {
    matches.value_source(flag).filter(|source| *source != ValueSource::DefaultValue)
}

fn conflict(command: &mut Command, text: String) -> clap::Error {
    command.error(ErrorKind::ArgumentConflict, text)
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory as _;

    fn refused(line: &str) -> Option<String> {
        let words = std::iter::once("customerd").chain(line.split_whitespace()).map(Into::into);
        let error = Cli::read_checked(words).err()?;
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::ArgumentConflict, 2), "{error}");
        error.to_string().lines().next().map(str::to_owned)
    }

    #[test]
    fn flags_that_a_node_does_not_use_are_refused() {
        let front = "--public-url https://a.example --only rest --upstream http://10.0.0.5:50051";
        for (line, flag, user) in [
            ("--no-worker --screening-list l.txt".to_owned(), "--screening-list", "customerd worker"),
            ("serve --no-worker --webhook-rate 5".to_owned(), "--webhook-rate", "customerd worker"),
            (format!("{front} --database-url sqlite://x"), "--database-url", "customerd serve --only grpc"),
            (format!("--database-url sqlite://x serve {front}"), "--database-url", "customerd serve --only grpc"),
            (format!("{front} --chainalysis-key k"), "--chainalysis-key", "customerd worker"),
            (format!("{front} --no-worker"), "--no-worker", "customerd serve --only grpc"),
            (format!("{front} --encryption-key-file k"), "--encryption-key-file", "customerd serve --only grpc"),
            (format!("{front} --max-event-streams 5"), "--max-event-streams", "customerd serve --only grpc"),
            ("worker --http-addr 127.0.0.1:1".to_owned(), "--http-addr", "customerd serve"),
            ("--grpc-addr 127.0.0.1:1 worker".to_owned(), "--grpc-addr", "customerd serve"),
            ("worker --public-url https://a.example".to_owned(), "--public-url", "customerd serve"),
            (format!("{front} --sumsub-level x"), "--sumsub-level", "customerd serve --only grpc"),
            (
                "--public-url https://a.example --only grpc --upstream http://10.0.0.5:1".to_owned(),
                "--upstream",
                "customerd serve --only rest",
            ),
            (
                "--only grpc --public-url https://a.example --http-addr 0.0.0.0:80".to_owned(),
                "--http-addr",
                "customerd serve --only rest",
            ),
        ] {
            let refused = refused(&line).unwrap_or_else(|| panic!("{line}: taken"));
            assert!(refused.contains(&format!("does not use {flag}:")) && refused.contains(user), "{line}: {refused}");
        }
        for line in [
            "--screening-list l.txt",
            "--no-worker --allow-private-callbacks",
            "--only grpc --public-url https://a.example --screening-list l.txt",
            "--only rest --public-url https://a.example --upstream http://10.0.0.5:1 --http-addr 0.0.0.0:80 --data-dir d",
            "worker --screening-list l.txt",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
    }

    #[test]
    fn half_a_service_needs_the_public_url() {
        for (line, front) in
            [("--only grpc", "name the front"), ("--only rest --upstream http://10.0.0.5:1", "partners sign")]
        {
            let words = std::iter::once("customerd").chain(line.split_whitespace()).map(Into::into);
            let error = Cli::read_checked(words).err().unwrap();
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::MissingRequiredArgument, 2), "{error}");
            let text = error.to_string();
            assert!(text.contains("needs --public-url URL, the same as its") && text.contains(front), "{text}");
        }
    }

    #[test]
    fn every_flag_of_the_rules_exists() {
        let mut command = Cli::command();
        command.build();
        let serve = command.find_subcommand("serve").unwrap();
        for flag in RULES.iter().flat_map(|rule| rule.flags) {
            assert!(serve.get_arguments().any(|argument| argument.get_id() == flag), "{flag}");
        }
    }

    /// What every node uses that `serve` or `worker` starts, or any that has a listener.
    const ALL: &[&str] = &[
        "only",
        "data_dir",
        "public_url",
        "health_addr",
        "log",
        "log_format",
        "body_limit",
        "header_limit",
        "body_memory",
        "body_timeout",
        "max_concurrent_requests",
        "max_connections",
        "max_streams",
        "header_timeout",
        "request_deadline",
        "idle_timeout",
        "shutdown_grace",
        "drain_delay",
        "trusted_proxies",
        "client_address_header",
        "client_share",
    ];

    #[test]
    fn every_flag_is_of_some_kind_of_node() {
        let mut command = Cli::command();
        command.build();
        let kinds = [WORK, BACKEND, UPSTREAM, REST, ALL];
        for argument in command.find_subcommand("serve").unwrap().get_arguments() {
            let flag = argument.get_id().as_str();
            let count = kinds.iter().filter(|flags| flags.contains(&flag)).count();
            assert!(count == 1 || ["help", "version"].contains(&flag), "{flag}: {count}");
        }
        for argument in command.find_subcommand("worker").unwrap().get_arguments() {
            let flag = argument.get_id().as_str();
            assert!(kinds.iter().any(|flags| flags.contains(&flag)) || ["help", "version"].contains(&flag), "{flag}");
        }
    }
}
