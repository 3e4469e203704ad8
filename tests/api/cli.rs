//! The command line: exit codes, files, what it says when something is wrong.

use serde_json::Value;

use crate::process::{Place, in_processes, mode, stderr, stdout};
use crate::support::account;

in_processes![
    a_first_call_works_and_exit_codes_tell,
    programmes_are_made_and_ended,
    operators_are_managed_and_their_acts_listed,
    a_customer_is_decided_about,
    a_partner_may_keep_its_private_key,
    a_second_node_leaves_the_profile_alone,
    the_profile_follows_the_service,
    bodies_come_from_anywhere,
];

async fn a_first_call_works_and_exit_codes_tell(place: Place) {
    let unserved = place.run(&["call", "GET", "/v1/customers"]);
    assert_eq!(unserved.status.code(), Some(1));
    assert!(stderr(&unserved).contains("start `customerd` once"), "{}", stderr(&unserved));
    let server = place.serve(&[]);
    assert_eq!(mode(&place.sandbox()), 0o600);
    let body = format!("{{\"chainId\": \"{}\", \"externalId\": \"u-1\"}}", account("u-1"));
    let key = "9b3c2d1e-0000-4000-8000-00000000000a";
    let first = place.run(&["call", "POST", "/v1/customers", "-d", &body, "--idempotency-key", key]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&first)).unwrap()["status"], "initiating");
    let again = place.run(&["call", "POST", "/v1/customers", "-d", &body, "--idempotency-key", key]);
    assert_eq!((again.status.code(), again.stdout), (Some(0), first.stdout));
    let anew = place.run(&["call", "POST", "/v1/customers", "-d", &body]);
    assert_eq!(anew.status.code(), Some(1));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&anew)).unwrap()["code"], "CUSTOMER_EXISTS");
    for wrong in [&["call", "GET", "v1"][..], &["call"], &["cal"], &["serve", "--only", "rest"], &["--nothing"]] {
        assert_eq!(place.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let token = place.run(&["token"]);
    assert!(token.status.success() && stdout(&token).trim().split('.').count() == 3, "{}", stdout(&token));

    // A second start keeps the sandbox and its secrets.
    let profile = std::fs::read(place.sandbox()).unwrap();
    assert_eq!(server.stop(), Some(0));
    let server = place.serve(&[]);
    assert_eq!(std::fs::read(place.sandbox()).unwrap(), profile);
    assert_eq!(place.run(&["call", "GET", "/v1/customers"]).status.code(), Some(0));
    drop(server);
    let gone = place.run(&["call", "GET", "/v1/customers"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("is `customerd` running?"), "{}", stderr(&gone));
}

async fn programmes_are_made_and_ended(place: Place) {
    let made = place.run(&["programme", "create", "--name", "Wallet"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let profile: Value = serde_json::from_str(&stdout(&made)).unwrap();
    let names: Vec<&String> = profile.as_object().unwrap().keys().collect();
    let wanted = ["baseUrl", "grpcAddr", "apiKey", "apiSecret", "keyId", "algorithm", "privateKeyPem", "programmeId"];
    assert_eq!(names, wanted);
    let file = place.directory.path().join("wallet.json");
    std::fs::write(&file, &made.stdout).unwrap();
    let file = file.to_str().unwrap();
    let server = place.serve(&["--no-sandbox"]);
    assert!(!place.sandbox().exists());
    let call = ["call", "--profile", file, "GET", "/v1/customers"];
    assert_eq!(place.run(&call).status.code(), Some(0));
    let id = profile["programmeId"].as_str().unwrap();
    let rotated = place.run(&["programme", "rotate-secret", "--id", id]);
    assert!(rotated.status.success() && !stdout(&rotated).contains(profile["apiSecret"].as_str().unwrap()));
    let refused = place.run(&call);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("do not belong together"), "{}", stderr(&refused));
    assert!(place.run(&["programme", "disable", "--id", id]).status.success());
    let listed: Value = serde_json::from_str(stdout(&place.run(&["programme", "list"])).trim()).unwrap();
    assert_eq!((&listed["name"], &listed["disabled"], listed.get("apiSecret")), (&"Wallet".into(), &true.into(), None));
    // Enabled again, it has the credentials that it had.
    let enabled = place.run(&["programme", "enable", "--id", id]);
    assert_eq!(stdout(&enabled).trim(), format!("{{\"programmeId\":\"{id}\",\"disabled\":false}}"));
    let rotated: Value = serde_json::from_str(&stdout(&rotated)).unwrap();
    let mut renewed = profile.clone();
    for name in ["apiKey", "apiSecret"] {
        renewed[name] = rotated[name].clone();
    }
    std::fs::write(file, renewed.to_string()).unwrap();
    assert_eq!(place.run(&call).status.code(), Some(0));
    assert!(stderr(&place.run(&["programme", "enable", "--id", id])).contains("is enabled already"));
    for unknown in ["enable", "disable"] {
        let unknown = place.run(&["programme", unknown, "--id", "01900000-0000-7000-8000-000000000000"]);
        assert!(stderr(&unknown).contains("there is no programme"), "{}", stderr(&unknown));
    }
    let acts = stdout(&place.run(&["audit", "acts"]));
    for act in ["create", "rotate_secret", "disable", "enable"] {
        let recorded = acts.lines().find(|line| line.contains(&format!("\"programme.{act}\"")));
        assert!(recorded.is_some_and(|line| line.contains(id)), "{act}: {acts}");
    }
    // A name is given once, unless somebody insists.
    let taken = place.run(&["programme", "create", "--name", "Wallet"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(stderr(&taken).contains("--allow-duplicate-name"), "{}", stderr(&taken));
    let create = ["programme", "create", "--name", "Wallet", "--allow-duplicate-name"];
    let twin = place.run(&[&create[..], &["--public-url", "https://api.example.com"]].concat());
    let twin: Value = serde_json::from_str(&stdout(&twin)).unwrap();
    assert_eq!(twin["baseUrl"], "https://api.example.com/v1");
    let operator = place.run(&["operator", "create", "--name", "desk"]);
    let operator: Value = serde_json::from_str(&stdout(&operator)).unwrap();
    assert!(operator["token"].as_str().unwrap().starts_with("cop_"));
    assert_eq!(place.run(&["operator", "create", "--name", "desk"]).status.code(), Some(1));
    drop(server);
}

async fn operators_are_managed_and_their_acts_listed(place: Place) {
    assert!(place.run(&["migrate"]).status.success());
    let json = |output: &std::process::Output| -> Value {
        assert!(output.status.success(), "{}", stderr(output));
        serde_json::from_str(stdout(output).trim()).unwrap()
    };
    let profile = json(&place.run(&["programme", "create", "--name", "Wallet"]));
    let programme = profile["programmeId"].as_str().unwrap();
    let bare = place.run(&["operator", "create", "--name", "desk"]);
    assert!(stderr(&bare).contains("without --role the operator is admin"), "{}", stderr(&bare));
    assert_eq!(json(&bare)["role"], "admin");
    let ledger =
        ["operator", "create", "--name", "ledger", "--role", "service", "--programme", programme, "--expires", "90d"];
    let ledger = place.run(&ledger);
    assert_eq!(stderr(&ledger), "");
    let ledger = json(&ledger);
    let names = ledger.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(names, "name token role everyProgramme programmes createdAt rotatedAt expiresAt revokedAt");
    assert_eq!(ledger["programmes"], serde_json::json!([programme]));
    for (wrong, code, said) in [
        (&["--role", "service"][..], 1, "--programme: The role service needs"),
        (&["--role", "admin", "--programme", programme][..], 1, "--programme: The role admin is for every programme"),
        (&["--role", "viewer", "--programme", "00000000-0000-0000-0000-000000000000"][..], 1, "there is no programme"),
        (&["--role", "king"][..], 2, "expected one of service, viewer"),
        (&["--role", "viewer", "--expires", "soon"][..], 2, "--expires"),
    ] {
        let refused = place.run(&[&["operator", "create", "--name", "x"], wrong].concat());
        assert_eq!(refused.status.code(), Some(code), "{wrong:?}");
        assert!(stderr(&refused).contains(said), "{wrong:?}: {}", stderr(&refused));
    }
    let rotated = json(&place.run(&["operator", "rotate", "ledger"]));
    assert!(rotated["token"] != ledger["token"] && rotated["rotatedAt"].is_string());
    let revoked = json(&place.run(&["operator", "revoke", "ledger"]));
    assert!(revoked["revokedAt"].is_string() && revoked.get("token").is_none());
    for refused in
        [["operator", "rotate", "ledger"], ["operator", "revoke", "ledger"], ["operator", "revoke", "nobody"]]
    {
        assert_eq!(place.run(&refused).status.code(), Some(1), "{refused:?}");
    }
    let listed = stdout(&place.run(&["operator", "list"]));
    let roles: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["role"].clone()).collect();
    assert_eq!(roles, ["admin", "service"]);
    assert!(!listed.contains("cop_"));

    let told = stdout(&place.run(&["audit", "acts", "--since", "1h"]));
    let acts: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_operators = acts.iter().filter(|act| act["targetType"] == "operator");
    let of_operators: Vec<_> = of_operators.map(|act| format!("{} {}", act["act"], act["targetId"])).collect();
    let wanted = ["operator.revoke ledger", "operator.rotate ledger", "operator.create ledger", "operator.create desk"];
    assert_eq!(of_operators.iter().map(|act| act.replace('"', "")).collect::<Vec<_>>(), wanted);
    for act in &acts {
        assert!(act["actor"].as_str().unwrap().starts_with("command-line:") && act["outcome"] == "done", "{act}");
        assert!(act["client"].is_string(), "{act}");
    }
    assert!(!told.contains("cop_"), "{told}");
    assert_eq!(stdout(&place.run(&["audit", "acts", "--limit", "1"])).lines().count(), 1);
    assert_eq!(stdout(&place.run(&["audit", "acts", "--since", "2200-01-01T00:00:00Z"])), "");
    assert_eq!(place.run(&["audit", "acts", "--since", "yesterday"]).status.code(), Some(2));
}

async fn a_customer_is_decided_about(place: Place) {
    use customerd::domain::customer::Move;
    use customerd::domain::event::Origin;
    use customerd::lifecycle::{Step, moves};
    use customerd::store::{Migrations, customers};

    let server = place.serve(&[]);
    let body = format!("{{\"chainId\": \"{}\", \"externalId\": \"u-1\"}}", account("u-1"));
    let made = place.run(&["call", "POST", "/v1/customers", "-d", &body]);
    let id = serde_json::from_str::<Value>(&stdout(&made)).unwrap()["id"].as_str().unwrap().to_owned();
    let decide = |flags: &[&str]| place.run(&[&["customer", "decide", "--id", &id], flags].concat());
    let approve = ["--approve", "--reason", "passport seen"];
    let early = decide(&approve);
    assert_eq!(early.status.code(), Some(1));
    assert!(stderr(&early).contains("initiating"), "{}", stderr(&early));
    // With the encryption key of the data directory, as a command opens it.
    let (directory, url) = (place.directory.path().to_str().unwrap(), place.database_url());
    let mut arguments = vec!["customerd", "migrate", "--data-dir", directory, "--database-url", &url];
    if let Some(key_file) = &place.key_file {
        arguments.extend(["--encryption-key-file", key_file.to_str().unwrap()]);
    }
    let cli = customerd::cli::Cli::read(arguments.iter().map(Into::into)).unwrap();
    let store = customerd::app::open_store(&cli.common, Migrations::Check).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, id.parse().unwrap()).await.unwrap().unwrap();
    for by in [Move::ProveOwnership, Move::Clear] {
        let step = Step { by, reason: None, origin: &Origin::internal("test") };
        moves::make(&mut tx, &mut held, step, &customerd::clock::Clock::system()).await.unwrap();
    }
    tx.commit().await.unwrap();
    store.close().await.unwrap();
    for wrong in [&["--reason", "x"][..], &["--approve", "--reject", "--reason", "x"], &["--approve"]] {
        assert_eq!(decide(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(decide(&["--approve", "--reason", " "]).status.code(), Some(1));
    let decided = decide(&approve);
    assert!(decided.status.success(), "{}", stderr(&decided));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&decided)).unwrap()["status"], "active");
    let again = stderr(&decide(&approve));
    assert!(again.contains("only a customer who is verifying") && !again.contains("Retrieve"), "{again}");
    let shown = place.run(&["call", "GET", &format!("/v1/customers/{id}/verification")]);
    assert!(stdout(&shown).contains("\"approved\"") && !stdout(&shown).contains("passport"), "{}", stdout(&shown));
    let told = stdout(&place.run(&["audit", "acts", "--limit", "1"]));
    let act: Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!((&act["act"], &act["targetId"]), (&"customer.decide_verification".into(), &id.as_str().into()));
    assert_eq!((&act["reason"], &act["outcome"]), (&"passport seen".into(), &"done".into()));
    assert!(act["programmeId"].is_string());
    drop(server);
}

async fn a_partner_may_keep_its_private_key(place: Place) {
    let [key, public, file] = ["key.pem", "public.pem", "wallet.json"].map(|name| place.directory.path().join(name));
    let [key, public, file] = [&key, &public, &file].map(|path| path.to_str().unwrap());
    let made = place.run(&["keygen", "--algorithm", "ed25519", "--out", key]);
    std::fs::write(public, &made.stdout).unwrap();
    let made = place.run(&["programme", "create", "--name", "Wallet", "--public-key", public]);
    let profile: Value = serde_json::from_str(&stdout(&made)).unwrap();
    assert_eq!((&profile["algorithm"], profile.get("privateKeyPem")), (&"ed25519".into(), None));
    std::fs::write(file, &made.stdout).unwrap();
    let server = place.serve(&["--no-sandbox"]);
    assert!(place.run(&["token", "--profile", file]).status.success());
    let call = ["call", "--profile", file, "GET", "/v1/customers"];
    let unsigned = place.run(&call);
    assert!(unsigned.status.code() == Some(1) && stderr(&unsigned).contains("--key"), "{}", stderr(&unsigned));
    let signed = place.run(&[&call[..], &["--key", key]].concat());
    assert_eq!(signed.status.code(), Some(0), "{}", stderr(&signed));
    let wrong = place.run(&["programme", "create", "--name", "Other", "--public-key", key]);
    assert_eq!(wrong.status.code(), Some(1), "a private key is none that can be given away");
    assert!(!stdout(&place.run(&["programme", "list"])).contains("Other"));
    drop(server);
}

async fn a_second_node_leaves_the_profile_alone(place: Place) {
    let first = place.serve(&[]);
    let made = std::fs::read_to_string(place.sandbox()).unwrap();
    let elsewhere = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let second = place.serve(&elsewhere);
    assert_eq!(std::fs::read_to_string(place.sandbox()).unwrap(), made);
    drop((first, second));
    // Alone it is the profile's node.
    drop(place.serve(&elsewhere));
    assert_ne!(std::fs::read_to_string(place.sandbox()).unwrap(), made);
}

async fn the_profile_follows_the_service(place: Place) {
    drop(place.serve(&[]));
    let path = place.sandbox();
    let made = std::fs::read_to_string(&path).unwrap();
    let first: Value = serde_json::from_str(&made).unwrap();

    // Addresses are the service's business; nothing else is.
    let moved = made.replace(first["baseUrl"].as_str().unwrap(), "http://127.0.0.1:9/v1");
    std::fs::write(&path, &moved).unwrap();
    drop(place.serve(&["--no-sandbox"]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), moved, "left alone where no sandbox is wanted");
    drop(place.serve(&[]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
    assert_eq!(mode(&path), 0o600);

    // Another database in the same place: the first one's secrets are kept.
    let other = format!("sqlite://{}/other.db", place.directory.path().display());
    drop(place.serve(&["--database-url", &other]));
    assert_eq!(std::fs::read_to_string(path.with_extension("json.old")).unwrap(), made);
    assert_eq!(mode(&place.directory.path().join("other.db")), 0o600);
    let theirs = std::fs::read_to_string(&path).unwrap();
    let second: Value = serde_json::from_str(&theirs).unwrap();
    assert_ne!(second["programmeId"], first["programmeId"]);
    let server = place.serve(&[]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), theirs, "of another database: not ours to change");
    std::fs::write(&path, "broken").unwrap();
    drop(server);
    drop(place.serve(&[]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "broken");
}

async fn bodies_come_from_anywhere(place: Place) {
    let server = place.serve(&[]);
    let body = |name: &str| format!("{{\"chainId\": \"{}\", \"externalId\": \"{name}\"}}", account(name));
    let file = place.directory.path().join("body.json");
    std::fs::write(&file, body("file")).unwrap();
    let from_file = place.run(&["call", "post", "/v1/customers", "-d", &format!("@{}", file.display())]);
    assert_eq!(from_file.status.code(), Some(0), "{}", stdout(&from_file));
    for (name, data) in [("dash", "-"), ("at-dash", "@-")] {
        std::fs::write(&file, body(name)).unwrap();
        let mut command = place.customerd();
        command.args(["call", "POST", "/v1/customers", "-d", data]).stdin(std::fs::File::open(&file).unwrap());
        let output = command.output().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["externalId"], name);
    }
    for wrong in [["call", "GET", "//127.0.0.1:9/v1/customers"], ["call", "FETCH", "/v1/customers"]] {
        assert_eq!(place.run(&wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(place.run(&["call", "POST", "/v1/customers", "-d", "@nowhere"]).status.code(), Some(1));
    drop(server);
}

#[test]
fn a_value_from_the_environment_is_named() {
    let place = Place::sqlite();
    let wrong = place.customerd().env("CUSTOMERD_RATE_LIMIT", "5").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("environment: CUSTOMERD_RATE_LIMIT."), "{}", stderr(&wrong));
    let typed = place.customerd().env("CUSTOMERD_RATE_LIMIT", "5").args(["--rate-limit", "6"]).output().unwrap();
    assert!(!stderr(&typed).contains("environment"), "{}", stderr(&typed));
    let yes = place.customerd().env("CUSTOMERD_NO_SANDBOX", "1").args(["--rate-limit", "6"]).output().unwrap();
    assert!(stderr(&yes).contains("--rate-limit"), "{}", stderr(&yes));
}

#[test]
fn a_cause_is_told_once() {
    let place = Place::sqlite();
    let taken = std::net::TcpListener::bind(place.http).unwrap();
    let refused = place.run(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(stderr(&refused).matches("in use").count(), 1, "{}", stderr(&refused));
    drop(taken);
}

/// What the command says about a database that it cannot use.
fn complaint(url: &str) -> String {
    let place = Place::sqlite();
    let output = place.run(&["migrate", "--database-url", url]);
    assert_eq!(output.status.code(), Some(1), "{url}");
    stderr(&output)
}

#[test]
fn a_wrong_database_is_explained() {
    let unknown = complaint("mysql://root:hunter2@localhost/x");
    assert!(unknown.contains("sqlite://") && unknown.contains("postgres://"), "{unknown}");
    assert!(!unknown.contains("hunter2"), "{unknown}");
    let nobody = complaint("postgres://me:hunter2@127.0.0.1:1/x");
    assert!(nobody.contains("127.0.0.1:1") && !nobody.contains("hunter2"), "{nobody}");
    let no_file = complaint("sqlite:///proc/nowhere/x.db");
    assert!(no_file.contains("/proc/nowhere"), "{no_file}");
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let place = Place::sqlite();
    assert!(place.run(&["migrate"]).status.success());
    assert!(place.run(&["migrate"]).status.success(), "again is no harm");
    let url = format!("sqlite://{}/customerd.db", place.directory.path().display());
    let mut database = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, success, checksum, execution_time \
                 FROM _sqlx_migrations WHERE version = 1";
    sqlx::query(newer).execute(&mut database).await.unwrap();
    sqlx::Connection::close(database).await.unwrap();
    let refused = place.run(&["migrate"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("9999") && stderr(&refused).contains("newer"), "{}", stderr(&refused));
}

#[test]
fn no_command_makes_a_database_in_a_wrong_directory() {
    let place = Place::sqlite();
    for line in [
        "programme list",
        "programme create --name Wallet",
        "programme disable --id ID",
        "programme enable --id ID",
        "programme rotate-secret --id ID",
        "operator create --name desk",
        "migrate",
        "worker",
        "verify-audit",
        "audit acts",
        "keys list",
        "token",
        "call GET /v1/customers",
        "listen --forward-to http://127.0.0.1:1/",
    ] {
        let line = line.replace("ID", "01900000-0000-7000-8000-000000000000");
        let output = place.customerd().env_remove("CUSTOMERD_DATA_DIR").args(line.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {}", stderr(&output));
        assert_eq!(std::fs::read_dir(place.directory.path()).unwrap().count(), 0, "{line} left something behind");
        if !["token", "call", "listen"].iter().any(|other| line.starts_with(other)) {
            assert!(stderr(&output).contains("--data-dir"), "{line}: {}", stderr(&output));
        }
    }
    for line in ["programme list", "audit acts", "keys list", "verify-audit", "worker"] {
        let told = stderr(&place.run(&line.split(' ').collect::<Vec<_>>()));
        let made = place.directory.path().join("customerd.db").exists();
        assert!(told.contains("makes a new one, and so do `migrate`") && !made, "{line}: {told}");
    }
    let create = ["programme", "create", "--name", "A", "--data-dir", "here"];
    let created = place.customerd().env_remove("CUSTOMERD_DATA_DIR").args(create).output().unwrap();
    assert!(created.status.success() && place.directory.path().join("here/customerd.db").exists());
}
