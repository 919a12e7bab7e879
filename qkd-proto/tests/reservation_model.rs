//! One direction of a link as a model that a checker explores to the end: an owner and a receiver with marks on
//! disks, writes under way, messages that get lost or come twice, crashes, old disks put back, clean stops, grants.
//! In: a planted defect, or none. Always: no byte is spent twice; each defect is seen to break that.
//!
//! The rules are those of `pool::ledger`, `pool::judge` and `node::{reservations,grants,stop}`. Left out: holes,
//! and that the ends do not agree at one moment (a session is one value here; messages of an older one are gone).

use std::collections::BTreeSet;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

/// Bytes of the direction.
const BYTES: u8 = 3;

/// What an end remembers of the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Memory {
    incarnation: u8,
    boot: u8,
    sequence: u8,
}

/// The marks of one end: bytes below `next` are used or burnt, bytes below `reserved` may be in use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Marks {
    sequence: u8,
    next: u8,
    reserved: u8,
    peer: Option<Memory>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Disk {
    incarnation: u8,
    marks: Marks,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Message {
    Reserve { from: u8, to: u8, sequence: u8 },
    Ack { to: u8 },
    Grant { offset: u8 },
}

/// A write under way, and what leaves once it is durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Write {
    marks: Marks,
    then: Vec<Message>,
}

/// A process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Run {
    incarnation: u8,
    boot: u8,
    /// A file in memory says that the disk is the newest, or the neighbour was met before in this process.
    vouches: bool,
    stopping: bool,
    marks: Marks,
    writing: Vec<Write>,
    next: u8,
    reserved: u8,
    /// Owner: what the receiver has told of its record, ever and in this session.
    recorded: u8,
    acknowledged: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct End {
    disk: Disk,
    image: Option<Disk>,
    run: Option<Run>,
    /// The disk was put back, and no neighbour has confirmed it since.
    older: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    owner: End,
    receiver: End,
    in_session: bool,
    network: Vec<Message>,
    /// Times that each byte was spent, by the owner, or by the receiver to whom it was given.
    spent: [u8; BYTES as usize],
    given: [bool; BYTES as usize],
    discarded: bool,
    boots: u8,
    crashes: u8,
    restores: [u8; 2],
    stops: u8,
    cuts: u8,
    grants: u8,
    /// Times that a reservation was taken that did not go on.
    anew: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Side {
    Owner,
    Receiver,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    Agree,
    Cut,
    Reserve(u8),
    Durable(Side),
    Hear(Message),
    Spend { heard: bool },
    Give,
    Crash(Side),
    Start(Side),
    Image(Side),
    PutBack(Side),
    Stop(Side),
    Exit(Side),
}

/// Defects that the checker must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Planted {
    None,
    SpendBeforeOwnWrite,
    SpendBeforeAck,
    AckBeforeWrite,
    OwnMarkAlone,
    /// Together with a stale sequence: what is remembered of the owner would else notice it.
    AnyStart,
    ExactMarkTooEarly,
    SpendWhatWasGiven,
    StaleSequence,
    AnchorOfUnconfirmed,
}

struct Direction {
    planted: Planted,
    /// Crashes, restores of each end's disk, clean stops, lost connections, grants: so many at most.
    crashes: u8,
    restores: [u8; 2],
    stops: u8,
    cuts: u8,
    grants: u8,
}

impl Run {
    /// As a disk tells it: what was reserved and not marked exactly is burnt.
    fn start(disk: &Disk, boot: u8, vouches: bool) -> Self {
        let marks = disk.marks;
        let (next, reserved) = (marks.next, marks.reserved);
        Self {
            incarnation: disk.incarnation,
            boot,
            vouches,
            stopping: false,
            marks,
            writing: Vec::new(),
            next,
            reserved,
            recorded: 0,
            acknowledged: 0,
        }
    }

    /// Writes its marks, one further; while it runs, all that is reserved counts as used.
    fn write(&mut self, exact: bool) {
        self.marks.next = if exact { self.next.min(self.marks.reserved) } else { self.marks.reserved };
        self.marks.sequence += 1;
        self.writing.push(Write { marks: self.marks, then: Vec::new() });
    }

