//! Which API keys are valid when.

use std::collections::BTreeMap;

use super::Facts;
use crate::plan::{ApiKey, Request};

/// When a key was issued and revoked: the number of the event, and milliseconds since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    issued: Option<(u64, u64)>,
    revoked: Option<(u64, u64)>,
    /// By the wall clock.
    expires_at: Option<u64>,
}

/// The keys of one table.
#[derive(Debug, Clone, Default)]
pub struct KeyHistory(BTreeMap<ApiKey, Life>);

impl KeyHistory {
    /// A key was issued.
    pub fn issued(&mut self, key: ApiKey, at: (u64, u64), expires_at: Option<u64>) {
        self.0.insert(key, Life { issued: Some(at), revoked: None, expires_at });
    }

    /// A key was revoked.
    pub fn revoked(&mut self, key: ApiKey, at: (u64, u64)) {
        if let Some(life) = self.0.get_mut(&key) {
            life.revoked.get_or_insert(at);
        }
    }

    /// Checks a response that was or was not `unauthorized`.
    pub fn check(&self, request: &Request, facts: &Facts, ended_seq: u64, is_unauthorized: bool) -> Option<String> {
        let life = self.0.get(&request.key).copied().unwrap_or_default();
        let is_of_client = matches!(request.key, ApiKey::Of { client, .. } if client == request.client);
        let is_expired = life.expires_at.is_some_and(|expires_at| expires_at <= facts.wall_millis);
        let stale_after = facts.key_cache_millis + facts.clock.backwards();
        let never = !is_of_client || is_expired || life.issued.is_none_or(|(seq, _)| seq > ended_seq);
        let was_revoked = life
            .revoked
            .is_some_and(|(seq, millis)| seq < facts.began_seq && millis + stale_after <= facts.began_millis);
        if !is_unauthorized && (never || was_revoked) {
            return Some(format!("a key was honoured that is not valid: {:?} {life:?}", request.key));
        }
        let is_surely_valid = is_of_client
            && !is_expired
            && life.issued.is_some_and(|(seq, _)| seq < facts.began_seq)
            && life.revoked.is_none_or(|(seq, _)| seq > ended_seq);
        (is_unauthorized && is_surely_valid).then(|| format!("a valid key was refused: {:?} {life:?}", request.key))
    }
}
