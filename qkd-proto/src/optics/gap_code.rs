//! Rising slots as bytes: gaps in a fixed number of bits, the few long ones patched. In: gaps with
//! symbols. Out: bytes, and the same gaps again. Always: decoding is bounded by what the caller
//! expects, and bytes that decode have one form for their width.
//!
//! Gaps of a Bernoulli process are near to exponential, so with two bits more than their mean needs
//! one in fifty or fewer is too long; fixed widths let many be packed and unpacked at a time, which
//! a Golomb-Rice code of 10 % fewer bits does not (patched frame of reference, Zukowski et al. 2006).
//!
//! | part | form |
//! |---|---|
//! | items | their count, a variable-length number |
//! | width | bits of a gap, one byte |
//! | packed | for each item: gap less one (its low bits) above its symbol; filled with zeros to a byte |
//! | patches | for each long gap: items since the last patch, high bits; two variable-length numbers |

/// Most bits of one number (63 bits).
pub(super) const NUMBER_BYTES_MAX: usize = 9;
/// Gaps are below `2^GAP_BITS`.
const GAP_BITS: u32 = 53;
/// Most packed bits of an item, so that eight bytes hold it wherever it starts.
const ITEM_BITS_MAX: u32 = 57;

/// Appends `items`: each a gap (1 to 2^53 - 1) shifted left by `symbol_bits`, with its symbol.
pub(crate) fn encode(bytes: &mut Vec<u8>, items: &[u64], symbol_bits: u32) {
    let width = width_for(items, symbol_bits);
    let mut patches = Vec::new();
    write_number(bytes, items.len() as u64);
    bytes.push(width as u8);
    bytes.reserve(packed_bytes(items.len(), width + symbol_bits) + 8);
    pack(bytes, items, symbol_bits, width, &mut patches);
    let mut last = 0;
    for (index, high) in patches {
        write_number(bytes, index as u64 - last);
        write_number(bytes, high);
        last = index as u64;
    }
}

/// Two bits more than the mean gap needs.
fn width_for(items: &[u64], symbol_bits: u32) -> u32 {
    let sum: u64 = items.iter().fold(0, |sum, item| sum.saturating_add(item >> symbol_bits));
    let mean = sum / (items.len() as u64).max(1);
    (64 - mean.leading_zeros() + 2).min(ITEM_BITS_MAX - symbol_bits)
}

fn packed_bytes(items: usize, item_bits: u32) -> usize {
    (items as u64 * u64::from(item_bits)).div_ceil(8) as usize
}

