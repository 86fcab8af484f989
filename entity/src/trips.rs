//! Trips, each with one owner.

use sea_orm::entity::prelude::*;

/// A row of `trips`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trips")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    pub created_at: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub title: String,
    pub destination: Option<String>,
    pub start_date: Option<Date>,
    pub end_date: Option<Date>,
    /// An IANA time zone name.
    pub time_zone: Option<String>,
    pub notes: Option<String>,
    pub status: String,
    /// The version of the trip, from 1.
    pub version: i64,
    /// The value of the owner's counter at the last change.
    pub change_seq: i64,
    pub updated_at: i64,
    /// A JSON array, in travel order.
    pub stops: String,
    /// The start date as the number of days since 1970-01-01, or `9_000_000` without a start date.
    pub start_key: i64,
    /// The title without case and accents.
    pub title_key: String,
    /// Title, destination, notes and the names of the stops without case and accents.
    pub search: String,
    /// A Bloom filter of the substrings of `search` that have 1 or 2 characters.
    pub search_short: Vec<u8>,
    /// A Bloom filter of the trigrams (substrings of 3 characters) of `search`.
    pub search_long: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}
