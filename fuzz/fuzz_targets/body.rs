//! Any text as the body of an add and of a removal, plain and base64. The result is a command or a list of invalid fields of
//! the body.

#![no_main]

use cdm_lambda::domain::ClientId;
use cdm_lambda::http::event::Event;
use cdm_lambda::http::{RequestError, route};
use cdm_lambda::operations::{self, parse_add_phone, parse_remove_phone};
use cdm_lambda::time::UnixMillis;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|input: (bool, &str)| {
    let (is_base64, body) = input;
    let path = "/cdm/client/a/customer/b/add_phone/6105551212";
    let event = json!({
        "routeKey": "$default",
        "rawPath": path,
        "requestContext": { "http": { "method": "PUT", "path": path } },
        "body": body,
        "isBase64Encoded": is_base64,
    });
    let event = Event::parse(&event.to_string()).unwrap_or_else(|_| panic!("this is an event"));
    let (_, parameters) = route::find(&event, &operations::ALL, |operation| operation.route).unwrap();
    let client = ClientId::parse("a").unwrap();
    let add = parse_add_phone(&client, &event, &parameters, UnixMillis::now());
    let remove = parse_remove_phone(&client, &event, &parameters);
    for phone in [add.map(|add| add.channel.phone), remove.map(|remove| remove.phone)] {
        match phone {
            Ok(phone) => assert!(phone.e164().starts_with('+')),
            Err(RequestError::Invalid(fields)) => {
                assert!(!fields.is_empty());
                assert!(fields.iter().all(|field| field.field == "body"
                    || field.field.starts_with("body.")
                    || field.field == "path.phone_number"));
            }
            Err(error) => panic!("a body cannot cause {error:?}"),
        }
    }
});
