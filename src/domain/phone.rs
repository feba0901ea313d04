//! Phone numbers. The E.164 form is the identity of a number.

use std::borrow::Cow;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, get_national_significant_number_owned};

use super::Rule;

/// The country code if none is stated.
const NORTH_AMERICA: u16 = 1;

const UNUSABLE: Rule = Rule("must make a phone number of at most 15 digits with the country code");

/// An assigned country code (of telephony, not of ISO): 1 to 3 digits, the first not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountryCode(u16);

impl CountryCode {
    /// Reads `1`, `+1`, `44`, … A code is assigned if libphonenumber knows it.
    ///
    /// # Errors
    /// The rule, if `text` is not an assigned code.
    pub fn parse(text: &str) -> Result<Self, Rule> {
        const RULE: Rule = Rule("must be an assigned calling code of 1 to 3 digits, such as 1 or +44");
        let digits = text.strip_prefix('+').unwrap_or(text);
        let well_formed =
            (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        let code = digits.parse().ok().filter(|_| well_formed).ok_or(RULE)?;
        // Country code 1 does not need libphonenumber's metadata, which takes milliseconds to load.
        if code == NORTH_AMERICA
            || PHONE_NUMBER_UTIL.get_supported_calling_codes().any(|known| known == i32::from(code))
        {
            Ok(Self(code))
        } else {
            Err(RULE)
        }
    }

    /// Whether it is `1`, the default.
    pub fn is_default(self) -> bool {
        self == Self::default()
    }

    /// The code as a number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl Default for CountryCode {
    fn default() -> Self {
        Self(NORTH_AMERICA)
    }
}

/// 10 or 11 ASCII digits, as callers send a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits<'a>(&'a str);

impl<'a> Digits<'a> {
    /// # Errors
    /// The rule, if `text` is anything else.
    pub fn parse(text: &'a str) -> Result<Self, Rule> {
        if (10..=11).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text))
        } else {
            Err(Rule("must be 10 to 11 digits"))
        }
    }
}

/// A phone number in either form: digits, or the E.164 form that a record shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Number<'a> {
    /// The digits as dialled. The country code is stated beside them, or is the default.
    Digits(Digits<'a>),
    /// `+16105551212`. It contains its country code.
    E164(Phone),
}

impl<'a> Number<'a> {
    /// Reads 10 to 11 digits, or a plus sign and an E.164 number.
    ///
    /// # Errors
    /// The rule, if `text` is neither.
    pub fn parse(text: &'a str) -> Result<Self, Rule> {
        const RULE: Rule = Rule("must be 10 to 11 digits, or a number in E.164 form such as +16105551212");
        if text.starts_with('+') {
            Phone::from_e164(text).map(Self::E164).ok_or(RULE)
        } else {
            Digits::parse(text).map(Self::Digits).map_err(|_| RULE)
        }
    }

    /// Checks the country code that is stated beside the number.
    ///
    /// # Errors
    /// The rule for the country code, if the E.164 form begins with a different code.
    pub fn agrees_with(&self, stated: CountryCode) -> Result<(), Rule> {
        match self {
            Self::E164(phone) if phone.country_code != stated => {
                Err(Rule("must be the country code of the phone number, which is in E.164 form"))
            }
            _ => Ok(()),
        }
    }

    /// The phone to look for in a record. An E.164 form is used as it is, because it must match what the record holds.
    ///
    /// # Errors
    /// The rule for the number, if its digits do not make an E.164 number with the country code.
    pub fn phone(self, country_code: CountryCode) -> Result<Phone, Rule> {
        match self {
            Self::Digits(digits) => Phone::new(digits, country_code),
            Self::E164(phone) => Ok(phone),
        }
    }

    /// The phone under which something is stored, which must be the number's only E.164 form. A stop that is stored under
    /// another form would not stop the number.
    ///
    /// # Errors
    /// The rule for the number, if it does not make an E.164 number, or has a different E.164 form.
    pub fn canonical_phone(self, country_code: CountryCode) -> Result<Phone, Rule> {
        match self {
            Self::Digits(digits) => Phone::new(digits, country_code),
            Self::E164(phone) if phone.is_canonical() => Ok(phone),
            Self::E164(_) => Err(Rule("must be the number's E.164 form, without a trunk prefix")),
        }
    }
}

/// A phone number: its E.164 form, and the country code with which that form begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    country_code: CountryCode,
    e164: String,
}

