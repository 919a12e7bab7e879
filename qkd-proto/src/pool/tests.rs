use proptest::prelude::*;

use super::*;
use crate::bits::BitString;
use crate::codec;
use crate::distill::key::SecretKey;
use crate::entropy::{Entropy, SeededEntropy};
use crate::id::{BlockId, BootId, DataDirId, Incarnation};
use crate::secret::SecretBits;

fn stock(seed: u64) -> BootstrapStock {
    let mut entropy = SeededEntropy::from_number(seed);
    BootstrapStock::new([0, 1].map(|_| random_bytes(&mut entropy, stock::BOOTSTRAP_BYTES)))
}

fn random_bytes(entropy: &mut SeededEntropy, length: usize) -> SecretBytes {
    let mut bytes = vec![0; length];
    entropy.fill(&mut bytes);
    SecretBytes::new(bytes)
}

fn key(seed: u64, bytes: usize) -> SecretKey {
    let bytes = random_bytes(&mut SeededEntropy::from_number(seed), bytes);
    SecretKey::from_device(SecretBits::new(BitString::from_bytes(bytes.expose(), bytes.len() * 8)))
}

fn pair() -> (LinkKeyPool, LinkKeyPool) {
    let end = |own| {
        let keys = [SecretBytes::new(vec![1; 16]), SecretBytes::new(vec![2; 16])];
        LinkKeyPool::new(PoolId([7; 16]), own, keys, stock(1), &mut SeededEntropy::from_number(9))
    };
    (end(Direction::Forward), end(Direction::Reverse))
}

/// The bits in boxes of a pool.
fn opened(pool: &mut LinkKeyPool, pads: &PadBlocks) -> Vec<(Direction, u64, Vec<u8>)> {
    let mut open = |direction: Direction, index, sealed| {
        let place = PadPlace { pool: pool.id, direction, index };
        pool.chains[direction.index()].open(place, sealed).map(|bytes| bytes.expose().to_vec())
    };
    let bits = pads.iter().map(|(direction, index, sealed)| (*direction, *index, open(*direction, *index, sealed)));
    bits.map(|(direction, index, bits)| (direction, index, bits.expect("its own box"))).collect()
}

fn deposit(a: &mut LinkKeyPool, b: &mut LinkKeyPool, block: u64, bytes: usize) -> DepositOffer {
    a.distilled(BlockId(block), key(block, bytes));
    b.distilled(BlockId(block), key(block, bytes));
    let (offer, ours) = a.deposit(BlockId(block), &mut SeededEntropy::from_number(7)).expect("distilled");
    let theirs = b.deposit_at(&offer, &mut SeededEntropy::from_number(8)).expect("the same bits");
    assert_eq!(ours.len(), theirs.len());
    a.confirm_deposit(&offer);
    b.confirm_deposit(&offer);
    offer
}

/// Opens what no disk has to give back.
fn open(pool: &mut LinkKeyPool, direction: Direction, end: u64) {
    assert_eq!(pool.unread(direction, end), Vec::<u64>::new(), "all is in memory");
    pool.open_to(direction, end);
}

fn reserve(from: &mut LinkKeyPool, to: &mut LinkKeyPool) {
    let again = from.send().pending_reservation().map(|(_, to)| to);
    if let Some(end) = again.or_else(|| from.send().wants_reservation(WINDOW_BYTES)) {
        let direction = from.own_direction();
        open(from, direction, end);
        open(to, direction, end);
        from.send_mut().reserve(end);
        to.receive_mut().reserve(end);
        from.send_mut().acknowledge(end);
    }
}

