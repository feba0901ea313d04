//! Changes of whole items: the state that was read, and the state that the command leaves. One call writes all its
//! changes together, and only if every item is still as it was read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata as _};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent;
use cdm_lambda::store::throttling;

use crate::table::connection::Connection;
use crate::table::dynamo_json::same;
use crate::ui::Failure;

/// How often a command starts again because an item has changed meanwhile.
pub(crate) const ROUNDS: usize = 10;

/// The largest number of items in one transaction.
pub(crate) const MOST: usize = 100;

/// Every attribute that this project's programs write. A change depends on each of them, even if the item lacks it,
/// because an attribute that appears meanwhile is a change.
const ATTRIBUTES: [&str; 13] = [
    items::PHONE_COUNT,
    items::NOTIFICATION_CHANNELS,
    items::CREATED_AT,
    items::CCID_COUNT,
    items::CCIDS,
    items::CLIENT_ID,
    items::LABEL,
    items::EXPIRES_AT,
    items::REVOKED_AT,
    stored_consent::STOP_AT,
    stored_consent::WRITTEN_AT,
    stored_consent::EXPRESS_AT,
    stored_consent::FIRST_AT,
];

/// A change of one item. `before` and `after` have the same key and differ.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) before: Option<Item>,
    pub(crate) after: Option<Item>,
}

/// A number that a record must still have when the change is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MustHave {
    /// The record's key.
    pub(crate) record: Item,
    pub(crate) e164: String,
}

impl MustHave {
    fn check(&self, table: &str) -> Option<ConditionCheck> {
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(self.record.clone()))
            .condition_expression("attribute_exists(notification_channels.#e164)")
            .expression_attribute_names("#e164", &self.e164);
        check.build().ok()
    }
}

/// An item that must still be as it was read when another item is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unchanged {
    pub(crate) key: Item,
    /// `None` if there was no such item.
    pub(crate) read: Option<Item>,
}

impl Unchanged {
    fn check(&self, table: &str) -> Option<ConditionCheck> {
        let mut terms = Terms::default();
        let condition = terms.unchanged(self.read.as_ref(), None);
        let (names, values) = terms.parts();
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(self.key.clone()))
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        check.build().ok()
    }
}

impl Change {
    /// Returns `None` if nothing changes, or if the two have different keys.
    pub(crate) fn new(before: Option<Item>, after: Option<Item>) -> Option<Self> {
        let keys: Vec<_> = [&before, &after].into_iter().flatten().map(key_of).collect();
        let is_one = keys.windows(2).all(|pair| pair.first() == pair.last());
        (is_one && !same(before.as_ref(), after.as_ref())).then_some(Self { before, after })
    }

    /// The item's key.
    pub(crate) fn key(&self) -> Item {
        self.before.as_ref().or(self.after.as_ref()).map(key_of).unwrap_or_default()
    }

    fn write(&self, table: &str) -> Option<TransactWriteItem> {
        let mut terms = Terms::default();
        let condition = terms.unchanged(self.before.as_ref(), self.after.as_ref());
        let write = TransactWriteItem::builder();
        Some(
            match (&self.before, &self.after) {
                (_, None) => {
                    let delete = Delete::builder().table_name(table).set_key(Some(self.key()));
                    let (names, values) = terms.parts();
                    write.delete(
                        delete
                            .condition_expression(condition)
                            .set_expression_attribute_names(names)
                            .set_expression_attribute_values(values)
                            .build()
                            .ok()?,
                    )
                }
                (None, Some(after)) => write.put(
                    Put::builder()
                        .table_name(table)
                        .set_item(Some(after.clone()))
                        .condition_expression(condition)
                        .build()
                        .ok()?,
                ),
                // Write only what differs, so that attributes of other programs stay as they are.
                (Some(before), Some(after)) => {
                    let changes = terms.changes(before, after);
                    let (names, values) = terms.parts();
                    write.update(
                        Update::builder()
                            .table_name(table)
                            .set_key(Some(self.key()))
                            .update_expression(changes)
                            .condition_expression(condition)
                            .set_expression_attribute_names(names)
                            .set_expression_attribute_values(values)
                            .build()
                            .ok()?,
                    )
                }
            }
            .build(),
        )
    }
}

