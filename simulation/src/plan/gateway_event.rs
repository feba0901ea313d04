//! The gateway's event of a request.

use cdm_lambda::http::route::Route;
use cdm_lambda::operations;
use serde_json::json;

use crate::plan::names::{api_key, ccid, client, consent_type, digits};
use crate::plan::{Operation, Request};

fn route(operation: Operation) -> Route {
    let name = match operation {
        Operation::Add => "add_phone",
        Operation::Remove => "remove_phone",
        Operation::Read => "get_customer",
        Operation::Create => "create_customer",
        Operation::Delete => "delete_customer",
        Operation::ReadPhone => "get_phone",
        Operation::UpdateConsent => "update_consent",
    };
    let found = operations::ALL.iter().find(|operation| operation.name == name);
    found.map_or_else(|| unreachable!("{name} is an operation"), |operation| operation.route)
}

/// The event of an HTTP API.
pub fn of(seed: u64, request: &Request, attempt: u32) -> String {
    let (client, ccid, digits) = (client(request.client), ccid(request.customer), digits(request.phone));
    let Route { method, path: template } = route(request.operation);
    let mut path = template.to_owned();
    let mut parameters = serde_json::Map::new();
    for (name, value) in
        [("client_id", client.as_str()), ("ccid", &ccid), ("phone_number", &digits), ("channel_type", "sms")]
    {
        let placeholder = format!("{{{name}}}");
        if path.contains(&placeholder) {
            path = path.replace(&placeholder, value);
            parameters.insert(name.to_owned(), value.into());
        }
    }
    let mut headers = json!({
        "content-type": "application/json",
        "x-relay-api-key": api_key(seed, request.key).reveal(),
    });
    if let (Some(key), Some(headers)) = (request.idempotency, headers.as_object_mut()) {
        headers.insert("idempotency-key".to_owned(), format!("IDEM-{key}").into());
    }
    let body = match request.operation {
        Operation::Add => {
            let mut body = json!({ "client_source": format!("SRC-{}", request.source) });
            if let (Some(consent), Some(fields)) = (request.consent, body.as_object_mut()) {
                fields.insert("consent_type".to_owned(), consent_type(consent).into());
            }
            body.to_string()
        }
        Operation::UpdateConsent => json!({ "consent_type": request.consent.map(consent_type) }).to_string(),
        _ => String::new(),
    };
    let event = json!({
        "version": "2.0",
        "routeKey": format!("ANY {template}"),
        "rawPath": path,
        "headers": headers,
        "requestContext": {
            "http": { "method": method, "path": path },
            "requestId": format!("request-{}-{attempt}", request.id),
        },
        "pathParameters": parameters,
        "body": body,
        "isBase64Encoded": false,
    });
    event.to_string()
}
