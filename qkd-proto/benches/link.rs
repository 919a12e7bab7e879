//! The stages of a link on one core: `cargo bench -p qkd-proto` (arguments: `all` for every engine, error
//! rate, size and preset). Values are by the time that the thread computed, so other work on the
//! machine does not enter.

use qkd_proto::sim::stages::Stages;
use rustix::time::{ClockId, clock_gettime};

fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    let stages = Stages::new(&thread_seconds, std::env::args().any(|argument| argument == "all"));
    let parts = [stages.emulator(), stages.reconciliation(), stages.amplification(), stages.blocks()];
    for row in parts.into_iter().flatten() {
        println!("{:<48} {:>16.3} {:<8} {}", row.name, row.value, row.unit, row.goal.unwrap_or_default());
    }
}
