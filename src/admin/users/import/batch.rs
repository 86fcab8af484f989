//! Compares a batch of users with the database, and inserts the new users.

use std::collections::HashSet;

use futures_util::FutureExt;

use super::Fault;
use super::fields::Imported;
use crate::accounts::{self, Email, HashedUser, NO_PASSWORD, Username};
use crate::admin::users::{Context, ManageUsersError};
use crate::db::{StoreError, Tx};
use crate::flows::Flows;

/// The number of users in a batch. Other writes wait while a batch is inserted.
pub(super) const BATCH: usize = 512;
/// The maximum number of attempts to insert a batch. An attempt fails if a concurrent sign-up takes an
/// identifier.
const ATTEMPTS: u32 = 5;

/// What happened to a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The number of users that are new.
    pub(super) imported: u64,
    /// The number of users that have an account already.
    pub(super) existing: u64,
    /// One fault for each new user whose username another account has, or whose address another account can
    /// restore.
    pub(super) faults: Vec<Fault>,
}

/// Checks a batch, and inserts its new users if `is_writing`.
pub(super) async fn run(
    context: &Context,
    flows: &Flows,
    batch: Vec<Imported>,
    is_writing: bool,
) -> Result<Outcome, ManageUsersError> {
    let input = (context.clock.clone(), context.now(), flows.clone(), batch);
    if !is_writing {
        let compared = context.db.read(input, |tx, (_, _, flows, batch)| {
            async move { Ok::<_, ManageUsersError>(compare(tx, flows, batch).await?.0) }.boxed()
        });
        return compared.await;
    }
    let mut attempt = 1;
    loop {
        let written = context.db.write(input.clone(), |tx, (clock, now, flows, batch)| {
            async move {
                let (outcome, new) = compare(tx, flows, batch).await?;
                let hashed = |imported: &&Imported| {
                    let Imported { account, hash, .. } = (*imported).clone();
                    let hash = hash.unwrap_or_else(|| NO_PASSWORD.to_owned());
                    HashedUser::new(clock.new_id(), account, hash, *now)
                };
                let users: Vec<HashedUser> = new.iter().map(hashed).collect();
                accounts::insert_all(tx, &users).await?;
                Ok::<_, ManageUsersError>(outcome)
            }
            .boxed()
        });
        match written.await {
            Err(ManageUsersError::Store(StoreError::UniqueViolation(_))) if attempt < ATTEMPTS => {
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Returns the outcome that inserting the batch would have, and the new users of the batch. Writes nothing.
async fn compare<'a>(
    tx: &Tx,
    flows: &Flows,
    batch: &'a [Imported],
) -> Result<(Outcome, Vec<&'a Imported>), StoreError> {
    let email = |imported: &'a Imported| imported.account.email.as_ref().map(Email::canonical);
    let username = |imported: &'a Imported| imported.account.username.as_ref().map(Username::canonical);
    let emails: Vec<&str> = batch.iter().filter_map(email).collect();
    let usernames: Vec<&str> = batch.iter().filter_map(username).collect();
    let known = accounts::find_keys(tx, &emails, &usernames).await?;
    let known_emails: HashSet<&str> = known.iter().filter_map(|keys| keys.email.as_deref()).collect();
    let known_names: HashSet<&str> = known.iter().filter_map(|keys| keys.username.as_deref()).collect();
    let reserved = flows.reserved(tx).await?;
    let (mut outcome, mut new) = (Outcome::default(), Vec::new());
    for imported in batch {
        let is_name_known = username(imported).is_some_and(|name| known_names.contains(name));
        let mut fault = |column, message: &str| {
            let message = message.to_owned();
            outcome.faults.push(Fault { line: imported.line, column: Some(column), message });
        };
        match email(imported) {
            Some(email) if known_emails.contains(email) => outcome.existing += 1,
            Some(email) if reserved.contains(email) => {
                fault("email", "is the former address of an account, and the account can still restore it");
            }
            Some(_) if is_name_known => fault("username", "belongs to another account"),
            None if is_name_known => outcome.existing += 1,
            _ => {
                outcome.imported += 1;
                new.push(imported);
            }
        }
    }
    Ok((outcome, new))
}
