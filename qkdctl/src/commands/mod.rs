//! One file per group of commands: arguments in, printed text and an exit code out.

pub(crate) mod audit;
pub(crate) mod explain;
pub(crate) mod fault;
pub(crate) mod key;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod net;
pub(crate) mod pool;
pub(crate) mod status;
