//! From path to operation: bases, decoding exactly once, other routes, other methods.

use serde_json::{Value, json};
use testkit::demo;

use crate::helpers::{
    Reply, Request, TIMEOUT, TestApp, add, consent, create, customer, delete, encoded, phone, remove, send,
};

/// An event of a catch-all route, so only the path tells the operation.
async fn by_path(app: &TestApp, method: &str, path: &str, payload_format: &str) -> Reply {
    request_by_path(app, &add(demo::CUSTOMER, "6105551212"), method, path, payload_format).await
}

async fn request_by_path(app: &TestApp, request: &Request, method: &str, path: &str, payload_format: &str) -> Reply {
    let mut event = if payload_format == "http" { request.http_event() } else { request.rest_event() };
    if payload_format == "http" {
        event["routeKey"] = "$default".into();
        event["rawPath"] = path.into();
        event["requestContext"]["http"]["method"] = method.into();
    } else {
        event["resource"] = "/{proxy+}".into();
        event["path"] = path.into();
        event["httpMethod"] = method.into();
    }
    event["pathParameters"] = Value::Null;
    send(&app.handler, event, TIMEOUT).await
}

#[tokio::test]
async fn any_stage_or_base_path_may_precede_the_route() {
    for base in ["", "/prod", "/platform/v3/api", "/cdm/client/x/customer/y", "//", "/add_phone/1"] {
        let app = TestApp::new().await;
        let route = format!("{base}/cdm/client/demo-clinic/customer/BAK-11984-007");
        for (digits, payload_format) in [("6105551212", "http"), ("6105551213", "rest")] {
            let reply = by_path(&app, "PUT", &format!("{route}/add_phone/{digits}"), payload_format).await;
            assert_eq!(reply.status, 200, "{base} {payload_format}: {}", reply.body);
        }
        assert_eq!(app.send(&add(demo::CUSTOMER, "6105551214").base(base)).await.status, 200, "{base}");
        assert_eq!(by_path(&app, "GET", &route, "http").await.body["phone_count"], 3);
    }
}

#[tokio::test]
async fn an_unknown_route_is_a_404_before_the_key_check() {
    let app = TestApp::new().await;
    let end = "cdm/client/demo-clinic/customer/BAK-11984-007/add_phone/6105551212";
    let others = [
        String::new(),
        "/".to_owned(),
        end.to_owned(),
        format!("/{end}/"),
        format!("/{end}/more"),
        format!("/{}", end.replace("add_phone", "add_phones")),
        format!("/{}", end.replace("add_phone", "Add_Phone")),
        format!("/{}", end.replace("cdm/", "")),
        format!("/{}", end.replace("demo-clinic", "")),
        format!("/{}", end.replace("BAK-11984-007", "")),
        format!("/{}", end.replace("6105551212", "")),
    ];
    for path in others {
        for payload_format in ["http", "rest"] {
            let reply = by_path(&app, "PUT", &path, payload_format).await;
            assert_eq!(reply.row(), (404, Some("route_not_found")), "{payload_format} {path}");
        }
    }
    assert!(app.faults.take_calls().is_empty());
}

#[tokio::test]
async fn another_method_is_a_405_that_names_every_method_of_the_path() {
    let app = TestApp::new().await;
    for method in ["GET", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "put", ""] {
        for request in [add(demo::CUSTOMER, "6105551212"), remove(demo::CUSTOMER, "6105551212")] {
            for reply in
                [app.send(&request.clone().method(method)).await, app.send_rest(&request.clone().method(method)).await]
            {
                assert_eq!(reply.row(), (405, Some("method_not_allowed")), "{method}");
                assert_eq!(reply.headers["allow"], "PUT");
            }
        }
    }
    for (request, allow) in [
        (customer(demo::CUSTOMER).method("POST"), "DELETE, GET, PUT"),
        (phone(demo::PHONE).method("PUT"), "GET"),
        (consent(demo::PHONE, "stop").method("DELETE"), "PUT"),
    ] {
        for reply in [app.send(&request).await, app.send_rest(&request).await] {
            assert_eq!((reply.row(), &reply.headers["allow"]), ((405, Some("method_not_allowed")), &json!(allow)));
        }
    }
}

