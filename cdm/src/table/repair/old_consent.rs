//! The consent that earlier versions stored in the channels of a record, as `c`. It belongs to the number, so a repair moves
//! it to the number's item, in one transaction with the record.

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{ClientId, ConsentType, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::stored_consent::StoredConsent;
use cdm_lambda::time::UnixMillis;

use super::findings::{Resolution, command, correct};
use super::plan::Plan;
use crate::table::change::{self, Change};
use crate::table::corruption::Kind;

/// The attribute of a channel that held its consent.
const CONSENT: &str = "c";

/// The numbers of the record whose channels hold a consent. A transaction has room for the record and 99 numbers.
pub(crate) fn numbers(record: &Item) -> Vec<Phone> {
    let mut phones: Vec<_> = channels(record).filter_map(|(e164, _)| Phone::from_e164(e164)).collect();
    phones.sort_by(|a, b| a.e164().cmp(b.e164()));
    phones.truncate(change::MOST - 1);
    phones
}

/// The channels that hold a consent, by their E.164 form.
fn channels(record: &Item) -> impl Iterator<Item = (&String, &Item)> {
    let channels = record.get(items::NOTIFICATION_CHANNELS).and_then(|channels| channels.as_m().ok());
    let entries = channels.into_iter().flatten().filter_map(|(e164, entry)| Some((e164, entry.as_m().ok()?)));
    entries.filter(|(_, entry)| entry.contains_key(CONSENT))
}

/// Plans the move of every consent that the record holds. `numbers` has the items of these numbers.
pub(super) fn plan(plan: &mut Plan<'_>, client_id: &ClientId, numbers: &[(Phone, Option<Item>)]) {
    let mut stated: Vec<_> = channels(plan.item).map(|(e164, entry)| (e164.clone(), entry.clone())).collect();
    stated.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut kept = plan.after.get(items::NOTIFICATION_CHANNELS).and_then(|channels| channels.as_m().ok()).cloned();
    for (e164, entry) in stated {
        plan.number = Some(e164.clone());
        let number = numbers.iter().find(|(phone, _)| phone.e164() == e164);
        let moved = number.and_then(|(phone, before)| {
            let after = moved(client_id, &entry, phone, before.as_ref())?;
            Some((before.clone(), after))
        });
        match (moved, &mut kept) {
            (Some((before, after)), Some(kept)) => {
                let does = Resolution::Repair("its consent moved to the number's item".to_owned());
                let finding = plan.finding(Kind::CustomerChannelConsent, does);
                plan.findings.push(finding);
                // Nothing to write if the item says the same already.
                plan.beside.extend(Change::new(before, Some(after)));
                if let Some(AttributeValue::M(entry)) = kept.get_mut(&e164) {
                    entry.remove(CONSENT);
                }
            }
            _ => plan.person(
                Kind::CustomerChannelConsent,
                "look at the consent in the channel, `c`, and at the number's item. Set the consent with the first command, \
                 then take `c` out of the record",
                [command(&["phone", "consent", "--client", client_id.as_str(), &e164, "--set", "CONSENT"])]
                    .into_iter()
                    .chain(correct(plan.item))
                    .collect(),
            ),
        }
    }
    plan.number = None;
    if let Some(kept) = kept {
        plan.set(items::NOTIFICATION_CHANNELS, Some(AttributeValue::M(kept)));
    }
}

/// The number's item with the channel's consent. `None` if one of the two cannot be read.
fn moved(client_id: &ClientId, entry: &Item, phone: &Phone, number: Option<&Item>) -> Option<Item> {
    let consent_type = ConsentType::parse(entry.get(CONSENT)?.as_s().ok()?).ok()?;
    let at = items::unix_millis(entry.get("t"))?;
    let mut after = number.cloned().unwrap_or_else(|| {
        let mut item = items::phone_key(client_id, phone);
        // An item without a count would refuse every add.
        item.insert(items::CCID_COUNT.to_owned(), AttributeValue::N("0".to_owned()));
        item
    });
    merged(StoredConsent::from_item(&after)?, consent_type, at).write_to(&mut after);
    Some(after)
}

/// The consent of a number once another consent for it was found: a stop wins, otherwise the newest.
fn merged(stored: StoredConsent, consent_type: ConsentType, at: UnixMillis) -> StoredConsent {
    let first_at =
        [stored.first_at, stored.consent().map(|consent| consent.created_at), Some(at)].into_iter().flatten().min();
    let merged = match stored.consent() {
        None => StoredConsent::new(consent_type, at),
        Some(seen) => match (seen.consent_type, consent_type) {
            (ConsentType::Stop, _) => stored,
            (_, ConsentType::Stop) => StoredConsent::new(consent_type, at),
            _ if seen.updated_at >= at => stored,
            _ => StoredConsent::new(consent_type, at),
        },
    };
    StoredConsent { first_at, ..merged }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::new(millis).unwrap()
    }

    #[test]
    fn a_stop_wins_and_otherwise_the_newest() {
        use ConsentType::{Express, Stop, Written};
        for (stored, other, wins, created_at, updated_at) in [
            (None, (Written, 5), Written, 5, 5),
            (Some((Written, 5)), (Stop, 3), Stop, 3, 3),
            (Some((Written, 5)), (Stop, 7), Stop, 5, 7),
            (Some((Stop, 5)), (Written, 7), Stop, 5, 5),
            (Some((Stop, 5)), (Stop, 3), Stop, 3, 5),
            (Some((Written, 5)), (Express, 7), Express, 5, 7),
            (Some((Written, 5)), (Express, 3), Written, 3, 5),
            (Some((Written, 5)), (Express, 5), Written, 5, 5),
        ] {
            let before = stored.map_or_else(StoredConsent::default, |(of, millis)| StoredConsent::new(of, at(millis)));
            let consent = merged(before, other.0, at(other.1)).consent().unwrap();
            assert_eq!(
                (consent.consent_type, consent.created_at, consent.updated_at),
                (wins, at(created_at), at(updated_at)),
                "{stored:?} {other:?}"
            );
        }
    }
}