/// The key attributes of an item.
pub(crate) fn key_of(item: &Item) -> Item {
    let part = |name: &str| Some((name.to_owned(), item.get(name)?.clone()));
    [items::PK, items::SK].into_iter().filter_map(part).collect()
}

/// Partition and sort key as text. DynamoDB stores no other type for them.
pub(crate) fn key_text(item: &Item) -> (String, String) {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    (text(items::PK), text(items::SK))
}

/// The names and values of an expression. Names are replaced by numbered placeholders, because a corrupt item may
/// have any name.
#[derive(Default)]
struct Terms {
    names: Names,
    values: Values,
}

type Names = HashMap<String, String>;
type Values = HashMap<String, AttributeValue>;

impl Terms {
    fn name(&mut self, name: &str) -> String {
        if let Some((placeholder, _)) = self.names.iter().find(|(_, named)| *named == name) {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: &AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value.clone());
        placeholder
    }

    /// The condition that the item is as it was read.
    fn unchanged(&mut self, before: Option<&Item>, after: Option<&Item>) -> String {
        let Some(before) = before else {
            return "attribute_not_exists(pk)".to_owned();
        };
        let mut names: BTreeSet<&str> = BTreeSet::from(ATTRIBUTES);
        names.extend([Some(before), after].into_iter().flatten().flat_map(Item::keys).map(String::as_str));
        let mut terms = vec!["attribute_exists(pk)".to_owned()];
        for name in names.into_iter().filter(|name| ![items::PK, items::SK].contains(name)) {
            let placeholder = self.name(name);
            terms.push(match before.get(name) {
                Some(value) => format!("{placeholder} = {}", self.value(value)),
                None => format!("attribute_not_exists({placeholder})"),
            });
        }
        terms.join(" AND ")
    }

    fn changes(&mut self, before: &Item, after: &Item) -> String {
        let (mut sets, mut removes) = (Vec::new(), Vec::new());
        // In the order of the names, so that the same change is always the same call.
        for name in after.keys().chain(before.keys()).collect::<BTreeSet<_>>() {
            match after.get(name) {
                Some(value) if before.get(name) != Some(value) => {
                    let placeholder = self.name(name);
                    sets.push(format!("{placeholder} = {}", self.value(value)));
                }
                Some(_) => {}
                None => removes.push(self.name(name)),
            }
        }
        let clause = |word: &str, parts: &[String]| (!parts.is_empty()).then(|| format!("{word} {}", parts.join(", ")));
        [clause("SET", &sets), clause("REMOVE", &removes)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// DynamoDB rejects an empty map.
    fn parts(self) -> (Option<Names>, Option<Values>) {
        ((!self.names.is_empty()).then_some(self.names), (!self.values.is_empty()).then_some(self.values))
    }
}

/// A write that failed.
#[derive(Debug)]
pub(crate) struct WriteFailure {
    pub(crate) failure: Failure,
    /// Whether it is certain that nothing was written.
    pub(crate) is_certain: bool,
}

impl From<WriteFailure> for Failure {
    fn from(failed: WriteFailure) -> Self {
        failed.failure
    }
}

/// If the first attempt under a token ends with one of these codes, nothing was written. After any other failure, such as a
/// lost response, an attempt may have written.
const REFUSED: [&str; 4] =
    ["AccessDeniedException", "ResourceNotFoundException", "TransactionCanceledException", "ValidationException"];

/// Writes all changes together, or none (`false`) if an item is no longer as it was read.
///
/// The call has a token, so a repeat after a lost response does not write twice.
pub(crate) async fn apply(
    connection: &Connection,
    changes: &[Change],
    must_have: &[MustHave],
) -> Result<bool, WriteFailure> {
    transact(connection, changes, must_have.iter().map(|must| must.check(&connection.table))).await
}

/// Writes the change if the other items are also still as they were read; otherwise returns `false`. All items
/// together must not exceed [`MOST`].
pub(crate) async fn apply_beside(
    connection: &Connection,
    change: &Change,
    unchanged: &[Unchanged],
) -> Result<bool, WriteFailure> {
    let checks = unchanged.iter().map(|unchanged| unchanged.check(&connection.table));
    transact(connection, std::slice::from_ref(change), checks).await
}

async fn transact(
    connection: &Connection,
    changes: &[Change],
    checks: impl Iterator<Item = Option<ConditionCheck>>,
) -> Result<bool, WriteFailure> {
    let certain = |why: &str| WriteFailure { failure: Failure(why.to_owned()), is_certain: true };
    let unmade = || certain("the transaction cannot be built");
    let no_token = || certain("nothing was changed: the system has no random numbers");
    let new_token = || connection.store.sources().token().map(|token| format!("{token:032x}")).ok_or_else(no_token);
    let mut call = connection.client.transact_write_items();
    for change in changes {
        call = call.transact_items(change.write(&connection.table).ok_or_else(unmade)?);
    }
    for check in checks {
        let check = check.ok_or_else(unmade)?;
        call = call.transact_items(TransactWriteItem::builder().condition_check(check).build());
    }
    let (mut token, mut attempts) = (new_token()?, CountAttempts::default());
    let mut pause = Duration::from_millis(20);
    loop {
        let call = call.clone().client_request_token(&token).customize().interceptor(attempts.clone());
        let Err(error) = call.send().await else {
            return Ok(true);
        };
        let reasons: Vec<_> = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect()
            }
            _ => Vec::new(),
        };
        if reasons.contains(&"ConditionalCheckFailed") {
            return Ok(false);
        }
        // Another write of one of the items is in progress, or the table is throttled. Both pass soon.
        let passes = |code: &str| code == "TransactionConflict" || throttling::is_throttled_reason(code);
        let is_busy = reasons.iter().any(|code| passes(code)) || error.code() == Some("TransactionInProgressException");
        if !is_busy || pause > Duration::from_secs(10) {
            // After several attempts, an earlier one may have written.
            let is_certain = attempts.0.load(Relaxed) == 1 && error.code().is_some_and(|code| REFUSED.contains(&code));
            return Err(WriteFailure { failure: connection.failed("the items cannot be changed", &error), is_certain });
        }
        // A cancelled transaction may keep its token. Then each repeat is cancelled, whatever has changed since. After
        // several attempts the token stays, because one of them may still reach DynamoDB.
        if !reasons.is_empty() && attempts.0.load(Relaxed) == 1 {
            (token, attempts) = (new_token()?, CountAttempts::default());
        }
        tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
        pause *= 2;
    }
}

