//! The consent of a number: the command for it, and what every other command does with it.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Request;
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::store::Store;
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent::{EXPRESS_AT, FIRST_AT, STOP_AT, WRITTEN_AT};
use serde_json::{Value, json};
use testkit::gateway::Gateway;

use crate::helpers::{CLIENT, Table, client, counter, number, phone, record, text};

const ONE: &str = "6105551212";

fn consent<'a>(number: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["phone", "consent", "--client", CLIENT, number][..], more].concat()
}

fn add<'a>(ccid: &'a str, consent_type: &'a str) -> [&'a str; 9] {
    ["phone", "add", "--client", CLIENT, "--ccid", ccid, ONE, "--consent-type", consent_type]
}

impl Table {
    /// The consent that the command shows.
    async fn consent(&self, number: &str) -> Value {
        self.json(&consent(number, &[])).await[0]["consent_type"].clone()
    }

    /// The consent that the customer's record shows for its only number.
    async fn shown(&self, ccid: &str) -> Value {
        let shown = self.json(&["customer", "show", "--client", CLIENT, "--ccid", ccid]).await.remove(0);
        shown["notification_channels"][0]["consent_type"].clone()
    }

    async fn import(&self, name: &str, text: &str) -> (Value, String) {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let import = ["customer", "import", "--client", CLIENT, file.to_str().unwrap(), "--yes", "--output", "json"];
        let ran = self.cdm(&import).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        (serde_json::from_str(&ran.out).unwrap(), ran.err)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_shown_and_changed() {
    let table = Table::new().await;
    let none = table.done(&consent(ONE, &[])).await;
    assert_eq!(none, "No consent is stated for +16105551212 of demo-clinic.\n");
    assert_eq!(table.consent(ONE).await, Value::Null);
    let refused = table.refused(&consent(ONE, &["--set", "written"])).await;
    assert!(refused.contains("no customer"), "{refused}");
    let refused = table.refused(&consent("+116105551212", &["--set", "stop"])).await;
    assert_eq!(refused, "the phone number must be the number's E.164 form, without a trunk prefix");

    // A stop is stored for a number that no customer has, in every form of the number.
    let stopped = table.json(&consent("+16105551212", &["--set", "stop"])).await.remove(0);
    assert_eq!(
        (stopped["channel_addr"].as_str(), stopped["consent_type"].as_str()),
        (Some("+16105551212"), Some("stop"))
    );
    assert_eq!(table.json(&consent("16105551212", &["--set", "stop"])).await[0], stopped, "a repeat changes nothing");
    assert_eq!(table.json(&["check"]).await, Vec::<Value>::new(), "the item is not corrupt");

    // A lift asks first.
    let asked = table.cdm(&consent(ONE, &["--set", "express"])).await;
    assert_eq!(asked.code, 1, "{asked:?}");
    assert_eq!(table.consent(ONE).await, json!("stop"));
    let lifted = table.done(&consent(ONE, &["--set", "express", "--yes"])).await;
    assert!(lifted.contains("express"), "{lifted}");
    let typed = table.typed(&consent("-", &["--set", "stop"]), &format!("{ONE}\n")).await;
    assert_eq!(typed.code, 0, "{typed:?}");
    assert_eq!(table.consent(ONE).await, json!("stop"));
    let bad = table.misused(&consent(ONE, &["--set", "Stop"])).await;
    assert!(bad.contains("must be one of written, express, stop"), "{bad}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_states_a_consent_but_says_if_a_stop_stands() {
    let table = Table::new().await;
    for ccid in ["A", "B"] {
        table.customer(ccid, &[]).await;
    }
    let added = table.cdm(&add("A", "written")).await;
    assert_eq!((added.code, added.err.as_str()), (0, ""), "{added:?}");
    table.done(&consent(ONE, &["--set", "stop"])).await;
    let added = table.cdm(&add("B", "written")).await;
    assert_eq!(added.code, 0, "{added:?}");
    assert!(added.err.contains("The number is stopped, so its consent is not written"), "{added:?}");
    assert_eq!((table.shown("A").await, table.shown("B").await), (json!("stop"), json!("stop")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_item_is_reported() {
    let table = Table::new().await;
    let mut corrupt = counter(ONE, &[]);
    corrupt.insert(STOP_AT.to_owned(), text("yesterday"));
    table.put(corrupt).await;
    for arguments in [consent(ONE, &[]), consent(ONE, &["--set", "stop"])] {
        let refused = table.refused(&arguments).await;
        assert!(refused.contains("cdm check"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_never_lifts_a_stop_and_reports_the_lines() {
    let table = Table::new().await;
    table.customer("A", &[ONE]).await;
    table.done(&consent(ONE, &["--set", "stop"])).await;
    table.done(&consent("6105550000", &["--set", "stop"])).await;
    let lines = [
        "ccid,phone_number,consent_type",
        "A,6105551212,written",
        "B,6105551212,express",
        "C,6105551212,",
        "D,6105551212,stop",
        "E,6105559999,written",
        "F,6105550000,written",
    ];
    let (summary, notes) = table.import("people.csv", &(lines.join("\n") + "\n")).await;
    assert_eq!((summary["numbers_stopped"].as_u64(), summary["numbers_added"].as_u64()), (Some(3), Some(5)));
    let reported: Vec<_> = notes.lines().filter(|note| note.contains("because of a stop")).collect();
    for line in [2, 3, 7] {
        assert!(reported.iter().any(|note| note.contains(&format!("line {line}:"))), "{line}: {notes}");
    }
    assert_eq!(reported.len(), 3, "{notes}");
    assert!(!notes.contains("610555"), "a note contains no number: {notes}");
    for ccid in ["A", "B", "C", "D", "F"] {
        assert_eq!(table.shown(ccid).await, json!("stop"), "{ccid}");
    }
    assert_eq!(table.shown("E").await, json!("written"));
}

/// Removing, deleting and repairing keep a stated consent. Only the erasure of the client removes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_outlives_its_customers() {
    let table = Table::new().await;
    table.customer("A", &[]).await;
    table.customer("B", &["6105550000"]).await;
    table.done(&add("A", "written")).await;
    table.done(&consent("6105550000", &["--set", "stop"])).await;
    table.done(&["phone", "remove", "--client", CLIENT, "--ccid", "A", ONE, "--yes"]).await;
    assert_eq!(table.consent(ONE).await, json!("written"));
    table.done(&["customer", "delete", "--client", CLIENT, "--ccid", "B", "--yes"]).await;
    assert_eq!(table.consent("6105550000").await, json!("stop"));

    // Its item has no customers, but is not deleted.
    table.done(&["check", "--fix", "--yes"]).await;
    assert_eq!((table.consent(ONE).await, table.consent("6105550000").await), (json!("written"), json!("stop")));

    // A customer that is put back does not undo a stop.
    table.done(&add("A", "written")).await;
    table.done(&["phone", "remove", "--client", CLIENT, "--ccid", "A", ONE, "--yes", "--save", "saved.jsonl"]).await;
    table.done(&consent(ONE, &["--set", "stop"])).await;
    let undone = table.cdm(&["undo", "saved.jsonl", "--yes"]).await;
    assert_eq!(table.consent(ONE).await, json!("stop"), "{undone:?}");

    let erased = ["client", "delete", "--client", CLIENT, "--yes"];
    table.done(&erased).await;
    assert_eq!(table.items().await.len(), 0);
}

/// The record as earlier versions stored it.
fn old(ccid: &str, consents: &[(&str, &str, u32)]) -> Item {
    let numbers: Vec<_> = consents.iter().map(|(number, _, _)| *number).collect();
    let mut record = record(ccid, &numbers);
    if let Some(AttributeValue::M(channels)) = record.get_mut(items::NOTIFICATION_CHANNELS) {
        for (digits, consent, at) in consents {
            if let Some(AttributeValue::M(entry)) = channels.get_mut(phone(digits).e164()) {
                entry.insert("t".to_owned(), number(*at as usize));
                entry.insert("c".to_owned(), text(consent));
            }
        }
    }
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_moves_old_consents_to_their_numbers() {
    const TWO: &str = "6105551213";
    let table = Table::new().await;
    let records = [
        old("A", &[(ONE, "written", 5), (TWO, "written", 7)]),
        old("B", &[(ONE, "stop", 3), (TWO, "express", 9)]),
        old("C", &[(ONE, "express", 9)]),
    ];
    for item in records.clone().into_iter().chain([counter(ONE, &["A", "B", "C"]), counter(TWO, &["A", "B"])]) {
        table.put(item).await;
    }
    let before = table.sorted().await;
    let found = table.cdm(&["check", "--output", "json"]).await;
    assert_eq!((found.code, found.out.matches("customer_channel_consent").count()), (1, 5), "{found:?}");
    let fixed = table.cdm(&["check", "--fix", "--yes", "--save", "saved.jsonl", "--output", "json"]).await;
    assert_eq!((fixed.code, fixed.out.matches("\"repaired\":true").count()), (0, 5), "{fixed:?}");
    assert_eq!((table.consent(ONE).await, table.consent(TWO).await), (json!("stop"), json!("express")));
    let one = table.item(items::phone_key(&client(), &phone(ONE))).await.unwrap();
    assert_eq!((one.get(STOP_AT), one.get(FIRST_AT)), (Some(&number(3)), Some(&number(3))));
    assert!(!one.contains_key(WRITTEN_AT) && !one.contains_key(EXPRESS_AT));
    assert_eq!(table.cdm(&["check"]).await.code, 0);

    table.done(&["undo", "saved.jsonl", "--yes"]).await;
    assert_eq!(table.sorted().await, before);
}

/// The repair moved the stop out of a record. If the record has changed since, it cannot get the stop back, so the number
/// keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_of_a_moved_stop_does_not_lose_it() {
    const TWO: &str = "6105551213";
    let table = Table::new().await;
    let items = [old("A", &[(ONE, "written", 5)]), old("B", &[(ONE, "stop", 3)]), counter(ONE, &["A", "B"])];
    for item in items {
        table.put(item).await;
    }
    table.done(&["check", "--fix", "--yes", "--save", "saved.jsonl"]).await;
    table.done(&["phone", "add", "--client", CLIENT, "--ccid", "B", TWO]).await;
    let undone = table.cdm(&["undo", "saved.jsonl", "--yes", "--output", "json"]).await;
    assert_eq!((undone.code, undone.out.matches("record_changed_since").count()), (1, 1), "{undone:?}");
    assert_eq!(
        (undone.out.matches("\"changed_since").count(), undone.out.matches("put_back").count()),
        (1, 1),
        "{undone:?}"
    );
    assert_eq!(table.consent(ONE).await, json!("stop"));
    table.done(&["check", "--fix", "--yes"]).await;
    assert_eq!(table.consent(ONE).await, json!("stop"));
}

/// Added with consent on three customers, stopped once over the API, removed from one, deleted with another, imported again
/// with `written`: still stopped, until an explicit update lifts the stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_outlives_removal_deletion_and_import_until_it_is_lifted() {
    let table = Table::new().await;
    let api = Api::new(&table).await;
    let customer = |ccid: &str| format!("/cdm/client/{CLIENT}/customer/{ccid}");
    let number = format!("/messaging/client/{CLIENT}/consent/channel_addr/{ONE}/channel_type/sms");
    for ccid in ["A", "B", "C"] {
        assert_eq!(api.send("PUT", &customer(ccid), "{}").await.0, 201);
        let add = format!("{}/add_phone/{ONE}", customer(ccid));
        assert_eq!(api.send("PUT", &add, r#"{"consent_type":"written"}"#).await.0, 200);
    }
    assert_eq!(api.consents(&["A", "B", "C"]).await, [json!("written"), json!("written"), json!("written")]);
    assert_eq!(api.send("PUT", &number, r#"{"consent_type":"stop"}"#).await.0, 200);
    assert_eq!(api.send("PUT", &format!("{}/remove_phone/{ONE}", customer("A")), "{}").await.0, 200);
    assert_eq!(api.send("DELETE", &customer("B"), "").await.0, 200);
    assert_eq!(api.consents(&["C"]).await, [json!("stop")]);

    let (summary, _) =
        table.import("again.csv", "ccid,phone_number,consent_type\nA,6105551212,written\nB,6105551212,written\n").await;
    assert_eq!((summary["numbers_added"].as_u64(), summary["numbers_stopped"].as_u64()), (Some(2), Some(2)));
    assert_eq!(api.consents(&["A", "B", "C"]).await, [json!("stop"), json!("stop"), json!("stop")]);
    table.done(&["check", "--fix", "--yes"]).await;

    let (status, lifted) = api.send("PUT", &number, r#"{"consent_type":"written"}"#).await;
    assert_eq!((status, lifted["consent"]["consent_type"].as_str()), (200, Some("written")));
    assert_eq!(api.consents(&["A", "B", "C"]).await, [json!("written"), json!("written"), json!("written")]);
    let (_, shown) = api.send("GET", &format!("/cdm/client/{CLIENT}/phone/{ONE}"), "").await;
    assert_eq!((shown["ccids"].clone(), shown["consent"].clone()), (json!(["A", "B", "C"]), lifted["consent"].clone()));
    assert_eq!(table.cdm(&["check"]).await.code, 0);
}

/// The API over the table, with a valid key.
struct Api {
    handler: Handler,
    key: String,
}

impl Api {
    async fn new(table: &Table) -> Self {
        let issued = table.json(&["key", "issue", "--client", CLIENT, "--yes"]).await.remove(0);
        let store = Store::new(table.connection.client.clone(), "cdm-phones".to_owned(), Limits::CONTRACT);
        let handler = Handler::new(store, Duration::from_secs(60));
        Self { handler, key: issued["key"].as_str().unwrap().to_owned() }
    }

    /// Status and body.
    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("x-relay-api-key", &self.key);
        let (parts, ()) = request.header("content-type", "application/json").body(()).unwrap().into_parts();
        let response = Gateway::Http.serve(&self.handler, parts, body.as_bytes()).await.response;
        (response.status().as_u16(), serde_json::from_str(response.body()).unwrap())
    }

    /// The consent that each record shows for its only number.
    async fn consents(&self, ccids: &[&str]) -> Vec<Value> {
        let mut consents = Vec::new();
        for ccid in ccids {
            let (_, body) = self.send("GET", &format!("/cdm/client/{CLIENT}/customer/{ccid}"), "").await;
            consents.push(body["notification_channels"][0]["consent_type"].clone());
        }
        consents
    }
}
