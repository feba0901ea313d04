//! `cdm undo`: restores what a command changed. It restores an item only if the item is still exactly as the
//! command left it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use cdm_lambda::domain::{Ccid, Phone};
use cdm_lambda::store::items::{self, Item};
use clap::Args;
use serde_json::json;

use crate::table::change::{self, Change, MOST, ROUNDS, Unchanged};
use crate::table::connection::Connection;
use crate::table::corruption::{Subject, subject};
use crate::table::dynamo_json::same;
use crate::table::item_parts;
use crate::table::saved;
use crate::ui::Failure;
use crate::ui::output::{self, Output, count, shown};

/// Restore the items that a command saved before it changed them.
///
/// An item that has changed since the command stays as it is, and its key is printed. You can undo a command that
/// was interrupted, and you can run this twice.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  cdm undo cdm-check-fix-20261125T093000123Z.jsonl")]
pub(crate) struct Undo {
    /// The file that the command named.
    file: PathBuf,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What to do about one item.
#[derive(Debug, PartialEq)]
enum Step {
    /// The item is as the command left it: restore it.
    PutBack(Change),
    /// The item is as it was before the command: the command did not reach it, or it was already restored.
    Nothing,
    /// The item has another state.
    ChangedSince,
    /// The item is a number's item as the command left it, but a record that the command changed together with
    /// it has another state. If the item were restored alone, it could name a customer whose record does not
    /// have the number, or lack a consent that the record no longer has either.
    RecordChangedSince,
}

/// The keys of the records whose customers a change of a number's item removed.
fn removed_from(change: &Change) -> Vec<Item> {
    let Subject::Phone { client_id, .. } = subject(&change.key()) else {
        return Vec::new();
    };
    let ccids = |item: &Option<Item>| item.as_ref().map(item_parts::ccids).unwrap_or_default();
    let removed = &ccids(&change.before) - &ccids(&change.after);
    removed.iter().filter_map(|ccid| Some(items::customer_key(&client_id, &Ccid::parse(ccid).ok()?))).collect()
}

/// The keys of the numbers' items whose numbers a change of a record added, removed or changed.
fn numbers_of(change: &Change) -> Vec<Item> {
    let Subject::Customer { client_id, .. } = subject(&change.key()) else {
        return Vec::new();
    };
    let [before, after] = [&change.before, &change.after].map(|record| record.as_ref().and_then(item_parts::entries));
    let e164s: BTreeSet<_> = [before, after].into_iter().flatten().flat_map(Item::keys).collect();
    let changed = e164s.into_iter().filter(|e164| {
        before.and_then(|channels| channels.get(*e164)) != after.and_then(|channels| channels.get(*e164))
    });
    changed.filter_map(|e164| Some(items::phone_key(&client_id, &Phone::from_e164(e164)?))).collect()
}

/// Decides about an item whose state is `current`, from the changes that the command saved, in their order.
///
/// It goes back as far as the changes lead from one state to the next. A change that does not lead to the next
/// state was planned but not written: the item had changed before the write, and the command planned again.
fn step(changes: &[&Change], current: Option<&Item>) -> Step {
    let mut goal = current;
    for change in changes.iter().rev() {
        if same(change.after.as_ref(), goal) {
            goal = change.before.as_ref();
        }
    }
    if let Some(change) = Change::new(current.cloned(), goal.cloned()) {
        return Step::PutBack(change);
    }
    let is_before = changes.iter().any(|change| same(change.before.as_ref(), current));
    if is_before { Step::Nothing } else { Step::ChangedSince }
}

impl Undo {
    /// Runs the command.
    ///
    /// # Errors
    /// What was refused or failed, or that not everything could be restored, in one line.
    pub(crate) async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let saved = saved::read(&self.file)?;
        let saved::Header { address, command, time, .. } = &saved.header;
        let here = connection.address();
        if address.table != here.table {
            return Err(Failure(format!("the items are of the table {}: name it with --table", address.table)));
        }
        if *address != here {
            return Err(Failure(format!(
                "the items are of {address}, but this command uses {}: use that table, or name another file",
                here.endpoint
            )));
        }
        let items = SavedItems::new(&saved.changes);
        let question = format!(
            "Put back {} of {address}, as {} before `cdm {command}` of {time}?",
            count(items.keys.len() as u64, "item"),
            if items.keys.len() == 1 { "it was" } else { "they were" },
        );
        if saved.unknown > 0 {
            output::note(&format!(
                "It is unknown whether the command wrote {} of the items. Each of them is put back if it has the state that the command would have written.",
                saved.unknown
            ));
        }
        if !items.keys.is_empty() {
            output::confirm(&question, "y", self.yes)?;
        }

