//! The node: performs what [`qkd_proto::node`] decides. Sockets, disk and devices live here,
//! decisions do not.

pub mod api;
pub mod config;
pub mod device;
pub mod network;
pub mod store;
