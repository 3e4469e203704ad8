//! The flags as an operator types them.

use clap::{CommandFactory as _, Parser};
use secrecy::ExposeSecret as _;

use super::{CertFiles, Common, Only, Serve, WorkAlone};
use crate::serve::Limits;

#[derive(Debug, Parser)]
struct Whole {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    work: WorkAlone,
}

fn typed(line: &str) -> Result<Whole, String> {
    let words = std::iter::once("customerd").chain(line.split_whitespace());
    Whole::try_parse_from(words).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_those_of_the_rooms() {
    Whole::command().debug_assert();
    let whole = typed("").unwrap();
    assert_eq!(format!("{:?}", whole.serve.limits.limits(&whole.serve.clients)), format!("{:?}", Limits::default()));
    assert!(whole.serve.limits.rate_limit.is_none() && whole.serve.kyc.sumsub().unwrap().is_none());
    let urls = whole.common.listen.public_urls("0.0.0.0:4242".parse().unwrap(), true);
    assert_eq!(texts(&urls), ["https://127.0.0.1:4242/", "https://localhost:4242/"]);
}

fn texts(urls: &[url::Url]) -> Vec<&str> {
    urls.iter().map(url::Url::as_str).collect()
}

#[test]
fn every_flag_has_its_variable() {
    let (whole, alone) = (Whole::command(), Alone::command());
    for argument in whole.get_arguments().chain(alone.get_arguments()) {
        let name = argument.get_id().as_str();
        let wanted = format!("CUSTOMERD_{}", name.to_uppercase());
        assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(&wanted[..]));
        assert_eq!(argument.get_long(), Some(&name.replace('_', "-")[..]));
        assert!(argument.get_help().is_some() && argument.get_help_heading().is_some(), "{name}");
        let secret =
            ["secret", "token", "key", "database_url"].iter().any(|end| name.ends_with(end)) && !name.contains("tls");
        if secret && name != "upstream_key" {
            assert!(argument.is_hide_env_values_set(), "{name} would show up in --help");
        }
    }
}

#[test]
fn a_front_needs_a_backend() {
    let front = typed("--only rest --upstream http://10.0.0.5:9090").unwrap();
    assert_eq!(front.serve.only, Some(Only::Rest));
    assert!(typed("--only rest").unwrap_err().contains("--upstream <URL>"));
    assert!(typed("--upstream http://10.0.0.5:9090").unwrap_err().contains("--only <DOOR>"));
    assert!(typed("--only grpc").is_ok());
}

#[test]
fn certificates_come_with_keys() {
    let tls = typed("--http-tls-cert c.pem --http-tls-key k.pem").unwrap().serve.tls;
    assert_eq!(tls.http(), Some(CertFiles { cert: "c.pem".into(), key: "k.pem".into() }));
    assert_eq!(tls.grpc(), None);
    assert!(typed("--grpc-tls-cert c.pem").unwrap_err().contains("--grpc-tls-key <FILE>"));
    assert!(typed("--grpc-client-ca ca.pem").unwrap_err().contains("--grpc-tls-cert <FILE>"));
}

#[test]
fn secrets_come_by_value_or_by_file_and_never_show() {
    let dir = tempfile::tempdir().unwrap();
    let (full, empty) = (dir.path().join("full"), dir.path().join("empty"));
    std::fs::write(&full, "hunter3\n").unwrap();
    std::fs::write(&empty, "\n").unwrap();
    let given = "--sumsub-app-token hunter1 --sumsub-secret hunter2 --sumsub-webhook-secret-file";
    let whole = typed(&format!("{given} {}", full.display())).unwrap();
    let sumsub = whole.serve.kyc.sumsub().unwrap().unwrap();
    assert_eq!(sumsub.webhook_secret.expose_secret(), "hunter3");
    assert!(!format!("{whole:?} {sumsub:?}").contains("hunter"));

    let refused = |line: &str| typed(line).unwrap().serve.kyc.sumsub().unwrap_err().to_string();
    assert!(refused(&format!("{given} {}", empty.display())).ends_with("empty is empty"));
    assert!(refused(&format!("{given} /nowhere")).starts_with("cannot read the secret in /nowhere"));
    assert!(refused("--sumsub-secret hunter2").starts_with("Sumsub needs all three"));
    assert!(typed("--sumsub-secret hunter2 --sumsub-secret-file f").is_err());
}

#[test]
fn lists_are_repeated_or_separated_by_commas() {
    let whole = typed(
        "--public-url https://a.example,https://b.example --public-url http://c.example:81 --chains eip155:1,eip155:10",
    )
    .unwrap();
    let urls = whole.common.listen.public_urls("0.0.0.0:1".parse().unwrap(), false);
    assert_eq!(texts(&urls), ["https://a.example/", "https://b.example/", "http://c.example:81/"]);
    assert_eq!(whole.serve.chains, ["eip155:1", "eip155:10"]);
}

#[test]
fn nonsense_is_refused() {
    for line in [
        "--header-limit 1KiB",
        "--max-streams 0",
        "--body-limit 1GB",
        "--idle-timeout 10",
        "--database-pool-size 0",
        "--http-addr 8080",
    ] {
        assert!(typed(line).is_err(), "{line}");
    }
}