        let (mut put_back, mut as_before, mut left_alone) = (0, 0, 0);
        for key in items.in_order() {
            let (pk, sk) = change::key_text(key);
            let (counter, result, why) = match items.put_back(connection, key).await? {
                Step::PutBack(_) => (&mut put_back, "put_back", None),
                Step::Nothing => (&mut as_before, "as_before", None),
                Step::ChangedSince => (&mut left_alone, "changed_since", Some("it has changed since")),
                Step::RecordChangedSince => {
                    (&mut left_alone, "record_changed_since", Some("a record that it belongs to has changed since"))
                }
            };
            *counter += 1;
            match (output, why) {
                (Output::Json, _) => output::print_object(&json!({ "pk": pk, "sk": sk, "result": result }))?,
                (Output::Table, Some(why)) => {
                    let (pk, sk) = (shown(&pk), shown(&sk));
                    output::print_text(&format!("not put back: partition key {pk}, sort key {sk}: {why}"))?;
                }
                (Output::Table, None) => {}
            }
        }
        if saved.is_cut_off {
            output::note("The last line of the file is incomplete and was ignored.");
        }
        let summary = format!(
            "{} put back; {as_before} already as before; {left_alone} changed since and left alone.",
            count(put_back, "item")
        );
        match output {
            Output::Table => output::print_text(&summary)?,
            Output::Json => output::note(&summary),
        }
        match left_alone {
            0 => Ok(()),
            _ => Err(Failure(format!(
                "{} not put back: `cdm check` says whether records and numbers agree",
                count(left_alone, "item")
            ))),
        }
    }
}

/// The changes of a file, by item.
struct SavedItems<'a> {
    /// In the order in which the command first saved them.
    keys: Vec<Item>,
    changes: HashMap<String, Vec<&'a Change>>,
    /// For a number's item, the keys of the saved records that the command changed together with it.
    records: HashMap<String, BTreeMap<String, Item>>,
}

impl<'a> SavedItems<'a> {
    fn new(changes: &'a [Change]) -> Self {
        let mut items = Self { keys: Vec::new(), changes: HashMap::new(), records: HashMap::new() };
        for change in changes {
            let key = change.key();
            let by_number = removed_from(change).into_iter().map(|record| (key.clone(), record));
            let by_record = numbers_of(change).into_iter().map(|number| (number, key.clone()));
            for (number, record) in by_number.chain(by_record) {
                items.records.entry(identity(&number)).or_default().insert(identity(&record), record);
            }
            let of_key = items.changes.entry(identity(&key)).or_insert_with(|| {
                items.keys.push(key);
                Vec::new()
            });
            of_key.push(change);
        }
        for records in items.records.values_mut() {
            records.retain(|record, _| items.changes.contains_key(record));
        }
        items
    }

    /// The keys in the order in which the items are restored: the records first. If the undo is interrupted, a
    /// consent that a repair had moved is then on both sides, never on none, and a number that only its record
    /// names is what `cdm check --fix` adds to the number's item.
    fn in_order(&self) -> impl Iterator<Item = &Item> {
        let is_record = |key: &&Item| matches!(subject(key), Subject::Customer { .. });
        let others = self.keys.iter().rev().filter(move |key| !is_record(key));
        self.keys.iter().rev().filter(is_record).chain(others)
    }

