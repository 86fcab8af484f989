//! Measures how many bcrypt hashes per second the machine computes.

use std::thread;
use std::time::{Duration, Instant};

/// Hashes on `threads` threads for `seconds`; returns the rate as a JSON object.
pub(crate) fn measure(cost: u32, threads: usize, seconds: u64) -> String {
    let workers: Vec<_> =
        (0..threads).map(|_| thread::spawn(move || rate(cost, Duration::from_secs(seconds)))).collect();
    let sum: f64 = workers.into_iter().map(|worker| worker.join().unwrap_or_default()).sum();
    format!("{{\"per_second\": {sum}}}")
}

/// Returns the number of complete hashes divided by the time that they took.
fn rate(cost: u32, time: Duration) -> f64 {
    let started = Instant::now();
    let mut hashes = 0_u32;
    while started.elapsed() < time {
        std::hint::black_box(bcrypt::bcrypt(cost, [7; 16], b"correct horse battery staple\0"));
        hashes += 1;
    }
    f64::from(hashes) / started.elapsed().as_secs_f64()
}
