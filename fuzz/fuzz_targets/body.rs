//! Any text as the body of an add and of a removal, plain and base64: a value, or every reason why not.

#![no_main]

use cdm_lambda::domain::ClientId;
use cdm_lambda::error::Error;
use cdm_lambda::http::event::Event;
use cdm_lambda::http::request;
use cdm_lambda::http::route::Route;
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
    let event = Event::read(&event.to_string()).unwrap_or_else(|_| panic!("it is an event"));
    let route = Route::find(&event).unwrap();
    let client = || ClientId::parse("a").unwrap();
    match request::add_phone(client(), &route, &event, UnixMillis::now()) {
        Ok(add) => assert!(add.channel.phone.e164().starts_with('+')),
        Err(Error::InvalidRequest(fields)) => {
            assert!(!fields.is_empty());
            assert!(fields.iter().all(|field| field.field == "body"
                || field.field.starts_with("body.")
                || field.field == "path.phone_number"));
        }
        Err(_) => panic!("a body has no other way to be wrong"),
    }
    let _ = request::remove_phone(client(), &route, &event);
});
