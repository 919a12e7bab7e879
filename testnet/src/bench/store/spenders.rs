//! Callers that spend keys from one pool, and the thread that reserves ahead for them at both ends. Always: no
//! byte is handed out before it is reserved durably at both.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qkd_proto::pool::WINDOW_BYTES;

use super::end::{End, Pair};
use super::{BLOCK_BYTES, KEY_BYTES, SPENT};
use crate::error::Failed;

/// Callers side by side.
const CALLERS: usize = 64;

/// What was spent.
pub(super) struct Spent {
    pub(super) keys: u64,
    pub(super) seconds: f64,
    pub(super) reservations: u64,
}

struct Shared {
    end: Mutex<(End, bool)>,
    ready: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (End, bool)> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the callers spend for so long, or until the stock is used up.
pub(super) fn run(pair: Pair, time: Duration) -> Result<(Pair, Spent), Failed> {
    let Pair { transmitter, mut receiver, next_block } = pair;
    let shared = Shared { end: Mutex::new((transmitter, false)), ready: Condvar::new() };
    let started = Instant::now();
    let (keys, reservations) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| call(&shared))).collect();
        let reservations = reserve_until(&shared, &mut receiver, started + time);
        shared.lock().1 = true;
        shared.ready.notify_all();
        let keys = callers.into_iter().filter_map(|caller| caller.join().ok()).sum();
        (keys, reservations)
    });
    let seconds = started.elapsed().as_secs_f64();
    let (transmitter, _) = shared.end.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((Pair { transmitter, receiver, next_block }, Spent { keys, seconds, reservations: reservations? }))
}

/// One caller: a key at a time.
fn call(shared: &Shared) -> u64 {
    let mut keys = 0;
    let mut held = shared.lock();
    loop {
        if held.1 {
            return keys;
        }
        match held.0.pool.send_mut().spend(KEY_BYTES) {
            Some(key) => {
                drop(held);
                drop(std::hint::black_box(key));
                keys += 1;
                held = shared.lock();
            }
            None => held = shared.ready.wait(held).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

fn reserve_until(shared: &Shared, receiver: &mut End, end: Instant) -> Result<u64, Failed> {
    let mut reservations = 0;
    while Instant::now() < end {
        let mut held = shared.lock();
        let Some(to) = held.0.pool.send().wants_reservation(WINDOW_BYTES) else {
            if held.0.pool.send().available() < WINDOW_BYTES {
                return Ok(reservations);
            }
            drop(held);
            std::thread::yield_now();
            continue;
        };
        held.0.open_to(SPENT, to)?;
        held.0.pool.send_mut().reserve(to);
        held.0.write_marks()?;
        let next = held.0.pool.send().next();
        drop(held);
        record(receiver, to, next)?;
        shared.lock().0.pool.send_mut().acknowledge(to);
        shared.ready.notify_all();
        reservations += 1;
    }
    Ok(reservations)
}

/// The receiver follows: it opens, records, and forgets what was spent.
fn record(receiver: &mut End, to: u64, spent: u64) -> Result<(), Failed> {
    receiver.open_to(SPENT, to)?;
    receiver.pool.receive_mut().reserve(to);
    receiver.write_marks()?;
    let next = receiver.pool.receive().next();
    if spent > next {
        let taken = receiver.pool.receive_mut().accept(next, spent - next);
        taken.map_err(|error| Failed::new(format!("the ends differ: {error}")))?;
    }
    Ok(())
}

/// Spends up to `bytes` of both directions in blocks; bytes spent.
pub(super) fn drain(pair: &mut Pair, bytes: u64) -> Result<u64, Failed> {
    let mut spent = 0;
    for forward in [true, false] {
        let Pair { transmitter, receiver, .. } = pair;
        let (from, to) = if forward { (transmitter, receiver) } else { (receiver, transmitter) };
        let direction = from.pool.own_direction();
        let mut side = 0;
        while side < bytes / 2 {
            let Some(end) = from.pool.send().wants_reservation(WINDOW_BYTES) else { break };
            from.open_to(direction, end)?;
            to.open_to(direction, end)?;
            from.pool.send_mut().reserve(end);
            from.write_marks()?;
            to.pool.receive_mut().reserve(end);
            to.write_marks()?;
            from.pool.send_mut().acknowledge(end);
            loop {
                let piece = BLOCK_BYTES.min(from.pool.send().ready());
                if piece == 0 {
                    break;
                }
                let Some(key) = from.pool.send_mut().spend(piece) else { break };
                let length = key.bytes.len() as u64;
                let taken = to.pool.accept(key.offset, length);
                taken.map_err(|error| Failed::new(format!("the ends differ: {error}")))?;
                side += length;
            }
        }
        spent += side;
    }
    Ok(spent)
}
