//! A number's item: whom it names, and which number it is about.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{CountryCode, Phone};
use cdm_lambda::store::items::{self, Item};

/// The customers that the item names. Anything that is not a set of strings names no one.
pub(crate) fn ccids(counter: &Item) -> BTreeSet<String> {
    match counter.get(items::CCIDS) {
        Some(AttributeValue::Ss(ccids)) => ccids.iter().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// The number of a stored E.164 form. Calling codes are no prefixes of one another, so there is one reading at most.
pub(crate) fn phone(e164: &str) -> Option<Phone> {
    (2..=4).find_map(|end| Phone::from_stored(e164, CountryCode::parse(e164.get(1..end)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_form_has_one_reading() {
        for (e164, code) in [("+16105551212", 1), ("+33612345678", 33), ("+353861234567", 353), ("+80012345678", 800)] {
            assert_eq!(phone(e164).map(|phone| phone.country_code().number()), Some(code), "{e164}");
        }
        for bad in ["", "+", "16105551212", "+0123456789", "+99912345", "+1610555121212345", "+1é", "+1 610"] {
            assert_eq!(phone(bad), None, "{bad}");
        }
    }
}
