//! A neighbour that says anything at all, and relays that lie: no panic, no pad twice, no wrong key.

mod rig;

use std::time::Duration;

use qkd_proto::codec::{self, Bytes};
use qkd_proto::crypto::Signature;
use qkd_proto::entropy::{Entropy, SeededEntropy};
use qkd_proto::id::{BlockId, Incarnation, Nonce, SessionId, StoreSequence, TransferId};
use qkd_proto::labels;
use qkd_proto::mac::Tag;
use qkd_proto::node::input::Input;
use qkd_proto::node::message::{BlockFrame, NEIGHBOUR_BYTES_MAX, NEIGHBOUR_VERSION, NeighbourMessage};
use qkd_proto::pool::message::{DepositOffer, PoolMessage, Sequences, SignedHello};
use qkd_proto::relay::letter;
use qkd_proto::relay::message::{
    AdvertLink, AdvertText, HopFrame, LetterBody, LetterText, LinkState, RelayMessage, TransferHeader,
};
use rig::{Rig, identity, name};

fn number(dice: &mut SeededEntropy) -> u64 {
    match dice.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - dice.below(70_000),
        4 => u64::MAX / 4096 - dice.below(3),
        5 => 1 << dice.below(64),
        _ => dice.below(70_000),
    }
}

fn token(dice: &mut SeededEntropy) -> [u8; 16] {
    let mut bytes = [0; 16];
    dice.fill(&mut bytes);
    bytes
}

fn bytes(dice: &mut SeededEntropy, most: u64) -> Bytes {
    let mut bytes = vec![0; dice.below(most + 1) as usize];
    dice.fill(&mut bytes);
    Bytes::from(bytes)
}

/// Nonces that the neighbour really used, so that its words count.
fn nonces(rig: &Rig, by: usize) -> Vec<Nonce> {
    let heard = rig.said.iter().filter(|said| said.0 == by);
    let nonce = heard.filter_map(|(_, _, bytes)| {
        match codec::decode::<NeighbourMessage>(NEIGHBOUR_VERSION, bytes, NEIGHBOUR_BYTES_MAX) {
            Ok(NeighbourMessage::Pool(PoolMessage::Reserve { nonce, .. })) => Some(nonce),
            _ => None,
        }
    });
    nonce.collect()
}

/// Any block, or one that was really started.
fn block(dice: &mut SeededEntropy, rig: &Rig) -> BlockId {
    let mut block = BlockId(number(dice));
    if dice.below(2) == 0 {
        let said = rig.said.iter().rev().find_map(|(_, _, bytes)| {
            match codec::decode::<NeighbourMessage>(NEIGHBOUR_VERSION, bytes, NEIGHBOUR_BYTES_MAX) {
                Ok(NeighbourMessage::Pool(PoolMessage::BlockStart { block, .. })) => Some(block),
                _ => None,
            }
        });
        block = said.map_or(block, |said| BlockId(said.0 + dice.below(3)));
    }
    block
}

fn offer(dice: &mut SeededEntropy, rig: &Rig) -> DepositOffer {
    let count = [0, 1].map(|_| number(dice) as u32);
    DepositOffer {
        block: block(dice, rig),
        prior: None,
        hash_keys: (dice.below(2) == 1).then(|| number(dice) as u32),
        first: [number(dice), number(dice)],
        count,
    }
}

fn header(dice: &mut SeededEntropy, rig: &Rig) -> TransferHeader {
    let (count, key_bytes) = match dice.below(4) {
        0 => (1, 16_000),
        1 => (number(dice) as u32, number(dice) as u32),
        2 => (16_000, 1),
        _ => (1, 32),
    };
    TransferHeader {
        transfer: TransferId(token(dice)),
        session: SessionId(token(dice)),
        origin: name(0),
        target: name(1),
        route: vec![rig.link_id(0)],
        count,
        key_bytes,
    }
}