#[test]
fn a_deposit_cut_off_by_a_lost_connection_is_taken_once() {
    for taken in [false, true] {
        let (mut a, mut b) = pair();
        deposit(&mut a, &mut b, 1, 40_000);
        a.distilled(BlockId(2), key(2, 20_000));
        b.distilled(BlockId(2), key(2, 20_000));
        let (offer, _) = a.deposit(BlockId(2), &mut SeededEntropy::from_number(7)).expect("distilled");
        if taken {
            assert!(b.deposit_at(&offer, &mut SeededEntropy::from_number(8)).is_some());
            b.confirm_deposit(&offer);
        }
        let offers = [a.resume_offer(&MarksRecord::default()), b.resume_offer(&MarksRecord::default())];
        let again = a.resume(&offers[1], true);
        assert_eq!(b.resume(&offers[0], true), None);
        assert_eq!(again, (!taken).then_some(BlockId(2)));
        if let Some(block) = again {
            let (anew, ours) = a.deposit(block, &mut SeededEntropy::from_number(7)).expect("it waited");
            assert!(anew.first != offer.first, "where the lost one lay is a hole");
            let theirs = b.deposit_at(&anew, &mut SeededEntropy::from_number(8)).expect("it waited here, too");
            assert!(opened(&mut a, &ours) == opened(&mut b, &theirs));
            a.confirm_deposit(&anew);
            b.confirm_deposit(&anew);
        }
        assert_eq!(a.send().available(), b.receive().available());
        assert!(b.deposit_at(&offer, &mut SeededEntropy::from_number(8)).is_none(), "its key is gone");
    }
}

#[test]
fn what_one_end_spends_the_other_accepts_once() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 20_000);
    reserve(&mut a, &mut b);
    let sent = a.spend(100).expect("reserved");
    let got = b.accept(sent.offset, 100).expect("reserved here too");
    assert_eq!(sent.bytes.expose(), got.bytes.expose());
    assert!(matches!(b.accept(sent.offset, 100), Err(AcceptError::Used { .. })));
}

#[test]
fn words_that_overtake_each_other_are_taken_once_each() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 40_000);
    reserve(&mut a, &mut b);
    let sent: Vec<LinkKey> = (0..40).map(|_| a.spend(300).expect("reserved")).collect();
    for i in [5, 3, 4, 0, 39, 20, 21, 19] {
        let got = b.accept(sent[i].offset, 300).expect("not yet used");
        assert_eq!(got.bytes.expose(), sent[i].bytes.expose());
        assert!(matches!(b.accept(sent[i].offset, 300), Err(AcceptError::Used { .. })));
        assert!(b.accept(sent[i].offset + 299, 16).is_err(), "it overlaps what was used");
    }
    b.receive_mut().forget_skipped();
    assert!(matches!(b.accept(sent[1].offset, 300), Err(AcceptError::Used { .. })));
}

#[test]
fn a_hole_longer_than_a_window_is_stepped_over() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 2 * PAD_BLOCK_BYTES);
    a.distilled(BlockId(2), key(2, 40 * PAD_BLOCK_BYTES));
    let (offer, _) = a.deposit(BlockId(2), &mut SeededEntropy::from_number(7)).expect("distilled");
    assert!(b.deposit_at(&offer, &mut SeededEntropy::from_number(8)).is_none());
    a.refuse_deposit(&offer);
    b.refuse_deposit(&offer);
    deposit(&mut a, &mut b, 3, 20 * PAD_BLOCK_BYTES);
    for _ in 0..20 {
        reserve(&mut a, &mut b);
        let sent = a.spend(1000).expect("the hole does not stop it");
        b.accept(sent.offset, 1000).expect("held");
    }
}

#[test]
fn nothing_is_spent_before_the_neighbour_acknowledged() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 20_000);
    assert!(a.spend(16).is_none());
    let end = a.send().wants_reservation(WINDOW_BYTES).expect("usable");
    a.send_mut().reserve(end);
    assert!(a.spend(16).is_none());
    assert!(matches!(b.accept(0, 16), Err(AcceptError::NotReserved { .. })));
}

#[test]
fn left_over_bytes_join_the_next_block() {
    let (mut a, mut b) = pair();
    let first = deposit(&mut a, &mut b, 1, 5000);
    let second = deposit(&mut a, &mut b, 2, 4000);
    assert_eq!((first.count, second.count, second.prior), ([1, 0], [0, 1], Some(BlockId(1))));
}

#[test]
fn a_receiver_without_the_key_refuses_and_both_step_over_the_hole() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 2 * PAD_BLOCK_BYTES);
    a.distilled(BlockId(2), key(2, 2 * PAD_BLOCK_BYTES));
    let (offer, _) = a.deposit(BlockId(2), &mut SeededEntropy::from_number(7)).expect("distilled");
    assert!(b.deposit_at(&offer, &mut SeededEntropy::from_number(8)).is_none());
    a.refuse_deposit(&offer);
    b.refuse_deposit(&offer);
    deposit(&mut a, &mut b, 3, 2 * PAD_BLOCK_BYTES);
    assert_eq!(a.send().available(), 2 * PAD_BLOCK_BYTES as u64);
    reserve(&mut a, &mut b);
    let before = a.spend(3000).expect("first block");
    let across = a.spend(3000).expect("the third block: the rest of the first is too short");
    assert_eq!((before.offset, across.offset), (0, 2 * PAD_BLOCK_BYTES as u64));
    b.accept(before.offset, 3000).expect("held");
    assert_eq!(b.accept(across.offset, 3000).expect("held").bytes.expose(), across.bytes.expose());
}

