//! A short run for every change: nothing is wrong, and the same seed makes the same trace.

use simulation::plan::generate;
use simulation::runner::run;
use simulation::world::trace::Keep;

const REQUESTS: u32 = 150;

#[test]
fn seeds_find_nothing_wrong_and_replay() {
    for seed in 1..=3 {
        let first = run(generate::plan(seed, REQUESTS), Keep::Hash);
        assert!(first.violations.is_empty(), "seed {seed}: {:?}", first.violations);
        let second = run(generate::plan(seed, REQUESTS), Keep::Hash);
        assert_eq!((&first.hash, first.trace_lines), (&second.hash, second.trace_lines), "seed {seed}");
        assert_eq!(first.totals, second.totals, "seed {seed}");
    }
}