fn records(dice: &mut SeededEntropy) -> Sequences {
    Sequences { marks: number(dice), store: StoreSequence(number(dice)) }
}

fn message(dice: &mut SeededEntropy, rig: &Rig, nonce: [Option<Nonce>; 2]) -> NeighbourMessage {
    let nonces = nonce;
    let nonce = nonces[dice.below(2) as usize].unwrap_or(Nonce(token(dice)));
    let pool = |message| NeighbourMessage::Pool(message);
    match dice.below(13) {
        0 => pool(PoolMessage::BlockStart { block: BlockId(number(dice)), hash_keys: dice.below(4) as u32 }),
        1 => pool(PoolMessage::BlockOffer(offer(dice, rig))),
        2 => pool(PoolMessage::BlockAck(offer(dice, rig))),
        3 => pool(PoolMessage::BlockNak(offer(dice, rig))),
        4 | 5 => {
            let (from, to, records) = (number(dice), number(dice), records(dice));
            pool(PoolMessage::Reserve { incarnation: Incarnation(1), nonce, from, to, records })
        }
        6 => pool(PoolMessage::ReserveAck { nonce, to: number(dice), own: records(dice) }),
        11 if dice.below(2) == 0 => {
            pool(PoolMessage::HeartbeatAck { nonce, records: records(dice), own: records(dice) })
        }
        11 => pool(PoolMessage::Heartbeat { nonce, records: records(dice) }),
        7 => pool(PoolMessage::Grant { nonce, offset: number(dice), length: number(dice) }),
        10 => pool(PoolMessage::BlockResume { block: block(dice, rig), heard: number(dice) as u32 }),
        8 => pool(PoolMessage::Hello(SignedHello { text: bytes(dice, 300), signature: Signature([1; 64]) })),
        9 => {
            let header = header(dice, rig);
            let fits = u64::from(header.count).saturating_mul(header.key_bytes.into()) + 16;
            let body = vec![1; fits.min(16_500) as usize];
            let (hop, offset) = (dice.below(3) as u8, number(dice));
            let frame = HopFrame { header, hop, offset, body: Bytes::from(body), tag: Tag([2; 16]) };
            NeighbourMessage::Relay(RelayMessage::Hop(frame))
        }
        _ => {
            let incarnation = Incarnation(number(dice));
            let (transfer, session) = (TransferId(token(dice)), SessionId(token(dice)));
            let body = match dice.below(5) {
                0 => LetterBody::Confirm { transfer, tag: Tag([0; 16]) },
                1 => LetterBody::SessionUnknown { session, transfer },
                2 => LetterBody::Commit { transfer, tag: Tag([0; 16]), session, assign: bytes(dice, 100) },
                3 => LetterBody::AssignAck { transfer },
                _ => LetterBody::Abort { transfer, reason: "r".into() },
            };
            let text = LetterText { from: name(0), to: name(1), incarnation, body };
            let letter = letter::sign(labels::sign::LETTER, &text, &identity(0));
            let hops_left = dice.below(256) as u8;
            NeighbourMessage::Relay(RelayMessage::Letter { hops_left, letter: Bytes::from(letter) })
        }
    }
}

/// n0 speaks to n1 and n1 to n0, each anything at all; the rig asserts that no pad is used twice.
#[test]
fn words_of_every_kind_with_any_numbers_do_no_harm() {
    for seed in 0..40 {
        let mut dice = SeededEntropy::from_number(seed);
        let mut rig = Rig::line(2);
        for round in 0..120 {
            let victim = dice.below(2) as usize;
            let nonce = [nonces(&rig, 1 - victim).last().copied(), nonces(&rig, victim).last().copied()];
            let word = message(&mut dice, &rig, nonce);
            let bytes = codec::encode(NEIGHBOUR_VERSION, &word);
            let id = rig.link_id(0);
            rig.feed(victim, Input::LinkBytes(id.clone(), bytes));
            if dice.below(6) == 0 {
                let words = self::bytes(&mut dice, 60);
                let (number, heard) = (number(&mut dice) as u32, number(&mut dice) as u32);
                let frame = BlockFrame { block: block(&mut dice, &rig), number, heard, words: &words };
                rig.feed(victim, Input::BlockBytes(id, frame.encode()));
            }
            if round % 10 == 9 {
                rig.enc(0, 1, 2);
                rig.enc(1, 0, 1);
                rig.run_for(Duration::from_millis(300));
            }
        }
        rig.run_for(Duration::from_secs(6));
        assert!(rig.one_key(0, 1), "seed {seed}: the link does not come back");
    }
}

