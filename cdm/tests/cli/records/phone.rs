use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items;
use serde_json::json;

use crate::helpers::{CLIENT, Table, counter, one_line, text};

fn on<'a>(verb: &'a str, ccid: &'a str, number: &'a str) -> [&'a str; 7] {
    ["phone", verb, "--client", CLIENT, "--ccid", ccid, number]
}

fn who(number: &str) -> [&str; 5] {
    ["phone", "who", "--client", CLIENT, number]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_added_found_and_removed() {
    let table = Table::new().await;
    table.customer("A", &[]).await;
    table.customer("B", &["16105551212"]).await;
    let added = "Phone number 6105551212 has been added to customer with ccid A for client demo-clinic.";
    assert_eq!(table.done(&on("add", "A", "6105551212")).await, format!("{added}\n"));
    assert_eq!(
        table.refused(&on("add", "A", "16105551212")).await,
        "the phone number is already on this customer's record"
    );
    assert_eq!(table.json(&who("16105551212")).await, [json!({ "ccid": "A" }), json!({ "ccid": "B" })]);
    assert_eq!(table.done(&who("6105551212")).await, "CCID\nA\nB\n");

    let remove = [&on("remove", "A", "16105551212")[..], &["--yes"]].concat();
    let removed = "Phone number 16105551212 has been removed from customer with ccid A for client demo-clinic.";
    assert_eq!(table.json(&remove).await, [json!({ "message": removed })]);
    assert_eq!(
        table.refused(&remove).await,
        "the customer does not have this phone number: `cdm customer show` lists its numbers"
    );
    assert_eq!(table.json(&who("6105551212")).await, [json!({ "ccid": "B" })]);
    assert_eq!(table.done(&who("6105551213")).await, "No customer of demo-clinic has +16105551213.\n");
    assert_eq!(table.done(&["phone", "who", "--client", "other-clinic", "6105551212", "--output", "json"]).await, "");
}

/// Every command accepts the E.164 form that a record shows.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_taken_in_e164_form() {
    let table = Table::new().await;
    table.customer("A", &[]).await;
    for number in ["+16105551212", "+33612345678", "+4532123456", "+390612345678"] {
        table.done(&on("add", "A", number)).await;
        assert_eq!(
            table.refused(&on("add", "A", number)).await,
            "the phone number is already on this customer's record"
        );
        assert_eq!(table.json(&who(number)).await, [json!({ "ccid": "A" })]);
    }
    let shown = table.json(&["customer", "show", "--client", CLIENT, "--ccid", "A"]).await.remove(0);
    for channel in shown["notification_channels"].as_array().unwrap() {
        let text = |name: &str| channel[name].as_str().unwrap();
        let digits = [&who(text("phone_number"))[..], &["--country-code", text("country_code")]].concat();
        assert_eq!(table.json(&digits).await, [json!({ "ccid": "A" })], "{channel}");
        table.done(&[&on("remove", "A", text("channel_addr"))[..], &["--yes"]].concat()).await;
    }
    let with = |number, code| [&on("add", "A", number)[..], &["--country-code", code]].concat();
    assert_eq!(
        table.refused(&with("+33612345678", "1")).await,
        "the country code must be the country code of the phone number, which is in E.164 form"
    );
    table.done(&with("+33612345678", "33")).await;
    for other in ["+330612345678", "+1610555121"] {
        assert_eq!(
            table.refused(&on("add", "A", other)).await,
            "the phone number must be the number's E.164 form, without a trunk prefix"
        );
        // The record does not have this number, so there is nothing to find.
        assert_eq!(table.json(&who(other)).await.len(), 0);
    }
}