    /// Says `message` once all that is being written is durable; gives it back if that is so.
    fn say(&mut self, message: Message) -> Option<Message> {
        match self.writing.last_mut() {
            Some(write) => {
                if !write.then.contains(&message) {
                    write.then.push(message);
                }
                None
            }
            None => Some(message),
        }
    }

    fn memory(&self, durable: &Disk) -> Memory {
        Memory { incarnation: self.incarnation, boot: self.boot, sequence: durable.marks.sequence }
    }
}

impl End {
    fn new(boot: u8) -> Self {
        let disk = Disk { incarnation: 1, marks: Marks::default() };
        Self { disk, image: None, run: Some(Run::start(&disk, boot, true)), older: false }
    }

    fn start(&mut self, boot: u8, anchors_itself: bool) {
        self.disk.incarnation += 1;
        self.run = Some(Run::start(&self.disk, boot, !self.older));
        if anchors_itself {
            self.older = false;
        }
    }

    /// True if what `theirs` says does not fit what this end remembers of it, or what it remembers of this end.
    fn finds_rolled_back(&self, theirs: &Self) -> bool {
        let (Some(own), Some(their)) = (&self.run, &theirs.run) else { return false };
        let copy = |known: Memory, run: &Run| known.incarnation == run.incarnation && known.boot != run.boot;
        let back =
            |known: Memory, run: &Run, sequence| known.incarnation > run.incarnation || known.sequence > sequence;
        let knows = |known: Memory, run: &Run, sequence| copy(known, run) || back(known, run, sequence);
        let of_us = their.marks.peer.is_some_and(|known| knows(known, own, own.marks.sequence));
        let of_them = own.marks.peer.is_some_and(|known| knows(known, their, theirs.disk.marks.sequence));
        of_us || of_them
    }
}

impl World {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Owner => &mut self.owner,
            Side::Receiver => &mut self.receiver,
        }
    }

    fn send(&mut self, message: Option<Message>) {
        let Some(message) = message.filter(|_| self.in_session) else { return };
        if let Err(place) = self.network.binary_search(&message) {
            self.network.insert(place, message);
        }
    }

    fn cut(&mut self) {
        self.in_session = false;
        self.network.clear();
        // What waits for a write waits for this session's stream.
        for run in [&mut self.owner.run, &mut self.receiver.run].into_iter().flatten() {
            run.writing.iter_mut().for_each(|write| write.then.clear());
        }
    }

    fn down(&mut self, side: Side) {
        self.cut();
        self.end(side).run = None;
    }

    /// The receiver takes a byte that the owner names: true if it may.
    fn accept(&mut self, offset: u8) -> bool {
        let Some(receiver) = &mut self.receiver.run else { return false };
        let sound = (receiver.next..receiver.reserved).contains(&offset);
        if sound {
            receiver.next = offset + 1;
        }
        sound
    }

    fn use_byte(&mut self, offset: u8) {
        self.spent[usize::from(offset)] += 1;
    }

    /// Bytes of the owner that nobody spent and nobody will.
    fn burnt(&self) -> usize {
        let next = self.owner.run.as_ref().map_or(self.owner.disk.marks.next, |run| run.next);
        (0..usize::from(next)).filter(|&offset| self.spent[offset] == 0 && !self.given[offset]).count()
    }
}

impl Direction {
    fn is(&self, planted: Planted) -> bool {
        self.planted == planted
    }

    /// The ends greet: they go on with the pool, or discard it.
    fn agree(&self, world: &mut World) {
        let World { owner, receiver, .. } = &mut *world;
        let (own, their) = (owner.disk.marks, receiver.disk.marks);
        let (rolled, older) = (owner.finds_rolled_back(receiver), receiver.finds_rolled_back(owner));
        let (Some(sender), Some(taker)) = (&mut owner.run, &mut receiver.run) else { return };
        let floor = taker.next;
        let contradicts = their.reserved > own.reserved || floor > their.reserved || floor > own.reserved;
        let compared = !self.is(Planted::OwnMarkAlone);
        if compared && (rolled || older || contradicts || !(sender.vouches || taker.vouches)) {
            world.discarded = true;
            return;
        }
        if compared {
            sender.next = sender.next.max(floor);
        }
        sender.reserved = sender.reserved.max(sender.next);
        sender.recorded = their.reserved.min(sender.reserved);
        sender.acknowledged = sender.acknowledged.min(sender.next);
        sender.marks.peer = Some(taker.memory(&receiver.disk));
        taker.marks.peer = Some(sender.memory(&owner.disk));
        (sender.vouches, taker.vouches) = (true, true);
        sender.write(false);
        taker.write(false);
        world.in_session = true;
        self.ask(world);
    }

