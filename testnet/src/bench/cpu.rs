//! Time of a processor. Out: seconds that this thread computed. Always: not wall
//! time, which says more about what else the machine does.

use rustix::time::{ClockId, clock_gettime};

/// Seconds that this thread has computed.
pub(crate) fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
