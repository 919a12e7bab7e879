//! The transform and the sums of products, written once for all registers. In: numbers in place.
//! Out: the same place. Always: lengths are checked before the loops.

use super::ROW;
use super::cantor::{BASIS, twiddle};
use super::lanes::Lanes;

/// Elements that go through the last six steps together.
pub(super) const GROUP: usize = ROW * ROW;

/// Elements whose steps are all done before those of the next: they stay in the nearest cache.
const NEAR: usize = 2048;

type Group = [[u64; ROW]; ROW];

#[inline(always)]
pub(super) fn forward<L: Lanes>(data: &mut [u64]) {
    check(data);
    let near = data.len().min(NEAR);
    steps_down::<L>(data, 0, near);
    for (index, part) in data.chunks_exact_mut(near).enumerate() {
        steps_down::<L>(part, index, GROUP);
        for (i, group) in groups(part).iter_mut().enumerate() {
            group_forward::<L>(group, index * (near / GROUP) + i);
        }
    }
}

#[inline(always)]
pub(super) fn inverse<L: Lanes>(data: &mut [u64]) {
    check(data);
    let near = data.len().min(NEAR);
    for (index, part) in data.chunks_exact_mut(near).enumerate() {
        for (i, group) in groups(part).iter_mut().enumerate() {
            group_inverse::<L>(group, index * (near / GROUP) + i);
        }
        steps_up::<L>(part, index, GROUP);
    }
    steps_up::<L>(data, 0, near);
}

#[inline(always)]
pub(super) fn convolve<L: Lanes>(left: &[[u64; ROW]], right: &[[u64; ROW]], sums: &mut [[u64; ROW]]) {
    for (sum, window) in sums.iter_mut().zip(right.windows(left.len())) {
        for lane in (0..ROW).step_by(L::COUNT) {
            let pairs = left.iter().zip(window.iter().rev());
            let wide = pairs
                .fold(L::nothing(), |wide, (a, b)| L::multiply_add(wide, L::load(&a[lane..]), L::load(&b[lane..])));
            L::reduce(wide).store(&mut sum[lane..]);
        }
    }
}

fn check(data: &[u64]) {
    let fits = data.len().is_power_of_two() && data.len() >= GROUP && data.len() <= 1 << 24;
    assert!(fits, "a transform of {} points", data.len());
}

fn groups(part: &mut [u64]) -> &mut [Group] {
    part.as_chunks_mut::<ROW>().0.as_chunks_mut::<ROW>().0
}

/// Steps on blocks of `data.len()` down to above `least`; `data` is block `index` of its length.
#[inline(always)]
fn steps_down<L: Lanes>(data: &mut [u64], mut index: usize, least: usize) {
    let mut size = data.len();
    while size > least {
        for (i, block) in data.chunks_exact_mut(size).enumerate() {
            let (low, high) = block.split_at_mut(size / 2);
            butterflies::<L>(low, high, twiddle(index + i));
        }
        index *= 2;
        size /= 2;
    }
}

#[inline(always)]
fn steps_up<L: Lanes>(data: &mut [u64], index: usize, least: usize) {
    let mut size = least * 2;
    while size <= data.len() {
        let first = index * (data.len() / size);
        for (i, block) in data.chunks_exact_mut(size).enumerate() {
            let (low, high) = block.split_at_mut(size / 2);
            butterflies_back::<L>(low, high, twiddle(first + i));
        }
        size *= 2;
    }
}

#[inline(always)]
fn butterflies<L: Lanes>(low: &mut [u64], high: &mut [u64], twiddle: u64) {
    let twiddle = L::splat(twiddle);
    for (low, high) in low.chunks_exact_mut(L::COUNT).zip(high.chunks_exact_mut(L::COUNT)) {
        butterfly(low, high, twiddle);
    }
}

#[inline(always)]
fn butterflies_back<L: Lanes>(low: &mut [u64], high: &mut [u64], twiddle: u64) {
    let twiddle = L::splat(twiddle);
    for (low, high) in low.chunks_exact_mut(L::COUNT).zip(high.chunks_exact_mut(L::COUNT)) {
        butterfly_back(low, high, twiddle);
    }
}