    fn changes_of(&self, key: &Item) -> &[&'a Change] {
        self.changes.get(&identity(key)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Restores the item if possible, and says what it did.
    async fn put_back(&self, connection: &Connection, key: &Item) -> Result<Step, Failure> {
        for _ in 0..ROUNDS {
            let (planned, records) = self.plan(connection, key).await?;
            let Step::PutBack(change) = &planned else {
                return Ok(planned);
            };
            if change::apply_beside(connection, change, &records).await? {
                return Ok(planned);
            }
        }
        Ok(Step::ChangedSince)
    }

    /// What to do about the item, and the records that must not change meanwhile. A number's item with more
    /// records than fit into one transaction is corrupt; the records that do not fit are only checked here.
    async fn plan(&self, connection: &Connection, key: &Item) -> Result<(Step, Vec<Unchanged>), Failure> {
        let changes = self.changes_of(key);
        let planned = step(changes, connection.item(key.clone()).await?.as_ref());
        let mut records = Vec::new();
        if let Step::PutBack(_) = planned {
            for key in self.records.get(&identity(key)).into_iter().flat_map(BTreeMap::values) {
                let changes = self.changes_of(key);
                let read = connection.item(key.clone()).await?;
                if step(changes, read.as_ref()) == Step::ChangedSince {
                    return Ok((Step::RecordChangedSince, Vec::new()));
                }
                records.push(Unchanged { key: key.clone(), read });
            }
            records.truncate(MOST - 1);
        }
        Ok((planned, records))
    }
}

fn identity(key: &Item) -> String {
    crate::table::dynamo_json::from_item(key).to_string()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;
    use crate::table::repair::corrupt_tables;
    use testkit::embedded::{Embedded, any_credentials};

    fn item(state: u32) -> Option<Item> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        (state > 0).then(|| {
            Item::from([
                ("pk".to_owned(), text("P")),
                ("sk".to_owned(), text("S")),
                ("a".to_owned(), text(&state.to_string())),
            ])
        })
    }

    fn change(before: u32, after: u32) -> Change {
        Change::new(item(before), item(after)).unwrap()
    }

    fn stepped(changes: &[Change], current: u32) -> Step {
        step(&changes.iter().collect::<Vec<_>>(), item(current).as_ref())
    }

    #[test]
    fn any_state_that_the_command_left_goes_back_to_the_first() {
        let changes = [change(1, 2), change(2, 0)];
        assert_eq!(stepped(&changes, 1), Step::Nothing);
        assert_eq!(stepped(&changes, 2), Step::PutBack(change(2, 1)));
        assert_eq!(stepped(&changes, 0), Step::PutBack(change(0, 1)));
        assert_eq!(stepped(&changes, 3), Step::ChangedSince);
    }

    #[test]
    fn a_change_that_was_not_written_is_skipped() {
        // The first change was not written: another program changed 1 to 5.
        let changes = [change(1, 2), change(5, 6)];
        assert_eq!(stepped(&changes, 6), Step::PutBack(change(6, 5)));
        assert_eq!(stepped(&changes, 5), Step::Nothing);
        assert_eq!(stepped(&changes, 7), Step::ChangedSince);
        // Two parts of a command planned at the same time, and the second planned again after the first had
        // written.
        let changes = [change(1, 2), change(1, 3), change(2, 4)];
        assert_eq!(stepped(&changes, 4), Step::PutBack(change(4, 1)));
        assert_eq!(stepped(&changes, 2), Step::PutBack(change(2, 1)));
    }

    /// If a record changes after it was read, its number's item is not written.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_number_is_put_back_together_with_the_check_of_its_records() {
        let database = Embedded::in_memory().await.unwrap();
        let connection = Connection::to(&database.endpoint(), any_credentials(), "records".to_owned()).await.unwrap();
        crate::commands::table::create(&connection.client, "records").await.unwrap();
        let table = corrupt_tables::table(&[7; 20]);
        let record = &table[&("CLIENT#demo-clinic#CUSTOMER#-e".to_owned(), "CUSTOMER".to_owned())];
        let number = table.values().find(|item| item_parts::ccids(item).contains("-e")).unwrap();
        let mut without = number.clone();
        without.insert(items::CCIDS.to_owned(), AttributeValue::Ss(vec!["D 4".to_owned()]));
        let put = async |item: &Item| {
            connection.client.put_item().table_name("records").set_item(Some(item.clone())).send().await.unwrap();
        };
        let changes = [
            Change::new(Some(record.clone()), None).unwrap(),
            // Planned again: the same customer is removed twice.
            Change::new(Some(number.clone()), Some(without.clone())).unwrap(),
            Change::new(Some(number.clone()), Some(without.clone())).unwrap(),
        ];
        let saved = SavedItems::new(&changes);
        let key = change::key_of(number);
        // The command left no record, or did not reach it. Then another record is created, or the record
        // changes.
        let mut other = record.clone();
        other.insert(items::PHONE_COUNT.to_owned(), AttributeValue::N("0".to_owned()));
        for (there, then) in [(None, record), (Some(record), &other)] {
            let delete = connection.client.delete_item().table_name("records");
            delete.set_key(Some(change::key_of(record))).send().await.unwrap();
            if let Some(there) = there {
                put(there).await;
            }
            put(&without).await;
            let (planned, records) = saved.plan(&connection, &key).await.unwrap();
            let Step::PutBack(change) = planned else { panic!("{planned:?}") };
            put(then).await;
            assert!(!change::apply_beside(&connection, &change, &records).await.unwrap());
            assert!(same(connection.item(key.clone()).await.unwrap().as_ref(), Some(&without)));
        }
        assert_eq!(saved.put_back(&connection, &key).await.unwrap(), Step::RecordChangedSince);
        put(record).await;
        assert!(matches!(saved.put_back(&connection, &key).await.unwrap(), Step::PutBack(_)));
        assert!(same(connection.item(key).await.unwrap().as_ref(), Some(number)));
    }

    #[test]
    fn what_the_command_made_is_deleted() {
        assert_eq!(stepped(&[change(0, 4)], 4), Step::PutBack(change(4, 0)));
        assert_eq!(stepped(&[change(0, 4)], 0), Step::Nothing);
    }
}
