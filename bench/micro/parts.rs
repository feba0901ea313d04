//! The instructions of each part of an add, counted by callgrind. The arguments of a part are made before the count starts,
//! and making them runs the part once, so that the count is that of a warm process.

#![expect(unused_qualifications, reason = "the macros of gungraun generate them")]

use std::hint::black_box;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::domain::{AddPhone, Ccid, ClientId, CountryCode, Digits, Limits, Phone};
use cdm_lambda::http::event::Event;
use cdm_lambda::http::response::Response;
use cdm_lambda::http::route::{PathParameters, find};
use cdm_lambda::operations::{self, Operation, parse_add_phone, phone_added};
use cdm_lambda::store::cancellation::{Cancellation, Reason, read_add};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;
use gungraun::{library_benchmark, library_benchmark_group, main};

const ADD: &str = include_str!("../../events/http-200-added.json");
const KEY: &str = "relay_I9BiuGjyetEESeHsPDLpNQ13Y3f7TwMWXRwM_EOMXEIXWNp2A";

/// Runs a part once before it is counted.
fn warm<T: Copy, R>(part: impl Fn(T) -> R, argument: T) -> T {
    black_box(part(argument));
    argument
}

fn parse_event(event: &str) -> Event {
    Event::parse(event).unwrap_or_else(|_| unreachable!("the file is an event"))
}

#[library_benchmark]
#[bench::add(warm(parse_event, ADD))]
fn event(event: &str) -> Event {
    parse_event(black_box(event))
}

/// It is never dropped, because a drop would be counted.
fn the_event() -> &'static Event {
    Box::leak(Box::new(parse_event(ADD)))
}

fn find_route(event: &Event) -> (Operation, PathParameters<'_>) {
    find(event, &operations::ALL, |operation| operation.route).expect("the event has a route")
}

#[library_benchmark]
#[bench::add(warm(find_route, the_event()))]
fn route(event: &'static Event) -> (Operation, PathParameters<'static>) {
    find_route(black_box(event))
}

/// A client, an event and its path parameters.
type Parsed = (&'static ClientId, &'static Event, &'static PathParameters<'static>);

fn parsed() -> Parsed {
    let (client, event) = (ClientId::parse("demo-clinic").expect("a client id"), the_event());
    (Box::leak(Box::new(client)), event, Box::leak(Box::new(find_route(event).1)))
}

fn parse_request((client, event, parameters): Parsed) -> AddPhone {
    parse_add_phone(client, event, parameters, UnixMillis::now()).unwrap_or_else(|_| unreachable!("it is valid"))
}

#[library_benchmark]
#[bench::add(warm(parse_request, parsed()))]
fn request(parsed: Parsed) -> AddPhone {
    parse_request(black_box(parsed))
}

fn hash_key(key: &str) -> String {
    ApiKey::parse(key).expect("an API key").sha256_hex()
}

#[library_benchmark]
#[bench::sha256(warm(hash_key, KEY))]
fn api_key(key: &str) -> String {
    hash_key(black_box(key))
}

fn phone((digits, code): (&str, &str)) -> Phone {
    let (digits, code) = (Digits::parse(digits).expect("digits"), CountryCode::parse(code).expect("a calling code"));
    Phone::new(digits, code).expect("a phone number")
}

#[library_benchmark]
#[bench::country_1(warm(phone, ("6105551212", "1")))]
#[bench::country_33(warm(phone, ("0612345678", "33")))]
fn e164(number: (&str, &str)) -> Phone {
    phone(black_box(number))
}

fn to_items(add: &AddPhone) -> (Item, Item, AttributeValue) {
    (
        items::customer_key(&add.client_id, &add.ccid),
        items::phone_key(&add.client_id, &add.channel.phone),
        items::from_channel(&add.channel),
    )
}

fn command() -> &'static AddPhone {
    Box::leak(Box::new(parse_request(parsed())))
}

#[library_benchmark]
#[bench::add(warm(to_items, command()))]
fn items_of(add: &'static AddPhone) -> (Item, Item, AttributeValue) {
    to_items(black_box(add))
}

/// The record with 50 numbers that comes with the refusal of an add.
fn full_record() -> &'static Item {
    let (client, ccid) = (ClientId::parse("demo-clinic").expect("a client id"), Ccid::parse("C").expect("a ccid"));
    let channel = || AttributeValue::M(Item::new());
    let channels = (0..50).map(|number| (format!("+161055510{number:02}"), channel())).collect();
    let mut record = items::empty_record(&client, &ccid, UnixMillis::now());
    record.insert(items::PHONE_COUNT.to_owned(), AttributeValue::N("50".to_owned()));
    record.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(channels));
    Box::leak(Box::new(record))
}

fn read_reasons(record: &Item) -> Cancellation {
    let record = Reason { code: "ConditionalCheckFailed", item: Some(record) };
    let counter = Reason { code: "None", item: None };
    read_add(&[record, counter], "+16105551212", Limits::CONTRACT)
}

#[library_benchmark]
#[bench::record_full(warm(read_reasons, full_record()))]
fn cancellation(record: &'static Item) -> Cancellation {
    read_reasons(black_box(record))
}

fn respond([number, ccid, client]: [&str; 3]) -> Response {
    Response::message(&phone_added(number, ccid, client))
}

#[library_benchmark]
#[bench::added(warm(respond, ["6105551212", "BAK-11984-007", "demo-clinic"]))]
fn response(values: [&str; 3]) -> Response {
    respond(black_box(values))
}

library_benchmark_group!(
    name = parts,
    benchmarks = [event, route, request, api_key, e164, items_of, cancellation, response]
);
main!(library_benchmark_groups = parts);
