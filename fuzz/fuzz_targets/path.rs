//! Any text as the path of an event, in both payload formats and with each method. No parameter of the matched operation is
//! empty or longer than the path.

#![no_main]

use cdm_lambda::domain::Ccid;
use cdm_lambda::http::event::Event;
use cdm_lambda::http::route;
use cdm_lambda::operations;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|path: &str| {
    for method in ["GET", "PUT", "DELETE"] {
        let http = json!({
            "routeKey": "$default",
            "rawPath": path,
            "requestContext": { "http": { "method": method, "path": path } },
        });
        let rest = json!({ "path": path, "httpMethod": method, "resource": "/{proxy+}", "requestContext": {} });
        for event in [http, rest] {
            let event = Event::parse(&event.to_string()).unwrap_or_else(|_| panic!("this is an event"));
            let Ok((_, parameters)) = route::find(&event, &operations::ALL, |operation| operation.route) else {
                continue;
            };
            let names = ["client_id", "ccid", "phone_number", "channel_type"];
            for value in names.into_iter().filter_map(|name| parameters.get(name)) {
                assert!(!value.is_empty() && value.len() <= path.len());
            }
            if let Some(Ok(ccid)) = parameters.get("ccid").map(Ccid::parse) {
                assert!(!ccid.as_str().chars().any(|c| c.is_control() || c == '/'));
            }
        }
    }
});
