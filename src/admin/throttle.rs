//! Lists the accounts, addresses and devices that the throttle slows down, and resets their counters.

use std::collections::HashMap;
use std::net::IpAddr;

use super::actions::record;
use super::open_existing;
use crate::accounts::{self, Identifier, User};
use crate::app::{StartError, master_secret, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{Db, StoreError};
use crate::operators::Action;
use crate::throttle::{SlowedDown, Subject, Throttle};
use futures_util::FutureExt;
use uuid::Uuid;

/// The number of users that are read at a time.
const PAGE: u64 = 1000;

/// An account, an address or a device that is slowed down now, with the user if the account exists.
#[derive(Debug, Clone)]
pub struct SlowedDownAccount {
    /// The account, address or device that is slowed down.
    pub slowed_down: SlowedDown,
    /// The user whose account is slowed down. `None` if the limit does not count by account, or if no account
    /// has the counted name.
    pub user: Option<Uuid>,
}

/// The counters to reset.
#[derive(Debug, Clone, Copy)]
pub enum ThrottleTarget<'a> {
    /// The account with this id, email address or username. Also accepts a name without an account, because
    /// failed logins with such a name have counters.
    Account(&'a str),
    /// The client address.
    Address(IpAddr),
    /// All counters.
    All,
}

/// Returns the accounts, addresses and devices that are slowed down now.
///
/// # Errors
///
/// [`StartError`].
pub async fn list_throttle(settings: &Settings) -> Result<Vec<SlowedDownAccount>, StartError> {
    let (db, throttle) = open(settings).await?;
    let result = list(&db, &throttle).await;
    db.close().await;
    Ok(result?)
}

/// Resets counters. Returns the number of counters that were reset.
///
/// # Errors
///
/// [`StartError`].
pub async fn clear_throttle(settings: &Settings, target: ThrottleTarget<'_>) -> Result<u64, StartError> {
    let (db, throttle) = open(settings).await?;
    let result = clear(&db, &throttle, target).await;
    if result.is_ok() {
        record(&db, Action::new(&Clock::system(), "throttle clear")).await;
    }
    db.close().await;
    Ok(result?)
}

async fn open(settings: &Settings) -> Result<(Db, Throttle), StartError> {
    set_umask();
    let db = open_existing(settings).await?;
    let throttle = Throttle::new(db.clone(), Clock::system(), &master_secret(settings)?, true);
    Ok((db, throttle))
}

async fn list(db: &Db, throttle: &Throttle) -> Result<Vec<SlowedDownAccount>, StoreError> {
    let all = throttle.list().await?;
    let mut owners: HashMap<i64, Option<Uuid>> =
        all.iter().filter_map(|slowed_down| slowed_down.account).map(|account| (account, None)).collect();
    // The throttle stores only hashes of names, so compare them with the hashes of the names of all users.
    let mut after = Uuid::nil();
    while !owners.is_empty() {
        let users: Vec<User> = db.read(after, |tx, after| accounts::page(tx, *after, PAGE).boxed()).await?;
        for user in &users {
            for name in names(user) {
                if let Some(owner) = owners.get_mut(&throttle.account_hash(&name)) {
                    *owner = Some(user.id);
                }
            }
        }
        match users.last() {
            Some(last) => after = last.id,
            None => break,
        }
    }
    let owner = |slowed_down: &SlowedDown| owners.get(&slowed_down.account?).copied().flatten();
    let with_user = |slowed_down| SlowedDownAccount { user: owner(&slowed_down), slowed_down };
    Ok(all.into_iter().map(with_user).collect())
}

async fn clear(db: &Db, throttle: &Throttle, target: ThrottleTarget<'_>) -> Result<u64, StoreError> {
    let subject = match target {
        ThrottleTarget::All => Subject::All,
        ThrottleTarget::Address(address) => Subject::Address(address),
        ThrottleTarget::Account(text) => {
            let found: Option<User> =
                db.read(text.to_owned(), |tx, text| accounts::lookup(tx, text).boxed()).await?;
            let made_up = || Identifier::from_entered(text).map(|name| name.canonical().to_owned());
            let names = found.as_ref().map_or_else(|| made_up().into_iter().collect(), names);
            Subject::Account(names, found.map(|user| user.id))
        }
    };
    throttle.clear(&subject).await
}

/// Returns the canonical names that a user logs in with.
fn names(user: &User) -> Vec<String> {
    let entered = [user.email.as_deref(), user.username.as_deref()];
    let names = entered.into_iter().flatten().filter_map(Identifier::from_entered);
    names.map(|name| name.canonical().to_owned()).collect()
}