fn hash(pool: &LinkKeyPool, signer: Direction, text: &[u8]) -> HashValue {
    let mut hash = pool.hash(pool.hash_keys(), signer, "label").expect("the current keys");
    hash.update(text);
    hash.finish()
}

fn sign(pool: &mut LinkKeyPool) -> Option<AuthTag> {
    let text = hash(pool, pool.own_direction(), b"text");
    pool.sign(&text)
}

fn check(pool: &mut LinkKeyPool, text: &[u8], tag: &AuthTag) -> bool {
    let text = hash(pool, pool.own_direction().opposite(), text);
    pool.check(&text, tag)
}

#[test]
fn tags_use_the_bootstrap_until_the_first_deposit() {
    let (mut a, mut b) = pair();
    let tag = sign(&mut a).expect("bootstrap pad");
    assert_eq!(tag.stock, PadStock::Bootstrap);
    assert!(!check(&mut b, b"texu", &tag), "a changed text fails and burns the pad");
    assert!(!check(&mut b, b"text", &tag), "the pad is gone");
    let tag = sign(&mut a).expect("bootstrap pad");
    assert!(!check(&mut b, b"text", &AuthTag { offset: 1008, ..tag }), "a forged place fails and burns nothing");
    assert!(check(&mut b, b"text", &tag));
    deposit(&mut a, &mut b, 1, 20_000);
    reserve(&mut a, &mut b);
    let tag = sign(&mut a).expect("pool pad");
    assert_eq!(tag.stock, PadStock::Pool);
    assert!(check(&mut b, b"text", &tag));
}

#[test]
fn a_forged_place_burns_no_pad() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 10 * PAD_BLOCK_BYTES);
    reserve(&mut a, &mut b);
    let (tag, before) = (sign(&mut a).expect("pool pad"), b.receive().available());
    assert!(!check(&mut b, b"text", &AuthTag { offset: tag.offset + 8_000, ..tag }));
    assert_eq!(b.receive().available(), before);
    assert!(check(&mut b, b"text", &tag), "the right one is accepted still");
    assert!(!check(&mut b, b"text", &tag), "once");
    let next = sign(&mut a).expect("pool pad");
    assert!(!check(&mut b, b"texu", &next), "a changed text fails and burns the next pad");
    assert!(!check(&mut b, b"text", &next), "the pad is gone");
    assert_eq!(before - b.receive().available(), 32);
}

#[test]
fn the_bootstrap_lasts_until_both_directions_have_pad() {
    let (mut a, mut b) = pair();
    let first = deposit(&mut a, &mut b, 1, PAD_BLOCK_BYTES + 100);
    assert_eq!(first.count, [1, 0]);
    reserve(&mut a, &mut b);
    let tag = sign(&mut b).expect("the bootstrap is there still");
    assert!(check(&mut a, b"text", &tag));
    deposit(&mut a, &mut b, 2, PAD_BLOCK_BYTES);
    reserve(&mut b, &mut a);
    let tag = sign(&mut b).expect("pool pad");
    assert_eq!(tag.stock, PadStock::Pool);
    assert!(check(&mut a, b"text", &tag));
}

#[test]
fn a_restart_burns_what_was_reserved() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 10 * PAD_BLOCK_BYTES);
    reserve(&mut a, &mut b);
    let marks = MarksRecord { send_reserved: a.send().reserved(), ..MarksRecord::default() }.running();
    let (marks, chains) = MarksRecord::decode(&marks.encode(a.chains())).expect("its own record");
    let again = LinkKeyPool::restore(a.record(), &marks, chains, Direction::Forward);
    assert_eq!(again.send().next(), marks.send_reserved);
    assert_eq!(again.send().available(), 0);
}