/// Counts the attempts under a token, because the SDK repeats a call that failed.
#[derive(Debug, Clone, Default)]
struct CountAttempts(Arc<AtomicU32>);

impl Intercept for CountAttempts {
    fn name(&self) -> &'static str {
        "CountAttempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attributes: &[(&str, &str)]) -> Item {
        let pairs = [("pk", "P"), ("sk", "S")].into_iter().chain(attributes.iter().copied());
        pairs.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))).collect()
    }

    #[test]
    fn a_change_is_of_one_item_and_changes_something() {
        let (one, two) = (item(&[("a", "1")]), item(&[("a", "2")]));
        assert!(Change::new(Some(one.clone()), Some(two.clone())).is_some());
        assert!(Change::new(None, Some(two.clone())).is_some_and(|change| change.key() == key_of(&one)));
        assert_eq!(Change::new(Some(one.clone()), Some(one.clone())), None);
        assert_eq!(Change::new(None, None), None);
        let other =
            Item::from([("pk".to_owned(), AttributeValue::S("Q".to_owned())), ("sk".to_owned(), two["sk"].clone())]);
        assert_eq!(Change::new(Some(one), Some(other)), None);
    }

    #[test]
    fn an_update_writes_what_differs_and_depends_on_all() {
        let mut terms = Terms::default();
        let (before, after) =
            (item(&[("a", "1"), ("b", "1"), ("c d", "1")]), item(&[("a", "1"), ("b", "2"), ("e", "3")]));
        let condition = terms.unchanged(Some(&before), Some(&after));
        let changes = terms.changes(&before, &after);
        let of = |name: &str| {
            terms.names.iter().find(|(_, named)| *named == name).map(|(placeholder, _)| placeholder.clone())
        };
        for name in ["a", "b", "c d", "e", items::CCIDS] {
            assert!(condition.contains(&of(name).unwrap()), "{name}: {condition}");
        }
        assert!(condition.starts_with("attribute_exists(pk)") && !terms.names.values().any(|name| name == "pk"));
        assert_eq!(changes.matches('=').count(), 2, "{changes}");
        assert_eq!(changes.split_once("REMOVE").map(|(_, removed)| removed.matches('#').count()), Some(1), "{changes}");
    }
}
