//! A handler that can be frozen in the middle of an invocation.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use super::environment::Environment;
use crate::world::log;

/// Stands still while it is closed.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<(bool, Option<std::task::Waker>)>);

impl Gate {
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
    }

    pub(super) fn open(&self) {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gate.0 = false;
        if let Some(waker) = gate.1.take() {
            waker.wake();
        }
    }
}

/// The handler, which does not run while its gate is closed.
pub(super) struct Gated<F> {
    pub(super) environment: Arc<Environment>,
    pub(super) gate: Arc<Gate>,
    pub(super) handling: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut gate = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
            if gate.0 {
                gate.1 = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let offset = self.environment.clock.offset.load(Ordering::Relaxed);
        let id = self.environment.id;
        log::running(id, offset, || self.handling.as_mut().poll(context))
    }
}
