//! Budgets: how many mails a mailbox gets in an hour and a day, and how many the server sends in a day.
//!
//! The times of the last day's mails to a mailbox are stored in one row. An update changes the row only if
//! the row has not changed since it was read. If two transactions read the same row, the transaction that
//! writes later fails with a conflict and runs again. The row identifies the mailbox only by a keyed hash of
//! its canonical address, so all spellings of an address share a budget.

use chrono::{DateTime, TimeDelta, Utc};

use super::MailKind;
use super::rows::BudgetUpdate;
use super::store;
use crate::db::{StoreError, Tx};

/// The maximum number of mails to a mailbox within an hour.
const PER_HOUR: usize = 5;
/// The maximum number of mails to a mailbox within a day.
const PER_DAY: usize = 10;
/// How far in the future a recorded time can be. A later time was recorded by a wrong clock and is ignored.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// The number of milliseconds in a day.
const DAY_MILLIS: i64 = 86_400_000;

/// The letter that is stored with the time of a mail whose kind has no reserved budget.
const ORDINARY: char = '-';

/// A recent mail to a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recent {
    at: i64,
    letter: char,
}

/// Counts a mail for its mailbox and for the day. Returns `false` and counts nothing if a budget is spent.
pub(super) async fn spend(
    tx: &Tx,
    mailbox: &[u8],
    kind: MailKind,
    now: DateTime<Utc>,
    max_per_day: u64,
) -> Result<bool, StoreError> {
    let stored = store::find_budget(tx, mailbox).await?;
    let now_millis = now.timestamp_millis();
    let mut recent = parse(stored.as_ref().map_or("", |stored| &stored.times), now);
    if !fits(&recent, kind, now_millis) {
        return Ok(false);
    }
    recent.push(Recent { at: now_millis, letter: kind.reserved_letter().unwrap_or(ORDINARY) });
    let version = stored.as_ref().map_or(0, |stored| stored.version);
    let update = BudgetUpdate { mailbox, version, newest_at: now_millis, times: text(&recent) };
    if !fits_day(tx, kind, now_millis, max_per_day).await? {
        return Ok(false);
    }
    if stored.is_none() {
        match store::insert_budget(tx, &update).await {
            Err(StoreError::UniqueViolation(_)) => return Err(StoreError::conflict()),
            other => other?,
        }
    } else if !store::replace_budget(tx, &update).await? {
        return Err(StoreError::conflict());
    }
    Ok(true)
}

/// Counts a mail for the day, unless the day's budget is spent. An additional tenth of the budget is reserved
/// for the kinds that protect accounts.
async fn fits_day(tx: &Tx, kind: MailKind, now_millis: i64, max: u64) -> Result<bool, StoreError> {
    let reserve = if kind.reserved_letter().is_some() { max.div_ceil(10) } else { 0 };
    let max = i64::try_from(max.saturating_add(reserve)).unwrap_or(i64::MAX);
    let day = now_millis.div_euclid(DAY_MILLIS);
    if store::count_in_day(tx, day, max).await? {
        return Ok(true);
    }
    if store::has_day(tx, day).await? {
        return Ok(false);
    }
    match store::insert_day(tx, day).await {
        Err(StoreError::UniqueViolation(_)) => Err(StoreError::conflict()),
        other => other.map(|()| true),
    }
}

/// Parses the mails of the last day. Ignores times that are too far in the future, because a wrong clock has
/// recorded them.
fn parse(times: &str, now: DateTime<Utc>) -> Vec<Recent> {
    let (oldest, newest) = (now.timestamp_millis() - DAY_MILLIS, (now + SKEW).timestamp_millis());
    let recent = |item: &str| {
        let letter = item.chars().last()?;
        let at = item.strip_suffix(letter)?.parse().ok()?;
        (oldest < at && at <= newest).then_some(Recent { at, letter })
    };
    times.split(' ').filter_map(recent).collect()
}

