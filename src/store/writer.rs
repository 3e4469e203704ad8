//! The one connection that writes to SQLite, and how many transactions share one fsync.
//!
//! A transaction waits in line for the connection and runs under a savepoint of an outer transaction. Its commit only
//! joins the *group* of that outer transaction: if others wait in line the connection goes to the next of them, who
//! releases the savepoint together with its own first statement; if nobody waits, or the group is full, the outer
//! transaction is committed. Every member hears of its commit only after that COMMIT, and its fsync, have returned.
//!
//! Every statement costs a hop to the connection's thread, several times what SQLite itself needs, so BEGIN, RELEASE
//! and SAVEPOINT travel with a member's first statement.
//!
//! Savepoint names alternate: `ROLLBACK TO` a name that does not exist says that the member, stopped somewhere in its
//! first statement, had not begun, and cannot touch the work of the member before it.
//!
//! Whoever holds the line when the outer transaction is open sees to its end: a member that is dropped undoes its part
//! in a task of its own, and so does somebody who leaves the queue.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::error::{Error, primary};
use super::query::on_sqlite;
use super::sqlite_file::DatabaseFile;

/// The line for the writing connection.
pub(super) struct Writer {
    line: Arc<Mutex<Line>>,
    options: SqliteConnectOptions,
    file: Arc<DatabaseFile>,
    limits: Limits,
    runtime: Handle,
    waiting: AtomicUsize,
    closed: AtomicBool,
    groups: AtomicU64,
    members: AtomicU64,
}

/// How long the line may be and how many may share a commit.
pub(super) struct Limits {
    pub(super) group: usize,
    pub(super) wait: Duration,
}

/// What passes from hand to hand.
struct Line {
    /// `None` after something went so wrong that only a new connection helps.
    connection: Option<SqliteConnection>,
    /// Those who wait for the COMMIT of the outer transaction.
    group: Vec<oneshot::Sender<Result<(), Error>>>,
    /// An outer transaction may be open.
    open: bool,
    /// Whose turn it was: the newest savepoint is `a` (0) or `b` (1).
    turn: usize,
}

type Hold = OwnedMutexGuard<Line>;

/// One transaction, holding the line.
pub(super) struct Member {
    writer: Arc<Writer>,
    hold: Option<Hold>,
    /// A first statement was sent.
    begun: bool,
    /// No statement has failed, none was left half-way.
    sound: bool,
    /// Whether it waits for the disk.
    durable: bool,
}

impl Writer {
    pub(super) fn new(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        file: Arc<DatabaseFile>,
        limits: Limits,
    ) -> Arc<Self> {
        let line = Line { connection: Some(connection), group: Vec::new(), open: false, turn: 0 };
        Arc::new(Self {
            line: Arc::new(Mutex::new(line)),
            options,
            file,
            limits,
            runtime: Handle::current(),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            groups: AtomicU64::new(0),
            members: AtomicU64::new(0),
        })
    }

    /// Callers in line.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Commits with their fsync, and transactions they carried.
    pub(super) fn commits(&self) -> (u64, u64) {
        (self.groups.load(Ordering::SeqCst), self.members.load(Ordering::SeqCst))
    }

    /// The store was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A turn of the queue in which nobody writes, until it is dropped: what others wrote before is committed.
    pub(super) async fn turn(self: &Arc<Self>) -> Result<Member, Error> {
        let mut member = self.begin(true).await?;
        if let Some(mut hold) = member.hold.take_if(|line| line.open) {
            let writer = Arc::clone(self);
            // In a task of its own, so that nobody's cancellation stops it half-way.
            let settled = self.runtime.spawn(async move {
                hold.settle(&writer).await;
                hold
            });
            member.hold = settled.await.ok();
        }
        Ok(member)
    }

    pub(super) async fn begin(self: &Arc<Self>, durable: bool) -> Result<Member, Error> {
        self.file.check()?;
        let mut place = Place::take(self);
        let mut hold = tokio::time::timeout(self.limits.wait, Arc::clone(&self.line).lock_owned())
            .await
            .map_err(|_| Error::Unavailable("too many wait to write".to_owned()))?;
        place.reached = true;
        drop(place);
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("the store is closed".to_owned()));
        }
        if hold.connection.is_none() {
            hold.connection = Some(self.options.connect().await?);
        }
        Ok(Member { writer: Arc::clone(self), hold: Some(hold), begun: false, sound: true, durable })
    }

    /// Waits for those in line, then closes the connection; its last act is a checkpoint of the write-ahead log.
    pub(super) async fn close(self: &Arc<Self>) -> Result<(), Error> {
        let mut hold = Arc::clone(&self.line).lock_owned().await;
        self.closed.store(true, Ordering::SeqCst);
        if hold.open {
            hold.settle(self).await;
        }
        if let Some(connection) = hold.connection.take() {
            connection.close().await?;
        }
        Ok(())
    }

    /// Gives the line to the next who waits, or ends the outer transaction if nobody does.
    fn pass_on(self: &Arc<Self>, mut hold: Hold) {
        if hold.open && (self.waiting() == 0 || hold.group.len() >= self.limits.group) {
            let writer = Arc::clone(self);
            self.runtime.spawn(async move { hold.settle(&writer).await });
        }
    }
}

/// A place in the queue. Who leaves it without reaching the line may be the one the last member counted on.
struct Place<'a> {
    writer: &'a Arc<Writer>,
    reached: bool,
}

