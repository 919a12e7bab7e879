//! The change between powers of z and the basis of Lin, Chung and Han, whose member `k` is the
//! product of `s_i(z)` over the bits `i` of `k`, with `s_0 = z` and `s_(i+1) = s_i^2 + s_i`. In:
//! coefficients, a power of two of them. Out: coefficients in the other basis, in place. Always:
//! exclusive ors only, so any words do, and coefficients of 32 bits are turned as such.

use core::ops::BitXorAssign;

/// From powers of z to the new basis.
pub fn to_novel<W: Copy + BitXorAssign>(data: &mut [W]) {
    to_novel_in_units(data, 1);
}

/// From the new basis back to powers of z.
pub fn to_powers<W: Copy + BitXorAssign>(data: &mut [W]) {
    to_powers_in_units(data, 1);
}

/// With `h` the largest power of two below `log2`, `y = s_h(z) = z^(2^h) + z`: digits to the base
/// `y`, then the digits and what they multiply, each by itself.
fn to_novel_in_units<W: Copy + BitXorAssign>(data: &mut [W], unit: usize) {
    let Some(shape) = Shape::of(data.len() / unit) else { return };
    for shift in (0..shape.digits_log).rev() {
        let shift = unit << shift;
        for block in data.chunks_exact_mut(2 * shift * shape.digit) {
            divide(block, shift);
        }
    }
    to_novel_in_units(data, unit * shape.digit);
    if shape.digit > 2 {
        data.chunks_exact_mut(unit * shape.digit).for_each(|row| to_novel_in_units(row, unit));
    }
}

fn to_powers_in_units<W: Copy + BitXorAssign>(data: &mut [W], unit: usize) {
    let Some(shape) = Shape::of(data.len() / unit) else { return };
    if shape.digit > 2 {
        data.chunks_exact_mut(unit * shape.digit).for_each(|row| to_powers_in_units(row, unit));
    }
    to_powers_in_units(data, unit * shape.digit);
    for shift in 0..shape.digits_log {
        let shift = unit << shift;
        for block in data.chunks_exact_mut(2 * shift * shape.digit) {
            multiply(block, shift);
        }
    }
}

/// How a polynomial of `2^log` coefficients is cut.
struct Shape {
    /// Coefficients of a digit: `2^h`.
    digit: usize,
    /// Digits, as a power of two.
    digits_log: u32,
}

impl Shape {
    fn of(count: usize) -> Option<Self> {
        let log = count.ilog2();
        let h = 1 << log.checked_sub(1)?.checked_ilog2()?;
        Some(Self { digit: 1 << h, digits_log: log - h })
    }
}

/// Quotient and remainder by `z^half + z^shift`: the quotient takes the upper half.
#[inline(always)]
fn divide<W: Copy + BitXorAssign>(block: &mut [W], shift: usize) {
    let (low, high) = block.split_at_mut(block.len() / 2);
    let (front, back) = high.split_at_mut(high.len() - shift);
    add(&mut front[..shift], back);
    add(&mut low[shift..], front);
}

#[inline(always)]
fn multiply<W: Copy + BitXorAssign>(block: &mut [W], shift: usize) {
    let (low, high) = block.split_at_mut(block.len() / 2);
    let (front, back) = high.split_at_mut(high.len() - shift);
    add(&mut low[shift..], front);
    add(&mut front[..shift], back);
}

#[inline(always)]
fn add<W: Copy + BitXorAssign>(to: &mut [W], from: &[W]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to ^= *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `s_i(z)` as powers of z, over GF(2): one bit a power.
    fn member(k: usize, count: usize) -> Vec<u8> {
        let mut product = vec![0; count];
        product[0] = 1;
        let mut s: Vec<usize> = vec![1];
        for bit in 0..count.ilog2() {
            if k >> bit & 1 == 1 {
                let old = std::mem::replace(&mut product, vec![0; count]);
                for power in &s {
                    (0..count - power).for_each(|i| product[i + power] ^= old[i]);
                }
            }
            // s^2 + s, terms in pairs away.
            let mut next: Vec<usize> = s.iter().map(|power| power * 2).collect();
            for power in s {
                if let Some(at) = next.iter().position(|other| *other == power) {
                    next.remove(at);
                } else {
                    next.push(power);
                }
            }
            s = next;
        }
        product
    }

    #[test]
    fn each_member_of_the_basis_turns_into_its_powers_and_back() {
        for log in 0..=9 {
            let count = 1 << log;
            for k in 0..count {
                let mut data = vec![0_u8; count];
                data[k] = 1;
                to_powers(&mut data);
                assert_eq!(data, member(k, count), "member {k} of {count}");
                to_novel(&mut data);
                assert!((0..count).all(|i| data[i] == u8::from(i == k)), "{k} of {count} and back");
            }
        }
    }
}