    /// The owner asks for what it has reserved, once that is durable.
    fn ask(&self, world: &mut World) {
        let durable = world.owner.disk.marks.sequence;
        let Some(owner) = &mut world.owner.run else { return };
        // Of the write that the question waits for: with an older one, a disk from just before it is not noticed.
        let sequence =
            if self.is(Planted::StaleSequence) || self.is(Planted::AnyStart) { durable } else { owner.marks.sequence };
        if owner.acknowledged >= owner.reserved {
            return;
        }
        let message = Message::Reserve { from: owner.recorded, to: owner.reserved, sequence };
        let now = if self.is(Planted::SpendBeforeOwnWrite) { Some(message) } else { owner.say(message) };
        world.send(now);
    }

    fn reserve(&self, world: &mut World, to: u8) {
        let Some(owner) = &mut world.owner.run else { return };
        owner.reserved = to;
        owner.marks.reserved = owner.marks.reserved.max(to);
        owner.write(false);
        self.ask(world);
    }

    /// The oldest write of an end is durable.
    fn durable(&self, world: &mut World, side: Side) {
        let in_session = world.in_session;
        let end = world.end(side);
        let Some(run) = &mut end.run else { return };
        let write = run.writing.remove(0);
        end.disk.marks = write.marks;
        // What a neighbour has confirmed is on the disk, and with it what is remembered of the neighbour.
        end.older &= !run.vouches;
        if side == Side::Owner && in_session && self.is(Planted::SpendBeforeAck) {
            run.acknowledged = run.acknowledged.max(write.marks.reserved);
        }
        write.then.into_iter().for_each(|message| world.send(Some(message)));
    }

    fn hear(&self, world: &mut World, message: Message) {
        let durable = world.owner.disk.marks;
        // A reservation may come twice; the others change nothing the second time.
        if !matches!(message, Message::Reserve { .. }) {
            world.network.retain(|other| *other != message);
        }
        match message {
            Message::Reserve { from, to, sequence } => self.record(world, (from, to), sequence),
            Message::Ack { to } => {
                let Some(owner) = &mut world.owner.run else { return };
                if to <= durable.reserved || self.is(Planted::SpendBeforeOwnWrite) {
                    owner.acknowledged = owner.acknowledged.max(to.min(owner.reserved));
                    owner.recorded = owner.recorded.max(owner.acknowledged);
                }
            }
            Message::Grant { offset } => {
                if world.accept(offset) {
                    world.use_byte(offset);
                }
            }
        }
    }

    /// The receiver records a reservation that goes on where its record ends, and answers.
    fn record(&self, world: &mut World, (from, to): (u8, u8), sequence: u8) {
        let Some(receiver) = &mut world.receiver.run else { return };
        let recorded = receiver.marks.reserved;
        let goes_on = self.is(Planted::AnyStart) && world.anew == 0 || from == recorded && to >= recorded;
        if self.is(Planted::AnyStart) && goes_on && from != recorded && to != recorded {
            world.anew += 1;
        }
        if !goes_on && to != recorded {
            // It drops the link; here, lost connections are a step of their own.
            return;
        }
        let before = receiver.marks;
        receiver.reserved = receiver.reserved.max(to);
        receiver.marks.reserved = to;
        if let Some(peer) = &mut receiver.marks.peer {
            peer.sequence = peer.sequence.max(sequence);
        }
        if receiver.marks != before {
            receiver.write(false);
        }
        let ack = Message::Ack { to };
        let now = if self.is(Planted::AckBeforeWrite) { Some(ack) } else { receiver.say(ack) };
        world.send(now);
    }

    /// The owner spends its next byte; what it says under it is heard, or lost.
    fn spend(&self, world: &mut World, heard: bool) {
        let Some(owner) = &mut world.owner.run else { return };
        let offset = owner.next;
        owner.next += 1;
        world.use_byte(offset);
        if heard {
            world.accept(offset);
        }
    }