/// The ccid that the handler used, taken from the response's message.
async fn seen_as(request: &Request) -> [String; 2] {
    let mut seen = Vec::new();
    for rest in [false, true] {
        let app = TestApp::new().await;
        let reply = if rest { app.send_rest(request).await } else { app.send(request).await };
        assert_eq!(reply.status, 200, "{}", reply.body);
        let (_, end) = reply.message().split_once("with ccid ").unwrap();
        seen.push(end.rsplit_once(" for client").unwrap().0.to_owned());
    }
    seen.try_into().unwrap()
}

#[tokio::test]
async fn each_gateways_path_is_decoded_exactly_once() {
    // It contains a space, a question mark, a dot, two bytes of UTF-8, and a percent sign that looks like an
    // escape.
    let odd = demo::CUSTOMER_ODD;
    assert_eq!(seen_as(&add(odd, "6105551212")).await, [odd, odd]);
}

#[tokio::test]
async fn each_payload_format_has_its_own_path_encoding() {
    let app = TestApp::new().await;
    let path = |ccid: &str, digits: &str| format!("/cdm/client/demo-clinic/customer/{ccid}/add_phone/{digits}");
    let odd = encoded(demo::CUSTOMER_ODD);
    let reply = by_path(&app, "PUT", &path(&odd, "6105551212"), "rest").await;
    assert_eq!(reply.status, 200, "REST API keeps the encoding: {}", reply.body);
    let reply = by_path(&app, "PUT", &path(demo::CUSTOMER_ODD, "6105551212"), "http").await;
    assert_eq!(reply.code(), Some("phone_already_added"), "HTTP API has decoded it");
    // Decoding twice would find the customer.
    let twice = encoded(&odd);
    let reply = by_path(&app, "PUT", &path(&twice, "6105551212"), "rest").await;
    assert_eq!(reply.code(), Some("customer_not_found"));
    let reply = by_path(&app, "PUT", &path(&odd, "6105551212"), "http").await;
    assert_eq!(reply.code(), Some("customer_not_found"));
    // A plus sign is not a space, and %2B is a plus sign. Neither is a digit.
    for digits in ["+6105551212", "%2B6105551212"] {
        assert_eq!(by_path(&app, "PUT", &path("a", digits), "rest").await.fields(), ["path.phone_number"]);
    }
    // An encoded slash is part of the segment, and a ccid must not contain it.
    assert_eq!(by_path(&app, "PUT", &path("a%2Fb", "6105551212"), "rest").await.fields(), ["path.ccid"]);
    // Dots are not steps to the parent, encoded or not.
    for dots in ["..", "%2E%2E"] {
        assert_eq!(by_path(&app, "PUT", &path(dots, "6105551212"), "rest").await.fields(), ["path.ccid"]);
    }
    // A percent sign that does not begin an escape stays a percent sign.
    assert_eq!(by_path(&app, "PUT", &path("%zz%4", "6105551212"), "rest").await.code(), Some("customer_not_found"));
    // The literal segments may be encoded, as any segment may.
    let reply =
        by_path(&app, "PUT", "/%63dm/client/demo%2Dclinic/customer/unknown/add%5Fphone/6105551212", "rest").await;
    assert_eq!(reply.code(), Some("customer_not_found"));
}

#[tokio::test]
async fn bad_utf_8_is_a_400_after_the_key_check() {
    let app = TestApp::new().await;
    let path =
        |client: &str, ccid: &str, digits: &str| format!("/cdm/client/{client}/customer/{ccid}/add_phone/{digits}");
    let unauthorized = add(demo::CUSTOMER, "6105551212").no_key();
    let reply = request_by_path(&app, &unauthorized, "PUT", &path("demo-clinic", "a%FF", "6105551212"), "rest").await;
    assert_eq!(reply.status, 401);
    let reply = by_path(&app, "PUT", &path("demo-clinic", "a%FF", "6105551212"), "rest").await;
    assert_eq!((reply.status, reply.fields()), (400, vec!["path.ccid"]));
    let reply = by_path(&app, "PUT", &path("demo-clinic", "%C3%28", "%ED%A0%80"), "rest").await;
    assert_eq!((reply.status, reply.fields()), (400, vec!["path.ccid", "path.phone_number"]));
    // It is not a client's name.
    assert_eq!(by_path(&app, "PUT", &path("%FF", "a", "6105551212"), "rest").await.status, 401);
}