impl Phone {
    /// Makes the E.164 form. It does not check whether the number is assigned.
    ///
    /// # Errors
    /// The rule, if the digits do not make an E.164 number with the country code.
    pub fn new(digits: Digits<'_>, country_code: CountryCode) -> Result<Self, Rule> {
        let e164 =
            if country_code.is_default() { north_american(digits.0)? } else { elsewhere(digits.0, country_code)? };
        // 15 digits and the plus sign.
        if e164.len() > 16 {
            return Err(UNUSABLE);
        }
        Ok(Self { country_code, e164 })
    }

    /// Reads a number as the table stores it: `+`, the country code, then at least 2 digits, at most 15 digits in all.
    /// Anything else is `None`, and the item is corrupt.
    pub fn from_stored(e164: &str, country_code: CountryCode) -> Option<Self> {
        let national = e164.strip_prefix('+')?.strip_prefix(&country_code.0.to_string())?;
        let whole = national.len() >= 2 && e164.len() <= 16 && national.bytes().all(|b| b.is_ascii_digit());
        whole.then(|| Self { country_code, e164: e164.to_owned() })
    }

    /// Reads an E.164 form as a record shows it. No calling code is a prefix of another one, so a form has at most one
    /// reading. Country code 1 does not need libphonenumber's metadata.
    pub fn from_e164(e164: &str) -> Option<Self> {
        (2..=4).find_map(|end| Self::from_stored(e164, CountryCode::parse(e164.get(1..end)?).ok()?))
    }

    /// `+16105551212`.
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// `1`.
    pub fn country_code(&self) -> CountryCode {
        self.country_code
    }

    /// The number without its country code: `6105551212`.
    pub fn national(&self) -> &str {
        let code_digits = match self.country_code.0 {
            0..=9 => 1,
            10..=99 => 2,
            _ => 3,
        };
        self.e164.get(1 + code_digits..).unwrap_or_default()
    }
}

impl Phone {
    /// The number as it is dialled in its country, with its trunk prefix: `0612345678`, `6105551212`. If these are 10 to 11
    /// digits, an add of them with the country code adds the same number. They are for every number that has at least 9
    /// digits without its country code. A shorter one may have been added with a prefix for calls to other countries
    /// (`0033612345` for `+33612345`), which libphonenumber does not show.
    ///
    /// libphonenumber knows how a number is dialled, but not the contract's 10 to 11 digits. If its form has another
    /// length, or would be read as another number, the first of several prefixes that leads back to this number is used.
    pub fn dialled(&self) -> Cow<'_, str> {
        let national = self.national();
        if self.country_code.is_default() {
            return Cow::Borrowed(national);
        }
        let formatted = || {
            let mut formatted = PHONE_NUMBER_UTIL.format(&self.parts(), PhoneNumberFormat::National).into_owned();
            // If libphonenumber has no format for the number, it omits the trunk prefix.
            (formatted != national).then(|| {
                formatted.retain(|character| character.is_ascii_digit());
                formatted
            })
        };
        let with = |prefix: &str| format!("{prefix}{national}");
        let country_code = self.country_code.0.to_string();
        // The usual trunk prefixes come first. `1` comes last, because only the Marshall Islands use it.
        let prefixes = ["0", "8", "06", "", country_code.as_str(), "1"];
        std::iter::once_with(formatted)
            .flatten()
            .chain(prefixes.into_iter().map(with))
            .find(|digits| self.is_made_by(digits))
            // No 10 or 11 digits lead back to this number. The digits shown must not lead to another number either.
            .unwrap_or_else(|| with(if Digits::parse(national).is_ok() { &country_code } else { "" }))
            .into()
    }

    /// Whether this is the only E.164 form of its number: the form that the API makes from digits, or the form that
    /// libphonenumber reads. `+330612345678` is neither, because it contains a trunk prefix.
    fn is_canonical(&self) -> bool {
        if self.country_code.is_default() {
            return self.national().len() == 10;
        }
        PHONE_NUMBER_UTIL.parse(&self.e164, None).is_ok_and(|number| e164(&number) == self.e164)
            || self.is_made_by(&self.dialled())
    }

    /// Whether an add of these digits adds this number.
    fn is_made_by(&self, digits: &str) -> bool {
        Digits::parse(digits).and_then(|digits| Self::new(digits, self.country_code)).as_ref() == Ok(self)
    }

    /// The number in libphonenumber's form. Its national number is an integer, so leading zeros are counted apart.
    fn parts(&self) -> PhoneNumber {
        let national = self.national();
        let zeros = national.bytes().take_while(|digit| *digit == b'0').count();
        PhoneNumber {
            country_code: self.country_code.0.into(),
            national_number: national.parse().unwrap_or_default(),
            italian_leading_zero: Some(national.starts_with('0')),
            number_of_leading_zeros: i32::try_from(zeros).ok(),
            ..PhoneNumber::default()
        }
    }
}

