//! The repair of an API key's item.

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::ClientId;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;

use super::findings::item_command;
use super::plan::Plan;
use crate::table::corruption::Kind;

/// Plans the repair of an API key's item.
pub(super) fn plan(plan: &mut Plan<'_>, item: &Item, now: UnixMillis) {
    let client_id = item.get(items::CLIENT_ID).and_then(|value| value.as_s().ok());
    if client_id.is_none_or(|text| ClientId::parse(text).is_err()) {
        plan.person(
            Kind::KeyClientId,
            "no request can use this API key: delete it, and issue another",
            vec![item_command("show", item), item_command("delete", item)],
        );
    }
    match item.get(items::LABEL) {
        None | Some(AttributeValue::S(_)) => {}
        Some(AttributeValue::N(number)) => {
            plan.repair(Kind::KeyLabel, "label made text", items::LABEL, Some(AttributeValue::S(number.clone())));
        }
        Some(_) => plan.correct(Kind::KeyLabel, "correct the label"),
    }
    let now = Some(items::from_unix_millis(now));
    if items::unix_millis(item.get(items::CREATED_AT)).is_none() {
        plan.repair(Kind::KeyCreatedAt, "created_at set to now", items::CREATED_AT, now.clone());
    }
    let is_bad = |name: &str| item.contains_key(name) && items::unix_millis(item.get(name)).is_none();
    if is_bad(items::REVOKED_AT) {
        plan.repair(Kind::KeyRevokedAt, "revoked_at set to now", items::REVOKED_AT, now.clone());
    }
    if is_bad(items::EXPIRES_AT) {
        plan.repair(Kind::KeyExpiresAt, "expires_at removed and the key revoked", items::EXPIRES_AT, None);
        if !plan.after.contains_key(items::REVOKED_AT) {
            plan.set(items::REVOKED_AT, now);
        }
    }
}
