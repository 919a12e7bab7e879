//! The handshake of a link: what is replayed, reflected, altered or crossed is refused; rolled-back
//! and cloned neighbours cost the pool, at both ends. And pools over reconnects and crashes.

mod rig;

use std::time::Duration;

use qkd_proto::codec::{self, Bytes};
use qkd_proto::entropy::SeededEntropy;
use qkd_proto::id::{BootId, DataDirId, Incarnation, LinkId, PoolId, StoreSequence};
use qkd_proto::labels;
use qkd_proto::pool::Testimony;
use qkd_proto::pool::handshake::{Agreement, HELLO_VERSION, Handshake, Introduction};
use qkd_proto::pool::message::{HelloText, Resume, SignedHello};
use qkd_proto::pool::record::{MarksRecord, PeerMemory};
use qkd_proto::topology::RosterLink;
use rig::{Rig, identity, name};

fn resume(pool: u8) -> Resume {
    Resume {
        pool: PoolId([pool; 16]),
        mark_sequence: 5,
        send_reserved: 4096,
        recv_reserved: 4096,
        recv_floor: 0,
        held: [10, 10],
        holes: [vec![], vec![]],
    }
}

fn introduction(own: usize, peer: usize, with: Option<Resume>) -> Introduction {
    let id: LinkId = "n0-n1".parse().expect("a name");
    Introduction {
        link: RosterLink { id, transmitter: name(0), receiver: name(1) },
        own: name(own),
        peer_key: identity(peer).public(),
        incarnation: Incarnation(3),
        boot: BootId([own as u8; 16]),
        data_dir: DataDirId([own as u8; 16]),
        store_sequence: StoreSequence(7),
        vouches: true,
        resume: with,
        send_next: 0,
        send_runs: vec![(0, 10)],
        marks: MarksRecord::default(),
    }
}

fn memory(of: usize) -> PeerMemory {
    PeerMemory {
        data_dir: DataDirId([of as u8; 16]),
        incarnation: Incarnation(3),
        boot: BootId([of as u8; 16]),
        mark_sequence: 5,
        store_sequence: StoreSequence(7),
    }
}

struct Pair {
    a: Handshake,
    b: Handshake,
    dice: SeededEntropy,
    offer: SignedHello,
}

fn pair(a: Introduction, b: Introduction, seed: u64) -> Pair {
    let mut dice = SeededEntropy::from_number(seed);
    let (a, offer) = Handshake::start(a, &identity(0), &mut dice);
    let (b, nothing) = Handshake::start(b, &identity(1), &mut dice);
    assert!(nothing.is_none());
    Pair { a, b, dice, offer: offer.expect("the transmitter speaks first") }
}

impl Pair {
    fn tell_a(&mut self, hello: &SignedHello) -> Result<(Option<SignedHello>, Option<Agreement>), String> {
        let progress = self.a.handle(hello, &identity(0), &mut self.dice).map_err(|refusal| refusal.to_string())?;
        Ok((progress.reply, progress.agreement))
    }

    fn tell_b(&mut self, hello: &SignedHello) -> Result<(Option<SignedHello>, Option<Agreement>), String> {
        let progress = self.b.handle(hello, &identity(1), &mut self.dice).map_err(|refusal| refusal.to_string())?;
        Ok((progress.reply, progress.agreement))
    }

    fn finish(mut self) -> [Agreement; 2] {
        let offer = self.offer.clone();
        let (answer, _) = self.tell_b(&offer).expect("the offer is sound");
        let (done, ours) = self.tell_a(&answer.expect("an answer")).expect("the answer is sound");
        let (_, theirs) = self.tell_b(&done.expect("a third message")).expect("it is sound");
        [ours.expect("agreed"), theirs.expect("agreed")]
    }
}

/// The same text with a change, signed anew by `by`.
fn changed(hello: &SignedHello, by: usize, change: impl Fn(&mut HelloText)) -> SignedHello {
    let mut text: HelloText = codec::decode(HELLO_VERSION, &hello.text, 1 << 16).expect("a hello");
    change(&mut text);
    let text = codec::encode(HELLO_VERSION, &text);
    let signature = identity(by).sign(labels::sign::LINK_HELLO, &text);
    SignedHello { text: Bytes::from(text), signature }
}