    /// The owner gives its next byte away.
    fn give(&self, world: &mut World) {
        world.grants += 1;
        let Some(owner) = &mut world.owner.run else { return };
        let offset = owner.next;
        if !self.is(Planted::SpendWhatWasGiven) {
            owner.next += 1;
        }
        let said = owner.say(Message::Grant { offset });
        world.given[usize::from(offset)] = true;
        world.send(said);
    }

    fn stop(&self, world: &mut World, side: Side) {
        world.stops += 1;
        if !self.is(Planted::ExactMarkTooEarly) {
            world.cut();
        }
        if let Some(run) = &mut world.end(side).run {
            run.stopping = true;
            run.write(true);
        }
    }

    fn steps_of_end(&self, world: &World, side: Side, steps: &mut Vec<Step>) {
        let (end, restored) = match side {
            Side::Owner => (&world.owner, world.restores[0] < self.restores[0]),
            Side::Receiver => (&world.receiver, world.restores[1] < self.restores[1]),
        };
        if end.image.is_none() && restored {
            steps.push(Step::Image(side));
        }
        if end.image.is_some() && restored {
            steps.push(Step::PutBack(side));
        }
        let Some(run) = &end.run else { return steps.push(Step::Start(side)) };
        if !run.writing.is_empty() {
            steps.push(Step::Durable(side));
        }
        if world.crashes < self.crashes {
            steps.push(Step::Crash(side));
        }
        if run.stopping && run.writing.is_empty() {
            steps.push(Step::Exit(side));
        } else if !run.stopping && world.stops < self.stops {
            steps.push(Step::Stop(side));
        }
    }

    fn steps_of_session(&self, world: &World, steps: &mut Vec<Step>) {
        let Some(owner) = &world.owner.run else { return };
        if owner.acknowledged == owner.reserved && !owner.stopping {
            steps.extend((owner.reserved + 1..=BYTES).map(Step::Reserve));
        }
        if owner.next < owner.acknowledged {
            steps.extend([Step::Spend { heard: true }, Step::Spend { heard: false }]);
            if world.grants < self.grants {
                steps.push(Step::Give);
            }
        }
        steps.extend(world.network.iter().copied().map(Step::Hear));
        if world.cuts < self.cuts {
            steps.push(Step::Cut);
        }
    }
}

impl Model for Direction {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            owner: End::new(1),
            receiver: End::new(2),
            in_session: false,
            network: Vec::new(),
            spent: [0; BYTES as usize],
            given: [false; BYTES as usize],
            discarded: false,
            boots: 2,
            crashes: 0,
            restores: [0; 2],
            stops: 0,
            cuts: 0,
            grants: 0,
            anew: 0,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.discarded {
            return;
        }
        self.steps_of_end(world, Side::Owner, steps);
        self.steps_of_end(world, Side::Receiver, steps);
        let ready = |end: &End| end.run.as_ref().is_some_and(|run| !run.stopping);
        if world.in_session {
            self.steps_of_session(world, steps);
        } else if ready(&world.owner) && ready(&world.receiver) {
            steps.push(Step::Agree);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Agree => self.agree(&mut world),
            Step::Cut => {
                world.cuts += 1;
                world.cut();
            }
            Step::Reserve(to) => self.reserve(&mut world, to),
            Step::Durable(side) => self.durable(&mut world, side),
            Step::Hear(message) => self.hear(&mut world, message),
            Step::Spend { heard } => self.spend(&mut world, heard),
            Step::Give => self.give(&mut world),
            Step::Crash(side) => {
                world.crashes += 1;
                world.down(side);
            }
            Step::Start(side) => {
                world.boots += 1;
                let boot = world.boots;
                world.end(side).start(boot, self.is(Planted::AnchorOfUnconfirmed));
            }
            Step::Image(side) => {
                let end = world.end(side);
                end.image = Some(end.disk);
            }
            Step::PutBack(side) => {
                world.restores[usize::from(side == Side::Receiver)] += 1;
                world.down(side);
                let end = world.end(side);
                end.disk = end.image.take()?;
                end.older = true;
            }
            Step::Stop(side) => self.stop(&mut world, side),
            Step::Exit(side) => world.down(side),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TWICE, |_, world: &World| world.spent.iter().all(|&times| times < 2)),
            Property::always("without a crash nothing is burnt", |model: &Self, world: &World| {
                // A planted defect is to be seen by what it spends twice.
                model.planted != Planted::None
                    || world.crashes > 0
                    || world.restores != [0; 2]
                    || world.discarded
                    || world.burnt() == 0
            }),
            Property::sometimes("everything is spent", |_, world: &World| world.spent.iter().all(|&times| times == 1)),
            Property::sometimes("a clean stop burns nothing of what was reserved", |_, world: &World| {
                world.stops > 0 && world.crashes == 0 && world.spent.iter().all(|&times| times == 1)
            }),
            Property::sometimes("a crash burns what was reserved, and the rest is spent", |_, world: &World| {
                world.crashes > 0 && world.burnt() > 0 && world.spent[usize::from(BYTES) - 1] == 1
            }),
            Property::sometimes("a disk that was put back is noticed", |_, world: &World| {
                world.restores != [0; 2] && world.discarded
            }),
            Property::sometimes("what was given is spent by the receiver", |_, world: &World| {
                world.given.iter().zip(world.spent).any(|(given, times)| *given && times == 1)
            }),
        ]
    }
}