fn pack(bytes: &mut Vec<u8>, items: &[u64], symbol_bits: u32, width: u32, patches: &mut Vec<(usize, u64)>) {
    let (low, symbol) = ((1u64 << width) - 1, (1u64 << symbol_bits) - 1);
    let item_bits = width + symbol_bits;
    let (mut word, mut filled) = (0u64, 0u32);
    for (index, item) in items.iter().enumerate() {
        let gap = (item >> symbol_bits).wrapping_sub(1);
        if gap > low {
            patches.push((index, gap >> width));
        }
        let packed = (gap & low) << symbol_bits | item & symbol;
        word |= packed << filled;
        filled += item_bits;
        if filled >= 64 {
            bytes.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = packed >> (item_bits - filled);
        }
    }
    bytes.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Reads at most `most` items in the form of [`encode`] into `items`; `None` if the bytes are not
/// that form or have anything after it. What `items` held is gone either way.
pub(crate) fn decode(mut bytes: &[u8], symbol_bits: u32, most: usize, items: &mut Vec<u64>) -> Option<()> {
    items.clear();
    let count = usize::try_from(read_number(&mut bytes)?).ok().filter(|&count| count <= most)?;
    let (&width, rest) = bytes.split_first()?;
    let width = u32::from(width);
    if width + symbol_bits > ITEM_BITS_MAX {
        return None;
    }
    let (packed, patches) = rest.split_at_checked(packed_bytes(count, width + symbol_bits))?;
    unpack(packed, symbol_bits, width, count, items)?;
    patch(patches, symbol_bits, width, items)
}

fn unpack(packed: &[u8], symbol_bits: u32, width: u32, count: usize, items: &mut Vec<u64>) -> Option<()> {
    let item_bits = width + symbol_bits;
    let (mask, one) = ((1u64 << item_bits) - 1, 1u64 << symbol_bits);
    // The last items are read from a copy with room behind it.
    let whole = (packed.len().saturating_sub(7) * 8).div_ceil(item_bits.max(1) as usize).min(count);
    items.reserve(count);
    let mut bit = 0usize;
    items.extend((0..whole).map(|_| {
        let at = bit / 8;
        let word = packed[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let item = word >> (bit % 8) & mask;
        bit += item_bits as usize;
        item + one
    }));
    let mut tail = [0; 24];
    let start = (bit / 8).min(packed.len());
    let rest = &packed[start..];
    tail[..rest.len()].copy_from_slice(rest);
    for _ in whole..count {
        let at = bit / 8 - start;
        let word = tail[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        items.push((word >> (bit % 8) & mask) + one);
        bit += item_bits as usize;
    }
    let padding = packed.last().map_or(0, |&last| if bit.is_multiple_of(8) { 0 } else { last >> (bit % 8) });
    (padding == 0).then_some(())
}

fn patch(mut patches: &[u8], symbol_bits: u32, width: u32, items: &mut [u64]) -> Option<()> {
    let mut next = None;
    while !patches.is_empty() {
        let step = usize::try_from(read_number(&mut patches)?).ok()?;
        let index = match next {
            None => step,
            Some(last) if step > 0 => step.checked_add(last)?,
            Some(_) => return None,
        };
        let high = read_number(&mut patches)?;
        if high == 0 || width >= GAP_BITS || high >= 1 << (GAP_BITS - width) {
            return None;
        }
        let item = items.get_mut(index)?;
        *item = item.checked_add(high << width << symbol_bits)?;
        next = Some(index);
    }
    Some(())
}

/// Appends `number` (below 2^63), seven bits to a byte, lowest first.
pub(super) fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes one number off the front of `bytes`; `None` if there is none in its one form.
pub(super) fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (i, &byte) in bytes.iter().enumerate().take(NUMBER_BYTES_MAX) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return if byte == 0 && i > 0 { None } else { Some(number) };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gaps of all sizes, most of them near to each other.
    fn gaps() -> impl Strategy<Value = Vec<u64>> {
        let gap = prop_oneof![8 => 1..600u64, 1 => 1..1u64 << 20, 1 => 1..1u64 << 52];
        proptest::collection::vec(gap, 0..200)
    }

    proptest! {
        #[test]
        fn numbers_round_trip(number in 0..1u64 << 63) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_number(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn gaps_round_trip(gaps in gaps(), symbol_bits in 0..4u32, symbols in any::<u64>()) {
            let symbol = |i: usize| symbols.rotate_left(i as u32) & ((1 << symbol_bits) - 1);
            let items: Vec<u64> = gaps.iter().enumerate().map(|(i, gap)| gap << symbol_bits | symbol(i)).collect();
            let (mut bytes, mut found) = (Vec::new(), vec![9]);
            encode(&mut bytes, &items, symbol_bits);
            prop_assert_eq!(decode(&bytes, symbol_bits, items.len(), &mut found), Some(()));
            prop_assert_eq!(&found, &items);
            if let Some(fewer) = items.len().checked_sub(1) {
                prop_assert_eq!(decode(&bytes, symbol_bits, fewer, &mut found), None);
                prop_assert_eq!(decode(&bytes[..bytes.len() - 1], symbol_bits, items.len(), &mut found), None);
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), symbol_bits in 0..4u32) {
            let mut items = Vec::new();
            if decode(&bytes, symbol_bits, 100, &mut items).is_some() {
                prop_assert!(items.len() <= 100);
                prop_assert!(items.iter().all(|item| item >> symbol_bits > 0));
            }
        }
    }

    #[test]
    fn ordinary_gaps_take_less_than_two_bytes() {
        let items: Vec<u64> = (0..10_000u64).map(|i| (1 + i * 7919 % 500) << 2).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, &items, 2);
        assert!(bytes.len() * 8 < 13 * items.len(), "{} bytes", bytes.len());
    }
}