fn text(recent: &[Recent]) -> String {
    let items: Vec<String> = recent.iter().map(|mail| format!("{}{}", mail.at, mail.letter)).collect();
    items.join(" ")
}

/// Returns whether the mailbox may get another mail. The first mail of a reserved kind within an hour ignores
/// the hourly limit, and the first one within a day ignores the daily limit.
fn fits(recent: &[Recent], kind: MailKind, now_millis: i64) -> bool {
    let within = |since: i64, max: usize| {
        let period = || recent.iter().filter(|mail| mail.at > since);
        let is_first = |letter| period().all(|mail| mail.letter != letter);
        period().count() < max || kind.reserved_letter().is_some_and(is_first)
    };
    within(now_millis - DAY_MILLIS / 24, PER_HOUR) && within(now_millis - DAY_MILLIS, PER_DAY)
}

/// Returns the time after which mails are counted, in milliseconds since 1970, and the day of that time, in
/// days since 1970.
pub(super) fn retention(now: DateTime<Utc>) -> (i64, i64) {
    let oldest = now.timestamp_millis() - DAY_MILLIS;
    (oldest, oldest.div_euclid(DAY_MILLIS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;

    const HOUR: i64 = 3_600_000;

    /// Returns which of the mails at these times fit into the budget of the mailbox.
    fn accepted(mails: &[(i64, MailKind)]) -> Vec<bool> {
        let mut times = String::new();
        let accept = |(at, kind): &(i64, MailKind)| {
            let mut recent = parse(&times, from_millis(*at));
            let is_accepted = fits(&recent, *kind, *at);
            if is_accepted {
                recent.push(Recent { at: *at, letter: kind.reserved_letter().unwrap_or(ORDINARY) });
                times = text(&recent);
            }
            assert!(times.len() <= 512, "{times}");
            is_accepted
        };
        mails.iter().map(accept).collect()
    }

    #[test]
    fn a_mailbox_gets_at_most_five_mails_in_any_hour_and_ten_in_any_day() {
        let start = 1_800_000_000_000;
        let mails: Vec<_> =
            (0..7).map(|minute| (start + minute * 60_000, MailKind::ConfirmAddress)).collect();
        assert_eq!(accepted(&mails), [true, true, true, true, true, false, false]);
        let hourly = |count| (0..count).map(|n| (start + n * HOUR, MailKind::LoginCode)).collect::<Vec<_>>();
        assert_eq!(accepted(&hourly(26)).iter().filter(|fits| **fits).count(), 12);
        assert_eq!(accepted(&hourly(24)).iter().filter(|fits| **fits).count(), 10);
        let edge = [0, 1, 2, 3, 4, HOUR - 1, HOUR, HOUR + 1].map(|at| (start + at, MailKind::LoginCode));
        assert_eq!(accepted(&edge), [true, true, true, true, true, false, true, true]);
    }

    #[test]
    fn the_first_password_reset_mail_of_a_day_is_accepted_even_if_the_budget_of_the_mailbox_is_spent() {
        let start = 1_800_000_000_000;
        let mut mails = vec![(start, MailKind::ConfirmAddress); 6];
        mails.extend([(start, MailKind::ResetPassword); 2]);
        mails.push((start, MailKind::AddressChanged));
        assert_eq!(accepted(&mails)[5..], [false, true, false, true]);
        // The row stays short, even if all reserved kinds are used.
        let kinds = MailKind::ALL;
        let all: Vec<_> = (0..500)
            .map(|n: u16| (start + 60_000 * i64::from(n), kinds[usize::from(n) * 7 % kinds.len()]))
            .collect();
        assert!(accepted(&all).iter().filter(|fits| **fits).count() <= 15);
    }

    #[test]
    fn recorded_mail_times_in_the_future_are_ignored() {
        let now = from_millis(1_800_000_000_000);
        let times = format!("{}- junk 17r", now.timestamp_millis() + 2 * SKEW.num_milliseconds());
        assert_eq!(parse(&times, now), []);
    }
}
