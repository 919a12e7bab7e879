//! Places where a test kills this process, and bugs that a test plants. In: one variable of the
//! environment. Out: SIGKILL at the chosen passage. Always: only in builds with the feature `fail-points`,
//! which no release has; elsewhere nothing of this is compiled in.

/// A place between two steps that a kill must not confuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The program starts.
    Start,
    /// A data directory: its state says that it opens.
    StateOpening,
    /// The tables say the new generation.
    StoreBumped,
    /// The state says that it is open.
    StateOpen,
    /// A commit begins.
    CommitBegins,
    /// Audit lines are written, not synced.
    AuditWritten,
    /// Audit lines are synced.
    AuditSynced,
    /// A batch is in the table engine, not flushed.
    TablesApplied,
    /// The engine flushed it, the file is not synced.
    TablesFlushed,
    /// The file is synced.
    TablesSynced,
    /// The other slot of a mark is about to be written.
    SlotBegins,
    /// It is written, not synced.
    SlotWritten,
    /// It is synced.
    SlotSynced,
    /// Slots of the key ring are written, not synced.
    RingWritten,
    /// They are synced.
    RingSynced,
    /// All of a commit is durable, and nobody was told.
    CommitEnds,
    /// The anchor knows of it, too.
    AnchorTold,
    /// What was replaced is about to be overwritten.
    SettleBegins,
    /// It is overwritten.
    SettleEnds,
    /// The next intermediate key is laid down.
    RenewalAnnounced,
    /// The last words of a clean stop begin.
    LastWords,
    /// The writing thread gets a commit.
    CommitTaken,
    /// It tells the node that a commit is durable.
    CommitTold,
    /// A commit is handed to the writing thread.
    CommitSubmitted,
    /// The node hears that a commit is durable.
    CommitHeard,
    /// Bytes for a neighbour are about to leave.
    LinkSend,
    /// A pad use is about to be noted.
    PadNoted,
    /// An answer to an application is about to leave.
    AnswerLeaves,
}

impl Point {
    /// Every one.
    pub const ALL: [Self; 28] = [
        Self::Start,
        Self::StateOpening,
        Self::StoreBumped,
        Self::StateOpen,
        Self::CommitBegins,
        Self::AuditWritten,
        Self::AuditSynced,
        Self::TablesApplied,
        Self::TablesFlushed,
        Self::TablesSynced,
        Self::SlotBegins,
        Self::SlotWritten,
        Self::SlotSynced,
        Self::RingWritten,
        Self::RingSynced,
        Self::CommitEnds,
        Self::AnchorTold,
        Self::SettleBegins,
        Self::SettleEnds,
        Self::RenewalAnnounced,
        Self::LastWords,
        Self::CommitTaken,
        Self::CommitTold,
        Self::CommitSubmitted,
        Self::CommitHeard,
        Self::LinkSend,
        Self::PadNoted,
        Self::AnswerLeaves,
    ];

    /// The name by which the environment chooses it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

/// Chooses a place and the passage at which to die: `AuditWritten:3`.
pub const ARM: &str = "QKDD_FAIL_POINT";
/// Plants a bug, by its name.
pub const PLANT: &str = "QKDD_PLANTED_BUG";
/// A bug: what is delivered is not written down.
pub const DELIVERIES_NOT_WRITTEN: &str = "deliveries-not-written";

/// Dies here if the environment says so.
#[cfg(feature = "fail-points")]
pub fn pass(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let armed = ARMED.get_or_init(|| {
        let chosen = std::env::var(ARM).ok()?;
        let (name, passage) = chosen.split_once(':')?;
        Some((name.to_owned(), passage.parse().ok()?))
    });
    if let Some((name, passage)) = armed
        && *name == point.name()
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *passage
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Where the system refuses the signal: nothing may happen after this either.
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn pass(_: Point) {}

/// True if the environment plants this bug.
#[cfg(feature = "fail-points")]
pub fn is_planted(bug: &str) -> bool {
    std::env::var(PLANT).is_ok_and(|planted| planted == bug)
}

/// Never.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn is_planted(_: &str) -> bool {
    false
}
