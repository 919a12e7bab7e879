//! Faults by order of an operator: who may, on which link, and for how long. In: [`FaultRequest`]s.
//! Out: what the node is to know of them. Always: refused unless the configuration allows them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qkd_proto::control::request::FaultRequest;
use qkd_proto::id::LinkId;
use qkd_proto::node::input::Input;

use crate::device::Device;

/// Longest fault with an end of its own.
const SECONDS_MAX: u32 = 86_400;

/// The faults in force.
#[derive(Default)]
pub struct Faults {
    allowed: bool,
    ends: BTreeMap<LinkId, Instant>,
    /// What the configuration file itself put on each link.
    configured: BTreeMap<LinkId, Vec<String>>,
}

impl Faults {
    /// None in force but the `configured` ones; `allowed` says whether orders are taken.
    pub fn new(allowed: bool, configured: BTreeMap<LinkId, Vec<String>>) -> Self {
        Self { allowed, ends: BTreeMap::new(), configured }
    }

    /// Carries an order out; returns what to tell the node.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn order(&mut self, order: &FaultRequest, devices: &BTreeMap<LinkId, Device>) -> Result<Input, String> {
        if !self.allowed {
            return Err("faults are off: set faults = true in [insecure_test], and start the node anew".into());
        }
        let found = order.link.parse::<LinkId>().ok().and_then(|link| devices.get_key_value(&link));
        let (link, device) = found.ok_or_else(|| format!("{:?} is no link of this node: correct it", order.link))?;
        if order.seconds.is_some_and(|seconds| !(1..=SECONDS_MAX).contains(&seconds)) {
            return Err(format!("a fault lasts 1 s to {SECONDS_MAX} s: choose a value within"));
        }
        self.ends.remove(link);
        match order.fault {
            Some(fault) => device.fault().put(fault)?,
            None => drop(device.fault().take()),
        }
        if let Some(seconds) = order.seconds.filter(|_| order.fault.is_some()) {
            self.ends.insert(link.clone(), Instant::now() + Duration::from_secs(seconds.into()));
        }
        let words = order.fault.map(|fault| fault.to_string());
        Ok(self.news(link, words))
    }

    /// Ends what is due; returns what to tell the node.
    pub fn end(&mut self, devices: &BTreeMap<LinkId, Device>) -> Vec<Input> {
        let now = Instant::now();
        let due: Vec<LinkId> = self.ends.iter().filter(|(_, end)| **end <= now).map(|(link, _)| link.clone()).collect();
        for link in &due {
            self.ends.remove(link);
            if let Some(device) = devices.get(link) {
                device.fault().take();
            }
        }
        due.iter().map(|link| self.news(link, None)).collect()
    }

    /// How long until the next one ends.
    pub fn rest(&self) -> Option<Duration> {
        self.ends.values().min().map(|end| end.saturating_duration_since(Instant::now()))
    }

    fn news(&self, link: &LinkId, ordered: Option<String>) -> Input {
        let configured = self.configured.get(link).cloned().unwrap_or_default();
        Input::Faults(link.clone(), configured.into_iter().chain(ordered).collect())
    }
}
