//! How a person operates a network: the command line, and the rendering of a topology into node
//! folders, which `testnet` uses too.

pub mod cli;
pub mod client;
mod commands;
mod daemon;
mod exit;
pub mod kme_client;
pub mod model;
pub mod net;
mod output;

pub use commands::key::digests;
pub use exit::{Exit, Failure};
