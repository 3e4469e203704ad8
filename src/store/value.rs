//! Values and rows: what one SQL text binds and reads on both databases.
//!
//! | value | PostgreSQL | SQLite |
//! |---|---|---|
//! | `Uuid` | uuid | BLOB, 16 bytes |
//! | [`Timestamp`] | timestamptz | INTEGER, microseconds since the Unix epoch |
//! | `String`, `&str`; JSON | text | TEXT |
//! | `Vec<u8>`, `&[u8]` | bytea | BLOB |
//! | `i64`, `i32` | bigint, integer | INTEGER |
//! | `bool` | boolean | INTEGER |
//!
//! [`Text`](sqlx::types::Text) carries any `Display + FromStr` value as text. `sum()` of a bigint is a numeric on
//! PostgreSQL: write `CAST(sum(x) AS BIGINT)`.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgRow, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteRow, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Database, Decode, Encode, FromRow, Postgres, Sqlite, Type};

use crate::domain::Timestamp;

/// What can be bound to a parameter on both databases.
pub trait Value<'q>: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}

impl<'q, T> Value<'q> for T where T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}

/// What can be read from a row of either database: tuples, and structs made by `row!`.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Declares a struct that is read from a row, each field from the column of its name, perhaps behind a prefix, on both databases.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* }) => {
        row! { $(#[$meta])* $vis struct $name by "" { $($fields)* } }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident by $prefix:literal {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type),*
        }

        impl<'r, R> ::sqlx::FromRow<'r, R> for $name
        where
            R: ::sqlx::Row,
            &'static str: ::sqlx::ColumnIndex<R>,
            $($type: ::sqlx::Decode<'r, R::Database> + ::sqlx::Type<R::Database>),*
        {
            fn from_row(row: &'r R) -> ::std::result::Result<Self, ::sqlx::Error> {
                Ok(Self { $($field: row.try_get(concat!($prefix, stringify!($field)))?),* })
            }
        }
    };
}
pub(crate) use row;

/// Rows of joined tables, whose columns have different names.
pub(super) struct Joined<A, B, C>(pub(super) A, pub(super) B, pub(super) C);

impl<'r, R, A, B, C> FromRow<'r, R> for Joined<A, B, C>
where
    R: sqlx::Row,
    A: FromRow<'r, R>,
    B: FromRow<'r, R>,
    C: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self(A::from_row(row)?, B::from_row(row)?, C::from_row(row)?))
    }
}

/// PostgreSQL counts microseconds from 2000-01-01T00:00:00Z.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
/// `timestamptz`, the same in every PostgreSQL.
const TIMESTAMPTZ: Oid = Oid(1184);

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(info: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(info)
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'_, Sqlite>>::encode_by_ref(&self.0, buffer)
    }
}

impl Decode<'_, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'_>) -> Result<Self, BoxDynError> {
        <i64 as Decode<'_, Sqlite>>::decode(value).map(Timestamp)
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut <Postgres as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.checked_sub(POSTGRES_EPOCH).ok_or("the time is out of PostgreSQL's range")?;
        <i64 as Encode<'_, Postgres>>::encode_by_ref(&micros, buffer)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<'_, Postgres>>::decode(value)?;
        Ok(Self(micros.checked_add(POSTGRES_EPOCH).ok_or("infinite times are not supported")?))
    }
}
