//! A signal within one thread: sent once, and seen by everybody who waits for it, now or later. Waiting costs a request
//! no lock and no memory of its own.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// The signal.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_sent: Cell<bool>,
    places: RefCell<Places>,
}

#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// Somebody who waits, until dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    signal: &'a Signal,
    place: Option<usize>,
}

impl Signal {
    pub(super) fn send(&self) {
        self.is_sent.set(true);
        let places = &mut *self.places.borrow_mut();
        for waker in places.wakers.iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        self.is_sent.get()
    }

    /// Waits from the first poll on.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        Waiting {
            signal: self,
            place: None,
        }
    }

    /// Resolves when the signal is sent.
    pub(super) async fn sent(&self) {
        let mut waiting = self.waiting();
        std::future::poll_fn(|context| waiting.poll(context)).await;
    }
}

impl Waiting<'_> {
    /// Ready when the signal is sent.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.signal.is_sent() {
            return Poll::Ready(());
        }
        let places = &mut *self.signal.places.borrow_mut();
        let place = *self.place.get_or_insert_with(|| places.take());
        let waker = &mut places.wakers[place];
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let places = &mut *self.signal.places.borrow_mut();
            places.wakers[place] = None;
            places.free.push(place);
        }
    }
}

impl Places {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use super::*;

    #[test]
    fn places_are_used_again() {
        let signal = Signal::default();
        let context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let (mut first, mut second) = (signal.waiting(), signal.waiting());
            assert!(first.poll(&context).is_pending() && second.poll(&context).is_pending());
        }
        assert_eq!(signal.places.borrow().wakers.len(), 2);
    }

    #[test]
    fn the_signal_is_seen_by_those_who_wait_and_those_who_come_later() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut sent = pin!(signal.sent());
        assert!(sent.as_mut().poll(&mut context).is_pending());
        signal.send();
        assert!(sent.poll(&mut context).is_ready());
        assert!(signal.waiting().poll(&context).is_ready());
    }
}
