//! A transaction: it prepares its items one by one, holds them for some time, then commits or is cancelled.
//!
//! Every item is prepared, in any order, even after one was refused, as Amazon's paper "Distributed Transactions at Scale
//! in Amazon DynamoDB" (2023) describes it.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::plan::draw::{Draw, Purpose};
use crate::service::message::{Action, Reason, Reply};
use crate::service::origin::Origin;
use crate::service::{Service, TOKEN_LIFETIME, TokenState};
use crate::world::Simulation;

/// Carries out `TransactWriteItems`.
pub(super) async fn transact(sim: &Simulation, origin: Origin, token: Option<String>, actions: Vec<Action>) -> Reply {
    let now = sim.elapsed_millis();
    let id = {
        let mut service = sim.service();
        if let Some(token) = &token {
            if let Some(reply) = service.known(token, &actions, now) {
                return reply;
            }
            service.tokens.insert(token.clone(), (actions.clone(), TokenState::Running));
        }
        service.transactions += 1;
        service.transactions
    };
    let key = [u64::from(origin.request), u64::from(origin.call)];
    let mut draw = Draw::new(sim.plan.seed, Purpose::Transaction, &key);
    let mut order: Vec<_> = (0..actions.len()).collect();
    if draw.chance(1, 2) {
        order.reverse();
    }
    let mut reasons = vec![Reason::PASSED; actions.len()];
    for index in order {
        let gap = if draw.chance(1, 2) { 0 } else { draw.range(1, 5) };
        if gap > 0 {
            sleep(Duration::from_millis(gap)).await;
        }
        if let (Some(action), Some(reason)) = (actions.get(index), reasons.get_mut(index)) {
            *reason = sim.service().look_at(sim, id, action);
        }
    }
    if reasons.iter().all(|reason| *reason == Reason::PASSED) {
        let (shortest, longest) = sim.plan.behavior.holds;
        let hold = draw.range(shortest, longest) + origin.stuck;
        sleep(Duration::from_millis(hold)).await;
    }
    let (reply, changed) = sim.service().finish(sim, id, &actions, reasons);
    let ended_at = sim.elapsed_millis();
    if let Some(token) = token {
        let mut service = sim.service();
        if changed.is_some() || sim.plan.behavior.remembers_cancelled {
            let ended = TokenState::Ended { reply: reply.clone(), at: ended_at };
            service.tokens.insert(token, (actions.clone(), ended));
        } else {
            service.tokens.remove(&token);
        }
    }
    if changed == Some(true) {
        sim.committed(origin, &actions);
    }
    reply
}

impl Service {
    /// The reply to a token that the service knows.
    fn known(&mut self, token: &str, actions: &[Action], now: u64) -> Option<Reply> {
        let (earlier, state) = self.tokens.get(token)?;
        if let TokenState::Ended { at, .. } = state
            && now.saturating_sub(*at) > TOKEN_LIFETIME
        {
            self.tokens.remove(token);
            return None;
        }
        if earlier != actions {
            return Some(Reply::error(400, "IdempotentParameterMismatchException", json!({})));
        }
        Some(match state {
            TokenState::Running => Reply::error(400, "TransactionInProgressException", json!({})),
            TokenState::Ended { reply, .. } => {
                let mut reply = reply.clone();
                reply.summary.push_str(", as before");
                reply
            }
        })
    }

    /// Prepares one item: refuses it, or holds it until the transaction ends.
    fn look_at(&mut self, sim: &Simulation, id: u64, action: &Action) -> Reason {
        let key = action.item_key();
        if let Some(holder) = self.holders.get(&key).copied() {
            if sim.plan.behavior.refuses_both {
                self.holders.remove(&key);
                self.broken.insert(holder, key);
            }
            return Reason::CONFLICT;
        }
        if let Err(reason) = self.tables.prepare(action) {
            return reason;
        }
        self.holders.insert(key, id);
        Reason::PASSED
    }

    /// Commits the transaction if every item passed. The second result is `None` if the transaction was cancelled. Otherwise
    /// it says whether an item changed.
    fn finish(
        &mut self,
        sim: &Simulation,
        id: u64,
        actions: &[Action],
        mut reasons: Vec<Reason>,
    ) -> (Reply, Option<bool>) {
        self.holders.retain(|_, holder| *holder != id);
        if let Some(broken) = self.broken.remove(&id) {
            for (_, reason) in actions.iter().zip(&mut reasons).filter(|(action, _)| action.item_key() == broken) {
                *reason = Reason::CONFLICT;
            }
        }
        let new: Vec<_> = actions.iter().map(|action| self.tables.prepare(action)).collect();
        let units = actions.iter().zip(&new);
        let units = units.map(|(action, new)| self.tables.units(action, new.as_ref().ok().and_then(Option::as_ref)));
        let units: u64 = units.sum();
        let is_cancelled = reasons.iter().any(|reason| *reason != Reason::PASSED);
        sim.totals(|totals| {
            totals.units += units;
            if is_cancelled {
                totals.cancelled += 1;
                totals.units_cancelled += units;
                totals.conflicts += u64::from(reasons.contains(&Reason::CONFLICT));
            }
        });
        if is_cancelled {
            return (Reply::cancelled(&reasons), None);
        }
        let mut is_changed = false;
        for (action, new) in actions.iter().zip(new) {
            if action.kind != "ConditionCheck"
                && let Ok(new) = new
            {
                is_changed = true;
                self.tables.set(action.item_key(), new);
            }
        }
        (Reply::ok(&json!({}), "committed"), Some(is_changed))
    }
}
