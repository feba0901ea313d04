//! The repair of a customer's record: its counts, its channels and its time.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId, Limits, Phone};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::time::UnixMillis;

use super::findings::{command, correct, phone_add, phone_remove};
use super::plan::Plan;
use crate::table::corruption::Kind;

/// Plans the repair of a customer's record by itself.
pub(super) fn plan(plan: &mut Plan<'_>, item: &Item, client_id: &ClientId, ccid: &Ccid, now: UnixMillis) {
    let (client, ccid) = (client_id.as_str(), ccid.as_str());
    let count = items::whole_number(item.get(items::PHONE_COUNT));
    // The channels are missing or empty, in one of several forms. A count of 0 confirms that the record has no
    // numbers.
    let is_empty = match item.get(items::NOTIFICATION_CHANNELS) {
        None | Some(AttributeValue::Null(_)) => true,
        Some(AttributeValue::L(list)) => list.is_empty(),
        _ => false,
    };
    let none = Item::new();
    let channels = match item.get(items::NOTIFICATION_CHANNELS) {
        Some(AttributeValue::M(channels)) => Some(channels),
        _ if is_empty && count == Some(0) => {
            let empty = Some(AttributeValue::M(Item::new()));
            plan.repair(
                Kind::CustomerChannels,
                "notification_channels made an empty map",
                items::NOTIFICATION_CHANNELS,
                empty,
            );
            Some(&none)
        }
        _ => {
            let mut commands = correct(item);
            commands.push(command(&["customer", "delete", "--client", client, "--ccid", ccid]));
            plan.person(
                Kind::CustomerChannels,
                "the record's numbers cannot be read. Each number that still names the customer is a finding of its own. \
                 Correct the record, or delete the customer",
                commands,
            );
            None
        }
    };
    let Some(channels) = channels else {
        if count.is_none() {
            plan.correct(Kind::CustomerPhoneCount, "held back until the record's channels are correct");
        }
        if items::unix_millis(item.get(items::CREATED_AT)).is_none() {
            plan.correct(Kind::CustomerCreatedAt, "held back until the record's channels are correct");
        }
        return;
    };
    if count != u64::try_from(channels.len()).ok() {
        let does = format!("phone_count set to {}, the number of channels", channels.len());
        plan.repair(
            Kind::CustomerPhoneCount,
            &does,
            items::PHONE_COUNT,
            Some(AttributeValue::N(channels.len().to_string())),
        );
    }
    let sorted: BTreeMap<_, _> = channels.iter().collect();
    if channels.len() > Limits::CONTRACT.phones_per_customer as usize {
        let first = sorted.keys().find_map(|e164| Phone::from_e164(e164));
        plan.person(
            Kind::CustomerOverLimit,
            "remove numbers until 50 are left. This command removes the first",
            first.map(|phone| phone_remove(client, ccid, &phone)).into_iter().collect(),
        );
    }
    let mut unreadable = sorted.into_iter().filter(|(e164, entry)| items::channel(e164, entry).is_none()).peekable();
    let are_readable = unreadable.peek().is_none();
    for (e164, _) in unreadable {
        plan.number = Some(e164.clone());
        let Some(phone) = Phone::from_e164(e164) else {
            plan.correct(Kind::CustomerChannel, "its key in the map is not a number in E.164 form: correct the record");
            continue;
        };
        let mut commands = correct(item);
        commands.extend([phone_remove(client, ccid, &phone), phone_add(client, ccid, &phone)]);
        plan.person(
            Kind::CustomerChannel,
            "edit item.json between the first two commands, or remove the number and add it again with the other two. A consent in the channel, `c`, belongs to the \
             number: set it with `cdm phone consent`",
            commands,
        );
    }
    plan.number = None;
    if items::unix_millis(item.get(items::CREATED_AT)).is_none() {
        if are_readable {
            let oldest = channels.values().filter_map(|entry| items::unix_millis(entry.as_m().ok()?.get("t"))).min();
            let does = match oldest {
                Some(_) => "created_at set to the oldest channel's time",
                None => "created_at set to now",
            };
            plan.repair(
                Kind::CustomerCreatedAt,
                does,
                items::CREATED_AT,
                Some(items::from_unix_millis(oldest.unwrap_or(now))),
            );
        } else {
            plan.correct(Kind::CustomerCreatedAt, "held back until the record's channels are correct");
        }
    }
}
