//! The items of every table, and one action on one item.

use std::collections::BTreeMap;

use super::expression::{self, Attributes};
use super::message::{Action, ItemKey, Reason, Scan};
use super::value::{Item, item_size};

/// The items of every table.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    items: BTreeMap<ItemKey, Item>,
}

impl Tables {
    /// The item with this key.
    pub fn get(&self, key: &ItemKey) -> Option<&Item> {
        self.items.get(key)
    }

    /// Puts or deletes an item.
    pub fn set(&mut self, key: ItemKey, item: Option<Item>) {
        match item {
            Some(item) => drop(self.items.insert(key, item)),
            None => drop(self.items.remove(&key)),
        }
    }

    /// The items of one table, by key.
    pub fn of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = (&'a ItemKey, &'a Item)> {
        self.items.iter().filter(move |(key, _)| key.table == table)
    }

    /// A page of a part of a table: its items, and the key of the last one if the page is full.
    pub fn scan<'a>(&'a self, scan: &'a Scan) -> (Vec<&'a Item>, Option<&'a ItemKey>) {
        let from = scan.exclusive_start_key.as_ref().map(|key| ItemKey::from_item(&scan.table_name, key));
        let is_next = |key: &ItemKey| from.as_ref().is_none_or(|from| key > from);
        let in_part = |key: &ItemKey| {
            let hash = key.pk.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            hash.checked_rem(scan.total_segments) == Some(scan.segment)
        };
        let mut items = self.of(&scan.table_name).filter(|(key, _)| is_next(key) && in_part(key));
        let page: Vec<_> = items.by_ref().take(scan.limit).collect();
        // As in DynamoDB, this may be the last page.
        let last = page.last().filter(|_| page.len() == scan.limit).map(|(key, _)| *key);
        (page.into_iter().map(|(_, item)| item).collect(), last)
    }

    /// Copies a table, as a restored backup does.
    pub fn copy(&mut self, from: &str, to: &str) {
        let copies: Vec<_> = self.of(from).map(|(key, item)| (key.clone(), item.clone())).collect();
        for (mut key, item) in copies {
            to.clone_into(&mut key.table);
            self.items.insert(key, item);
        }
    }

    /// The item after the action, or why the action is refused. `Ok(None)` deletes the item.
    ///
    /// # Errors
    /// The reason, as in a cancelled transaction.
    pub fn prepare(&self, action: &Action) -> Result<Option<Item>, Reason> {
        let key = action.item_key();
        let old = self.items.get(&key);
        let names = &action.expression_attribute_names;
        let attributes = Attributes { names, values: &action.expression_attribute_values };
        let invalid = |_| Reason { code: "ValidationError", item: None };
        if let Some(condition) = &action.condition_expression
            && !expression::is_fulfilled(condition, old, attributes).map_err(invalid)?
        {
            let shows_old = action.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD");
            return Err(Reason { code: "ConditionalCheckFailed", item: old.filter(|_| shows_old).cloned() });
        }
        match action.kind {
            "ConditionCheck" => Ok(old.cloned()),
            "Delete" => Ok(None),
            "Put" => Ok(action.item.clone()),
            _ => {
                let mut item = old.cloned().unwrap_or_else(|| action.key.clone());
                if let Some(update) = &action.update_expression {
                    expression::update(update, &mut item, attributes).map_err(invalid)?;
                }
                Ok(Some(item))
            }
        }
    }

    /// What a transaction pays for this action: two units for each kilobyte, of the larger of the old and the new item.
    pub fn units(&self, action: &Action, new: Option<&Item>) -> u64 {
        let old = self.items.get(&action.item_key()).map_or(0, item_size);
        let kilobytes = old.max(new.map_or(0, item_size)).div_ceil(1024).max(1);
        2 * u64::try_from(kilobytes).unwrap_or(u64::MAX)
    }
}