/// Written by the version before pads lay under chains: a pool, marks and a neighbour.
#[test]
fn marks_of_the_version_before_keep_what_is_remembered_of_the_neighbour() {
    #[derive(serde::Serialize)]
    struct Peer(DataDirId, Incarnation, BootId, u64, u64);
    let peer = Peer(DataDirId([1; 16]), Incarnation(7), BootId([2; 16]), 40, 9);
    let earlier = codec::encode(2, &(Some(PoolId([3; 16])), 50_u64, 4096_u64, 8192_u64, Some(peer)));
    let (marks, _) = MarksRecord::decode(&SecretBytes::new(earlier)).expect("the form before");
    assert_eq!((marks.pool, marks.sequence, marks.send_reserved), (None, 50, 0), "its pads are lost");
    let peer = marks.peer.expect("remembered");
    assert_eq!((peer.incarnation, peer.mark_sequence), (Incarnation(7), 40));
}

#[test]
fn relaying_leaves_the_authentication_floor() {
    let (mut a, mut b) = pair();
    deposit(&mut a, &mut b, 1, 2 * PAD_BLOCK_BYTES);
    reserve(&mut a, &mut b);
    assert!(a.spend(PAD_BLOCK_BYTES as u64).is_none());
    assert!(sign(&mut a).is_some());
}

proptest! {
    /// The ledger against the simplest model: a set of used offsets.
    #[test]
    fn no_byte_is_handed_out_twice(steps in proptest::collection::vec((0_u8..5, 1_u64..3000), 1..80)) {
        let (mut a, mut b) = pair();
        let mut used = std::collections::BTreeSet::new();
        for (block, (kind, size)) in steps.into_iter().enumerate() {
            let block = block as u64 + 1;
            match kind {
                0 => { deposit(&mut a, &mut b, block, 6000); }
                1 => {
                    a.distilled(BlockId(block), key(block, 9000));
                    if let Some((offer, _)) = a.deposit(BlockId(block), &mut SeededEntropy::from_number(7)) {
                        a.refuse_deposit(&offer);
                        b.refuse_deposit(&offer);
                    }
                }
                2 => reserve(&mut a, &mut b),
                _ => if let Some(sent) = a.spend(size) {
                    for offset in sent.offset..sent.offset + size {
                        prop_assert!(used.insert(offset), "offset {} twice", offset);
                    }
                    let got = b.accept(sent.offset, size).map(|key| key.bytes.expose().to_vec());
                    prop_assert_eq!(got, Ok(sent.bytes.expose().to_vec()));
                }
            }
        }
    }
}

/// One end with its disk: boxes of pad blocks, the pool's record, the marks with the chains.
struct End {
    pool: LinkKeyPool,
    boxes: std::collections::BTreeMap<(Direction, u64), SecretBytes>,
    record: SecretBytes,
    marks: SecretBytes,
    numbers: MarksRecord,
}

impl End {
    fn new(pool: LinkKeyPool) -> Self {
        let (record, numbers) = (pool.record().encode(), MarksRecord { pool: Some(pool.id()), ..Default::default() });
        let marks = numbers.encode(pool.chains());
        Self { pool, boxes: Default::default(), record, marks, numbers }
    }

    fn write_pads(&mut self, pads: PadBlocks) {
        self.boxes.extend(pads.into_iter().map(|(direction, index, sealed)| ((direction, index), sealed)));
        self.record = self.pool.record().encode();
    }

    fn write_marks(&mut self) {
        self.numbers.send_reserved = self.pool.send().reserved();
        self.numbers.recv_reserved = self.pool.receive().reserved();
        self.numbers = self.numbers.running();
        self.marks = self.numbers.encode(self.pool.chains());
    }

    /// Reads back what is missing, and opens.
    fn open_to(&mut self, direction: Direction, to: u64) {
        for index in self.pool.unread(direction, to) {
            assert!(self.pool.read_back(direction, index, self.boxes.get(&(direction, index))), "block {index}");
        }
        self.pool.open_to(direction, to);
    }

    fn stop(&mut self, entropy: &mut SeededEntropy) {
        let pads = self.pool.close(entropy);
        self.write_pads(pads);
        (self.numbers.send_next, self.numbers.recv_next) = (self.pool.send().next(), self.pool.receive().next());
        self.marks = self.numbers.encode(self.pool.chains());
    }

