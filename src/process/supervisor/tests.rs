//! The supervisor's loop with a made-up system and a paused clock, and with real processes whose story is replayed.
pub(super) mod recording {
    //! What the supervisors of this thread told their machines and were told by them.
    use std::cell::RefCell;

    use super::super::super::lifecycle::{Action, Input};
    use crate::clock::Timestamp;

    pub(crate) type Entry = (Input, Timestamp, Vec<Action>);

    thread_local! {
        static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn record(input: Input, now: Timestamp, actions: &[Action]) {
        ENTRIES.with_borrow_mut(|entries| entries.push((input, now, actions.to_vec())));
    }
}