#[test]
fn malformed_frames_drop_the_link_and_lose_nothing() {
    let mut rig = Rig::line(2);
    let before = rig.stored(0, 0);
    let id = rig.link_id(0);
    rig.feed(1, Input::LinkBytes(id, vec![1, 0xff, 0xff]));
    rig.run_for(Duration::from_secs(1));
    assert!(rig.logged("the neighbour sent what is no message"));
    assert_eq!(rig.link_state(1, 0), "up");
    assert!(rig.logged("session, pool resumed"));
    let after = rig.stored(0, 0);
    assert!(after.0 >= before.0 && after.1 >= before.1, "{before:?} {after:?}");
    assert!(rig.one_key(0, 1));
}

#[test]
fn an_advert_with_an_impossible_level_is_refused() {
    let mut rig = Rig::line(3);
    for (level, rate) in [(255, 0), (64, 0), (16, 0), (3, 32)] {
        let link = AdvertLink {
            link: rig.link_id(1),
            certificate: None,
            state: LinkState::Up,
            level,
            rate,
            qber_per_mille: 0,
        };
        let text = AdvertText { origin: name(2), incarnation: Incarnation(9), sequence: u64::MAX, links: vec![link] };
        rig.feed(0, Input::Advert(letter::sign(labels::sign::ADVERT, &text, &identity(2))));
        assert!(rig.log.last().is_some_and(|line| line.contains("out of range")), "{:?}", rig.log.last());
    }
    assert!(rig.one_key(0, 2));
}

/// The first hop frame that node 0 sends is altered on the way.
fn first_hop_altered(how: impl Fn(&mut HopFrame) + 'static) -> Rig {
    let mut rig = Rig::line(2);
    assert!(rig.one_key(0, 1));
    let mut done = false;
    rig.alter = Some(Box::new(move |_, bytes| {
        let message = codec::decode::<NeighbourMessage>(NEIGHBOUR_VERSION, bytes, NEIGHBOUR_BYTES_MAX);
        if let Ok(NeighbourMessage::Relay(RelayMessage::Hop(mut frame))) = message
            && !std::mem::replace(&mut done, true)
        {
            how(&mut frame);
            *bytes = codec::encode(NEIGHBOUR_VERSION, &NeighbourMessage::Relay(RelayMessage::Hop(frame)));
        }
        true
    }));
    rig
}

/// A wrong tag proves nothing, not even where its pad lies: what lies before it stays usable.
#[test]
fn a_forged_offset_burns_no_pad() {
    for far in [0, 200] {
        let mut rig = first_hop_altered(move |frame| {
            frame.offset += far;
            frame.tag.0[0] ^= 1;
        });
        let receive = |rig: &Rig| rig.link_status(1, 0).store_peer_bytes;
        let before = receive(&rig);
        let id = rig.enc(0, 1, 1);
        rig.settle();
        let burnt = before.saturating_sub(receive(&rig));
        assert!(rig.logged("a relay frame is refused"));
        // What was really sent, its answer's tags and the second try; never the 200 bytes that were claimed.
        assert!(burnt < 200, "{burnt} bytes are gone after an offset that was {far} too high");
        rig.run_for(Duration::from_secs(3));
        assert!(rig.answers.contains_key(&id));
    }
}