    fn start(&mut self) {
        let (numbers, chains) = MarksRecord::decode(&self.marks).expect("its own record");
        let record = PoolRecord::decode(&self.record).expect("its own record");
        self.pool = LinkKeyPool::restore(record, &numbers, chains, self.pool.own_direction());
        self.numbers = numbers;
    }

    /// Boxes that a thief of this disk can open.
    fn readable(&self) -> Vec<(Direction, u64, SecretBytes)> {
        let (_, mut chains) = MarksRecord::decode(&self.marks).expect("its own record");
        let open = |(&(direction, index), sealed): (&(Direction, u64), &SecretBytes)| {
            let place = PadPlace { pool: self.pool.id(), direction, index };
            chains[direction.index()].open(place, sealed).map(|bytes| (direction, index, bytes))
        };
        self.boxes.iter().filter_map(open).collect()
    }
}

fn greet(a: &mut End, b: &mut End) {
    let offers = [a.pool.resume_offer(&a.numbers), b.pool.resume_offer(&b.numbers)];
    a.pool.resume(&offers[1], false);
    b.pool.resume(&offers[0], false);
    a.write_marks();
    b.write_marks();
}

fn reserve_ends(from: &mut End, to: &mut End) {
    let again = from.pool.send().pending_reservation().map(|(_, to)| to);
    let Some(end) = again.or_else(|| from.pool.send().wants_reservation(3 * PAD_BLOCK_BYTES as u64)) else { return };
    let direction = from.pool.own_direction();
    from.open_to(direction, end);
    from.pool.send_mut().reserve(end);
    from.write_marks();
    to.open_to(direction, end);
    to.pool.receive_mut().reserve(end);
    to.write_marks();
    from.pool.send_mut().acknowledge(end);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two ends with disks, clean stops and crashes: no byte twice, both ends the same bytes, nothing used can
    /// be read off a disk, and a clean stop burns nothing.
    #[test]
    fn disks_give_back_what_is_unused_and_nothing_else(steps in proptest::collection::vec((0_u8..8, 1_u64..5000), 1..60)) {
        let (a, b) = pair();
        let mut entropy = SeededEntropy::from_number(77);
        let mut ends = [End::new(a), End::new(b)];
        let mut used = std::collections::BTreeSet::new();
        for (block, (kind, size)) in steps.into_iter().enumerate() {
            let block = BlockId(block as u64 + 1);
            let who = (size % 2) as usize;
            let [a, b] = &mut ends;
            match kind {
                0 | 1 => {
                    for end in [&mut *a, &mut *b] {
                        end.pool.distilled(block, key(block.0, 30_000));
                    }
                    let (offer, pads) = a.pool.deposit(block, &mut entropy).expect("distilled");
                    a.write_pads(pads);
                    let pads = b.pool.deposit_at(&offer, &mut entropy).expect("the same bits");
                    b.write_pads(pads);
                    a.pool.confirm_deposit(&offer);
                    b.pool.confirm_deposit(&offer);
                }
                2 => if who == 0 { reserve_ends(a, b) } else { reserve_ends(b, a) },
                3 => { ends[who].start(); let [a, b] = &mut ends; greet(a, b); }
                4 => {
                    let before = [ends[0].pool.send().available(), ends[1].pool.send().available()];
                    ends[who].stop(&mut entropy);
                    ends[who].start();
                    let [a, b] = &mut ends;
                    greet(a, b);
                    prop_assert_eq!([a.pool.send().available(), b.pool.send().available()], before);
                }
                _ => {
                    let (from, to) = if who == 0 { (a, b) } else { (b, a) };
                    let Some(sent) = from.pool.send_mut().spend(size) else { continue };
                    let direction = from.pool.own_direction();
                    for offset in sent.offset..sent.offset + size {
                        prop_assert!(used.insert((direction, offset)), "offset {} twice", offset);
                    }
                    let got = to.pool.accept(sent.offset, size).map(|key| key.bytes.expose().to_vec());
                    prop_assert_eq!(got, Ok(sent.bytes.expose().to_vec()));
                }
            }
            for (direction, index, bytes) in ends.iter().flat_map(End::readable) {
                let first = index * PAD_BLOCK_BYTES as u64;
                let spent = bytes.expose().iter().zip(first..).any(|(byte, at)| used.contains(&(direction, at)) && *byte != 0);
                prop_assert!(!spent, "used bytes of block {} can be read", index);
            }
        }
    }
}
