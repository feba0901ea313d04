//! Shrinks a failing plan: leaves out requests, faults and events as long as the run still fails.

use crate::plan::Plan;
use crate::runner::run;
use crate::world::trace::Keep;

/// Runs that a shrink may take.
const RUNS: usize = 2_000;

/// The smallest plan that was found to fail, and how many runs that took. `None` if the plan does not fail.
pub fn shrink(plan: Plan) -> Option<(Plan, usize)> {
    let mut shrinking = Shrinking { runs: 0 };
    if !shrinking.fails(&plan) {
        return None;
    }
    let mut plan = plan;
    loop {
        let before = size(&plan);
        plan = shrinking.part(plan, |plan| &mut plan.requests);
        plan = shrinking.part(plan, |plan| &mut plan.events);
        plan.call_faults.retain(|fault| plan.requests.iter().any(|request| request.id == fault.request));
        plan.invocation_faults.retain(|fault| plan.requests.iter().any(|request| request.id == fault.request));
        plan = shrinking.part(plan, |plan| &mut plan.call_faults);
        plan = shrinking.part(plan, |plan| &mut plan.invocation_faults);
        if size(&plan) == before || shrinking.runs >= RUNS {
            return Some((plan, shrinking.runs));
        }
    }
}

fn size(plan: &Plan) -> usize {
    plan.requests.len() + plan.events.len() + plan.call_faults.len() + plan.invocation_faults.len()
}

struct Shrinking {
    runs: usize,
}

impl Shrinking {
    fn fails(&mut self, plan: &Plan) -> bool {
        self.runs += 1;
        !run(plan.clone(), Keep::Hash).violations.is_empty()
    }

    /// Leaves out chunks of one list: first the whole list, then halves, down to single entries.
    fn part<T: Clone>(&mut self, mut plan: Plan, list: impl Fn(&mut Plan) -> &mut Vec<T>) -> Plan {
        let mut chunk = list(&mut plan).len();
        while chunk > 0 && self.runs < RUNS {
            let mut from = 0;
            while from < list(&mut plan).len() && self.runs < RUNS {
                let mut smaller = plan.clone();
                let entries = list(&mut smaller);
                let to = entries.len().min(from + chunk);
                entries.drain(from..to);
                if self.fails(&smaller) {
                    plan = smaller;
                } else {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
        plan
    }
}
