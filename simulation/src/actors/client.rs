//! A client: repeats its request as the contract says, until it is answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::actors::platform::{Heard, Run, invoke};
use crate::plan::Request;
use crate::plan::draw::{Draw, Purpose};

/// A client pauses longer after every 20 tries. If both of two transactions that meet are refused, and hundreds of
/// clients come back every few seconds, most of them would keep conflicting: see [`crate::storm`].
const PATIENT: u32 = 20;

/// Makes a request, and repeats it until it is answered.
pub async fn ask(run: Arc<Run>, request: Request) {
    let sim = &run.sim;
    sim.totals(|totals| totals.requests += 1);
    let mut executed = 0;
    for attempt in 0.. {
        if executed == sim.plan.tries {
            break;
        }
        let mut draw = Draw::new(sim.plan.seed, Purpose::Client, &[request.id.into(), attempt.into()]);
        let invocation = tokio::spawn(invoke(Arc::clone(&run), request, attempt));
        executed += 1;
        let pause = match timeout(Duration::from_millis(request.timeout_millis), invocation).await {
            // `try_again` says when to come back.
            Ok(Ok(Heard::Response(response))) => match response.code {
                Some("try_again") => {
                    let header = response.headers.iter().find(|(name, _)| *name == "retry-after");
                    let seconds = header.and_then(|(_, value)| value.parse().ok());
                    let Some(seconds @ 1..=5) = seconds else {
                        sim.violation(format_args!("r{}.{attempt}: try_again without Retry-After", request.id));
                        return;
                    };
                    Duration::from_secs(seconds)
                }
                Some("internal_error") => Duration::from_millis(draw.range(50, 1_000)),
                _ => return,
            },
            Ok(Ok(Heard::TooMany)) => {
                // Not executed.
                executed -= 1;
                Duration::from_millis(draw.range(20, 500) * u64::from(attempt.min(20) + 1))
            }
            _ => Duration::from_millis(draw.range(50, 1_000)),
        };
        if !sim.check().violations.is_empty() {
            return;
        }
        sleep(pause * (1 + executed / PATIENT)).await;
    }
    sim.totals(|totals| totals.not_served += 1);
    if !sim.plan.is_storm {
        sim.violation(format_args!("r{} was not served after {} tries", request.id, sim.plan.tries));
    }
}
