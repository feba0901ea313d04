//! Sixty adds to one record at once: each client is served in the end, whoever is refused when two transactions meet.

use simulation::storm::{BEHAVIORS, run};

const CALLERS: u16 = 60;

#[test]
fn each_caller_is_served_in_the_end() {
    for behavior in BEHAVIORS {
        let storm = run(CALLERS, behavior);
        assert!(storm.violations.is_empty(), "{:?}", storm.violations);
        assert_eq!(storm.not_served, 0, "{behavior:?}");
        if !behavior.refuses_both {
            let count = |name| storm.first.get(name).copied().unwrap_or_default();
            assert_eq!(count("200"), 50);
            assert!(count("try_again") <= 2, "nearly every first request has a definite response: {:?}", storm.first);
        }
    }
}
