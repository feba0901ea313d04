//! What the function takes from the machine: the wall clock and random numbers. The simulation supplies its own, so that a
//! run is the same every time.

use std::fmt::Debug;

use crate::time::UnixMillis;

/// A wall clock and a source of random numbers.
pub trait Sources: Debug + Send + Sync {
    /// The time of the wall clock. It may jump.
    fn now(&self) -> UnixMillis;

    /// Random bits for a client token. `None` if there are no random numbers.
    fn token(&self) -> Option<u128>;

    /// A random number from 0 to less than 1, which spreads pauses and `Retry-After`.
    fn fraction(&self) -> f64;
}

/// The clock and the random numbers of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct Machine;

impl Sources for Machine {
    fn now(&self) -> UnixMillis {
        UnixMillis::now()
    }

    fn token(&self) -> Option<u128> {
        let mut token = [0; 16];
        getrandom::getrandom(&mut token).ok()?;
        Some(u128::from_be_bytes(token))
    }

    fn fraction(&self) -> f64 {
        fastrand::f64()
    }
}
