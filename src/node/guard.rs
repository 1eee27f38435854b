//! Work for JavaScript that may take time: its outcome settles a promise, also when it panics.

use std::any::Any;
use std::future::Future;

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, ToNapiValue};

/// A promise of what `work` comes to. The work must own all it needs: the JavaScript object behind it may go away first.
pub(super) fn promise<'env, T>(
    env: &'env Env,
    work: impl Future<Output = napi::Result<T>> + Send + 'static,
) -> napi::Result<PromiseRaw<'env, T>>
where
    T: ToNapiValue + Send + 'static,
{
    env.spawn_future(async move {
        // A task of its own, because a panic ends only the task it happens in.
        match tokio::spawn(work).await {
            Ok(outcome) => outcome,
            Err(error) => Err(napi::Error::from_reason(match error.try_into_panic() {
                Ok(panic) => panicked(&*panic),
                Err(_) => "the work was given up, because Node is ending".to_owned(),
            })),
        }
    })
}

/// What a panic said, in words for whoever reports it.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> String {
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
pub fn panic_for_test<'env>(env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
    promise(env, async { panic!("on purpose") })
}

/// The same, before there is a promise.
#[cfg(debug_assertions)]
#[napi_derive::napi(catch_unwind)]
pub fn panic_for_test_at_once() {
    panic!("on purpose")
}
