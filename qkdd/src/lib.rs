//! The node: performs what [`qkd_proto::node`] decides. Sockets, disk and devices live here,
//! decisions do not.

pub mod api;
pub mod args;
pub mod config;
pub mod daemon;
pub mod device;
pub mod driver;
pub mod fail_point;
pub mod faults;
pub mod guard;
pub mod hardening;
pub mod jobs;
pub mod network;
pub mod offline;
pub mod pad_ledger;
pub mod shutdown;
pub mod store;
pub mod tamper;
pub mod telemetry;
