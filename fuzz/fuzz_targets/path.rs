//! Any text as the path of an event, in both payload formats. It matches at most one operation, whose parameters are parts
//! of the path.

#![no_main]

use cdm_lambda::domain::Ccid;
use cdm_lambda::http::event::Event;
use cdm_lambda::http::route;
use cdm_lambda::operations;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|path: &str| {
    let http = json!({
        "routeKey": "$default",
        "rawPath": path,
        "requestContext": { "http": { "method": "GET", "path": path } },
    });
    let rest = json!({ "path": path, "httpMethod": "GET", "resource": "/{proxy+}", "requestContext": {} });
    for event in [http, rest] {
        let event = Event::parse(&event.to_string()).unwrap_or_else(|_| panic!("this is an event"));
        let Ok((_, parameters)) = route::find(&event, &operations::ALL, |operation| operation.route) else { continue };
        for value in ["client_id", "ccid"].into_iter().filter_map(|name| parameters.get(name)) {
            assert!(!value.is_empty() && value.len() <= path.len());
        }
        if let Some(Ok(ccid)) = parameters.get("ccid").map(Ccid::parse) {
            assert!(!ccid.as_str().chars().any(|c| c.is_control() || c == '/'));
        }
    }
});
