//! Every file of `events/`, each on fresh demo data, against the table beside it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::value::RawValue;

use crate::event_table::{ANSWERS, REFUSED};
use crate::helpers::{TIMEOUT, TestApp, invoke};

fn event(file: &str) -> Box<RawValue> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn every_event_is_answered_as_its_row_says() {
    // Refusals write nothing, so only a success needs fresh data after it.
    let mut app = TestApp::new().await;
    for (file, status, code, message) in ANSWERS {
        let reply = invoke(&app.handler, event(file), TIMEOUT).await.expect(file);
        assert_eq!((reply.row(), reply.message()), ((*status, *code), *message), "{file}: {}", reply.body);
        if *status == 200 {
            app = TestApp::new().await;
        }
    }
}

#[tokio::test]
async fn events_that_are_no_http_requests_are_refused() {
    let app = TestApp::new().await;
    for (file, error_type) in REFUSED {
        let refused = invoke(&app.handler, event(file), TIMEOUT).await.expect_err(file);
        let diagnostic: lambda_http::lambda_runtime::Diagnostic = refused.into();
        assert_eq!(diagnostic.error_type, *error_type, "{file}");
        assert_eq!(diagnostic.error_message, "The event is not an HTTP request of API Gateway.");
    }
}

#[test]
fn every_file_has_a_row_and_every_row_a_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    // Not an event: the variables for `sam local invoke`.
    let files: BTreeSet<_> = files.filter(|file| file != "env.json").collect();
    let rows: Vec<_> = ANSWERS.iter().map(|row| row.0).chain(REFUSED.iter().map(|row| row.0)).collect();
    let distinct: BTreeSet<_> = rows.iter().map(|row| (*row).to_owned()).collect();
    assert_eq!(rows.len(), distinct.len(), "a file has two rows");
    assert_eq!(files, distinct);
}
