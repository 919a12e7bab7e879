//! What an operator may ask of a running node, and what it answers: plain data, served as JSON.

pub mod block_record;
pub mod reply;
pub mod request;
