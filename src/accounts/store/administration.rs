//! The queries of operators on all accounts.

use ::entity::users::{Column, Entity};
use chrono::{DateTime, Utc};
use identifiers::canonical;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Credentials, new_row};
use crate::accounts::{HashedUser, KnownKeys, User, UserFilter};
use crate::db::{StoreError, Tx, pad_to_power_of_two, power_of_two_chunks};

/// The escape character of a LIKE pattern. Not a backslash, because MySQL also interprets it in string literals.
const ESCAPE: char = '!';

/// Returns a LIKE pattern that matches every text that contains `text`.
fn containing(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(character);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape(ESCAPE)
}

pub(in crate::accounts) async fn search(
    tx: &Tx,
    filter: &UserFilter,
    after: Uuid,
    limit: u64,
) -> Result<Vec<User>, StoreError> {
    let mut condition = Condition::all().add(Column::Id.gt(after));
    if let Some(text) = &filter.text {
        let key = canonical(text);
        let name = Expr::expr(Func::lower(Expr::col(Column::DisplayName)));
        condition = condition.add(
            Condition::any()
                .add(Expr::col(Column::EmailKey).like(containing(&key)))
                .add(Expr::col(Column::UsernameKey).like(containing(&key)))
                .add(name.like(containing(&text.to_ascii_lowercase())))
                .add(Expr::col(Column::DisplayName).like(containing(text))),
        );
    }
    if filter.only_disabled {
        condition = condition.add(Column::DisabledAt.is_not_null());
    }
    if filter.only_unconfirmed {
        condition = condition.add(Column::EmailVerified.eq(false)).add(Column::Email.is_not_null());
    }
    let query = Entity::find().filter(condition).order_by_asc(Column::Id).limit(limit);
    let rows = query.all(tx).await?;
    Ok(rows.into_iter().map(|row| Credentials::from(row).user).collect())
}

pub(in crate::accounts) async fn find_keys(
    tx: &Tx,
    emails: &[&str],
    usernames: &[&str],
) -> Result<Vec<KnownKeys>, StoreError> {
    let mut found = Vec::new();
    for (column, keys) in [(Column::EmailKey, emails), (Column::UsernameKey, usernames)] {
        if keys.is_empty() {
            continue;
        }
        let query = Entity::find().select_only().columns([Column::EmailKey, Column::UsernameKey]);
        let query = query.filter(column.is_in(pad_to_power_of_two(keys)));
        let rows: Vec<(Option<String>, Option<String>)> = query.into_tuple().all(tx).await?;
        found.extend(rows.into_iter().map(|(email, username)| KnownKeys { email, username }));
    }
    Ok(found)
}

pub(in crate::accounts) async fn insert_all(tx: &Tx, users: &[HashedUser]) -> Result<(), StoreError> {
    for chunk in power_of_two_chunks(users) {
        Entity::insert_many(chunk.iter().map(new_row)).exec_without_returning(tx).await?;
    }
    Ok(())
}

pub(in crate::accounts) async fn set_disabled(
    tx: &Tx,
    user: Uuid,
    is_disabled: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let in_other_state =
        if is_disabled { Column::DisabledAt.is_null() } else { Column::DisabledAt.is_not_null() };
    let disabled_at = is_disabled.then(|| now.timestamp_millis());
    let done = Entity::update_many()
        .col_expr(Column::DisabledAt, Expr::value(disabled_at))
        .col_expr(Column::CredentialsVersion, Expr::col(Column::CredentialsVersion).add(1))
        .col_expr(Column::UpdatedAt, Expr::value(now.timestamp_millis()))
        .filter(Column::Id.eq(user))
        .filter(in_other_state)
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}
