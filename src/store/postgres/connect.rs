//! The database URL, and how a connection is made.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use url::form_urlencoded;

use super::guard::deadline;
use super::session::Session;
use crate::store::StoreOptions;
use crate::store::error::{Error, THROUGH_A_POOLER};

/// How long connecting to one host may take, unless `connect_timeout` says otherwise, and the longest that it may say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT_MAX: u64 = 60;

/// Where connections are made to.
#[derive(Clone)]
pub(super) struct Servers {
    /// Tried in this order.
    hosts: Vec<PgConnectOptions>,
    /// Pass over a host that takes no writes (`target_session_attrs`).
    writable: bool,
    /// Of each host.
    timeout: Duration,
    session: Session,
}

impl Servers {
    pub(super) fn new(url: &str, options: &StoreOptions) -> Result<Self, Error> {
        check_parameters(url)?;
        let (urls, several) = (each_host(url)?, url_hosts(url).contains(','));
        let attributes = parameter(url, "target_session_attrs");
        let writable = match attributes.as_deref() {
            None => several,
            Some("any") => false,
            Some("read-write" | "primary") => true,
            Some(_) => {
                let text = "target_session_attrs is any, read-write or primary: a service that writes needs a primary";
                return Err(Error::Url(text.to_owned()));
            }
        };
        let timeout = match parameter(url, "connect_timeout") {
            None => CONNECT_TIMEOUT,
            Some(seconds) => match seconds.parse() {
                Ok(seconds @ 1..=CONNECT_TIMEOUT_MAX) => Duration::from_secs(seconds),
                _ => {
                    let text = format!("connect_timeout is a number of seconds from 1 to {CONNECT_TIMEOUT_MAX}");
                    return Err(Error::Url(text));
                }
            },
        };
        let session = Session::new(options);
        let hosts = urls.iter().map(|url| connect_options(url, &session)).collect::<Result<_, _>>()?;
        Ok(Self { hosts, writable, timeout, session })
    }

    /// Connects to the first host that is fit.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut last = sqlx::Error::PoolClosed;
        for host in &self.hosts {
            // It is large, and would be part of everything that may have to connect.
            match deadline(self.timeout, Box::pin(self.connect_to(host))).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    let text = format!("{} did not answer within {} s", place(host), self.timeout.as_secs());
                    last = sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text));
                }
            }
        }
        Err(last)
    }

    async fn connect_to(&self, host: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(host).await?;
        if self.writable && self.is_read_only(&mut connection).await? {
            return Err(sqlx::Error::Protocol(format!("{} takes no writes", place(host))));
        }
        Ok(connection)
    }

    /// Whose the sessions are.
    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the session takes no writes: the server is a standby, or `default_transaction_read_only` is on.
    pub(super) async fn is_read_only(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        Ok(self.session.show(connection, "transaction_read_only").await? == "on")
    }

    /// Refuses a database that would garble names, and a way to it that limits do not pass.
    pub(super) async fn check(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let refused = |error| self.refused(&error);
        let encoding = self.session.show(connection, "server_encoding").await.map_err(refused)?;
        if encoding != "UTF8" {
            return Err(Error::Open(format!(
                "the database is encoded in {encoding}, and customerd needs UTF8: make one with `createdb --encoding=UTF8 \
                 --template=template0`"
            )));
        }
        match self.session.lacks(connection).await.map_err(refused)? {
            None => Ok(()),
            Some(setting) => Err(Error::Open(format!(
                "{setting} is not what customerd has set it to for its session: something between it and PostgreSQL, such as PgBouncer \
                 with ignore_startup_parameters, drops settings. {THROUGH_A_POOLER}"
            ))),
        }
    }

    /// Says where it was refused and what to do; never the password.
    pub(super) fn refused(&self, error: &sqlx::Error) -> Error {
        let places: Vec<_> = self.hosts.iter().map(place).collect();
        let place = places.join(", ");
        let user = self.hosts.first().map_or("", PgConnectOptions::get_username);
        let database = self.hosts.first().and_then(PgConnectOptions::get_database).unwrap_or(user);
        let (code, text) = (error.as_database_error().and_then(|error| error.code()), error.to_string());
        // PgBouncer has one code for everything.
        let pooler_says = |said: &str| code.as_deref() == Some("08P01") && text.contains(said);
        Error::Open(match code.as_deref() {
            Some("28P01" | "28000") => {
                format!("PostgreSQL at {place} refuses user {user}: check the user and password in the URL ({error})")
            }
            _ if pooler_says("authentication failed") => {
                format!("the pooler at {place} refuses user {user}: check the user and password in the URL ({error})")
            }
            Some("3D000") => {
                format!("PostgreSQL at {place} has no database {database}: create it with `createdb {database}`")
            }
            Some("53300") => {
                format!("PostgreSQL at {place} has no connection left: raise max_connections or lower the pool")
            }
            _ if pooler_says("startup parameter") => format!(
                "{place} is a pooler such as PgBouncer, which refuses the settings that customerd sends ({error}). {THROUGH_A_POOLER}"
            ),
            _ if pooler_says("statement pooling") => {
                format!(
                    "{place} is a pooler that takes transactions apart ({error}): it needs pool_mode = transaction, or session"
                )
            }
            _ => format!(
                "cannot connect to PostgreSQL at {place}: {error}. Is it running, and are host and port in the URL right?"
            ),
        })
    }
}

