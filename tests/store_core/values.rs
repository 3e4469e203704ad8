//! Transactions, values, errors, batches, paging.

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::store::{Connection, Error, Lengths, Rows, Text, Tx, Unique, keyring, write_rows};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::pooler::behind_a_pooler;
use crate::support::cancel::after_polls;
use crate::support::stores::{TestStore, on_both};
use crate::{INSERT, insert, names, scratch};

on_both![
    commit_lasts,
    drop_undoes,
    first_key_wins,
    values_come_back,
    unique_is_named_alike,
    failed_statement_ends_the_transaction,
    cancelled_statement_ends_the_transaction,
    one_finds_or_says_so,
    filters_and_keyset_pages,
    many_rows,
    closed_store_refuses,
    counts,
];
behind_a_pooler![
    commit_lasts,
    drop_undoes,
    first_key_wins,
    values_come_back,
    unique_is_named_alike,
    failed_statement_ends_the_transaction,
    cancelled_statement_ends_the_transaction,
    one_finds_or_says_so,
    filters_and_keyset_pages,
    many_rows,
    closed_store_refuses,
    counts,
];

async fn commit_lasts(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    assert_eq!(insert(&mut tx, "a").await.unwrap(), 1);
    assert_eq!(insert(&mut tx, "b").await.unwrap(), 1);
    let seen: (i64,) = tx.query("SELECT count(*) FROM service_keys").one().await.unwrap();
    assert_eq!(seen, (2,));
    // Nobody else sees it, and looking does not wait.
    assert_eq!(names(&test).await, [""; 0]);
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["a", "b"]);
}

async fn drop_undoes(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    drop(tx);
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "b").await.unwrap();
    tx.rollback().await.unwrap();
    drop(test.store.begin().await.unwrap());
    test.store.begin().await.unwrap().commit().await.unwrap();
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "c").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["c"]);
}

async fn first_key_wins(test: TestStore) {
    let (one, two) = (Clock::manual(Timestamp(5), 1), Clock::manual(Timestamp(5), 2));
    let made = keyring::ensure(&test.store, &one).await.unwrap();
    let again = keyring::ensure(&test.store, &two).await.unwrap();
    assert_eq!(made.len(), 5);
    for (made, again) in made.iter().zip(&again) {
        assert_eq!((&made.kid, made.secret.expose_secret()), (&again.kid, again.secret.expose_secret()));
    }
}

type Values = (Uuid, Timestamp, Option<Timestamp>, String, Vec<u8>, i64, i32, bool, Option<String>, Text<u16>);

