//! Time of a processor. In: work. Out: seconds that a thread or a process computed. Always: not wall
//! time, which says more about what else the machine does.

use rustix::time::{ClockId, clock_gettime};

/// Seconds that this thread has computed.
pub(crate) fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// What `work` gives, and the seconds that it computed.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = thread_seconds();
    let done = work();
    (done, thread_seconds() - start)
}
