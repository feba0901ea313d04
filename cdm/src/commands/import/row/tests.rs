//! Rows in both formats.

use cdm_lambda::domain::ConsentType;

use super::*;

fn read(first: &str, line: &str) -> Result<(String, Vec<String>), String> {
    let mut format = Format::detect(first.as_bytes()).map_err(|Failure(why)| why)?;
    let row = format.row(line.as_bytes(), &client(), UnixMillis::now())?;
    let numbers = row.channels.iter().map(|channel| {
        format!(
            "{} {} {} {}",
            channel.phone.e164(),
            channel.phone_type.as_str(),
            channel.consent_type.map_or("-", ConsentType::as_str),
            channel.client_source.as_str()
        )
    });
    Ok((row.ccid.as_str().to_owned(), numbers.collect()))
}

fn client() -> ClientId {
    ClientId::parse("demo-clinic").unwrap()
}

const HEADER: &str = "ccid,phone_number,country_code,phone_type,consent_type,client_source";

#[test]
fn csv() {
    for (line, ccid, number) in [
        ("A,,,,,", "A", None),
        ("A,6105551212,,,,", "A", Some("+16105551212 unknown - internal")),
        ("A,0612345678,+33,mobile,written,web", "A", Some("+33612345678 mobile written web")),
        ("A,+33612345678,,,,", "A", Some("+33612345678 unknown - internal")),
        ("A,+33612345678,33,,,", "A", Some("+33612345678 unknown - internal")),
        (r#""A,""1""",6105551212,1,,,"a, b""#, r#"A,"1""#, Some("+16105551212 unknown - a, b")),
        ("Zoë 7?.%41,,,,,", "Zoë 7?.%41", None),
    ] {
        let expected = Ok((ccid.to_owned(), number.map(str::to_owned).into_iter().collect()));
        assert_eq!(read(HEADER, line), expected, "{line}");
    }
    assert_eq!(read("ccid", "A"), Ok(("A".to_owned(), vec![])));
    assert_eq!(read("\u{feff}phone_number, ccid", "6105551212,A").map(|read| read.0).as_deref(), Ok("A"));
}

#[test]
fn invalid_csv_rows_say_why() {
    for (line, why) in [
        ("A,6105551212", "the line has 2 fields, the header 6"),
        ("A,,,,,,", "the line has 7 fields, the header 6"),
        (",,,,,", "ccid must be 1 to 100 characters"),
        ("a/b,,,,,", "ccid must not contain control characters or /"),
        ("A,,1,,,", "phone_number is required"),
        ("A,610-555-1212,,,,", "phone_number must be 10 to 11 digits, or a number in E.164 form such as +16105551212"),
        ("A,+33612345678,1,,,", "country_code must be the country code of the phone number, which is in E.164 form"),
        ("A,+330612345678,,,,", "phone_number must be the number's E.164 form, without a trunk prefix"),
        ("\"A,6105551212,,,,", "a quoted field has no end: a field may not hold a line break"),
        (
            "..,1,999,fax,maybe,",
            "ccid must not be . or ..; phone_number must be 10 to 11 digits, or a number in E.164 form such as \
             +16105551212; consent_type must be one of written, express, stop; phone_type must be one of mobile, landline, unknown; \
             country_code must be an assigned calling code of 1 to 3 digits, such as 1 or +44",
        ),
    ] {
        assert_eq!(read(HEADER, line), Err(why.to_owned()), "{line}");
    }
    let mut format = Format::detect(b"ccid").unwrap();
    assert_eq!(format.row(b"\xff", &client(), UnixMillis::now()), Err("the line is not UTF-8".to_owned()));
}

#[test]
fn json() {
    for (line, numbers) in [
        (r#"{"ccid":"A"}"#, vec![]),
        (r#" {"ccid":"A","phone_numbers":[]} "#, vec![]),
        (r#"{"phone_numbers":["6105551212"],"ccid":"A"}"#, vec!["+16105551212 unknown - internal"]),
        (
            r#"{"ccid":"A","phone_numbers":["6105551212",{"phone_number":"0612345678","country_code":"33","phone_type":"mobile","consent_type":"stop","client_source":"web"}]}"#,
            vec!["+16105551212 unknown - internal", "+33612345678 mobile stop web"],
        ),
    ] {
        let numbers = numbers.into_iter().map(str::to_owned).collect();
        assert_eq!(read("{}", line), Ok(("A".to_owned(), numbers)), "{line}");
    }
}

#[test]
fn json_that_is_not_a_row() {
    for line in [
        "",
        "{",
        "[]",
        "7",
        r#"{"ccid":7}"#,
        r#"{"ccid":null}"#,
        "{}",
        r#"{"ccid":"A","ccid":"A"}"#,
        r#"{"ccid":"A","phones":[]}"#,
        r#"{"ccid":"A","phone_numbers":null}"#,
        r#"{"ccid":"A"} x"#,
        r#"{"ccid":"A","phone_numbers":[7]}"#,
        r#"{"ccid":"A","phone_numbers":[{}]}"#,
        r#"{"ccid":"A","phone_numbers":[{"phone_number":"6105551212","consent_type":null}]}"#,
        r#"{"ccid":"A","phone_numbers":[{"phone_number":"6105551212","consent_typ":"stop"}]}"#,
    ] {
        assert!(read("{}", line).is_err(), "{line}");
    }
    assert_eq!(
        read("{}", r#"{"ccid":"A","phone_numbers":["6105551212","1"]}"#),
        Err("phone_numbers[1].phone_number must be 10 to 11 digits, or a number in E.164 form such as +16105551212"
            .to_owned())
    );
}

const SHOWN: &str = r#"{"ccid":"A","client_id":"demo-clinic","created_at":"2024-11-19T08:00:00.000Z","notification_channels":[{"channel_addr":"+33612345678","channel_type":"sms","client_source":"web","consent_type":"stop","country_code":"33","created_at":"2024-11-20T08:00:00.042Z","phone_number":"0612345678","phone_type":"mobile"}],"phone_count":1}"#;

#[test]
fn a_record_as_it_is_shown() {
    let mut format = Format::detect(SHOWN.as_bytes()).unwrap();
    let row = format.row(SHOWN.as_bytes(), &client(), UnixMillis::now()).unwrap();
    assert_eq!(row.created_at.to_rfc3339(), "2024-11-19T08:00:00.000Z");
    let [channel] = &row.channels[..] else { panic!("one channel") };
    assert_eq!(channel.created_at.to_rfc3339(), "2024-11-20T08:00:00.042Z");
    assert_eq!(read("{}", SHOWN), Ok(("A".to_owned(), vec!["+33612345678 mobile stop web".to_owned()])));
    let none = r#"{"ccid":"A","created_at":"2024-11-19T08:00:00.000Z","notification_channels":[]}"#;
    assert_eq!(read("{}", none), Ok(("A".to_owned(), vec![])));
}

#[test]
fn a_shown_record_that_contradicts_itself() {
    for (from, to, why) in [
        ("demo-clinic", "other-clinic", "client_id must be the client of this import"),
        ("\"phone_count\":1", "\"phone_count\":2", "phone_count must be the number of notification_channels"),
        (
            "\"phone_count\":1",
            "\"phone_numbers\":[]",
            "phone_numbers must not appear together with notification_channels",
        ),
        ("sms", "fax", "channel_type must be sms"),
        ("0612345678", "0612345679", "phone_number must be the same number as channel_addr"),
        ("\"33\"", "\"1\"", "country_code must be the country code of the phone number, which is in E.164 form"),
        ("stop", "maybe", "consent_type must be one of written, express, stop"),
        (
            "2024-11-19T08:00:00.000Z",
            "2024-11-19",
            "created_at must be a time in the form that is shown, such as 2026-11-23T15:30:00.042Z",
        ),
        (
            "2024-11-20T08:00:00.042Z",
            "2024-11-20T08:00:00.0421Z",
            "created_at must be a time in the form that is shown, such as 2026-11-23T15:30:00.042Z",
        ),
    ] {
        assert!(SHOWN.contains(from), "{from}");
        assert_eq!(read("{}", &SHOWN.replace(from, to)), Err(why.to_owned()), "{from} {to}");
    }
    assert_eq!(
        read("{}", r#"{"ccid":"A","phone_count":0}"#),
        Err("phone_count is allowed only together with notification_channels".to_owned())
    );
    for bad in [r#"{"ccid":"A","notification_channels":null}"#, &SHOWN.replace("phone_type", "phone_typ")] {
        assert!(read("{}", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_first_line_is_a_header_or_an_object() {
    for bad in ["", "A,6105551212", "phone_number", "ccid,ccid", "ccid,phone", "\"ccid", "[{}]", "\u{0}"] {
        assert!(Format::detect(bad.as_bytes()).is_err(), "{bad}");
    }
}