async fn values_come_back(test: TestStore) {
    scratch(
        &test,
        "CREATE TABLE v (id BLOB PRIMARY KEY, at INTEGER, later INTEGER, t TEXT, b BLOB, big INTEGER, small INTEGER,
         yes INTEGER, absent TEXT, code TEXT) STRICT",
        "CREATE TABLE v (id uuid PRIMARY KEY, at timestamptz, later timestamptz, t text, b bytea, big bigint,
         small integer, yes boolean, absent text, code text)",
    )
    .await;
    let rows: [Values; 2] = [
        (
            Uuid::from_u128(1),
            // PostgreSQL's range is 4713 BC to AD 294276; RFC 3339 has less.
            Timestamp(-62_135_596_800_000_000),
            Some(Timestamp(253_402_300_799_999_999)),
            "héllo \u{1f600} 'quoted' $1".to_owned(),
            vec![0, 255, 39],
            i64::MAX,
            i32::MIN,
            true,
            None,
            Text(402),
        ),
        (Uuid::max(), Timestamp(-1), None, String::new(), vec![], i64::MIN, 7, false, Some("x".to_owned()), Text(0)),
    ];
    let mut tx = test.store.begin().await.unwrap();
    for row in &rows {
        let query = tx.query("INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
        let query = query.bind(row.0).bind(row.1).bind(row.2).bind(&row.3).bind(&row.4).bind(row.5).bind(row.6);
        query.bind(row.7).bind(row.8.as_deref()).bind(Text(row.9.0)).execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut reader = test.store.reader().await.unwrap();
    let read: Vec<Values> = reader.query("SELECT * FROM v ORDER BY id").all().await.unwrap();
    for (read, row) in read.iter().zip(&rows) {
        assert_eq!((read.0, read.1, read.2, &read.3, &read.4), (row.0, row.1, row.2, &row.3, &row.4));
        assert_eq!((read.5, read.6, read.7, &read.8, read.9.0), (row.5, row.6, row.7, &row.8, row.9.0));
    }
    let text: (String,) = reader.query("SELECT t FROM v WHERE at < $1").bind(Timestamp(-2)).one().await.unwrap();
    assert_eq!(text.0, rows[0].3);
}

async fn unique_is_named_alike(test: TestStore) {
    const TABLE: &str = "CREATE TABLE u (id BIGINT PRIMARY KEY, a TEXT, b TEXT, c TEXT, UNIQUE (b, a))";
    scratch(&test, TABLE, TABLE).await;
    const INDEX: &str = "CREATE UNIQUE INDEX u_c ON u (c) WHERE c <> 'free'";
    scratch(&test, INDEX, INDEX).await;
    let clash = async |id: i64, a: &str, c: &str| {
        let mut tx = test.store.begin().await.unwrap();
        let sql = "INSERT INTO u (id, a, b, c) VALUES ($1, $2, 'b', $3)";
        tx.query(sql).bind(id).bind(a).bind(c).execute().await?;
        tx.commit().await
    };
    clash(1, "a", "c").await.unwrap();
    clash(2, "a2", "free").await.unwrap();
    clash(3, "a3", "free").await.unwrap();
    for ((id, a, c), columns) in [((1, "x", "x"), &["id"][..]), ((9, "a", "x"), &["b", "a"]), ((9, "x", "c"), &["c"])] {
        let error = clash(id, a, c).await.unwrap_err();
        let Error::Unique(unique) = &error else { panic!("{error:?}") };
        let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
        assert_eq!(*unique, Unique { table: "u".to_owned(), columns });
    }
    let error = clash(9, "a", "x").await.unwrap_err();
    assert!(error.is_unique("u", &["b", "a"]) && !error.is_unique("u", &["a", "b"]) && !error.is_retry());
    assert_eq!(error.to_string(), "already exists: u(b, a)");
}

async fn failed(tx: &mut Tx) -> bool {
    matches!(insert(tx, "after").await, Err(Error::Failed))
}

async fn failed_statement_ends_the_transaction(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    let error = insert(&mut tx, "a").await.unwrap_err();
    assert!(error.is_unique("service_keys", &["name"]));
    assert!(failed(&mut tx).await);
    assert!(matches!(tx.commit().await, Err(Error::Failed)));
    let mut tx = test.store.begin().await.unwrap();
    assert!(matches!(tx.query("SELECT nonsense").execute().await, Err(Error::Sql(_))));
    assert!(failed(&mut tx).await);
    drop(tx);
    assert_eq!(names(&test).await, [""; 0]);
}

/// A statement that takes long enough to be cancelled in its midst.
async fn insert_many(tx: &mut Tx) -> Result<u64, Error> {
    tx.query(
        "INSERT INTO service_keys (name, secret, created_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
         SELECT CAST(i AS TEXT), $1, $2 FROM n",
    )
    .bind(vec![0_u8])
    .bind(Timestamp(1))
    .execute()
    .await
}

async fn cancelled_statement_ends_the_transaction(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    assert!(after_polls(insert_many(&mut tx), 1).await.is_none());
    assert!(failed(&mut tx).await);
    assert!(matches!(tx.commit().await, Err(Error::Failed)));
    // The first statement of a transaction, which opens it.
    let mut tx = test.store.begin().await.unwrap();
    assert!(after_polls(insert_many(&mut tx), 1).await.is_none());
    assert!(failed(&mut tx).await);
    drop(tx);
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "d").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["d"]);
}

async fn one_finds_or_says_so(test: TestStore) {
    let mut reader = test.store.reader().await.unwrap();
    const SQL: &str = "SELECT name FROM service_keys WHERE name = $1";
    assert!(matches!(reader.query(SQL).bind("a").one::<(String,)>().await, Err(Error::NotFound)));
    assert_eq!(reader.query(SQL).bind("a").optional::<(String,)>().await.unwrap(), None);
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    let found: (String,) = tx.query(SQL).bind("a").for_update().one().await.unwrap();
    assert_eq!(found.0, "a");
    let claimed: Vec<(String,)> =
        tx.query("SELECT name FROM service_keys").for_update_skip_locked().all().await.unwrap();
    assert_eq!(claimed.len(), 1);
}

