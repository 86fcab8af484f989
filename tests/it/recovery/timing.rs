//! The time of a response does not reveal whether an address has an account.

use std::time::{Duration, Instant};

use super::{FORGOT, begin};
use crate::harness::{Client, rounds};

/// Returns the median.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Returns the probability that a random time of `one` is longer than a random time of `other`.
fn area(one: &[Duration], other: &[Duration]) -> f64 {
    let mut longer = 0.0;
    for a in one {
        longer +=
            other.iter().map(|b| f64::from(u8::from(a > b)) + 0.5 * f64::from(u8::from(a == b))).sum::<f64>();
    }
    let count = |times: &[Duration]| f64::from(u32::try_from(times.len()).unwrap());
    longer / (count(one) * count(other))
}

/// Returns the response times for an address with an account and for an address without one, measured
/// alternately.
async fn measure(client: &Client) -> (Vec<Duration>, Vec<Duration>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..rounds(40) {
        let mut pair = [("ada@example.org", &mut known), ("bob@example.org", &mut unknown)];
        if round % 2 == 1 {
            pair.reverse();
        }
        for (email, times) in pair {
            let started = Instant::now();
            begin(client, FORGOT, email).await;
            times.push(started.elapsed());
        }
    }
    (known, unknown)
}

#[tokio::test]
async fn response_times_do_not_reveal_whether_an_address_has_an_account() {
    // S-11
    // Use one server. The harness does work between the requests to several servers.
    let app = super::start().await.single().await;
    app.sign_up("ada").await;
    let mut differences = Vec::new();
    // Other load on the machine can distort a measurement. If the server did different work for the two
    // addresses, every measurement would show a difference.
    for _ in 0..3 {
        let (mut known, mut unknown) = measure(&app.anonymous()).await;
        let area = area(&known, &unknown);
        let (known, unknown) = (median(&mut known), median(&mut unknown));
        println!("known {known:?}, unknown {unknown:?}, area {area:.3}");
        differences.push(known.abs_diff(unknown));
        if known.abs_diff(unknown) < Duration::from_millis(3) {
            return;
        }
    }
    panic!("{differences:?}");
}
