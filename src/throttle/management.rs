//! Lists and resets the counters of the throttle, for the operator.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use std::net::IpAddr;
use uuid::Uuid;

use super::{Limit, Place, Row, Throttle, limits, store};
use crate::db::StoreError;

/// The maximum number of rows in a list.
const MAX_LISTED: u64 = 10_000;
/// The limits that the list shows.
const LIMITS: [Limit; 8] = [
    limits::PAIR,
    limits::DEVICE,
    limits::ADDRESS,
    limits::NETWORK,
    limits::ACCOUNT,
    limits::USER,
    limits::SIGN_UP,
    limits::MAIL,
];

/// A bucket that refuses attempts now, or has no free failures left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowedDown {
    /// The name of the limit.
    pub limit: String,
    /// The keyed hash of the account's name, if the limit counts by account. Compare it with
    /// [`Throttle::account_hash`] of a name.
    pub account: Option<i64>,
    /// The address or network, if the limit counts by address.
    pub address: Option<String>,
    /// How many failures are counted.
    pub failures: u32,
    /// The time until which attempts are refused. `None` if an attempt is allowed now.
    pub blocked_until: Option<DateTime<Utc>>,
    /// When the last counted failure expires.
    pub forgotten_at: DateTime<Utc>,
}

/// The counters to reset.
#[derive(Debug, Clone)]
pub enum Subject {
    /// An account: its canonical names and, if the account exists, its id.
    Account(Vec<String>, Option<Uuid>),
    /// An IP address; for IPv6, the /64 and /48 networks that contain the address.
    Address(IpAddr),
    /// All counters.
    All,
}

impl Throttle {
    /// Returns the buckets without free failures: the buckets that are blocked now, and the buckets that the
    /// next failure blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<SlowedDown>, StoreError> {
        let now = self.clock.shared_now();
        let rows: Result<Vec<Row>, StoreError> =
            self.db.read(now, |tx, now| store::list(tx, *now, MAX_LISTED).boxed()).await;
        Ok(rows?.into_iter().filter_map(|row| slowed_down(row, now)).collect())
    }

    /// Returns the keyed hash of the canonical name of an account.
    pub fn account_hash(&self, name: &str) -> i64 {
        self.account(name)
    }

    /// Deletes the counters of the subject. Returns their number.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn clear(&self, subject: &Subject) -> Result<u64, StoreError> {
        let (accounts, addresses, ids) = match subject {
            Subject::All => return self.db.write((), |tx, ()| store::clear_all(tx).boxed()).await,
            Subject::Account(names, user) => {
                let accounts: Vec<i64> = names.iter().map(|name| self.account(name)).collect();
                let users = user.iter().flat_map(|user| limits::of_user(*user));
                (accounts, Vec::new(), users.map(|bucket| self.place(&bucket).id).collect())
            }
            Subject::Address(address) => {
                let places = limits::of_address(*address);
                let texts =
                    places.iter().map(|bucket| self.place(bucket)).map(|Place { address, .. }| address);
                (Vec::new(), texts.collect(), Vec::new())
            }
        };
        let input: (Vec<i64>, Vec<String>, Vec<i64>) = (accounts, addresses, ids);
        self.db
            .write(input, |tx, (accounts, addresses, ids)| store::clear(tx, accounts, addresses, ids).boxed())
            .await
    }
}

fn slowed_down(row: Row, now: DateTime<Utc>) -> Option<SlowedDown> {
    let limit = LIMITS.into_iter().find(|limit| limit.name == row.kind)?;
    let failures = limit.count(row.state.forgotten_at, now);
    let blocked_until = Some(row.state.blocked_until).filter(|until| *until > now);
    (failures >= limit.free || blocked_until.is_some()).then(|| SlowedDown {
        limit: row.kind,
        account: (row.account != 0).then_some(row.account),
        address: Some(row.address).filter(|address| !address.is_empty()),
        failures,
        blocked_until,
        forgotten_at: row.state.forgotten_at,
    })
}
