//! A short run for every change: nothing is wrong, and the same seed makes the same trace.

use std::path::Path;

use simulation::breaks::BREAKS;
use simulation::plan::{Event, EventKind, generate};
use simulation::runner::run;
use simulation::shrink::shrink;
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

/// The first run of a thread builds the client, which draws random numbers. The checks draw some too.
#[test]
fn a_run_does_not_depend_on_the_runs_before_it() {
    let plan = || {
        let mut plan = generate::plan(2, REQUESTS);
        let end = plan.requests.last().map_or(0, |request| request.at);
        let outage = Event { at: end / 2, kind: EventKind::Outage { lasts: 2_000 } };
        plan.events = (1..10).map(|part| Event { at: end * part / 10, kind: EventKind::Check }).collect();
        plan.events.insert(4, outage);
        plan
    };
    let first = std::thread::spawn(move || run(plan(), Keep::Hash).hash).join().unwrap();
    let second = std::thread::spawn(move || {
        run(generate::plan(3, 20), Keep::Hash);
        run(plan(), Keep::Hash).hash
    });
    assert_eq!(first, second.join().unwrap());
}

/// The trace of a seed, recorded on another machine. If a change is meant to alter what a run does, record the new hash.
#[test]
fn a_seed_makes_the_same_trace_on_every_machine() {
    let hash = run(generate::plan(7, REQUESTS), Keep::Hash).hash;
    assert_eq!(
        hash, "ec76aa16c9b3ede592433d155711dc55",
        "`simulation run --seed 7 --requests {REQUESTS}` prints the new one"
    );
}

/// An operator checks the table again and again while it is in use, and nothing but the planted corruption is found.
#[test]
fn a_check_in_traffic_repairs_what_is_corrupt_and_replays() {
    let mut plan = generate::plan(1, REQUESTS);
    let end = plan.requests.last().map_or(0, |request| request.at);
    let event = |part, kind| Event { at: end * part / 10, kind };
    plan.events = (1..10).map(|part| event(part, EventKind::Check)).collect();
    plan.events.insert(2, event(3, EventKind::Corrupt { client: 0, index: 0 }));
    let (first, second) = (run(plan.clone(), Keep::Hash), run(plan, Keep::Hash));
    assert_eq!(first.violations, Vec::<String>::new());
    let totals = &first.totals;
    assert_eq!((totals.checks, totals.checks_failed, totals.repaired), (9, 0, 1));
    assert!(totals.idle_deleted > 0, "{totals:?}");
    assert_eq!(first.hash, second.hash);
}

/// The command `breaks` edits the sources, so each text that it replaces must be there, once.
#[test]
fn the_edits_of_every_break_fit_the_sources() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for broken in BREAKS {
        for (file, from, _) in broken.edits {
            let text = std::fs::read_to_string(workspace.join(file)).unwrap();
            assert_eq!(text.matches(from).count(), 1, "{}: {from} in {file}", broken.name);
        }
    }
}

/// A sample of the breaks, which needs no other build of the code: the function is given a limit that is one too high. The
/// command `breaks` edits the code in many other ways, and finds each.
#[test]
fn a_limit_that_is_one_too_high_is_found_and_shrunk() {
    for given in [(3, 2), (2, 3)] {
        let broken = |seed| {
            let mut plan = generate::plan(seed, REQUESTS);
            (plan.limits, plan.given_limits) = ((2, 2), Some(given));
            plan
        };
        let found = (1..=10).find_map(|seed| shrink(broken(seed)));
        let (story, _) = found.unwrap_or_else(|| panic!("{given:?} is not found in ten seeds"));
        assert!(story.requests.len() <= 4, "{given:?}: {:?}", story.requests);
        let violations = run(story, Keep::Hash).violations;
        assert!(violations.iter().any(|what| what.contains("limit_reached")), "{violations:?}");
    }
}