/// The promise.
const TWICE: &str = "no byte is spent twice";

fn with(planted: Planted, crashes: u8, restores: [u8; 2], stops: u8, cuts: u8, grants: u8) -> Direction {
    Direction { planted, crashes, restores, stops, cuts, grants }
}

/// Explored to the end, within each row's crashes, disks put back, clean stops, lost connections and grants.
#[test]
fn no_byte_is_spent_twice_in_any_state_that_can_be_reached() {
    let rows = [
        with(Planted::None, 1, [0, 0], 1, 0, 0),
        with(Planted::None, 0, [1, 0], 1, 0, 0),
        with(Planted::None, 0, [0, 1], 1, 0, 0),
        with(Planted::None, 0, [1, 0], 0, 1, 1),
        with(Planted::None, 1, [1, 1], 0, 0, 0),
    ];
    let properties = rows[0].properties();
    let (mut seen, mut states) = (BTreeSet::new(), 0);
    for row in rows {
        let checker = row.checker().threads(2).spawn_bfs().join();
        states += checker.unique_state_count();
        for (name, path) in checker.discoveries() {
            let property = properties.iter().find(|property| property.name == name).expect("one of the model's");
            let broken = property.expectation == Expectation::Always;
            assert!(!broken, "not {name}: {:?}", path.into_actions());
            seen.insert(name);
        }
    }
    println!("{states} different states");
    let mut wanted = properties.iter().filter(|property| property.expectation == Expectation::Sometimes);
    assert!(wanted.all(|property| seen.contains(property.name)), "the model does too little: {seen:?}");
}

/// Each defect, with the least that shows it.
#[test]
fn each_planted_defect_spends_a_byte_twice() {
    let defects = [
        with(Planted::SpendBeforeOwnWrite, 1, [0, 1], 0, 0, 0),
        with(Planted::SpendBeforeAck, 0, [1, 0], 0, 0, 0),
        with(Planted::AckBeforeWrite, 1, [1, 0], 0, 0, 0),
        with(Planted::OwnMarkAlone, 0, [1, 0], 0, 0, 0),
        with(Planted::AnyStart, 0, [1, 0], 0, 0, 0),
        with(Planted::ExactMarkTooEarly, 0, [0, 0], 1, 0, 0),
        with(Planted::SpendWhatWasGiven, 0, [0, 0], 0, 0, 1),
        with(Planted::StaleSequence, 0, [1, 0], 1, 0, 0),
        with(Planted::AnchorOfUnconfirmed, 1, [1, 1], 0, 0, 0),
    ];
    for row in defects {
        let planted = row.planted;
        let checker = row.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found = checker.discovery(TWICE).map(|path| path.into_actions().len());
        println!("{planted:?}: {found:?} steps, {} different states", checker.unique_state_count());
        assert!(found.is_some(), "{planted:?} is not seen");
    }
}
