//! Any text as the path of an event, in both shapes: at most one operation, and its values are parts of the path.

#![no_main]

use cdm_lambda::http::event::Event;
use cdm_lambda::http::request;
use cdm_lambda::http::route::Route;
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
        let event = Event::read(&event.to_string()).unwrap_or_else(|_| panic!("it is an event"));
        let Ok(route) = Route::find(&event) else { continue };
        for value in [&route.client_id, &route.ccid].into_iter().flatten() {
            assert!(!value.is_empty() && value.len() <= path.len());
        }
        if let Ok(ccid) = request::customer(&route) {
            assert_eq!(route.ccid.as_deref(), Some(ccid.as_str()));
            assert!(!ccid.as_str().chars().any(|c| c.is_control() || c == '/'));
        }
    }
});
