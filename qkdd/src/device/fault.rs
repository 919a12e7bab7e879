//! Where an operator's fault meets a device. In: [`InjectedFault`]s. Out: the attack on the next block.
//! Always: a fault that would have no effect at this end is refused, and a real device takes none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qkd_proto::control::request::InjectedFault;
use qkd_proto::optics::eavesdropper::Attack;
use qkd_proto::optics::model::LinkModel;

/// What a device lets faults act on.
#[derive(Clone)]
pub(super) enum Faultable {
    /// Emulated optics whose photons travel.
    Optics(LinkModel),
    /// Emulated optics that both ends derive: what acts on photons under way would have to be at both.
    Seeded(LinkModel),
    /// A rate without optics.
    Table,
    /// Real modules.
    Nothing,
}

/// A fault, and what the optics are put under by it.
struct InForce {
    attack: Attack,
    stops: bool,
}

/// The fault of one device, if any: shared by its thread and its handle.
#[derive(Clone)]
pub struct FaultSlot {
    fault: Arc<Mutex<Option<InForce>>>,
    acts_on: Faultable,
    transmits: bool,
}

impl FaultSlot {
    pub(super) fn new(acts_on: Faultable, transmits: bool) -> Self {
        Self { fault: Arc::default(), acts_on, transmits }
    }

    fn lock(&self) -> MutexGuard<'_, Option<InForce>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fault in, in place of the one before; it takes effect at the next block.
    ///
    /// # Errors
    /// Why it can have none here, and what to do.
    pub fn put(&self, fault: InjectedFault) -> Result<(), String> {
        let in_force = self.in_force(fault)?;
        *self.lock() = Some(in_force);
        Ok(())
    }

    fn in_force(&self, fault: InjectedFault) -> Result<InForce, String> {
        let cut = fault == InjectedFault::Cut;
        let model = match &self.acts_on {
            Faultable::Nothing => return Err("the link has real modules: faults are for emulated devices".into()),
            // No photon is under way: a cut stops the device, whichever end it is ordered at.
            Faultable::Table | Faultable::Seeded(_) if cut => {
                return Ok(InForce { attack: Attack::default(), stops: true });
            }
            Faultable::Table => return Err("the link has no emulated optics: only a cut is possible".into()),
            Faultable::Seeded(_) if fault.at_transmitter() == Some(true) => {
                return Err("this fault changes photons under way, and a seeded link has none: \
                     use device = \"simulated\", or a fault that acts at the receiver"
                    .into());
            }
            Faultable::Seeded(model) | Faultable::Optics(model) => model,
        };
        let end = |transmits| if transmits { "transmitter" } else { "receiver" };
        if let Some(transmits) = fault.at_transmitter().filter(|transmits| *transmits != self.transmits) {
            let (there, here) = (end(transmits), end(self.transmits));
            return Err(format!("this fault takes effect at the {there}, and this node is the {here}: order it there"));
        }
        let attack = fault.attack(model).map_err(|error| error.to_string())?;
        Ok(InForce { attack, stops: false })
    }

    /// Takes the fault out; false if there was none.
    pub fn take(&self) -> bool {
        self.lock().take().is_some()
    }

    /// True if the device makes nothing while the fault is in.
    pub(super) fn stops(&self) -> bool {
        self.lock().as_ref().is_some_and(|fault| fault.stops)
    }

    /// What the next block is under.
    pub(super) fn attack(&self) -> Attack {
        self.lock().as_ref().map_or_else(Attack::default, |fault| fault.attack.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qkd_proto::optics::preset::Preset;

    const EVE: InjectedFault = InjectedFault::InterceptResend { fraction: 0.4, basis: 0.5, burst: None };
    const LOSS: InjectedFault = InjectedFault::Loss { db: 1.0 };

    #[test]
    fn a_fault_is_put_where_it_has_effect() {
        let slot = |transmits| FaultSlot::new(Faultable::Optics(Preset::Lab.model()), transmits);
        assert!(slot(true).put(EVE).is_err_and(|text| text.contains("takes effect at the receiver")));
        assert!(slot(false).put(LOSS).is_err());
        let receiver = slot(false);
        assert!(receiver.put(EVE).is_ok());
        assert_eq!(receiver.attack().intercept, 0.4);
        assert!(receiver.take() && !receiver.take());
        assert!(receiver.attack().is_none());
        for end in [slot(true), slot(false)] {
            assert!(end.put(InjectedFault::Cut).is_ok() && end.attack().cut && !end.stops());
        }
    }

    #[test]
    fn seeded_links_take_what_acts_on_detectors() {
        let slot = |transmits| FaultSlot::new(Faultable::Seeded(Preset::Lab.model()), transmits);
        assert!(slot(false).put(EVE).is_ok() && slot(true).put(EVE).is_err());
        assert!(slot(true).put(LOSS).is_err_and(|text| text.contains("a seeded link has none")));
        let cut = slot(true);
        assert!(cut.put(InjectedFault::Cut).is_ok() && cut.stops() && !cut.attack().cut);
    }

    #[test]
    fn tables_can_be_cut_and_real_devices_cannot() {
        let table = FaultSlot::new(Faultable::Table, true);
        assert!(table.put(InjectedFault::Cut).is_ok() && table.stops());
        assert!(FaultSlot::new(Faultable::Table, false).put(EVE).is_err());
        assert!(FaultSlot::new(Faultable::Nothing, true).put(InjectedFault::Cut).is_err());
    }
}