fn place(options: &PgConnectOptions) -> String {
    options
        .get_socket()
        .map_or_else(|| format!("{}:{}", options.get_host(), options.get_port()), |socket| socket.display().to_string())
}

/// The part of a URL that names hosts and ports: after the credentials, before the path.
fn url_hosts(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts)
}

/// A URL for each of the hosts of a URL, without the parameters that sqlx does not know.
fn each_host(url: &str) -> Result<Vec<String>, Error> {
    let hosts = url_hosts(url);
    // It is a slice of the URL.
    let from = hosts.as_ptr() as usize - url.as_ptr() as usize;
    let (head, tail) = (&url[..from], &url[from + hosts.len()..]);
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !OURS.contains(&name.as_ref()));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    let query = if query.is_empty() { query } else { format!("?{query}") };
    if hosts.contains(',') && hosts.split(',').any(str::is_empty) {
        return Err(Error::Url("one of the hosts between commas is empty".to_owned()));
    }
    Ok(hosts.split(',').map(|host| format!("{head}{host}{path}{query}")).collect())
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).last()
}

fn connect_options(url: &str, session: &Session) -> Result<PgConnectOptions, Error> {
    // The cause may quote the URL, and with it the password.
    let connect = PgConnectOptions::from_str(url)
        .map_err(|_| Error::Url("expected postgres://user:password@host:5432/database".to_owned()))?;
    session.configure(connect.application_name("customerd"))
}

/// The parameters that are read here.
const OURS: [&str; 2] = ["connect_timeout", "target_session_attrs"];

/// Parameters of libpq that concern sockets, which sqlx makes and keeps to itself.
const SOCKET: [&str; 5] =
    ["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];

/// The parameters that sqlx reads from a URL. What it does not know it warns of and leaves away, so that a misspelt `sslmode`
/// would go without TLS.
const PARAMETERS: [&str; 19] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
    "options[NAME]",
];

fn check_parameters(url: &str) -> Result<(), Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    if let Some(name) = SOCKET.iter().find(|name| parameter(url, name).is_some()) {
        return Err(Error::Url(format!(
            "the parameter {name:?} cannot be honoured: customerd notices a dead connection by deadlines of its own, within \
             seconds. Leave it out"
        )));
    }
    if parameter(url, "host").is_some_and(|hosts| hosts.contains(',')) {
        return Err(Error::Url(
            "several hosts go before the path: postgres://user@h1:5432,h2:5432/database".to_owned(),
        ));
    }
    let known = |name: &str| {
        PARAMETERS.contains(&name)
            || OURS.contains(&name)
            || name.strip_prefix("options[").is_some_and(|rest| rest.ends_with(']'))
    };
    match url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !known(name)) {
        Some((name, _)) => {
            let all = [&OURS[..], &PARAMETERS[..]].concat().join(", ");
            Err(Error::Url(format!("the parameter {name:?} is not known; known are {all}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_named_and_their_values_are_not() {
        let options = StoreOptions::default();
        for good in [
            "postgres://me@db/c",
            "postgres://me@db/c?sslmode=verify-full&sslrootcert=%2Fca.pem",
            "postgres:///c?host=%2Frun%2Fpostgresql&options[search_path]=customers",
        ] {
            assert!(Servers::new(good, &options).is_ok(), "{good}");
        }
        for (bad, name) in [
            ("postgres://me@db/c?ssl_mode=require", "ssl_mode"),
            ("postgres://me@db/c?sslmode=require&sslMode=hunter2", "sslMode"),
            ("postgres://me:hunter2@db/c?pgbouncer=true", "pgbouncer"),
        ] {
            let error = Servers::new(bad, &options).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("the parameter {name:?} is not known; known are connect_timeout, ")),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    fn places(url: &str) -> Vec<String> {
        Servers::new(url, &StoreOptions::default()).unwrap().hosts.iter().map(place).collect()
    }

    #[test]
    fn hosts_are_tried_in_their_order() {
        assert_eq!(
            places("postgres://me:a%40b@one:1,[::1]:2,three/c?target_session_attrs=any"),
            ["one:1", "[::1]:2", "three:5432"]
        );
        for (url, writable, seconds) in [
            ("postgres://me@db/c", false, 5),
            ("postgres://me@db/c?target_session_attrs=read-write&connect_timeout=2", true, 2),
            ("postgres://me@one,two/c", true, 5),
            ("postgres://me@one,two/c?target_session_attrs=any", false, 5),
        ] {
            let servers = Servers::new(url, &StoreOptions::default()).unwrap();
            assert_eq!((servers.writable, servers.timeout.as_secs()), (writable, seconds), "{url}");
            assert_eq!(servers.hosts[0].get_database(), Some("c"), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (url, text) in [
            ("postgres://me@db/c?keepalives_idle=5", "\"keepalives_idle\" cannot be honoured"),
            ("postgres://me@db/c?tcp_user_timeout=5000", "\"tcp_user_timeout\" cannot be honoured"),
            ("postgres://me@db/c?target_session_attrs=standby", "target_session_attrs is any, read-write or primary"),
            ("postgres://me@db/c?connect_timeout=0", "connect_timeout is a number of seconds from 1 to 60"),
            ("postgres:///c?host=one,two", "several hosts go before the path"),
            ("postgres://me@one,,two/c", "one of the hosts between commas is empty"),
            ("postgres://me@db/c?load_balance_hosts=random", "\"load_balance_hosts\" is not known"),
        ] {
            let error = Servers::new(url, &StoreOptions::default()).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(text), "{url}: {error}");
        }
    }
}
