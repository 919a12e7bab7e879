//! What makes a link's raw bits. In: [`DeviceCommand`]s of the driver and photons of the neighbour's
//! device. Out: [`Input`]s for the node. Always: one thread a link, with a bounded queue; photons
//! leave sealed; nothing of a session's secret outlives its `Close`, and a block that it interrupts waits a
//! bounded time.
//!
//! A device is anything that can take part in a block (`PhotonDevice`): the emulated optics
//! (`simulated`), a published rate (`table`), or a pair of QKD modules (`etsi014`).

mod fault;
mod module;
mod photon_frame;
mod plan;
mod receiver;
mod seeded;
mod table;
mod transmitter;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::node::input::Input;
use qkd_proto::secret::SecretBytes;
use tokio::sync::mpsc::Sender;

pub use fault::FaultSlot;
pub use plan::{DeviceSetup, PlanError, link_plan};
use table::Pace;

use crate::network::Network;

/// Commands and photon frames that wait for a device, at most: the transmitter never has more frames
/// under way than [`photon_frame::WINDOW`], so this is never full with an honest neighbour.
const QUEUE_MAX: usize = 4 * photon_frame::WINDOW as usize;

/// How long a device keeps a block that a lost connection interrupted.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// What a device is told.
pub enum DeviceCommand {
    /// A link session starts: its secret seals photons, or seeds both ends.
    Open(SecretBytes),
    /// The link session is over.
    Close,
    /// Take part in this block.
    Measure(BlockId),
    /// Go on with this block, which a `Close` interrupted.
    GoOn(BlockId),
    /// The neighbour's device sent this.
    Photons(Vec<u8>),
}

/// A device at one end of a link.
trait PhotonDevice: Send {
    /// Takes part in `block`, until done or told otherwise: then what it was told comes back.
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand>;

    /// Goes on with `block` in a new session; else as `measure`.
    fn go_on(&mut self, block: BlockId, _secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        way.fail(block, "the device cannot go on with a block after a lost connection");
        None
    }

    /// A session starts.
    fn open(&mut self, _secret: &SecretBytes, _way: &Way) {}

    /// Takes what the neighbour's device sent while this end is at no block; without a secret, before
    /// this end heard of the session.
    fn early(&mut self, _bytes: Vec<u8>, _secret: Option<&SecretBytes>, _way: &Way) {}

    /// Forgets the session; a block that it interrupts may wait for the next one.
    fn close(&mut self) {}

    /// Until when a block waits.
    fn held_until(&self) -> Option<Instant> {
        None
    }

    /// No block waits any more.
    fn forget(&mut self) {}
}

/// How a device reaches its surroundings.
struct Way {
    link: LinkId,
    commands: Receiver<DeviceCommand>,
    inputs: Sender<Input>,
    network: Network,
    runtime: tokio::runtime::Handle,
    fault: FaultSlot,
}

impl Way {
    /// Tells the node; waits for room.
    fn tell(&self, input: Input) {
        // A closed channel means that the daemon stops: nobody needs the news.
        let _ = self.inputs.blocking_send(input);
    }

    /// Sends to the neighbour's device; waits for room. False if the link is down.
    fn send(&self, bytes: Vec<u8>) -> bool {
        self.runtime.block_on(self.network.send_photons(&self.link, bytes)).is_ok()
    }

    /// Waits until `end`, passing on what the neighbour's device sends.
    ///
    /// # Errors
    /// What the device was told meanwhile; none if the daemon stops.
    fn wait_until(&self, end: Instant, mut frame: impl FnMut(Vec<u8>)) -> Result<(), Option<DeviceCommand>> {
        loop {
            match self.next_frame(end)? {
                Some(bytes) => frame(bytes),
                None => return Ok(()),
            }
        }
    }

    /// The next frame of the neighbour's device, if one comes before `end`.
    ///
    /// # Errors
    /// What the device was told meanwhile; none if the daemon stops.
    fn next_frame(&self, end: Instant) -> Result<Option<Vec<u8>>, Option<DeviceCommand>> {
        match self.commands.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(DeviceCommand::Photons(bytes)) => Ok(Some(bytes)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(other) => Err(Some(other)),
            Err(RecvTimeoutError::Disconnected) => Err(None),
        }
    }

    /// The next command, until `end` if there is one.
    fn next_command(&self, end: Option<Instant>) -> Result<DeviceCommand, RecvTimeoutError> {
        match end {
            Some(end) => self.commands.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn fail(&self, block: BlockId, why: impl std::fmt::Display) {
        self.tell(Input::DeviceFailed(self.link.clone(), block, why.to_string()));
    }
}

/// The handle of one link's device thread.
pub struct Device {
    commands: SyncSender<DeviceCommand>,
    fault: FaultSlot,
    pace: Option<Pace>,
    thread: JoinHandle<()>,
}

impl Device {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(setup: DeviceSetup, inputs: Sender<Input>, network: Network) -> std::io::Result<Self> {
        let (commands, queue) = sync_channel(QUEUE_MAX);
        let runtime = tokio::runtime::Handle::current();
        let name = format!("device {}", setup.link());
        let (fault, pace) = (setup.fault_slot(), setup.pace());
        let way = Way { link: setup.link().clone(), commands: queue, inputs, network, runtime, fault: fault.clone() };
        let thread = std::thread::Builder::new().name(name).spawn(move || run(setup, &way))?;
        Ok(Self { commands, fault, pace, thread })
    }

    /// Where faults are put in.
    pub fn fault(&self) -> &FaultSlot {
        &self.fault
    }

    /// Seconds until the device's next pass, 0 during one; none without passes.
    pub fn next_pass_s(&self) -> Option<u64> {
        self.pace?.next_pass().map(|wait| wait.as_secs_f64().ceil() as u64)
    }

    /// Tells the device; false if its queue is full or it has stopped.
    pub fn tell(&self, command: DeviceCommand) -> bool {
        match self.commands.try_send(command) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Ends the thread; blocks until then.
    pub fn stop(self) {
        drop(self.commands);
        if self.thread.join().is_err() {
            tracing::error!("A device thread panicked before it stopped");
        }
    }
}

fn run(setup: DeviceSetup, way: &Way) {
    let mut device = setup.into_device();
    let mut secret: Option<SecretBytes> = None;
    let mut next = None;
    loop {
        let command = match next.take() {
            Some(command) => command,
            None => match way.next_command(device.held_until()) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => {
                    device.forget();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            },
        };
        match command {
            // What came early belongs to this session: the last one ended with a `Close`.
            DeviceCommand::Open(fresh) => device.open(secret.insert(fresh), way),
            DeviceCommand::Close => {
                device.close();
                secret = None;
            }
            DeviceCommand::Measure(block) => match &secret {
                Some(_) if way.fault.stops() => way.fail(block, "injected fault: the quantum channel is cut"),
                Some(secret) => next = device.measure(block, secret, way),
                None => way.fail(block, "the device has no session"),
            },
            DeviceCommand::GoOn(block) => match &secret {
                Some(secret) => next = device.go_on(block, secret, way),
                None => way.fail(block, "the device has no session"),
            },
            DeviceCommand::Photons(bytes) => device.early(bytes, secret.as_ref(), way),
        }
    }
}
