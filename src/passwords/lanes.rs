//! Runs a batch of jobs on one thread: a single job alone, several in lanes.
//!
//! One bcrypt hash waits for loads from memory most of the time, so several hashes in one loop take hardly
//! longer than one hash ([`bcrypt_lanes`] has the measurements). A job leaves the batch as soon as it is
//! done. The other jobs continue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bcrypt_lanes::{Input, Lane, Lanes};

use super::COST_MIN;

/// The maximum number of jobs in a batch.
pub(super) const BATCH_MAX: usize = Lanes::PER_LOOP;

/// A job that can run alone or in a lane, and sends its result to its caller.
pub(super) trait Job: Send {
    /// Returns the maximum cost: the job needs at most `2^cost` rounds. Only jobs with the same maximum cost
    /// share a batch.
    fn cost(&self) -> u32;

    /// Runs the job.
    fn run_alone(&mut self);

    /// Returns the input of the job's lane.
    fn input(&self) -> Input<'_>;

    /// Continues the job after `2^cost` rounds of its lane. Returns whether it is done.
    fn check(&mut self, cost: u32, lane: &Lane) -> bool;
}

/// Runs all jobs. A job that panics in its lane is dropped without a result; the others continue.
pub(super) fn run<J: Job + ?Sized>(mut jobs: Vec<Box<J>>) {
    if let [job] = jobs.as_mut_slice() {
        job.run_alone();
        return;
    }
    let Some(highest) = jobs.iter().map(|job| job.cost()).max() else { return };
    let mut lanes = Lanes::start(&jobs.iter().map(|job| job.input()).collect::<Vec<_>>());
    let mut jobs: Vec<_> = jobs.into_iter().map(Some).collect();
    for cost in COST_MIN..=highest {
        lanes.advance_to(cost);
        lanes.retain(|number, lane| {
            let Some(slot) = jobs.get_mut(number) else { return false };
            let is_done = match slot {
                Some(job) => catch_unwind(AssertUnwindSafe(|| job.check(cost, lane))).unwrap_or(true),
                None => true,
            };
            if is_done {
                *slot = None;
            }
            !is_done
        });
        if lanes.is_empty() {
            return;
        }
    }
}
