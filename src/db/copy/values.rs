//! Values in a form that is the same for all databases.

use aws_lc_rs::digest::Context;
use chrono::NaiveDate;
use sea_orm::prelude::Uuid;
use sea_orm::{DbErr, QueryResult, Value};

/// The format of dates. SQLite also stores dates in this format.
const DATE: &str = "%Y-%m-%d";

/// The type of a column in one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Bytes,
    Date,
    Int,
    Text,
    Uuid,
}

impl Kind {
    /// Returns the kind of a column from the name of its type in the catalog, or `None` for a type that no
    /// column of Tripgate has.
    pub(super) fn from_type(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "boolean" | "tinyint(1)" => Self::Bool,
            "blob" | "bytea" => Self::Bytes,
            "date" => Self::Date,
            "bigint" | "integer" | "bigint(20)" => Self::Int,
            "text" | "mediumtext" | "character varying" => Self::Text,
            "uuid" => Self::Uuid,
            name if name.starts_with("varchar(") => Self::Text,
            name if name.starts_with("binary(") || name.starts_with("varbinary(") => Self::Bytes,
            "mediumblob" => Self::Bytes,
            _ => return None,
        })
    }
}

/// A value: booleans are integers, UUIDs are bytes, and dates are texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
}

/// The values of a row, in the order of the columns.
pub(super) type Row = Vec<Cell>;

impl Cell {
    /// Reads a column of a row.
    pub(super) fn read(row: &QueryResult, index: usize, kind: Kind) -> Result<Self, DbErr> {
        fn get<T: sea_orm::TryGetable>(row: &QueryResult, index: usize) -> Result<Option<T>, DbErr> {
            row.try_get_by_index(index)
        }
        let cell = match kind {
            Kind::Bool => get::<bool>(row, index)?.map(|value| Self::Int(value.into())),
            Kind::Bytes => get(row, index)?.map(Self::Bytes),
            Kind::Date => get::<NaiveDate>(row, index)?.map(|date| Self::Text(date.format(DATE).to_string())),
            Kind::Int => get(row, index)?.map(Self::Int),
            Kind::Text => get(row, index)?.map(Self::Text),
            Kind::Uuid => get::<Uuid>(row, index)?.map(|id| Self::Bytes(id.as_bytes().to_vec())),
        };
        Ok(cell.unwrap_or(Self::Null))
    }

    /// Returns the value for a column of this kind, or `None` if such a column can't store it.
    pub(super) fn bind(self, kind: Kind) -> Option<Value> {
        Some(match (kind, self) {
            (Kind::Bool, Self::Int(value)) => (value != 0).into(),
            (Kind::Bool, Self::Null) => None::<bool>.into(),
            (Kind::Bytes, Self::Bytes(bytes)) => bytes.into(),
            (Kind::Bytes, Self::Null) => None::<Vec<u8>>.into(),
            (Kind::Date, Self::Text(text)) => NaiveDate::parse_from_str(&text, DATE).ok()?.into(),
            (Kind::Date, Self::Null) => None::<NaiveDate>.into(),
            (Kind::Int, Self::Int(value)) => value.into(),
            (Kind::Int, Self::Null) => None::<i64>.into(),
            (Kind::Text, Self::Text(text)) => text.into(),
            (Kind::Text, Self::Null) => None::<String>.into(),
            (Kind::Uuid, Self::Bytes(bytes)) => Uuid::from_slice(&bytes).ok()?.into(),
            (Kind::Uuid, Self::Null) => None::<Uuid>.into(),
            _ => return None,
        })
    }

    /// Returns the size in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => 8,
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Adds the value, with its length, to a checksum.
    pub(super) fn hash(&self, hash: &mut Context) {
        let mut part = |tag: u8, bytes: &[u8]| {
            hash.update(&[tag]);
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match self {
            Self::Null => part(0, &[]),
            Self::Int(value) => part(1, &value.to_be_bytes()),
            Self::Bytes(bytes) => part(2, bytes),
            Self::Text(text) => part(3, text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_column_accepts_null_and_only_values_of_its_own_type() {
        let id = Uuid::from_u128(7);
        for (kind, cell, value) in [
            (Kind::Bool, Cell::Int(1), Value::from(true)),
            (Kind::Bytes, Cell::Bytes(vec![1]), Value::from(vec![1_u8])),
            (Kind::Date, Cell::Text("2027-05-01".to_owned()), NaiveDate::from_ymd_opt(2027, 5, 1).into()),
            (Kind::Int, Cell::Int(-1), Value::from(-1_i64)),
            (Kind::Text, Cell::Text("a".to_owned()), Value::from("a".to_owned())),
            (Kind::Uuid, Cell::Bytes(id.as_bytes().to_vec()), Value::from(id)),
        ] {
            assert_eq!(cell.bind(kind), Some(value), "{kind:?}");
            assert!(Cell::Null.bind(kind).is_some());
        }
        assert_eq!(Cell::Text("soon".to_owned()).bind(Kind::Date), None);
        assert_eq!(Cell::Bytes(vec![1]).bind(Kind::Uuid), None);
        assert_eq!(Cell::Int(1).bind(Kind::Text), None);
    }
}