fn e164(number: &PhoneNumber) -> String {
    format!("+{}{}", number.country_code, get_national_significant_number_owned(number))
}

/// Country code 1 does not need metadata: ten digits are the number, eleven digits begin with the code.
fn north_american(digits: &str) -> Result<String, Rule> {
    match digits.len() {
        10 => Ok(format!("+1{digits}")),
        _ if digits.starts_with('1') => Ok(format!("+{digits}")),
        _ => Err(Rule("must begin with 1 when it has 11 digits and country code 1")),
    }
}

/// Reads `digits` as dialled in the country, by libphonenumber's rules. A trunk prefix is not part of the number.
fn elsewhere(digits: &str, country_code: CountryCode) -> Result<String, Rule> {
    let code = i32::from(country_code.0);
    let region = PHONE_NUMBER_UTIL.get_region_for_country_code(code);
    let dialled = PHONE_NUMBER_UTIL.parse(digits, region);
    // Codes without a country (800, 870, …) have no dialling rules, only the international form.
    let number =
        dialled.or_else(|_| PHONE_NUMBER_UTIL.parse(format!("+{code}{digits}"), None)).map_err(|_| UNUSABLE)?;
    // Digits that begin with an international prefix can lead to another country.
    if number.country_code != code {
        return Err(UNUSABLE);
    }
    Ok(e164(&number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(digits: &str, code: &str) -> Result<String, Rule> {
        Ok(Phone::new(Digits::parse(digits)?, CountryCode::parse(code)?)?.e164().to_owned())
    }

    #[test]
    fn both_spellings_make_one_e164_form() {
        assert_eq!(form("6105551212", "1").as_deref(), Ok("+16105551212"));
        assert_eq!(form("16105551212", "1").as_deref(), Ok("+16105551212"));
        assert!(form("26105551212", "1").is_err());
    }

    /// Another port of libphonenumber generated the file. An upgrade of the crate that changes a line would hide the
    /// channels that are stored under the old form.
    #[test]
    fn other_countries_follow_libphonenumber() {
        for line in include_str!("phone.golden").lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (code, digits, expected) = (words.next(), words.next(), words.next());
            let (Some(code), Some(digits), Some(expected)) = (code, digits, expected) else {
                panic!("phone.golden: {line:?} is not a line of code, digits, form");
            };
            let got = form(digits, code).unwrap_or_else(|_| "-".to_owned());
            assert_eq!(got, expected, "{code} {digits}");
        }
    }

    /// Another port of libphonenumber generated the file.
    #[test]
    fn a_number_is_shown_as_it_is_dialled() {
        let rows = include_str!("dialled.golden").lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for line in rows {
            let (e164, expected) = line.split_once(' ').unwrap();
            let phone = Phone::from_e164(e164).unwrap();
            assert_eq!(phone.dialled(), expected, "{e164}");
            count += 1;
        }
        assert!(count > 900, "{count}");
    }

    #[test]
    fn a_number_is_read_from_digits_or_from_its_e164_form() {
        let read = |text, code| Number::parse(text)?.phone(CountryCode::parse(code)?);
        for (text, code, e164) in [
            ("0612345678", "33", "+33612345678"),
            ("+33612345678", "33", "+33612345678"),
            ("+33612345678", "1", "+33612345678"),
            ("16105551212", "1", "+16105551212"),
            ("+390612345678", "1", "+390612345678"),
        ] {
            assert_eq!(read(text, code).unwrap().e164(), e164, "{text}");
        }
        for bad in
            ["", "+", "++33612345678", "+33 612345678", "33612345678 ", "+999612345678", "+1", "+3361234567890123"]
        {
            assert!(Number::parse(bad).is_err(), "{bad}");
        }
        let number = Number::parse("+33612345678").unwrap();
        assert_eq!(number.agrees_with(CountryCode(33)), Ok(()));
        assert!(number.agrees_with(CountryCode(1)).is_err());
        assert_eq!(Number::parse("0612345678").unwrap().agrees_with(CountryCode(1)), Ok(()));
    }

    #[test]
    fn a_number_has_one_e164_form() {
        let is_canonical = |e164| Number::parse(e164).unwrap().canonical_phone(CountryCode(1)).is_ok();
        for good in ["+16105551212", "+33612345678", "+390612345678", "+4512345678", "+78001234567", "+80012345678"] {
            assert!(is_canonical(good), "{good}");
        }
        for bad in ["+330612345678", "+1610555121", "+161055512123", "+3606201234567"] {
            assert!(!is_canonical(bad), "{bad}");
        }
    }

    #[test]
    fn a_stored_number_that_does_not_fit_its_country_code_is_corrupt() {
        let stored = |e164, code| Phone::from_stored(e164, CountryCode::parse(code).unwrap());
        for (e164, code) in [("+161", "1"), ("+161055512123456", "1"), ("+353123456789012", "353")] {
            assert_eq!(stored(e164, code).unwrap().e164(), e164);
        }
        let corrupt = [
            ("16105551212", "1"),
            ("+16105551212", "33"),
            ("+", "1"),
            ("+1", "1"),
            ("+16", "1"),
            ("+1610555121a", "1"),
            ("+1610555121234567", "1"),
            ("+3531234567890123", "353"),
        ];
        for (e164, code) in corrupt {
            assert_eq!(stored(e164, code), None, "{e164} of {code}");
        }
    }

    #[test]
    fn a_country_code_is_an_assigned_calling_code() {
        for good in ["1", "+1", "44", "+44", "39", "353", "800"] {
            assert!(CountryCode::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "+", "0", "01", "001", "++1", "1+", " 1", "1 ", "999", "1234", "٤٤", "+ 1", "4a"] {
            assert!(CountryCode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digits_are_ten_or_eleven_ascii_digits() {
        for good in ["6105551212", "16105551212", "0000000000"] {
            assert!(Digits::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "610555121", "161055512120", "+6105551212", "610 555121", "٦١٠٥٥٥١٢١٢", "610555121a"]
        {
            assert!(Digits::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// The arithmetic for country code 1 gives libphonenumber's result for every number that libphonenumber accepts.
        #[test]
        fn north_american_arithmetic_equals_libphonenumber(digits in "1?[2-9][0-9]{9}") {
            prop_assert_eq!(form(&digits, "1"), elsewhere(&digits, CountryCode::default()));
        }

        #[test]
        fn every_form_is_e164_and_reads_back(digits in "[0-9]{10,11}", code in 1_u16..1000) {
            let Ok(code) = CountryCode::parse(&code.to_string()) else { return Ok(()) };
            let Ok(phone) = Phone::new(Digits::parse(&digits).map_err(|rule| TestCaseError::fail(rule.0))?, code) else { return Ok(()) };
            prop_assert!((4..=16).contains(&phone.e164().len()));
            prop_assert_eq!(format!("+{}{}", code.number(), phone.national()), phone.e164());
            prop_assert_eq!(Phone::from_stored(phone.e164(), code), Some(phone));
        }

        /// An add of the digits that a record shows adds the same number.
        #[test]
        fn shown_digits_lead_back_to_the_number(digits in "[0-9]{10,11}", place in 0_usize..1000) {
            let codes: Vec<_> = PHONE_NUMBER_UTIL.get_supported_calling_codes().filter_map(|code| u16::try_from(code).ok()).collect();
            let code = CountryCode(codes[place % codes.len()]);
            let Ok(phone) = Phone::new(Digits(&digits), code) else { return Ok(()) };
            prop_assert_eq!(Phone::from_e164(phone.e164()), Some(phone.clone()));
            let shown = phone.dialled();
            let shown = Digits::parse(&shown);
            prop_assert!(shown.is_ok() || phone.national().len() < 9, "{}", phone.e164());
            if let Ok(digits) = shown {
                prop_assert_eq!(Phone::new(digits, code), Ok(phone.clone()));
                prop_assert_eq!(Number::E164(phone.clone()).canonical_phone(CountryCode(1)), Ok(phone));
            }
        }

        #[test]
        fn no_text_is_read_as_a_number_that_is_none(text in ".{0,20}", code in ".{0,5}") {
            prop_assert!(Digits::parse(&text).is_err() || text.bytes().all(|byte| byte.is_ascii_digit()));
            if let Ok(code) = CountryCode::parse(&code) {
                prop_assert!((1..1000).contains(&code.number()));
            }
            if let Ok(Number::E164(phone)) = Number::parse(&text) {
                prop_assert_eq!(phone.e164(), text);
            }
        }

        /// Any digits with a plus sign, for which no generator of arbitrary text has a chance.
        #[test]
        fn an_e164_form_is_read_as_it_is(digits in "[0-9]{0,17}", code in 1_u16..1000) {
            for text in [format!("+{digits}"), format!("+{code}{digits}")] {
                let Some(phone) = Phone::from_e164(&text) else { continue };
                prop_assert_eq!(phone.e164(), &text);
                prop_assert_eq!(format!("+{}{}", phone.country_code().number(), phone.national()), text);
                // Neither panics, whatever the digits are.
                prop_assert!(!phone.dialled().is_empty());
                let canonical = Number::E164(phone.clone()).canonical_phone(CountryCode(1));
                prop_assert!(canonical.is_err() || canonical == Ok(phone));
            }
        }
    }
}
