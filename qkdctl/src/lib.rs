//! How a person operates a network: the command line, and the rendering of a topology into node
//! folders, which `testnet` uses too.

pub mod cli;
mod client;
mod commands;
mod exit;
mod kme_client;
pub mod net;
mod output;

pub use exit::Exit;