async fn filters_and_keyset_pages(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    for (name, at) in [("a", 3), ("b", 2), ("c", 2), ("d", 2), ("e", 1)] {
        tx.query(INSERT).bind(name).bind(name.as_bytes()).bind(Timestamp(at)).execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    let page = async |only: &[&str], after: Option<(Timestamp, &str)>| {
        let mut reader = test.store.reader().await.unwrap();
        let mut query = reader.query("SELECT name FROM service_keys WHERE created_at < $1").bind(Timestamp(9));
        if !only.is_empty() {
            query = query.push(" AND name IN ").push_list(only.iter().copied());
        }
        if let Some((at, name)) = after {
            query = query.push(" AND (created_at, name) < (").push_bind(at).push(", ").push_bind(name).push(")");
        }
        let rows: Vec<(String,)> =
            query.push(" ORDER BY created_at DESC, name DESC LIMIT ").push_bind(2_i64).all().await.unwrap();
        rows.into_iter().map(|row| row.0).collect::<String>()
    };
    assert_eq!(page(&[], None).await, "ad");
    assert_eq!(page(&[], Some((Timestamp(2), "d"))).await, "cb");
    assert_eq!(page(&[], Some((Timestamp(2), "b"))).await, "e");
    assert_eq!(page(&["b", "e", "zz"], None).await, "be");
    assert_eq!(page(&["b", "e"], Some((Timestamp(2), "b"))).await, "e");
}

async fn many_rows(test: TestStore) {
    const INSERTS: Rows = Rows {
        head: "INSERT INTO service_keys (name, secret, created_at) VALUES ",
        tail: " ON CONFLICT DO NOTHING",
        lengths: Lengths::All,
    };
    const UPDATES: Rows = Rows {
        head: "WITH v (name, at) AS (VALUES ",
        tail: ") UPDATE service_keys SET created_at = v.at FROM v WHERE service_keys.name = v.name",
        lengths: Lengths::Few,
    };
    let rows: Vec<i64> = (0..1201).collect();
    let mut tx = test.store.begin().await.unwrap();
    let bind = |name: i64| Text(name);
    let write = async |tx: &mut Tx, rows: &[i64]| {
        write_rows(tx, INSERTS, rows, |query, row| {
            query.bind(bind(*row)).bind(row.to_be_bytes().to_vec()).bind(Timestamp(*row))
        })
        .await
        .unwrap()
    };
    assert_eq!(write(&mut tx, &[]).await, 0);
    assert_eq!(write(&mut tx, &rows[..3]).await, 3);
    assert_eq!(write(&mut tx, &rows).await, 1198);
    let changed =
        write_rows(&mut tx, UPDATES, &rows[600..], |query, row| query.bind(bind(*row)).bind(Timestamp(row + 1)));
    assert_eq!(changed.await.unwrap(), 601);
    tx.commit().await.unwrap();
    let mut reader = test.store.reader().await.unwrap();
    for (name, secret, at) in [(0_i64, 0_i64, 0), (599, 599, 599), (600, 600, 601), (1200, 1200, 1201)] {
        let sql = "SELECT secret, created_at FROM service_keys WHERE name = $1";
        let row: (Vec<u8>, Timestamp) = reader.query(sql).bind(bind(name)).one().await.unwrap();
        assert_eq!(row, (secret.to_be_bytes().to_vec(), Timestamp(at)));
    }
}

async fn closed_store_refuses(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    tx.commit().await.unwrap();
    test.store.close().await.unwrap();
    assert!(matches!(test.store.begin().await.err(), Some(Error::Unavailable(_))));
    assert!(matches!(test.store.reader().await.err(), Some(Error::Unavailable(_))));
    test.store.close().await.unwrap();
}

async fn counts(test: TestStore) {
    assert_eq!((test.store.stats().transactions, test.store.stats().commits), (0, 0));
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        let mut tx = test.store.begin().await.unwrap();
        insert(&mut tx, name).await.unwrap();
        tx.commit().await.unwrap();
        let stats = test.store.stats();
        assert_eq!((stats.transactions, stats.commits, stats.waiting), (number as u64 + 1, number as u64 + 1, 0));
    }
    assert_eq!(test.store.stats().database, test.store.dialect().name());
}
