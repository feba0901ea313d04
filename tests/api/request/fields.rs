//! Every field rule, at its boundary.

use serde_json::{Value, json};
use testkit::demo;

use crate::helpers::{Reply, Request, TestApp, add, encoded};

/// Asserts that exactly this field is refused, in the events of both gateways.
async fn assert_refused(app: &TestApp, request: &Request, field: &str) {
    for reply in [app.send(request).await, app.send_rest(request).await] {
        assert_eq!(reply.row(), (400, Some("invalid_request")), "{field}: {}", reply.body);
        assert_eq!(reply.fields(), [field], "{}", reply.body);
    }
}

/// Asserts that the request passed the field rules: it found that the customer does not exist.
fn assert_passed(reply: &Reply) {
    assert_eq!(reply.row(), (404, Some("customer_not_found")), "{}", reply.body);
}

#[tokio::test]
async fn ccid() {
    let app = TestApp::new().await;
    for good in [
        "a",
        "..a",
        "a b",
        "a.b",
        "é",
        "a+b",
        "%41",
        "a?b",
        "a#b",
        "a\\b",
        "'\"<>&",
        &"x".repeat(100),
        &"é".repeat(100),
        &"𝄞".repeat(100),
    ] {
        assert_passed(&app.send(&add(good, "6105551212")).await);
        assert_passed(&app.send_rest(&add(good, "6105551212")).await);
    }
    let too_long = "x".repeat(101);
    let too_long_in_characters = "é".repeat(101);
    for bad in [".", "..", "a/b", "/", "a\u{0}", "a\tb", "a\nb", "\u{7f}", "\u{85}", &too_long, &too_long_in_characters]
    {
        assert_refused(&app, &add(bad, "6105551212"), "path.ccid").await;
    }
}

#[tokio::test]
async fn ccids_compare_byte_for_byte() {
    let app = TestApp::new().await;
    assert_eq!(app.send(&add(demo::CUSTOMER, "6105551212")).await.status, 200);
    assert_passed(&app.send(&add(&demo::CUSTOMER.to_lowercase(), "6105551212")).await);
    assert_passed(&app.send(&add(&format!("{} ", demo::CUSTOMER), "6105551212")).await);
    // The same letter, composed and decomposed.
    assert_eq!(app.send(&add(demo::CUSTOMER_ODD, "6105551212")).await.status, 200);
    assert_passed(&app.send(&add(&demo::CUSTOMER_ODD.replace('ë', "e\u{308}"), "6105551212")).await);
}

#[tokio::test]
async fn phone_number() {
    let app = TestApp::new().await;
    for good in ["6105551212", "16105551212", "0000000000", "1234567890"] {
        assert_passed(&app.send(&add("unknown", good)).await);
    }
    for bad in [
        "1",
        "610555121",
        "161055512120",
        "+6105551212",
        "+16105551212",
        "610-555-1212",
        "610555 1212",
        "6105551212 ",
        "٦١٠٥٥٥١٢١٢",
        "６１０５５５１２１２",
        "610555121x",
        "%2B6105551212",
        "1e10000000",
        "26105551212",
        &"6".repeat(10_000),
    ] {
        assert_refused(&app, &add("unknown", bad), "path.phone_number").await;
    }
}

#[tokio::test]
async fn a_number_and_its_country_code_are_judged_together() {
    let app = TestApp::new().await;
    let add = |digits, code| add("unknown", digits).body(json!({ "country_code": code }));
    assert_passed(&app.send(&add("0612345678", "33")).await);
    assert_passed(&app.send(&add("26105551212", "44")).await);
    // Eleven digits of country code 1 begin with 1.
    assert_refused(&app, &add("26105551212", "1"), "path.phone_number").await;
    // 00 33 dials France, which is not the stated country.
    assert_refused(&app, &add("0033612345", "44"), "path.phone_number").await;
    // An invalid country code alone does not make the digits invalid.
    assert_refused(&app, &add("26105551212", "x"), "body.country_code").await;
}

