//! The slots of one worker: where its connections are found, told of, woken, cut and sent away.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::departure::Departure;
use super::handed::{Handed, HandedState, Stage, descriptor};
use super::slot::{OpenConnection, Slot};

/// The slots, and the way out for their connections.
#[derive(Debug, Default)]
pub(super) struct Slots {
    list: RefCell<BTreeMap<u64, Rc<Slot>>>,
    departure: Departure,
}

/// A slot in its worker's list, until dropped.
#[derive(Debug)]
pub(super) struct Listed {
    slots: Rc<Slots>,
    slot: Rc<Slot>,
}

impl Slots {
    /// Lists a slot.
    pub(super) fn add(slots: &Rc<Slots>, slot: &Rc<Slot>) -> Listed {
        slots.list.borrow_mut().insert(slot.number(), Rc::clone(slot));
        Listed {
            slots: Rc::clone(slots),
            slot: Rc::clone(slot),
        }
    }

    /// The connections in use.
    pub(super) fn look(&self) -> Vec<OpenConnection> {
        self.list
            .borrow()
            .values()
            .filter_map(|slot| slot.look())
            .collect()
    }

    /// Cuts a connection; whether it was in use here.
    pub(super) fn cut(&self, number: u64) -> bool {
        let slot = self.list.borrow().get(&number).cloned();
        slot.is_some_and(|slot| slot.route() != 0 && slot.cut())
    }

    /// Wakes the connections that are counted on a route.
    pub(super) fn wake_route(&self, route: u64) {
        for slot in self.list.borrow().values() {
            if slot.route() == route {
                slot.wake();
            }
        }
    }

    /// Wakes the connections whose deadline has passed, and says which deadline is the next.
    pub(super) fn wake_overdue(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for slot in self.list.borrow().values() {
            match slot.deadline() {
                Some(deadline) if deadline <= now => slot.wake(),
                Some(deadline) => next = Some(next.map_or(deadline, |next: Instant| next.min(deadline))),
                None => {}
            }
        }
        next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    pub(super) fn departure(&self) -> &Departure {
        &self.departure
    }

    /// Sends every connection away that is not in the middle of a request, and the others as soon as they are not. The
    /// way is dropped with the last one.
    pub(super) fn send_away(&self, way: UnboundedSender<Handed>) {
        self.departure.open(way);
        let list = self.list.borrow();
        if list.is_empty() {
            self.departure.close();
        }
        for slot in list.values() {
            slot.wake();
        }
    }
}

impl Listed {
    pub(super) fn departure(&self) -> &Departure {
        &self.slots.departure
    }

    /// Gives the connection up. Should a socket not come out of its runtime, it is closed.
    pub(super) fn give_up(&self, stage: Stage, client: TcpStream, upstream: Option<TcpStream>) {
        let state = HandedState {
            number: self.slot.number(),
            peer: self.slot.peer(),
            stage,
        };
        if let (Ok(client), Ok(upstream)) = (descriptor(client), upstream.map(descriptor).transpose()) {
            self.slots.departure.take(Handed {
                state,
                client,
                upstream,
            });
        }
    }
}

impl Deref for Listed {
    type Target = Rc<Slot>;

    fn deref(&self) -> &Rc<Slot> {
        &self.slot
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut list = self.slots.list.borrow_mut();
        list.remove(&self.slot.number());
        if list.is_empty() {
            self.slots.departure.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_is_told_of_while_it_is_in_use() {
        let slots = Rc::new(Slots::default());
        let slot = Slot::new(([127, 0, 0, 1], 9).into());
        let listed = Slots::add(&slots, &slot);
        assert!(slots.look().is_empty());
        slot.begin(b"GET / HTTP/1.1\r\n\r\n");
        slot.follow(4);
        slot.sent(7);
        let open = &slots.look()[0];
        assert_eq!((open.route, open.bytes_in, open.bytes_out), (4, 18, 7));
        slot.rest();
        assert!(slots.look().is_empty() && !slots.cut(slot.number()));
        drop(listed);
        assert!(slots.is_empty());
    }

    #[test]
    fn the_next_deadline_is_the_first_that_has_not_passed() {
        let slots = Rc::new(Slots::default());
        let now = Instant::now();
        let listed: Vec<Listed> = [Some(3), None, Some(0), Some(2)]
            .into_iter()
            .map(|seconds| {
                let slot = Slot::new(([127, 0, 0, 1], 9).into());
                slot.wake_at(seconds.map(|seconds| now + Duration::from_secs(seconds)));
                Slots::add(&slots, &slot)
            })
            .collect();
        assert_eq!(slots.wake_overdue(now), Some(now + Duration::from_secs(2)));
        assert_eq!(slots.wake_overdue(now + Duration::from_secs(3)), None);
        drop(listed);
    }
}