impl<'a> Place<'a> {
    fn take(writer: &'a Arc<Writer>) -> Self {
        writer.waiting.fetch_add(1, Ordering::SeqCst);
        Self { writer, reached: false }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.writer.waiting.fetch_sub(1, Ordering::SeqCst);
        if !self.reached {
            let writer = Arc::clone(self.writer);
            self.writer.runtime.spawn(async move {
                let hold = Arc::clone(&writer.line).lock_owned().await;
                writer.pass_on(hold);
            });
        }
    }
}

impl Line {
    /// What goes before a member's first statement.
    fn begin(&mut self) -> &'static str {
        if !std::mem::replace(&mut self.open, true) {
            self.turn = 0;
            return "BEGIN IMMEDIATE; SAVEPOINT a; ";
        }
        self.turn = 1 - self.turn;
        ["RELEASE b; SAVEPOINT a; ", "RELEASE a; SAVEPOINT b; "][self.turn]
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        on_sqlite(connection, Cow::Borrowed(sql), SqliteArguments::default(), true).await?;
        Ok(())
    }

    /// Ends the outer transaction and tells its members.
    async fn settle(&mut self, writer: &Writer) {
        if self.group.is_empty() {
            return self.abandon().await;
        }
        if let Err(error) = writer.file.check() {
            return self.fail(&error).await;
        }
        match self.control("COMMIT").await {
            Ok(()) => {
                self.open = false;
                writer.groups.fetch_add(1, Ordering::SeqCst);
                writer.members.fetch_add(self.group.len() as u64, Ordering::SeqCst);
                for member in self.group.drain(..) {
                    // A member that no longer listens was cancelled while it waited.
                    let _ = member.send(Ok(()));
                }
            }
            Err(error) => {
                tracing::error!(%error, members = self.group.len(), "commit failed");
                self.fail(&Error::Unavailable(format!("commit failed: {error}"))).await;
            }
        }
    }

    /// Rolls the outer transaction back and tells its members why.
    async fn fail(&mut self, error: &Error) {
        self.abandon().await;
        for member in self.group.drain(..) {
            let _ = member.send(Err(error.clone()));
        }
    }

    /// Rolls the outer transaction back. SQLite may have done so itself; anything else that goes wrong costs the
    /// connection, which rolls back too.
    async fn abandon(&mut self) {
        self.open = false;
        match self.control("ROLLBACK").await {
            Ok(()) => {}
            Err(error) if is_plain(&error) => {}
            Err(error) => {
                tracing::error!(%error, "rollback failed; opening a new connection");
                self.connection = None;
            }
        }
    }

    /// Takes back what the member that has the turn did.
    async fn undo(&mut self, writer: &Writer) {
        if self.group.is_empty() {
            return self.abandon().await;
        }
        match self.control(["ROLLBACK TO a", "ROLLBACK TO b"][self.turn]).await {
            Ok(()) => {}
            // It had not begun, or SQLite has rolled everything back, which COMMIT will say.
            Err(error) if is_plain(&error) => self.settle(writer).await,
            Err(error) => self.fail(&Error::Unavailable(format!("rollback failed: {error}"))).await,
        }
    }
}

/// `SQLITE_ERROR`: for these statements, "no such savepoint" or "no transaction is active".
fn is_plain(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| primary(&code) == 1)
}

impl Member {
    pub(super) async fn run(
        &mut self,
        sql: Cow<'static, str>,
        arguments: SqliteArguments,
        persistent: bool,
    ) -> Result<(Vec<u64>, Vec<SqliteRow>), Error> {
        let sound = std::mem::replace(&mut self.sound, false);
        let Some(line) = self.hold.as_mut().filter(|_| sound) else { return Err(Error::Failed) };
        let sql = if self.begun { sql } else { Cow::Owned([line.begin(), &sql].concat()) };
        self.begun = true;
        let connection = line.connection.as_mut().ok_or(Error::Failed)?;
        let answer = on_sqlite(connection, sql, arguments, persistent).await?;
        self.sound = true;
        Ok(answer)
    }

    /// What it has done must not last: it can only be rolled back.
    pub(super) const fn spoil(&mut self) {
        self.sound = false;
    }

    /// Returns when the change is durable; at once, if that is not waited for: those that write later see it. Cancelled while it
    /// waits, the change is made all the same.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        if !self.sound {
            self.rollback().await;
            return Err(Error::Failed);
        }
        let Some(mut hold) = self.hold.take() else { return Err(Error::Failed) };
        if !self.begun {
            self.writer.pass_on(hold);
            return Ok(());
        }
        let (sender, outcome) = oneshot::channel();
        hold.group.push(sender);
        self.writer.pass_on(hold);
        if !self.durable {
            return Ok(());
        }
        outcome.await.unwrap_or_else(|_| Err(Error::Unavailable("the service stops".to_owned())))
    }

    /// Returns when the change is undone.
    pub(super) async fn rollback(&mut self) {
        if let Some(done) = self.leave() {
            let _ = done.await;
        }
    }

    /// Undoes the change in a task of its own, so that nobody's cancellation stops it half-way.
    fn leave(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let mut hold = self.hold.take()?;
        if !self.begun {
            self.writer.pass_on(hold);
            return None;
        }
        let writer = Arc::clone(&self.writer);
        Some(self.writer.runtime.spawn(async move {
            hold.undo(&writer).await;
            writer.pass_on(hold);
        }))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}
