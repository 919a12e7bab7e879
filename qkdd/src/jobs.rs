//! Threads for heavy work. In: jobs of blocks. Out: their results, as inputs. Always: the queue is
//! bounded, few threads share the memory that the work needs, and it goes back to the system when they
//! rest.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use qkd_proto::distill::job::Job;
use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::kernel::heap;
use qkd_proto::node::input::Input;
use tokio::sync::mpsc::Sender;

/// Jobs that wait, at most: a link has no more than one at a time.
const QUEUE_MAX: usize = 256;
/// Threads without a job for so long hand free memory back: between the jobs of a block less passes.
const REST: Duration = Duration::from_secs(2);

type Task = (LinkId, BlockId, Job);

/// The handle of the job threads; dropped, they end after what they are at.
pub struct Jobs(SyncSender<Task>);

impl Jobs {
    /// Starts the threads: half of the cores, since the other end of a link needs as much.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(inputs: &Sender<Input>) -> std::io::Result<Self> {
        let (queue, tasks) = sync_channel(QUEUE_MAX);
        let tasks = Arc::new(Mutex::new(tasks));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 2).max(1) {
            let (tasks, inputs) = (tasks.clone(), inputs.clone());
            thread::Builder::new().name(format!("job {number}")).spawn(move || work(&tasks, &inputs))?;
        }
        Ok(Self(queue))
    }

    /// Hands a job over. One that finds no room is lost: its block times out.
    pub fn submit(&self, link: LinkId, block: BlockId, job: Job) {
        if self.0.try_send((link, block, job)).is_err() {
            tracing::error!("{QUEUE_MAX} jobs wait already: a block is given up");
        }
    }
}

fn work(tasks: &Mutex<Receiver<Task>>, inputs: &Sender<Input>) {
    while let Some((link, block, job)) = next(tasks) {
        if inputs.blocking_send(Input::JobDone(link, block, job.run())).is_err() {
            return;
        }
    }
}

/// Waits for a task; none if the daemon stops.
fn next(tasks: &Mutex<Receiver<Task>>) -> Option<Task> {
    // A thread that panicked held no half-taken task: the queue is whole.
    let tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
    match tasks.recv_timeout(REST) {
        Err(RecvTimeoutError::Timeout) => {
            heap::give_back();
            tasks.recv().ok()
        }
        task => task.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 32 << 10;
    const PIECES: usize = 2048;

    /// Memory of this process, in pieces.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
        (kib.parse::<usize>().unwrap() << 10) / PIECE
    }

    #[test]
    fn threads_at_rest_hand_free_memory_back() {
        let before = resident();
        let mut pieces: Vec<Option<Vec<u8>>> = (0..PIECES).map(|_| Some(vec![1; PIECE])).collect();
        // A piece in use here and there, the last one too: the allocator alone gives nothing back.
        pieces.iter_mut().enumerate().filter(|(i, _)| i % 64 != 63).for_each(|(_, piece)| *piece = None);
        assert!(resident() > before + PIECES / 2, "what is free stays with the process");
        let (inputs, _results) = tokio::sync::mpsc::channel(1);
        let _jobs = Jobs::start(&inputs).unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while resident() > before + PIECES / 4 {
            assert!(std::time::Instant::now() < end, "{} pieces of {PIECES} are still there", resident() - before);
            thread::sleep(Duration::from_millis(50));
        }
        assert!(pieces.iter().flatten().all(|piece| piece.iter().all(|&byte| byte == 1)));
    }
}
