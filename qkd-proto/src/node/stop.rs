//! A clean stop: what is reserved and unused goes back into boxes, and the marks say exactly what was used. In:
//! the order to stop. Out: last commits. Always: nothing is spent or handed out afterwards.

use super::Node;
use super::effect::Action;
use crate::id::LinkId;

impl Node {
    /// Stops. Only commits are heard from now on.
    pub(super) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.refuse_all("the node stops");
        for id in self.links.keys().cloned().collect::<Vec<_>>() {
            self.outbox.act(Action::DropLink(id.clone()));
            self.link_broken(&id);
            self.close_pool(&id);
        }
    }

    fn close_pool(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| !link.poisoned) else { return };
        // A bootstrap pool does not go on after a restart.
        let Some(pool) = link.pool.as_mut().filter(|pool| !pool.is_bootstrap()) else { return };
        if link.marks.pool != Some(pool.id()) {
            return;
        }
        let pads = pool.close(&mut *self.entropy);
        link.marks.send_next = pool.send().next().min(link.marks.send_reserved);
        link.marks.recv_next = pool.receive().next().min(link.marks.recv_reserved);
        let records = link.pad_records(pads).into_iter().chain(link.pool_record()).collect();
        link.commit_exact_marks(records, &mut self.outbox);
    }
}