#[inline(always)]
fn butterfly<L: Lanes>(low: &mut [u64], high: &mut [u64], twiddle: L) {
    let odd = L::load(high);
    let even = L::load(low).add(odd.multiply(twiddle));
    even.store(low);
    odd.add(even).store(high);
}

#[inline(always)]
fn butterfly_back<L: Lanes>(low: &mut [u64], high: &mut [u64], twiddle: L) {
    let even = L::load(low);
    let odd = L::load(high).add(even);
    even.add(odd.multiply(twiddle)).store(low);
    odd.store(high);
}

/// Twiddles of the eight blocks of `8 / 2^step` elements at place `place` of each row before the
/// swap, one block a lane.
#[inline(always)]
fn lane_twiddles(index: usize, step: usize, place: usize) -> [u64; ROW] {
    let base = twiddle((index * ROW) << step) ^ twiddle(place);
    std::array::from_fn(|lane| base ^ LANE_TWIDDLES[step][lane])
}

/// `LANE_TWIDDLES[step][lane]` is the twiddle of block `lane * 2^step`.
static LANE_TWIDDLES: [[u64; ROW]; 3] = [lanes_of(1), lanes_of(2), lanes_of(3)];

const fn lanes_of(first: usize) -> [u64; ROW] {
    let b = [BASIS[first], BASIS[first + 1], BASIS[first + 2]];
    [0, b[0], b[1], b[0] ^ b[1], b[2], b[0] ^ b[2], b[1] ^ b[2], b[0] ^ b[1] ^ b[2]]
}

/// Pairs of rows of a step (0, 1, 2: four, two, one row apart) and the block they are in.
const PAIRS: [[(usize, usize, usize); 4]; 3] = [
    [(0, 4, 0), (1, 5, 0), (2, 6, 0), (3, 7, 0)],
    [(0, 2, 0), (1, 3, 0), (4, 6, 1), (5, 7, 1)],
    [(0, 1, 0), (2, 3, 1), (4, 5, 2), (6, 7, 3)],
];

/// The last six steps: three on whole rows, then, with rows and columns swapped, three more.
#[inline(always)]
fn group_forward<L: Lanes>(group: &mut Group, index: usize) {
    let mut rows = *group;
    for (step, pairs) in PAIRS.iter().enumerate() {
        for &(low, high, block) in pairs {
            let [low, high] = pair(&mut rows, low, high);
            butterflies::<L>(low, high, twiddle((index << step) + block));
        }
    }
    L::transpose(&mut rows);
    for (step, pairs) in PAIRS.iter().enumerate() {
        for &(low, high, block) in pairs {
            let twiddles = lane_twiddles(index, step, block);
            let [low, high] = pair(&mut rows, low, high);
            for lane in (0..ROW).step_by(L::COUNT) {
                butterfly(&mut low[lane..], &mut high[lane..], L::load(&twiddles[lane..]));
            }
        }
    }
    *group = rows;
}

#[inline(always)]
fn group_inverse<L: Lanes>(group: &mut Group, index: usize) {
    let mut rows = *group;
    for (step, pairs) in PAIRS.iter().enumerate().rev() {
        for &(low, high, block) in pairs {
            let twiddles = lane_twiddles(index, step, block);
            let [low, high] = pair(&mut rows, low, high);
            for lane in (0..ROW).step_by(L::COUNT) {
                butterfly_back(&mut low[lane..], &mut high[lane..], L::load(&twiddles[lane..]));
            }
        }
    }
    L::transpose(&mut rows);
    for (step, pairs) in PAIRS.iter().enumerate().rev() {
        for &(low, high, block) in pairs {
            let [low, high] = pair(&mut rows, low, high);
            butterflies_back::<L>(low, high, twiddle((index << step) + block));
        }
    }
    *group = rows;
}

#[inline(always)]
fn pair(rows: &mut Group, low: usize, high: usize) -> [&mut [u64; ROW]; 2] {
    let (front, back) = rows.split_at_mut(high);
    [&mut front[low], &mut back[0]]
}
