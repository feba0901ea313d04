//! Sixty adds to one record at once: each client is served in the end, whoever is refused when two transactions meet.

use simulation::storm::{READINGS, run};

const CALLERS: u16 = 60;

#[test]
fn each_caller_is_served_in_the_end() {
    for reading in READINGS {
        let storm = run(CALLERS, reading);
        assert!(storm.violations.is_empty(), "{:?}", storm.violations);
        assert_eq!(storm.not_served, 0, "{reading:?}");
        if !reading.refuses_both {
            let count = |name| storm.first.get(name).copied().unwrap_or_default();
            assert_eq!((count("200"), count("try_again")), (50, 0), "each first request has a definite response");
        }
    }
}
