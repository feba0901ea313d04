//! The pieces of an add, one at a time: `micro PIECE COUNT` does one of them so many times. The harness counts its
//! instructions for two counts; the difference is the piece's own.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::LazyLock;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::auth::ApiKey;
use cdm_lambda::domain::{Ccid, ClientId, CountryCode, Digits, Limits, Phone};
use cdm_lambda::http::event::Event;
use cdm_lambda::http::response::Response;
use cdm_lambda::http::route::{self, PathParameters};
use cdm_lambda::operations::{self, Operation, parse_add_phone, phone_added};
use cdm_lambda::store::cancellation::{Cancellation, Reason, read_add};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;

const ADD: &str = include_str!("../../../events/http-200-added.json");
const KEY: &str = "relay_I9BiuGjyetEESeHsPDLpNQ13Y3f7TwMWXRwM_EOMXEIXWNp2A";

type Piece = (&'static str, fn() -> Option<()>);

/// Whatever a piece makes is looked at, so that nothing is optimised away.
const PIECES: [Piece; 9] = [
    ("event", || Event::parse(black_box(ADD)).ok().map(drop)),
    ("route", || find(black_box(&event()?)).map(drop)),
    ("request", || {
        let event = event()?;
        let client = ClientId::parse("demo-clinic").ok()?;
        parse_add_phone(&client, black_box(&event), &find(&event)?.1, UnixMillis::now()).ok().map(drop)
    }),
    ("api_key", || black_box(ApiKey::parse(black_box(KEY))?.sha256_hex()).get(..1).map(drop)),
    ("e164_country_1", || e164(black_box("6105551212"), "1")),
    ("e164_country_33", || e164(black_box("0612345678"), "33")),
    ("items", || {
        let event = event()?;
        let client = ClientId::parse("demo-clinic").ok()?;
        let add = parse_add_phone(&client, &event, &find(&event)?.1, UnixMillis::now()).ok()?;
        black_box(items::customer_key(&add.client_id, &add.ccid));
        black_box(items::phone_key(&add.client_id, &add.channel.phone));
        black_box(items::from_channel(&add.channel));
        Some(())
    }),
    ("reasons", || {
        let record = Reason { code: "ConditionalCheckFailed", item: FULL.as_ref() };
        let counter = Reason { code: "None", item: None };
        (read_add(black_box(&[record, counter]), black_box("+16105551212"), Limits::CONTRACT)
            == Cancellation::RecordFull)
            .then_some(())
    }),
    ("answer", || {
        let message = phone_added(black_box("6105551212"), black_box("BAK-11984-007"), black_box("demo-clinic"));
        black_box(Response::message(&message)).body.get(..1).map(drop)
    }),
];

fn find(event: &Event) -> Option<(Operation, PathParameters<'_>)> {
    route::find(event, &operations::ALL, |operation| operation.route).ok()
}

/// A record of as many numbers as one may have, as a refused add gets it back.
static FULL: LazyLock<Option<Item>> = LazyLock::new(|| {
    let (client, ccid) = (ClientId::parse("demo-clinic").ok()?, Ccid::parse("BAK-11984-050").ok()?);
    let channel = || AttributeValue::M(Item::new());
    let channels = (0..50).map(|number| (format!("+161055510{number:02}"), channel())).collect();
    let mut record = items::empty_record(&client, &ccid, UnixMillis::now());
    record.insert(items::PHONE_COUNT.to_owned(), AttributeValue::N("50".to_owned()));
    record.insert(items::NOTIFICATION_CHANNELS.to_owned(), AttributeValue::M(channels));
    Some(record)
});

fn event() -> Option<Event> {
    Event::parse(ADD).ok()
}

fn e164(digits: &str, code: &str) -> Option<()> {
    let phone = Phone::new(Digits::parse(digits).ok()?, CountryCode::parse(code).ok()?).ok()?;
    black_box(phone).e164().get(..1).map(drop)
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [piece, count] = words.as_slice() else {
        for (name, _) in PIECES {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let (Some((_, piece)), Ok(count)) = (PIECES.iter().find(|(name, _)| name == piece), count.parse::<u32>()) else {
        eprintln!("usage: micro PIECE COUNT");
        return ExitCode::FAILURE;
    };
    let done = (0..count).all(|_| piece().is_some());
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
