//! Slots: durable keys, noise once given back, bounds.

use std::collections::BTreeSet;

use super::*;

const ID: DataDirId = DataDirId([1; 16]);

fn keys(number: u64) -> WrapKeys {
    WrapKeys { path: "shred".into(), current: Arc::new(WrapKey::new(number, key(9))), next: None }
}

fn key(byte: u8) -> SecretBytes {
    SecretBytes::new(vec![byte; 32])
}

fn new() -> (tempfile::TempDir, Ring) {
    let home = tempfile::tempdir().unwrap();
    let ring = Ring::create(home.path(), ID, keys(1).current).unwrap();
    (home, ring)
}

fn holds(ring: &Ring, slot: u32) -> Option<Vec<u8>> {
    ring.get(slot).unwrap().map(|key| key.expose().to_vec())
}

#[test]
fn a_key_is_there_until_it_is_given_back() {
    let (home, mut ring) = new();
    ring.make_room(3000).unwrap();
    let slots: Vec<u32> = (0..3000u32).map(|i| ring.put(&key(i as u8)).unwrap()).collect();
    ring.sync().unwrap();
    assert!(slots.iter().collect::<BTreeSet<_>>().len() == 3000 && !slots.contains(&0));
    let mut again = Ring::open(home.path(), ID, &keys(1)).unwrap();
    assert!(slots.iter().enumerate().all(|(i, &slot)| holds(&again, slot) == Some(vec![i as u8; 32])));
    assert!(again.keep(slots[1000..].iter().copied()));
    again.settle().unwrap();
    assert!(slots.iter().enumerate().all(|(i, &slot)| holds(&again, slot).is_some() == (i >= 1000)));
    again.give_back(slots[1000..].iter().copied());
    assert!(holds(&again, slots[2000]).is_some());
    again.settle().unwrap();
    assert!(slots.iter().all(|&slot| holds(&again, slot).is_none()));
    let length = again.file.metadata().unwrap().len();
    again.make_room(3000).unwrap();
    (0..3000).for_each(|_| assert!(again.put(&key(1)).is_ok()));
    assert_eq!(again.file.metadata().unwrap().len(), length);
}

#[test]
fn a_copy_holds_what_the_ring_holds_under_its_own_key() {
    let (home, mut ring) = new();
    ring.make_room(1500).unwrap();
    let slots: Vec<u32> = (0..1500u32).map(|i| ring.put(&key(i as u8)).unwrap()).collect();
    ring.give_back(slots[..1400].iter().copied());
    let next = Arc::new(WrapKey::new(2, key(8)));
    let mut copy = ring.copy_under(next.clone()).unwrap();
    assert!(slots.iter().enumerate().all(|(i, &slot)| holds(&copy, slot).is_some() == (i >= 1400)));
    assert!(slots[1400..].iter().all(|&slot| ring.key.open(&about(ID, slot), &raw(&copy, slot)).is_none()));
    let more: BTreeSet<u32> = (0..600).map(|_| copy.put(&key(7)).unwrap()).collect();
    assert!(more.len() == 600 && more.is_disjoint(&slots[1400..].iter().copied().collect()));
    copy.remove_other().unwrap();
    assert_eq!(files::names(home.path()).unwrap(), ["ring.0"]);
    let keys = WrapKeys { path: "shred".into(), current: next, next: None };
    Ring::open(home.path(), ID, &keys).unwrap();
}

fn raw(ring: &Ring, slot: u32) -> [u8; WRAPPED_BYTES] {
    let mut bytes = [0; WRAPPED_BYTES];
    ring.file.read_exact_at(&mut bytes, offset(slot)).unwrap();
    bytes
}

#[test]
fn a_full_ring_refuses() {
    let (_home, mut ring) = new();
    (ring.slots, ring.free) = (SLOTS_MAX, vec![5, 6]);
    ring.make_room(2).unwrap();
    let error = ring.make_room(3).err().unwrap();
    assert!(matches!(error, StoreError::Full { limit: SLOTS_MAX, .. }), "{error}");
    assert!(ring.get(0).unwrap().is_none() && ring.get(SLOTS_MAX).unwrap().is_none());
}

#[test]
fn what_is_named_twice_or_is_not_there_is_refused() {
    let (_home, mut ring) = new();
    for named in [vec![0], vec![5, 5], vec![CHUNK_SLOTS]] {
        assert!(!ring.keep(named.into_iter()));
    }
    assert!(ring.keep([5, 6].into_iter()));
}

#[test]
fn another_ring_is_told_from_a_damaged_one() {
    let (home, _ring) = new();
    let open = |id, number| Ring::open(home.path(), id, &keys(number)).err().unwrap();
    assert!(matches!(open(DataDirId([2; 16]), 1), StoreError::Foreign { .. }));
    assert!(matches!(open(ID, 2), StoreError::Older { found: 1, seen: 2, .. }));
    assert!(matches!(open(ID, 0), StoreError::Older { found: 0, seen: 1, .. }));
    let path = home.path().join("ring.1");
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 8, 36, 63] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(ID, 1), StoreError::Damaged { .. }), "{at}");
    }
    for length in [0, 64, CHUNK_BYTES - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(open(ID, 1), StoreError::Damaged { .. }), "{length}");
    }
    std::fs::remove_file(path).unwrap();
    assert!(matches!(open(ID, 1), StoreError::Missing { .. }));
}
