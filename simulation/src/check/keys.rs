//! Which API keys are valid when.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::Facts;
use crate::plan::{ApiKey, Request};

/// When a key was issued and revoked, as numbers of lines of the trace.
///
/// Between the start and the end of an operator's command, a request can find the key either way.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    issue_began: Option<u64>,
    issued: Option<u64>,
    revocation_began: Option<u64>,
    /// The line, and milliseconds since the start of the run.
    revoked: Option<(u64, u64)>,
    /// By the wall clock; known once the key is issued.
    expires_at: Option<u64>,
}

/// The keys of one table.
#[derive(Debug, Clone, Default)]
pub struct KeyHistory(BTreeMap<ApiKey, Life>);

impl KeyHistory {
    /// An operator begins to issue a key.
    pub fn issue_began(&mut self, key: ApiKey, seq: u64) {
        self.0.entry(key).or_default().issue_began.get_or_insert(seq);
    }

    /// A key was issued.
    pub fn issued(&mut self, key: ApiKey, seq: u64, expires_at: Option<u64>) {
        let life = self.0.entry(key).or_default();
        life.issued.get_or_insert(seq);
        life.expires_at = expires_at;
    }

    /// An operator begins to revoke a key.
    pub fn revocation_began(&mut self, key: ApiKey, seq: u64) {
        self.0.entry(key).or_default().revocation_began.get_or_insert(seq);
    }

    /// A key was revoked.
    pub fn revoked(&mut self, key: ApiKey, at: (u64, u64)) {
        self.0.entry(key).or_default().revoked.get_or_insert(at);
    }

    /// Checks a response that was or was not `unauthorized`. The try began and ended with these events.
    pub fn check(
        &self,
        request: &Request,
        facts: &Facts,
        (began, ended): (u64, u64),
        is_unauthorized: bool,
    ) -> Option<String> {
        let life = self.0.get(&request.key).copied().unwrap_or_default();
        let is_of_client = matches!(request.key, ApiKey::Of { client, .. } if client == request.client);
        let is_expired = life.expires_at.is_some_and(|expires_at| expires_at <= facts.wall_millis);
        let stale_after = facts.key_cache_millis + facts.clock_went_back.load(Ordering::Relaxed);
        let never = !is_of_client || is_expired || life.issue_began.is_none_or(|seq| seq > ended);
        let was_revoked =
            life.revoked.is_some_and(|(seq, millis)| seq < began && millis + stale_after <= facts.began_millis);
        if !is_unauthorized && (never || was_revoked) {
            return Some(format!("a key was accepted that is not valid: {:?} {life:?}", request.key));
        }
        let is_surely_valid = is_of_client
            && !is_expired
            && life.issued.is_some_and(|seq| seq < began)
            && life.revocation_began.is_none_or(|seq| seq > ended);
        (is_unauthorized && is_surely_valid).then(|| format!("a valid key was refused: {:?} {life:?}", request.key))
    }
}