async fn field(app: &TestApp, name: &str, good: &[Value], bad: &[Value]) {
    for value in good {
        let digits = if name == "country_code" { "6105551212" } else { "16105551212" };
        assert_passed(&app.send(&add("unknown", digits).body(json!({ name: value }))).await);
    }
    let wrong_types = [json!(null), json!(1), json!(true), json!(["a"]), json!({ "a": 1 }), json!(1.5)];
    for value in bad.iter().chain(&wrong_types) {
        let request = add("unknown", "6105551212").body(json!({ name: value }));
        assert_refused(app, &request, &format!("body.{name}")).await;
    }
    let twice = format!(r#"{{"{name}":{0},"{name}":{0}}}"#, good[0]);
    assert_refused(app, &add("unknown", "6105551212").body(twice), &format!("body.{name}")).await;
}

#[tokio::test]
async fn consent_type() {
    let words = ["written", "express", "stop"].map(Value::from);
    let others = ["", "Written", "written ", "none", "unknown"].map(Value::from);
    field(&TestApp::new().await, "consent_type", &words, &others).await;
}

#[tokio::test]
async fn phone_type() {
    let words = ["mobile", "landline", "unknown"].map(Value::from);
    let others = ["", "MOBILE", "fax", "cell"].map(Value::from);
    field(&TestApp::new().await, "phone_type", &words, &others).await;
}

#[tokio::test]
async fn country_code() {
    let codes = ["1", "+1", "44", "+44", "353", "+353"].map(Value::from);
    let others = ["", "+", "0", "01", "+01", "++1", "1 ", " 1", "999", "1234", "12345678901", "٤٤", "US", "1-", "00"];
    field(&TestApp::new().await, "country_code", &codes, &others.map(Value::from)).await;
}

#[tokio::test]
async fn client_source() {
    let texts = ["x".to_owned(), "internal".to_owned(), "x".repeat(100), "é".repeat(100)].map(Value::from);
    let others = [String::new(), "x".repeat(101), "é".repeat(101)].map(Value::from);
    field(&TestApp::new().await, "client_source", &texts, &others).await;
}

#[tokio::test]
async fn idempotency_key() {
    let app = TestApp::new().await;
    let add = |key: &str| add("unknown", "6105551212").header("Idempotency-Key", key);
    for good in ["k", " ", "a b", "~", &"k".repeat(255)] {
        assert_passed(&app.send(&add(good)).await);
    }
    for bad in ["", "é", "a\tb", "\u{7f}", &"k".repeat(256)] {
        assert_refused(&app, &add(bad), "header.idempotency-key").await;
    }
}

#[tokio::test]
async fn the_body_is_one_json_object_or_nothing() {
    let app = TestApp::new().await;
    let with = |body: &str| add("unknown", "6105551212").body(body);
    for good in ["", "{}", " {} ", "{\"phone_type\":\"\\u006dobile\"}", "\n{\n}\n"] {
        assert_passed(&app.send(&with(good)).await);
    }
    assert_passed(&app.send(&add("unknown", "6105551212")).await);
    let deep = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    let long_number = format!("{{\"consent_type\":1{}}}", "0".repeat(10_000));
    for bad in [
        "null",
        "[]",
        "\"a\"",
        "1",
        "true",
        "{",
        "}",
        "{} {}",
        "{}x",
        "{,}",
        "{'a':1}",
        "\u{feff}{}",
        "{\"a\":1,}",
        " ",
        "{\"consent_type\":\"\\ud800\"}",
        "{consent_type:1}",
        "{\"consent_type\":NaN}",
        &deep,
        &long_number,
        &format!("{{\"x\":{deep}}}"),
    ] {
        assert_refused(&app, &with(bad), "body").await;
    }
}

#[tokio::test]
async fn a_body_may_be_base64_and_must_be_utf_8() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    let app = TestApp::new().await;
    let send = async |text: &str| {
        let mut event = add("unknown", "6105551212").body(text).http_event();
        event["isBase64Encoded"] = true.into();
        crate::helpers::send(&app.handler, event, crate::helpers::TIMEOUT).await
    };
    assert_passed(&send(&STANDARD.encode(r#"{"phone_type":"mobile"}"#)).await);
    assert_passed(&send("").await);
    let wrong_value = send(&STANDARD.encode(r#"{"phone_type":"fax"}"#)).await;
    assert_eq!(wrong_value.fields(), ["body.phone_type"]);
    for bad in
        ["{}", "e30", "e30==", "e3 0=", "*", &STANDARD_NO_PAD.encode("{ }  "), &STANDARD.encode(b"{\"a\":\"\xff\"}")]
    {
        assert_eq!(send(bad).await.fields(), ["body"], "{bad}");
    }
}

#[tokio::test]
async fn a_body_is_at_most_16_kib_after_base64() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let app = TestApp::new().await;
    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert_passed(&app.send(&add("unknown", "6105551212").body(padded(16 * 1024))).await);
    assert_refused(&app, &add("unknown", "6105551212").body(padded(16 * 1024 + 1)), "body").await;
    for (length, fits) in [(16 * 1024, true), (16 * 1024 + 1, false), (6_000_000, false)] {
        let mut event = add("unknown", "6105551212").body(STANDARD.encode(padded(length))).http_event();
        event["isBase64Encoded"] = true.into();
        let reply = crate::helpers::send(&app.handler, event, crate::helpers::TIMEOUT).await;
        assert_eq!(reply.status == 404, fits, "{length}: {}", reply.body);
    }
}

#[tokio::test]
async fn unknown_fields_are_named_if_the_name_is_safe_to_repeat() {
    let app = TestApp::new().await;
    let with = |body: Value| add("unknown", "6105551212").body(body);
    assert_refused(&app, &with(json!({ "consent_typ": "written" })), "body.consent_typ").await;
    assert_refused(&app, &with(json!({ "Phone_type": "mobile" })), "body.Phone_type").await;
    // The name may be anything, also a phone number.
    for name in ["6105551213", "", "a b", "é", "a1", &"a".repeat(65)] {
        assert_refused(&app, &with(json!({ name: 1 })), "body").await;
    }
    let twice = add("unknown", "6105551212").body(r#"{"x":1,"x":2}"#);
    assert_refused(&app, &twice, "body.x").await;
}

#[tokio::test]
async fn every_invalid_field_is_reported_at_once_in_a_fixed_order() {
    let app = TestApp::new().await;
    let before = app.everything().await;
    let request = add("bad/ccid-value", "bad-number").header("idempotency-key", "bad-kéy").body(
        r#"{"zzz":"bad-zzz","client_source":"","country_code":"bad-code","aaa":1,"phone_type":"bad-type","consent_type":"bad-consent"}"#,
    );
    for reply in [app.send(&request).await, app.send_rest(&request).await] {
        assert_eq!(
            reply.fields(),
            [
                "path.ccid",
                "path.phone_number",
                "header.idempotency-key",
                "body.consent_type",
                "body.phone_type",
                "body.country_code",
                "body.client_source",
                "body.zzz",
                "body.aaa",
            ]
        );
        assert!(!reply.body.to_string().contains("bad"), "{}", reply.body);
        assert_eq!(reply.body["request_id"], "gateway-request");
        assert_eq!(reply.body["message"], "The request is invalid: see errors.");
    }
    // The error of the body as a whole comes last.
    let request = add("a/b", "1").body("{");
    assert_eq!(app.send(&request).await.fields(), ["path.ccid", "path.phone_number", "body"]);
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let app = TestApp::new().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = add("unknown", "6105551212").header("content-type", content_type).body("{}");
        assert_passed(&app.send(&request).await);
    }
}

#[test]
fn the_encoding_helper_is_correct() {
    assert_eq!(encoded("a b/é%"), "a%20b%2F%C3%A9%25");
}
