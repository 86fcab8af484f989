//! The priority of threads whose work takes long: a request that a thread of normal priority can serve at once
//! never waits for them, however few cores there are.

/// The niceness of these threads, the highest. All other threads run before them.
const NICE: i32 = 19;

/// Gives the calling thread the lowest priority, permanently. On Linux each thread has its own niceness, and
/// raising it needs no privilege.
pub fn lower() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "failed to lower the priority of a thread");
    }
}
