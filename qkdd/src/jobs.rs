//! Threads for heavy work. In: jobs of blocks. Out: their results, as inputs. Always: the queue is
//! bounded, and few threads share the memory that the work needs.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use qkd_proto::distill::job::Job;
use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::node::input::Input;
use tokio::sync::mpsc::Sender;

/// Jobs that wait, at most: a link has no more than one at a time.
const QUEUE_MAX: usize = 256;

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
    loop {
        // A thread that panicked held no half-taken task: the queue is whole.
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((link, block, job)) = task else { return };
        if inputs.blocking_send(Input::JobDone(link, block, job.run())).is_err() {
            return;
        }
    }
}
