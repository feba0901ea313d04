//! API Gateway on this machine. It converts an HTTP request to the event that a deployed gateway would send, invokes the
//! handler through the Lambda runtime's types, and converts the handler's JSON to the HTTP response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cdm_lambda::handler::Handler;
use cdm_lambda::operations::{self, Operation};
use cdm_lambda::time::UnixMillis;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyResponse;
use lambda_http::http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use percent_encoding::percent_decode_str;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::TIMEOUT;

/// API Gateway's limit on the body of a request, in bytes.
pub const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// A type of API Gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// HTTP API with payload format 2.0, as the template deploys it.
    Http,
    /// REST API, which has payload format 1.0.
    Rest,
}

/// The response to a request, and what a log may contain about the request.
pub struct Exchange {
    /// The response for the caller.
    pub response: Response<String>,
    /// The operation of the route, if a route matches.
    pub operation: Option<Operation>,
    /// The `code` of an error response.
    pub code: Option<String>,
}

impl Gateway {
    /// Handles one request.
    pub async fn serve(self, handler: &Handler, request: Parts, body: &[u8]) -> Exchange {
        let matched = Matched::find(request.method.as_str(), request.uri.path());
        let operation = matched.as_ref().map(|matched| matched.operation);
        let event = match self {
            Self::Http => http_event(&request, matched.as_ref(), body),
            Self::Rest => Some(rest_event(&request, matched.as_ref(), body)),
        };
        let Some(Ok(event)) = event.map(|event| to_raw_value(&event)) else {
            return Exchange { response: own_response(StatusCode::BAD_REQUEST, "Bad Request"), operation, code: None };
        };
        if let Some((response, code)) = invoke(handler, event).await {
            Exchange { response, operation, code }
        } else {
            let response = own_response(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
            Exchange { response, operation, code: None }
        }
    }
}

/// Invokes the handler through the runtime's types. `None` if a deployed gateway would respond `Internal Server Error`.
async fn invoke(handler: &Handler, event: Box<RawValue>) -> Option<(Response<String>, Option<String>)> {
    let mut context = Context::default();
    context.request_id = uuid::Uuid::new_v4().to_string();
    context.deadline = UnixMillis::now().millis() + u64::try_from(TIMEOUT.as_millis()).ok()?;
    let returned = handler.handle(LambdaEvent::new(event, context)).await.ok()?;
    let returned = serde_json::to_string(&returned).ok()?;
    let returned: ApiGatewayProxyResponse = serde_json::from_str(&returned).ok()?;
    let lambda_http::Body::Text(body) = returned.body? else { return None };
    let code = serde_json::from_str::<Value>(&body).ok().and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(u16::try_from(returned.status_code).ok()?).ok()?;
    *response.headers_mut() = returned.headers;
    Some((response, code))
}

/// A route that matches the path of a request.
struct Matched<'a> {
    operation: Operation,
    template: &'static str,
    /// Names and percent-encoded values.
    parameters: Vec<(String, &'a str)>,
}

impl<'a> Matched<'a> {
    /// The operation of this method and path, or the first one of the path.
    fn find(method: &str, path: &'a str) -> Option<Self> {
        let matched: Vec<_> = Self::all(path).collect();
        let of_method = matched.iter().position(|matched| matched.operation.route.method == method);
        matched.into_iter().nth(of_method.unwrap_or_default())
    }

    fn all(path: &'a str) -> impl Iterator<Item = Self> {
        operations::ALL.into_iter().filter_map(|operation| {
            let template = operation.route.path;
            let names: Vec<_> = template.split('/').collect();
            let values: Vec<_> = path.split('/').collect();
            let mut parameters = Vec::new();
            for (name, value) in names.iter().zip(&values) {
                match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if !value.is_empty() => parameters.push((name.to_owned(), *value)),
                    None if name == value => {}
                    _ => return None,
                }
            }
            (names.len() == values.len()).then_some(Self { operation, template, parameters })
        })
    }
}

/// Payload format 2.0: the path and its parameters are percent-decoded. `None` if they are not UTF-8.
fn http_event(request: &Parts, matched: Option<&Matched<'_>>, body: &[u8]) -> Option<Value> {
    let decoded = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let mut parameters = Map::new();
    for (name, value) in matched.iter().flat_map(|matched| &matched.parameters) {
        parameters.insert(name.clone(), decoded(value)?.into());
    }
    // HTTP API cuts the path at a decoded question mark.
    let path = decoded(request.uri.path())?.split('?').next().unwrap_or_default().to_owned();
    let route = matched.map_or_else(|| "$default".to_owned(), |matched| format!("ANY {}", matched.template));
    let (body, is_base64) = payload_2_body(&request.headers, body);
    Some(json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": request.uri.query().unwrap_or_default(),
        "headers": joined(&request.headers),
        "pathParameters": (!parameters.is_empty()).then_some(parameters),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": text(request.headers.get(header::USER_AGENT)),
            },
            "requestId": uuid::Uuid::new_v4().to_string(),
            "routeKey": route,
            "stage": "$default",
            "time": time(UnixMillis::now()),
            "timeEpoch": UnixMillis::now().millis(),
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }))
}

