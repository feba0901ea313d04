//! Reads the function's responses, and checks their form.

use std::collections::BTreeMap;

use cdm_lambda::http::response::Response;
use serde_json::Value as Json;

use super::model::ModelResponse;
use crate::plan::names::{consent, customer_index, phone_index};
use crate::plan::{Consent, Operation, Request};

/// Reads a response, and checks its form.
pub(super) fn read(request: &Request, response: &Response, wrong: &mut Vec<String>) -> ModelResponse {
    let Ok(body) = serde_json::from_str::<Json>(&response.body) else {
        wrong.push("the body is not JSON".to_owned());
        return ModelResponse::Unknown;
    };
    let code = body.get("code").and_then(Json::as_str);
    let is_replay = response.headers.iter().any(|(name, _)| *name == "idempotency-replayed");
    match (response.status_code, code) {
        (200, None) if request.operation == Operation::Read => {
            let channels = body.get("notification_channels").and_then(Json::as_array);
            let phones = channels.into_iter().flatten().map(|channel| {
                let phone = channel.get("channel_addr").and_then(Json::as_str).and_then(phone_index);
                (phone.unwrap_or(u16::MAX), channel.get("consent_type").and_then(Json::as_str).and_then(consent))
            });
            let phones: BTreeMap<_, _> = phones.collect();
            if body.get("phone_count").and_then(Json::as_u64) != Some(phones.len() as u64) {
                wrong.push("phone_count is not the number of channels".to_owned());
            }
            ModelResponse::Record(phones)
        }
        (200, None) if request.operation == Operation::ReadPhone => {
            let ccids: Vec<_> = body.get("ccids").and_then(Json::as_array).into_iter().flatten().collect();
            let customers: std::collections::BTreeSet<_> =
                ccids.iter().filter_map(|ccid| ccid.as_str().and_then(customer_index)).collect();
            let count = body.get("ccid_count").and_then(Json::as_u64);
            if count != Some(customers.len() as u64) || customers.len() != ccids.len() {
                wrong.push("ccid_count is not the number of ccids".to_owned());
            }
            ModelResponse::Phone(customers, stated(&body))
        }
        (200, None) if request.operation == Operation::UpdateConsent => {
            let consent = stated(&body);
            if consent.is_none() {
                wrong.push("a 200 without a consent".to_owned());
            }
            consent.map_or(ModelResponse::Unknown, ModelResponse::Consent)
        }
        (201, None) if request.operation == Operation::Create => ModelResponse::Done,
        (200, None) if request.operation == Operation::Create => ModelResponse::Exists,
        (200, None) if is_replay => ModelResponse::Replayed,
        (200, None) => ModelResponse::Done,
        (500, Some("try_again")) => ModelResponse::TryAgain,
        (500, Some("internal_error")) => ModelResponse::Unknown,
        (400..500, Some(code)) => ModelResponse::Refused(code.to_owned()),
        _ => {
            wrong.push(format!("an undocumented response: {} {code:?}", response.status_code));
            ModelResponse::Unknown
        }
    }
}

/// The consent in a body, if there is one.
fn stated(body: &Json) -> Option<Consent> {
    body.get("consent")?.get("consent_type")?.as_str().and_then(consent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ApiKey;

    #[test]
    fn a_200_to_a_change_of_consent_must_have_the_consent() {
        let request = Request {
            id: 0,
            at: 0,
            operation: Operation::UpdateConsent,
            client: 0,
            customer: 0,
            phone: 0,
            idempotency: None,
            source: 0,
            consent: Some(Consent::Stop),
            key: ApiKey::Unknown,
            timeout_millis: 0,
        };
        let check = |body: &str| {
            let mut wrong = Vec::new();
            let headers = Vec::new();
            let response =
                Response { status_code: 200, headers, body: body.to_owned(), is_base64_encoded: false, code: None };
            let observed = read(&request, &response, &mut wrong);
            (observed, wrong)
        };
        let stopped = check(r#"{"consent":{"consent_type":"stop"}}"#);
        assert_eq!(stopped, (ModelResponse::Consent(Consent::Stop), Vec::new()));
        assert_eq!(check("{}").1, ["a 200 without a consent"]);
    }
}