#[test]
fn both_ends_agree_on_one_secret_and_on_the_pool() {
    let with = || Some(resume(1));
    let [a, b] = pair(introduction(0, 1, with()), introduction(1, 0, with()), 1).finish();
    assert_eq!(a.secret.expose(), b.secret.expose());
    assert_eq!((a.own_nonce, a.peer_nonce), (b.peer_nonce, b.own_nonce));
    assert!(a.resume.is_some() && b.resume.is_some() && a.discarded.is_none() && b.discarded.is_none());
}

#[test]
fn altered_reflected_foreign_replayed_and_crossed_words_are_refused() {
    let with = || Some(resume(1));
    let fresh = |seed| pair(introduction(0, 1, with()), introduction(1, 0, with()), seed);
    let mut one = fresh(1);
    let offer = one.offer.clone();
    assert!(one.tell_a(&offer).is_err(), "reflected");
    let mut altered = offer.clone();
    altered.text[40] ^= 1;
    assert!(fresh(2).tell_b(&altered).is_err(), "altered");
    assert!(fresh(2).tell_b(&changed(&offer, 2, |_| ())).is_err(), "signed by another");
    assert!(fresh(2).tell_b(&changed(&offer, 0, |text| text.to = name(2))).is_err(), "to another");
    let elsewhere = changed(&offer, 0, |text| text.link = "n0-n2".parse().expect("a name"));
    assert!(fresh(2).tell_b(&elsewhere).is_err(), "about another link");

    let (answer, _) = one.tell_b(&offer).expect("sound");
    let answer = answer.expect("an answer");
    assert!(fresh(3).tell_a(&answer).is_err(), "an answer of another session");
    let (done, _) = one.tell_a(&answer).expect("sound");
    let done = done.expect("a third message");
    let mut two = fresh(4);
    let second = two.offer.clone();
    two.tell_b(&second).expect("sound");
    assert!(two.tell_b(&done).is_err(), "a third message of another session");
    let mut three = fresh(5);
    assert!(three.tell_b(&done).is_err(), "out of turn");
    one.tell_b(&done).expect("sound");
    assert!(one.tell_b(&done).is_err(), "replayed");
    // A replayed offer gets an answer at most: nobody can go on from there.
    let mut four = fresh(6);
    four.tell_b(&offer).expect("signed by the neighbour");
    assert!(four.tell_b(&offer).is_err());
}

#[test]
fn rolled_back_and_cloned_neighbours_cost_both_ends_the_pool() {
    let changes: [fn(&mut PeerMemory); 5] = [
        |known| known.incarnation = Incarnation(4),
        |known| known.boot = BootId([9; 16]),
        |known| known.data_dir = DataDirId([9; 16]),
        |known| known.mark_sequence = 6,
        |known| known.store_sequence = StoreSequence(8),
    ];
    for change in changes {
        for knowing in [0, 1] {
            let mut ends = [introduction(0, 1, Some(resume(1))), introduction(1, 0, Some(resume(1)))];
            let mut known = memory(1 - knowing);
            change(&mut known);
            ends[knowing].marks.peer = Some(known);
            let [a, b] = ends;
            let [a, b] = pair(a, b, 1).finish();
            assert!(a.resume.is_none() && b.resume.is_none());
            assert!(a.discarded.is_some() && b.discarded.is_some());
            assert_eq!(a.secret.expose(), b.secret.expose(), "a new pool can start");
        }
    }
}

/// Each end hears what the other remembers of it.
#[test]
fn an_end_hears_that_it_was_rolled_back() {
    let told = |change: fn(&mut PeerMemory), vouches: bool| {
        let mut ends = [introduction(0, 1, Some(resume(1))), introduction(1, 0, Some(resume(1)))];
        let mut known = memory(0);
        change(&mut known);
        ends[1].marks.peer = Some(known);
        (ends[1].vouches, ends[0].vouches) = (vouches, true);
        (ends[0].marks.pool, ends[0].marks.sequence) = (Some(PoolId([1; 16])), 5);
        let [a, b] = ends;
        let [a, _] = pair(a, b, 1).finish();
        a.testimony
    };
    assert_eq!(told(|_| (), true), Testimony::Fits { sure: true });
    assert_eq!(told(|_| (), false), Testimony::Fits { sure: false });
    assert_eq!(told(|known| known.data_dir = DataDirId([9; 16]), true), Testimony::None);
    let changes: [fn(&mut PeerMemory); 4] = [
        |known| known.incarnation = Incarnation(4),
        |known| known.boot = BootId([9; 16]),
        |known| known.mark_sequence = 6,
        |known| known.store_sequence = StoreSequence(8),
    ];
    for change in changes {
        assert!(matches!(told(change, false), Testimony::Contradicts(_)));
    }
}

