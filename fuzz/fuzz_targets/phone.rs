//! Any digits with any country code. If they are a phone number, its E.164 form and its dialed form parse to the same
//! number.

#![no_main]

use cdm_lambda::domain::{CountryCode, Digits, Phone};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (digits, code) = input;
    let (Ok(digits), Ok(code)) = (Digits::parse(digits), CountryCode::parse(code)) else { return };
    let Ok(phone) = Phone::new(digits, code) else { return };
    assert!((4..=16).contains(&phone.e164().len()));
    assert_eq!(phone.e164(), format!("+{}{}", code.number(), phone.national()));
    assert_eq!(Phone::from_stored(phone.e164(), code).as_ref(), Some(&phone));
    assert_eq!(Phone::from_e164(phone.e164()).as_ref(), Some(&phone));
    if let Ok(shown) = Digits::parse(&phone.dialled()) {
        assert_eq!(Phone::new(shown, code), Ok(phone.clone()));
    }
});
