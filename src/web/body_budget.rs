//! Limits the large request bodies that are processed at the same time, so that they exhaust neither the
//! memory nor the processors.
//!
//! A body of at most 64 KiB is always admitted and parsed immediately. A larger body needs a share of the
//! budget before it is read, and is parsed by one of a few threads of low priority. If no share becomes free
//! within `MAX_WAIT`, the request gets 503. Batches have a separate budget. One user gets only a part of the
//! budget for batches, so that a client that sends slowly can't take the budget of all users.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::problem::{Problem, ProblemCode};
use crate::thread_priority::LowPriorityThreads;

/// The size up to which a body needs no share of the budget.
pub(super) const FREE_BYTES: usize = 64 * 1024;
/// The longest wait for a share of the budget.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// The budget of all batches, in KiB.
const BATCHES_KIB: usize = 48 * 1024;
/// The budget of the batches of one user, in KiB.
const USER_KIB: usize = 16 * 1024;
/// The budget of all bodies that are not batches, in KiB.
const OTHERS_KIB: usize = 16 * 1024;
/// The memory that a body takes while it is read and parsed, as a multiple of its size.
const FACTOR: usize = 3;

/// The budget of a server for bodies that are being read and parsed.
#[derive(Debug)]
pub struct BodyBudget {
    batches: Arc<Semaphore>,
    users: Mutex<HashMap<Uuid, Weak<Semaphore>>>,
    others: Arc<Semaphore>,
    parsers: LowPriorityThreads,
    max_wait: Duration,
}

/// A share of the budget. Dropping this value returns the share to the budget.
#[derive(Debug, Default)]
pub struct Admission {
    _user: Option<(OwnedSemaphorePermit, Arc<Semaphore>)>,
    _shared: Option<OwnedSemaphorePermit>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        // Leave half of the processors to other requests.
        let parsers = thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2));
        Self {
            batches: Arc::new(Semaphore::new(BATCHES_KIB)),
            users: Mutex::default(),
            others: Arc::new(Semaphore::new(OTHERS_KIB)),
            parsers: LowPriorityThreads::start("parse", parsers),
            max_wait: MAX_WAIT,
        }
    }
}

impl BodyBudget {
    /// Admits a body of this size. If the body is a batch, `batch_of` is the user that sends it.
    ///
    /// # Errors
    ///
    /// `overloaded` if the budget is exhausted.
    pub(super) async fn admit(&self, bytes: usize, batch_of: Option<Uuid>) -> Result<Admission, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1024) * FACTOR).unwrap_or(u32::MAX);
        let admit = async {
            let Some(user) = batch_of else {
                let shared = Arc::clone(&self.others).acquire_many_owned(kib).await.ok()?;
                return Some(Admission { _user: None, _shared: Some(shared) });
            };
            let budget = self.user(user);
            let own = Arc::clone(&budget).acquire_many_owned(kib).await.ok()?;
            let shared = Arc::clone(&self.batches).acquire_many_owned(kib).await.ok()?;
            Some(Admission { _user: Some((own, budget)), _shared: Some(shared) })
        };
        tokio::time::timeout(self.max_wait, admit).await.ok().flatten().ok_or_else(overloaded)
    }

    /// Runs `parse` on a thread of the lowest priority, because parsing a large body may take longer than serving a
    /// hundred small requests.
    ///
    /// # Errors
    ///
    /// An internal error if `parse` panics.
    pub(super) async fn parse<T: Send + 'static>(
        &self,
        parse: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.parsers.run(parse).await.map_err(Problem::internal)
    }

    /// Returns the budget of a user. If the user has no budget yet, creates one, and removes the budgets of
    /// users that send no batch at the moment.
    fn user(&self, user: Uuid) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = users.get(&user).and_then(Weak::upgrade) {
            return budget;
        }
        users.retain(|_, budget| budget.strong_count() > 0);
        let budget = Arc::new(Semaphore::new(USER_KIB));
        users.insert(user, Arc::downgrade(&budget));
        budget
    }
}

fn overloaded() -> Problem {
    Problem::new(ProblemCode::Overloaded, "The server is busy. Nothing was changed. Please try again.")
        .retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn a_body_waits_for_memory_and_is_rejected_if_no_memory_becomes_free() {
        // A-5, S-76
        let budget = BodyBudget { max_wait: Duration::from_millis(50), ..BodyBudget::default() };
        let user = |number| Some(Uuid::from_u128(number));
        let mut admitted = Vec::new();
        for number in 0..4 {
            admitted.push(budget.admit(4 * MIB, user(number)).await.unwrap());
        }
        let rejected = budget.admit(4 * MIB, user(9)).await.unwrap_err();
        assert_eq!(rejected.code(), ProblemCode::Overloaded);
        // Bodies that are not batches have a separate budget.
        budget.admit(256 * 1024, None).await.unwrap();
        let (waiting, ()) = tokio::join!(budget.admit(4 * MIB, user(9)), async { drop(admitted.pop()) });
        waiting.unwrap();
    }

    #[tokio::test]
    async fn a_large_body_is_parsed_in_a_thread_of_the_lowest_priority() {
        //
        let priority = BodyBudget::default().parse(|| rustix::process::getpriority_process(None)).await;
        assert_eq!(priority.unwrap().unwrap(), 19);
    }

    #[tokio::test]
    async fn the_bodies_of_one_user_can_occupy_only_a_part_of_the_memory_budget() {
        //
        let budget = BodyBudget { max_wait: Duration::from_millis(50), ..BodyBudget::default() };
        let (ada, eve) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        let first = budget.admit(4 * MIB, ada).await.unwrap();
        budget.admit(4 * MIB, ada).await.unwrap_err();
        budget.admit(4 * MIB, eve).await.unwrap();
        drop(first);
        budget.admit(4 * MIB, ada).await.unwrap();
        budget.admit(4 * MIB, eve).await.unwrap();
        assert_eq!(budget.users.lock().unwrap().len(), 1, "users without a batch are forgotten");
    }
}