/// `-` means a line of standard input, in the order of the arguments.
#[tokio::test(flavor = "multi_thread")]
async fn ccids_and_numbers_come_from_standard_input() {
    let table = Table::new().await;
    let run = async |arguments: &[&str], input: &str, code: i32| {
        let ran = table.typed(arguments, input).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        ran
    };
    let customer = |verb| ["customer", verb, "--client", CLIENT, "--ccid", "-"];
    run(&customer("create"), "Zoë 7\r\n", 0).await;
    run(&on("add", "-", "-"), "Zoë 7\n +16105551212 \n", 0).await;
    run(&["phone", "add", "-", "--ccid", "-", "--client", CLIENT], "6105551213\nZoë 7", 0).await;
    assert!(run(&who("-"), "6105551212\n", 0).await.out.contains("Zoë 7"));
    assert!(run(&customer("show"), "Zoë 7\n", 0).await.out.contains("+16105551213"));
    run(&on("remove", "-", "-"), "Zoë 7\n6105551213\n", 1).await;
    run(&on("remove", "-", "-"), "Zoë 7\n6105551213\ny\n", 0).await;
    run(&[&customer("delete")[..], &["--yes"]].concat(), "Zoë 7\n", 0).await;
    assert!(run(&customer("show"), "Zoë 7\n", 1).await.err.contains("the client has no customer with this ccid"));

    // An item's key may contain a ccid.
    run(&customer("create"), "B\n", 0).await;
    let item = run(&["item", "show", "--pk", "-", "--sk", "CUSTOMER"], "CLIENT#demo-clinic#CUSTOMER#B\n", 0).await;
    assert!(item.out.contains("phone_count"));
    // A ccid may begin and end with spaces.
    run(&customer("create"), " a \n", 0).await;
    table.done(&["customer", "show", "--client", CLIENT, "--ccid", " a "]).await;

    let none = run(&on("add", "A", "-"), "", 2).await;
    assert_eq!(
        one_line(&none.err),
        "invalid value '-' for '<NUMBER>': must be on standard input, which has no more lines: write the phone number to \
         it: see --help"
    );
    let bad = run(&customer("create"), "a/b\n", 2).await;
    assert!(one_line(&bad.err).contains("must not contain control characters or /") && !bad.err.contains("a/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_stored() {
    let table = Table::new().await;
    table.customer("A", &[]).await;
    let fields =
        ["--country-code", "+33", "--phone-type", "mobile", "--consent-type", "express", "--client-source", "web form"];
    table.done(&[&on("add", "A", "0612345678")[..], &fields].concat()).await;
    let shown = table.json(&["customer", "show", "--client", CLIENT, "--ccid", "A"]).await.remove(0);
    let channel = &shown["notification_channels"][0];
    assert_eq!(channel["channel_addr"], "+33612345678");
    assert_eq!(channel["phone_type"], "mobile");
    assert_eq!(channel["consent_type"], "express");
    assert_eq!(channel["client_source"], "web form");
    let who = [&who("0612345678")[..], &["--country-code", "33"]].concat();
    assert_eq!(table.json(&who).await, [json!({ "ccid": "A" })]);
    let remove = [&on("remove", "A", "0612345678")[..], &["--country-code", "33", "--yes"]].concat();
    table.done(&remove).await;
    assert_eq!(table.json(&who).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_are_the_functions() {
    let table = Table::demo().await;
    assert_eq!(
        table.refused(&on("add", testkit::demo::CUSTOMER_WITH_50, "6105551212")).await,
        "the customer already has 50 phone numbers: remove one with `cdm phone remove`"
    );
    assert_eq!(
        table.refused(&on("add", testkit::demo::CUSTOMER, testkit::demo::PHONE_ON_50)).await,
        "the phone number is already on 50 customers: `cdm phone who` lists them"
    );
    assert_eq!(
        table.refused(&on("add", "UNKNOWN", "6105551212")).await,
        "the client has no customer with this ccid: check both, or create it with `cdm customer create`"
    );
    let ccids: BTreeSet<_> =
        table.json(&who(testkit::demo::PHONE_ON_50)).await.iter().map(|row| row["ccid"].to_string()).collect();
    assert_eq!(ccids.len(), 50);
    table.done(&[&on("remove", "FAM-00007", testkit::demo::PHONE_ON_50)[..], &["--yes"]].concat()).await;
    table.done(&on("add", testkit::demo::CUSTOMER, testkit::demo::PHONE_ON_50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_asks_first() {
    let table = Table::new().await;
    table.customer("A", &["6105551212"]).await;
    for (input, code) in [("", 1), ("n\n", 1), ("y\n", 0)] {
        let ran = table.typed(&on("remove", "A", "6105551212"), input).await;
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.starts_with("Remove +16105551212 from A of demo-clinic? [y/N]"));
        assert_eq!(table.json(&who("6105551212")).await.len(), usize::from(code == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let table = Table::new().await;
    table.customer("A", &[]).await;
    for (number, extra, word) in [
        ("610-555-1212", &[][..], "must be 10 to 11 digits, or a number in E.164 form"),
        ("+1 6105551212", &[], "must be 10 to 11 digits, or a number in E.164 form"),
        ("", &[], "<NUMBER>"),
        ("6105551212", &["--country-code", "999"], "must be an assigned calling code"),
        ("6105551212", &["--phone-type", "fax"], "must be one of mobile, landline, unknown"),
        ("6105551212", &["--consent-type", "Stop"], "must be one of written, express, stop"),
        ("6105551212", &["--client-source", ""], "--client-source"),
        ("6105551212", &["6105551213"], "unexpected argument"),
    ] {
        let line = table.misused(&[&on("add", "A", number)[..], extra].concat()).await;
        assert!(line.contains(word), "{number} {extra:?}: {line}");
    }
    let line = table.refused(&on("add", "A", "26105551212")).await;
    assert_eq!(line, "the phone number must begin with 1 when it has 11 digits and country code 1");
}

/// An unreadable number's item is an error. It must not be reported as a number without customers.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_number_is_an_error() {
    let table = Table::new().await;
    let with = |ccids: Option<AttributeValue>| {
        let mut item = counter("6105551212", &["A"]);
        item.remove(items::CCIDS);
        item.extend(ccids.map(|ccids| (items::CCIDS.to_owned(), ccids)));
        item
    };
    for item in [with(Some(AttributeValue::L(vec![text("A")]))), with(Some(AttributeValue::Null(true))), with(None)] {
        table.put(item).await;
        let line = table.refused(&who("6105551212")).await;
        assert_eq!(line, "the number's item is corrupt: `cdm check` says what to do about it");
    }
    table.put(counter("6105551212", &[])).await;
    assert!(table.done(&who("6105551212")).await.starts_with("No customer of demo-clinic has"));
}