/// Both ends may be older copies that fit together: a whole site was put back.
#[test]
fn pads_go_on_only_if_an_end_vouches() {
    for (a, b) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut ends = [introduction(0, 1, Some(resume(1))), introduction(1, 0, Some(resume(1)))];
        (ends[0].vouches, ends[1].vouches) = (a, b);
        let [first, second] = ends;
        let [first, second] = pair(first, second, 1).finish();
        assert_eq!((first.resume.is_some(), second.resume.is_some()), (a || b, a || b));
    }
}

#[test]
fn contradicting_pools_are_not_resumed() {
    let changes: [fn(&mut Resume); 6] = [
        |resume| resume.pool = PoolId([2; 16]),
        |resume| resume.recv_reserved = 4097,
        |resume| resume.send_reserved = 4095,
        |resume| resume.recv_floor = u64::MAX,
        |resume| resume.held = [u64::MAX; 2],
        |resume| resume.holes = [vec![(0, u64::MAX)], vec![(0, u64::MAX)]],
    ];
    for change in changes {
        let mut theirs = resume(1);
        change(&mut theirs);
        let [a, b] = pair(introduction(0, 1, Some(resume(1))), introduction(1, 0, Some(theirs)), 1).finish();
        assert!(a.resume.is_none() && b.resume.is_none());
    }
}

/// The transmitter says that the pool goes on although the receiver found a contradiction.
#[test]
fn one_end_alone_cannot_resume() {
    let mut theirs = resume(1);
    theirs.recv_reserved = u64::MAX;
    let mut pair = pair(introduction(0, 1, Some(theirs.clone())), introduction(1, 0, Some(resume(1))), 1);
    let offer = pair.offer.clone();
    let (answer, _) = pair.tell_b(&offer).expect("sound");
    let (done, _) = pair.tell_a(&answer.expect("an answer")).expect("sound");
    let forced = changed(&done.expect("a message"), 0, |text| text.resume = Some(theirs.clone()));
    let (_, agreement) = pair.tell_b(&forced).expect("signed by the neighbour");
    assert!(agreement.expect("agreed").resume.is_none());
}

#[test]
fn pools_outlive_crashes_of_either_end_again_and_again() {
    let mut rig = Rig::line(2);
    for round in 0..12 {
        assert!(rig.one_key(0, 1) && rig.one_key(1, 0), "round {round}");
        let at = round % 3;
        if at < 2 {
            rig.crash(at);
            rig.start(at);
        } else {
            rig.disconnect(0);
        }
        rig.run_for(Duration::from_secs(2));
        assert!(!rig.logged("QKD-2201"), "{:?}", rig.log);
    }
}

#[test]
fn a_clone_costs_the_pool_and_raises_an_alarm() {
    let mut rig = Rig::line(2);
    assert!(rig.one_key(0, 1));
    let run = rig.sites[0].run;
    rig.crash(0);
    rig.start_as(0, run, 77);
    rig.run_for(Duration::from_secs(3));
    assert!(rig.logged("QKD-2201 n0-n1: pool discarded") && rig.logged("cloned"));
    assert!(rig.one_key(0, 1), "a new pool starts without a person");
}

#[test]
fn a_crash_within_the_first_session_bricks_nothing() {
    for synced in 0..4 {
        let mut rig = Rig::line(2);
        rig.crash(0);
        rig.sites[0].disk.clear();
        rig.sites[0].slow_disk = true;
        rig.start(0);
        rig.run_for(Duration::from_millis(200));
        for _ in 0..synced {
            rig.sync(0);
        }
        // Of the commit being written, only the first record survives.
        if let Some(record) = rig.sites[0].writing.pop_front().and_then(|commit| commit.records.into_iter().next()) {
            let value = record.value.expect("nothing is deleted yet").expose().to_vec();
            rig.sites[0].disk.insert((record.table, record.key), value);
        }
        rig.crash(0);
        rig.sites[0].slow_disk = false;
        rig.start(0);
        rig.run_for(Duration::from_secs(3));
        assert!(rig.one_key(0, 1));
    }
}
