//! Work for JavaScript that may take time: its outcome settles a promise, also when it panics, and never after the thread
//! that waits for it is gone.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::{Object, ToNapiValue, spawn};
use napi::{CleanupEnvHook, Env};

/// What settles a promise, in the thread of its JavaScript.
type Settle<T> = Box<dyn FnOnce(Env) -> napi::Result<T>>;

/// Turns true when the JavaScript side of a promise is being torn down. Whoever settles the promise holds the lock.
type Gone = Arc<Mutex<bool>>;

thread_local! {
    /// The promises of this JavaScript thread that are not settled yet, by number.
    static PENDING: RefCell<Pending> = RefCell::default();
}

#[derive(Default)]
struct Pending {
    next: u64,
    hooks: HashMap<u64, CleanupEnvHook<Gone>>,
}

/// A promise of what `work` comes to. The work must own all it needs: the JavaScript object behind it may go away first.
pub(super) fn promise<'env, T>(
    env: &'env Env,
    work: impl Future<Output = napi::Result<T>> + Send + 'static,
) -> napi::Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env.create_deferred::<T, Settle<T>>()?;
    // After the line above: what is set up last is torn down first, so from here on nobody can settle what is gone.
    let gone = Gone::default();
    let number = remember(env.add_env_cleanup_hook(gone.clone(), |gone| *locked(&gone) = true)?);
    spawn(async move {
        // A task of its own, because a panic ends only the task it happens in.
        let outcome = match tokio::spawn(work).await {
            Ok(outcome) => outcome,
            Err(error) => Err(napi::Error::from_reason(match error.try_into_panic() {
                Ok(panic) => panicked(&*panic),
                Err(_) => "the work was given up, because Node is ending".to_owned(),
            })),
        };
        let gone = locked(&gone);
        if !*gone {
            deferred.resolve(Box::new(move |env| {
                forget(env, number);
                outcome
            }));
        }
    });
    Ok(promise)
}

fn remember(hook: CleanupEnvHook<Gone>) -> u64 {
    PENDING.with_borrow_mut(|pending| {
        pending.next += 1;
        pending.hooks.insert(pending.next, hook);
        pending.next
    })
}

fn forget(env: Env, number: u64) {
    let hook = PENDING.with_borrow_mut(|pending| pending.hooks.remove(&number));
    if let Some(hook) = hook {
        // It fails only where there is nothing to remove any more.
        let _ = env.remove_env_cleanup_hook(hook);
    }
}

fn locked(gone: &Mutex<bool>) -> MutexGuard<'_, bool> {
    gone.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic said, in words for whoever reports it.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "rollbridge has a fault of its own: {}; please report it",
        said.unwrap_or("it panicked without a word")
    )
}

/// Panics in the way that real faults would, for the test that Node survives them. Builds for users do not have it.
#[cfg(debug_assertions)]
#[napi_derive::napi]
pub fn panic_for_test(env: &Env) -> napi::Result<Object<'_>> {
    promise(env, async {
        match std::hint::black_box(true) {
            true => panic!("on purpose"),
            false => Ok(()),
        }
    })
}

/// The same, before there is a promise.
#[cfg(debug_assertions)]
#[napi_derive::napi(catch_unwind)]
pub fn panic_for_test_at_once() {
    panic!("on purpose")
}