/// Payload format 1.0: the path and its parameters stay percent-encoded, and a body that is UTF-8 is text.
fn rest_event(request: &Parts, matched: Option<&Matched<'_>>, body: &[u8]) -> Value {
    let parameters: Map<_, _> = matched
        .iter()
        .flat_map(|matched| &matched.parameters)
        .map(|(name, value)| (name.clone(), Value::from(*value)))
        .collect();
    let mut multi_value = Map::new();
    for name in request.headers.keys() {
        let values: Vec<_> = request.headers.get_all(name).iter().map(|value| text(Some(value))).collect();
        multi_value.insert(name.to_string(), values.into());
    }
    let query = query(request.uri.query());
    let path = request.uri.path();
    let resource = matched.map_or("/{proxy+}", |matched| matched.template);
    let (body, is_base64) = match std::str::from_utf8(body) {
        _ if body.is_empty() => (Value::Null, false),
        Ok(text) => (text.into(), false),
        Err(_) => (STANDARD.encode(body).into(), true),
    };
    json!({
        "resource": resource,
        "path": path,
        "httpMethod": request.method.as_str(),
        "headers": joined(&request.headers),
        "multiValueHeaders": multi_value,
        "queryStringParameters": query.as_ref().map(last_values),
        "multiValueQueryStringParameters": query,
        "pathParameters": if parameters.is_empty() { json!({ "proxy": path.trim_start_matches('/') }) } else { parameters.into() },
        "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "httpMethod": request.method.as_str(),
            "identity": { "sourceIp": "127.0.0.1", "userAgent": text(request.headers.get(header::USER_AGENT)) },
            "path": path,
            "protocol": "HTTP/1.1",
            "requestId": uuid::Uuid::new_v4().to_string(),
            "requestTimeEpoch": UnixMillis::now().millis(),
            "resourcePath": resource,
            "stage": "local",
        },
        "body": body,
        "isBase64Encoded": is_base64,
    })
}

/// `12/Nov/2025:02:38:06 +0000`.
fn time(at: UnixMillis) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.to_rfc3339();
    let (date, time) = text.split_once('T').unwrap_or_default();
    let mut parts = date.split('-');
    let [year, month, day] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"");
    format!("{day}/{month}/{year}:{} +0000", time.split('.').next().unwrap_or_default())
}

/// The last value of each name.
fn last_values(query: &Map<String, Value>) -> Map<String, Value> {
    let last = |values: &Value| values.as_array().and_then(|values| values.last()).cloned().unwrap_or_default();
    query.iter().map(|(name, values)| (name.clone(), last(values))).collect()
}

/// The decoded values of a query string, by name. `None` without one.
fn query(text: Option<&str>) -> Option<Map<String, Value>> {
    let mut values = Map::new();
    for pair in text.into_iter().flat_map(|text| text.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let entry = values.entry(decoded(name)).or_insert_with(|| json!([]));
        if let Some(list) = entry.as_array_mut() {
            list.push(decoded(value).into());
        }
    }
    (!values.is_empty()).then_some(values)
}

/// HTTP API sends a body as text only if the content type says that it is text.
fn payload_2_body(headers: &HeaderMap, body: &[u8]) -> (Value, bool) {
    const TEXTS: [&str; 3] = ["application/json", "application/javascript", "application/xml"];
    if body.is_empty() {
        return (Value::Null, false);
    }
    let content_type = text(headers.get(header::CONTENT_TYPE)).to_ascii_lowercase();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match std::str::from_utf8(body) {
        Ok(text) if essence.starts_with("text/") || TEXTS.contains(&essence) => (text.into(), false),
        _ => (STANDARD.encode(body).into(), true),
    }
}

/// Headers by lower-case name. The values of a repeated header are joined.
fn joined(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| text(Some(value))).collect();
        map.insert(name.to_string(), values.join(",").into());
    }
    map
}

fn text(value: Option<&HeaderValue>) -> String {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// A response of the gateway itself.
fn own_response(status: StatusCode, message: &str) -> Response<String> {
    let mut response = Response::new(json!({ "message": message }).to_string());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
