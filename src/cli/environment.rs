//! Environment variables that look like ours but are not.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};

use super::Cli;

const PREFIX: &str = "CUSTOMERD_";
/// From this similarity (0 to 1) on, a variable is named as what may have been meant.
const ALIKE: f64 = 0.75;

/// One warning about the variables of this process that begin with `CUSTOMERD_` and that no flag reads: a misspelt one would
/// leave its flag at the default without a word.
pub(super) fn warning() -> Option<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    warning_of(names.filter(|name| name.starts_with(PREFIX)).collect())
}

/// Says once which variables of the environment this node leaves alone.
pub(super) fn warn_of_unused(variables: &[String]) {
    if !variables.is_empty() {
        let variables = variables.join(", ");
        tracing::warn!(variables, "these variables of the environment are for other nodes: this one does not use them");
    }
}

fn warning_of(names: BTreeSet<String>) -> Option<String> {
    let mut known = BTreeSet::new();
    variables(&Cli::command(), &mut known);
    let strange: Vec<String> = names
        .iter()
        .filter(|name| !known.contains(*name) && !injected(name, &names))
        .map(|name| match nearest(name, &known) {
            Some(nearest) => format!("{name} (did you mean {nearest}?)"),
            None => name.clone(),
        })
        .collect();
    (!strange.is_empty()).then(|| format!("no flag reads these environment variables: {}", strange.join(", ")))
}

fn variables(command: &Command, known: &mut BTreeSet<String>) {
    let names = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    known.extend(names.map(str::to_owned));
    for subcommand in command.get_subcommands() {
        variables(subcommand, known);
    }
}

/// Whether Kubernetes sets it in every pod beside a service called `customerd`, or `customerd-…`: those of the latter come
/// together with a `…_SERVICE_HOST`.
fn injected(name: &str, all: &BTreeSet<String>) -> bool {
    let hosts = all.iter().filter_map(|name| name.strip_suffix("_SERVICE_HOST"));
    hosts.chain(["CUSTOMERD"]).filter_map(|service| name.strip_prefix(service)).any(|rest| {
        let of = |base: &str| rest.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        rest == "_SERVICE_HOST" || of("_SERVICE_PORT") || of("_PORT")
    })
}

fn nearest<'k>(name: &str, known: &'k BTreeSet<String>) -> Option<&'k str> {
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let alike = |known: &str| strsim::normalized_damerau_levenshtein(&bare(name), &bare(known));
    let near = known.iter().map(|known| (alike(known), known.as_str()));
    near.filter(|(alike, _)| *alike >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(names: &[&str]) -> Option<String> {
        warning_of(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn what_no_flag_reads_is_named_once() {
        assert_eq!(
            warned(&["CUSTOMERD_HTTP_ADDR", "CUSTOMERD_PROFILE", "CUSTOMERD_WALLET_KEY", "CUSTOMERD_TOKEN"]),
            None
        );
        assert_eq!(
            warned(&["CUSTOMERD_HTTP_ADR", "CUSTOMERD_COLOUR"]).as_deref(),
            Some(
                "no flag reads these environment variables: CUSTOMERD_COLOUR, CUSTOMERD_HTTP_ADR (did you mean \
                 CUSTOMERD_HTTP_ADDR?)"
            )
        );
    }

    #[test]
    fn what_kubernetes_injects_is_none_of_it() {
        let service = [
            "CUSTOMERD_SERVICE_HOST",
            "CUSTOMERD_SERVICE_PORT",
            "CUSTOMERD_SERVICE_PORT_GRPC",
            "CUSTOMERD_PORT",
            "CUSTOMERD_PORT_8080_TCP",
            "CUSTOMERD_PORT_8080_TCP_ADDR",
        ];
        assert_eq!(warned(&service), None);
        let other = ["CUSTOMERD_DB_SERVICE_HOST", "CUSTOMERD_DB_SERVICE_PORT", "CUSTOMERD_DB_PORT_5432_TCP_PROTO"];
        assert_eq!(warned(&other), None);
        assert!(warned(&["CUSTOMERD_HTTP_PORT"]).is_some(), "no such service");
        assert!(warned(&["CUSTOMERD_PORTS"]).is_some());
    }
}
