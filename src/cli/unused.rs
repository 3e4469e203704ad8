//! Flags that a node of some kind has no use for.
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
    "statement_timeout",
    "grpc_addr",
    "grpc_tls_cert",
    "grpc_tls_key",
    "grpc_client_ca",
    "no_worker",
    "no_sandbox",
    "chains",
    "rate_limit",
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

/// What only a node with the REST listener uses. Without a public URL they also say what links name.
const REST: &[&str] = &["http_addr", "http_tls_cert", "http_tls_key"];

/// A kind of node, the flags that it does not use, and the command that does.
struct Rule {
    holds: fn(&Serve, bool) -> bool,
    flags: &'static [&'static str],
    node: &'static str,
    user: &'static str,
}

const RULES: [Rule; 5] = [
    Rule {
        holds: |serve, _| serve.no_worker && serve.only != Some(Only::Rest),
        flags: WORK,
        node: "--no-worker",
        user: "`customerd worker`, or `customerd serve` without --no-worker",
    },
    Rule {
        holds: |serve, _| serve.only == Some(Only::Rest),
        flags: WORK,
        node: "--only rest",
        user: "`customerd worker` and `customerd serve --only grpc`",
    },
    Rule {
        holds: |serve, _| serve.only == Some(Only::Rest),
        flags: BACKEND,
        node: "--only rest",
        user: "`customerd serve --only grpc`",
    },
    Rule {
        holds: |serve, _| serve.only == Some(Only::Grpc),
        flags: UPSTREAM,
        node: "--only grpc",
        user: "`customerd serve --only rest`",
    },
    Rule {
        holds: |serve, public_url| serve.only == Some(Only::Grpc) && public_url,
        flags: REST,
        node: "--only grpc with --public-url",
        user: "`customerd serve --only rest`",
    },
];

/// What of the matches of `serve` this node does not use. Gives the names of environment variables to warn of.
///
/// # Errors
///
/// Such a flag was typed: the error names it, and the command that uses it.
pub(super) fn check(serve: &Serve, matches: &ArgMatches, command: &mut Command) -> Result<Vec<String>, clap::Error> {
    let given = |flag: &str| matches.value_source(flag).filter(|source| *source != ValueSource::DefaultValue);
    let public_url = given("public_url").is_some();
    let mut variables = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.holds)(serve, public_url)) {
        for flag in rule.flags {
            match given(flag) {
                None => {}
                Some(ValueSource::CommandLine) => {
                    let (flag, node, user) = (flag.replace('_', "-"), rule.node, rule.user);
                    let message = format!("a node with {node} does not use --{flag}: give it to {user}");
                    return Err(command.error(ErrorKind::ArgumentConflict, message));
                }
                Some(_) => variables.push(format!("CUSTOMERD_{}", flag.to_uppercase())),
            }
        }
    }
    Ok(variables)
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
        let front = "--only rest --upstream http://10.0.0.5:50051";
        for (line, flag, user) in [
            ("--no-worker --screening-list l.txt".to_owned(), "--screening-list", "customerd worker"),
            ("serve --no-worker --webhook-rate 5".to_owned(), "--webhook-rate", "customerd worker"),
            (format!("{front} --database-url sqlite://x"), "--database-url", "customerd serve --only grpc"),
            (format!("--database-url sqlite://x serve {front}"), "--database-url", "customerd serve --only grpc"),
            (format!("{front} --chainalysis-key k"), "--chainalysis-key", "customerd worker"),
            (format!("{front} --no-worker"), "--no-worker", "customerd serve --only grpc"),
            (format!("{front} --sumsub-level x"), "--sumsub-level", "customerd serve --only grpc"),
            ("--only grpc --upstream http://10.0.0.5:1".to_owned(), "--upstream", "customerd serve --only rest"),
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
            "--only grpc --screening-list l.txt --http-addr 0.0.0.0:80",
            "--only rest --upstream http://10.0.0.5:1 --http-addr 0.0.0.0:80 --data-dir d",
            "worker --screening-list l.txt",
        ] {
            assert_eq!(refused(line), None, "{line}");
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
}