/// A ccid that contains the encoded path of another operation.
const PATH_IN_CCID: &str = "cdm/client/demo-clinic/customer/BAK-11984-007/add_phone/6105551299";

#[tokio::test]
async fn the_route_that_the_gateway_matched_is_the_route() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    let post = customer(PATH_IN_CCID).method("POST");
    for reply in [app.send(&post).await, app.send_rest(&post).await] {
        assert_eq!(reply.row(), (405, Some("method_not_allowed")), "the gateway matched the customer's path");
        assert_eq!(reply.headers["allow"], "DELETE, GET, PUT");
    }
    for request in [customer(PATH_IN_CCID), create(PATH_IN_CCID), delete(PATH_IN_CCID)] {
        for reply in [app.send(&request).await, app.send_rest(&request).await] {
            assert_eq!((reply.status, reply.fields()), (400, vec!["path.ccid"]));
        }
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_route_of_another_service_is_not_found_whatever_its_path_holds() {
    let app = TestApp::new().await;
    for template in ["/cdm/client/{client_id}/customer/{ccid}/notes/{note}", "/patients/{id}", "/"] {
        for mut event in
            [add(demo::CUSTOMER, "6105551212").http_event(), add(demo::CUSTOMER, "6105551212").rest_event()]
        {
            if event["routeKey"].is_string() {
                event["routeKey"] = format!("PUT {template}").into();
            } else {
                event["resource"] = template.into();
            }
            let reply = send(&app.handler, event, TIMEOUT).await;
            assert_eq!(reply.row(), (404, Some("route_not_found")), "{template}");
        }
    }
}

#[tokio::test]
async fn a_matched_route_without_its_values_is_not_found() {
    let app = TestApp::new().await;
    for parameters in
        [Value::Null, json!({}), json!({ "client_id": "demo-clinic", "ccid": "", "phone_number": "6105551212" })]
    {
        let mut event = add(demo::CUSTOMER, "6105551212").http_event();
        event["pathParameters"] = parameters;
        assert_eq!(send(&app.handler, event, TIMEOUT).await.row(), (404, Some("route_not_found")));
    }
}

/// Which senders decode the path before the handler receives it, and which do not.
#[tokio::test]
async fn each_senders_path_is_decoded_exactly_once() {
    let odd = demo::CUSTOMER_ODD;
    let add = add(odd, "6105551212");
    let (decoded, encoded) = (add.http_event(), add.rest_event());
    let with = |event: &Value, changes: &[(&str, Value)]| {
        let mut event = event.clone();
        for (place, value) in changes {
            *event.pointer_mut(place).expect("the event has this member") = value.clone();
        }
        event
    };
    let parameters = |event: &Value| event["pathParameters"].clone();
    let mut format_1 =
        with(&encoded, &[("/pathParameters", parameters(&decoded)), ("/path", decoded["rawPath"].clone())]);
    format_1["version"] = "1.0".into();
    let mut function_url = with(
        &decoded,
        &[("/pathParameters", Value::Null), ("/routeKey", "$default".into()), ("/rawPath", encoded["path"].clone())],
    );
    function_url["requestContext"]["domainName"] = "q7d0example.lambda-url.us-east-1.on.aws".into();
    let mut load_balancer = with(&encoded, &[("/pathParameters", Value::Null), ("/resource", Value::Null)]);
    load_balancer["requestContext"] = json!({ "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:…" } });
    let fronts = [
        ("HTTP API, format 2.0", decoded),
        ("HTTP API, format 1.0", format_1),
        ("REST API", encoded),
        ("function URL", function_url),
        ("load balancer", load_balancer),
    ];
    for (front, event) in fronts {
        let app = TestApp::new().await;
        let reply = send(&app.handler, event, TIMEOUT).await;
        assert_eq!(reply.status, 200, "{front}: {}", reply.body);
        assert!(reply.message().contains(&format!("with ccid {odd} for client")), "{front}");
    }
}
