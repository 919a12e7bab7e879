//! Stub.
/// Stub.
#[derive(Debug)]
pub struct Job;
/// Stub.
#[derive(Debug)]
pub struct JobResult;
