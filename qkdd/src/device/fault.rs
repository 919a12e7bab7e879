//! Where an operator's fault meets a device. In: [`InjectedFault`]s. Out: the model of the next block.
//! Always: a fault that would have no effect at this end is refused, and a real device takes none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qkd_proto::control::request::InjectedFault;
use qkd_proto::optics::model::LinkModel;

/// The fault of one device, if any: shared by its thread and its handle.
#[derive(Clone)]
pub struct FaultSlot {
    fault: Arc<Mutex<Option<InjectedFault>>>,
    model: Option<LinkModel>,
    transmits: bool,
    emulated: bool,
}

impl FaultSlot {
    pub(super) fn new(model: Option<LinkModel>, transmits: bool, emulated: bool) -> Self {
        Self { fault: Arc::default(), model, transmits, emulated }
    }

    fn lock(&self) -> MutexGuard<'_, Option<InjectedFault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fault in, in place of the one before; it takes effect at the next block.
    ///
    /// # Errors
    /// Why it can have none here, and what to do.
    pub fn put(&self, fault: InjectedFault) -> Result<(), String> {
        if !self.emulated {
            return Err("the link has real modules: faults are for emulated devices".into());
        }
        let end = |transmits| if transmits { "transmitter" } else { "receiver" };
        if let Some(transmits) = fault.at_transmitter().filter(|transmits| *transmits != self.transmits) {
            let (there, here) = (end(transmits), end(self.transmits));
            return Err(format!("this fault takes effect at the {there}, and this node is the {here}: order it there"));
        }
        if let Some(model) = &self.model {
            fault.applied_to(model).map_err(|error| error.to_string())?;
        } else if fault != InjectedFault::Cut {
            return Err("the link has no emulated optics: only a cut is possible".into());
        }
        *self.lock() = Some(fault);
        Ok(())
    }

    /// Takes the fault out; false if there was none.
    pub fn take(&self) -> bool {
        self.lock().take().is_some()
    }

    pub(super) fn is_cut(&self) -> bool {
        *self.lock() == Some(InjectedFault::Cut)
    }

    /// The model of the next block.
    pub(super) fn applied_to(&self, model: &LinkModel) -> LinkModel {
        // Checked when it was put in.
        self.lock().and_then(|fault| fault.applied_to(model).ok()).unwrap_or_else(|| model.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qkd_proto::optics::preset::Preset;

    const EVE: InjectedFault = InjectedFault::InterceptResend { fraction: 0.4, basis: 0.5 };

    #[test]
    fn a_fault_is_put_where_it_has_effect() {
        let slot = |transmits| FaultSlot::new(Some(Preset::Lab.model()), transmits, true);
        assert!(slot(true).put(EVE).is_err_and(|text| text.contains("takes effect at the receiver")));
        assert!(slot(false).put(InjectedFault::Loss { db: 1.0 }).is_err());
        let receiver = slot(false);
        assert!(receiver.put(EVE).is_ok());
        assert_eq!(receiver.applied_to(&Preset::Lab.model()).eve_ir, 0.4);
        assert!(receiver.take() && !receiver.take());
        assert_eq!(receiver.applied_to(&Preset::Lab.model()), Preset::Lab.model());
        assert!(receiver.put(InjectedFault::Cut).is_ok() && receiver.is_cut());
    }

    #[test]
    fn tables_can_be_cut_and_real_devices_cannot() {
        assert!(FaultSlot::new(None, true, true).put(InjectedFault::Cut).is_ok());
        assert!(FaultSlot::new(None, false, true).put(EVE).is_err());
        assert!(FaultSlot::new(None, true, false).put(InjectedFault::Cut).is_err());
    }
}
