//! The first table of a run.

use crate::plan::names::{self, CLIENTS, CUSTOMERS, FILLERS, KEYS_PER_CLIENT};
use crate::plan::{ApiKey, CONTRACT};
use crate::service::message::ItemKey;
use crate::service::value::{Item, Value};
use crate::world::{EPOCH, Simulation};

/// Fills the first table: customers, some of them near a limit, and half of the keys.
pub fn fill(sim: &Simulation) {
    for client in 0..CLIENTS {
        for customer in 0..CUSTOMERS {
            let fillers: Vec<u16> =
                if sim.plan.limits == CONTRACT && customer == 0 { FILLERS.collect() } else { vec![] };
            self::customer(sim, client, customer, &fillers);
        }
        if sim.plan.limits == CONTRACT {
            for customer in FILLERS {
                self::customer(sim, client, customer, &[0]);
            }
        }
        for index in 0..KEYS_PER_CLIENT {
            if index % 2 == 0 {
                let key = ApiKey::Of { client, index };
                let item = key_item(sim, key, None);
                let item_key =
                    ItemKey { table: names::table(0), pk: names::key_pk(sim.plan.seed, key), sk: "KEY".to_owned() };
                sim.service().tables.set(item_key, Some(item));
                let mut check = sim.check();
                let keys = &mut check.table(0).keys;
                keys.issue_began(key, 0);
                keys.issued(key, 0, None);
            }
        }
    }
}

fn customer(sim: &Simulation, client: u16, customer: u16, phones: &[u16]) {
    let text = |name: &str, value: String| (name.to_owned(), Value::S(value));
    let number = |name: &str, value: usize| (name.to_owned(), Value::N(i64::try_from(value).unwrap_or_default()));
    let channels = phones.iter().map(|phone| {
        let time = Value::N(i64::try_from(EPOCH).unwrap_or_default());
        (names::e164(*phone), Value::M(Item::from([("t".to_owned(), time)])))
    });
    let pk = names::record_pk(client, customer);
    let record = Item::from([
        text("pk", pk.clone()),
        text("sk", "CUSTOMER".to_owned()),
        number("phone_count", phones.len()),
        number("created_at", usize::try_from(EPOCH).unwrap_or_default()),
        ("notification_channels".to_owned(), Value::M(channels.collect())),
    ]);
    let mut service = sim.service();
    let key = |pk: &str, sk: &str| ItemKey { table: names::table(0), pk: pk.to_owned(), sk: sk.to_owned() };
    service.tables.set(key(&pk, "CUSTOMER"), Some(record));
    for phone in phones {
        let pk = names::counter_pk(client, *phone);
        let key = key(&pk, "PHONE");
        let mut ccids = std::collections::BTreeSet::from([names::ccid(customer)]);
        if let Some(old) = service.tables.get(&key).and_then(|item| item.get("ccids")).and_then(Value::strings) {
            ccids.extend(old.iter().cloned());
        }
        let counter = Item::from([
            text("pk", pk.clone()),
            text("sk", "PHONE".to_owned()),
            number("ccid_count", ccids.len()),
            ("ccids".to_owned(), Value::Ss(ccids)),
        ]);
        service.tables.set(key, Some(counter));
    }
    drop(service);
    sim.check().table(0).customer(client, customer, phones);
}

/// The item of an API key.
pub(super) fn key_item(sim: &Simulation, key: ApiKey, expires_at: Option<u64>) -> Item {
    let client = if let ApiKey::Of { client, .. } = key { client } else { u16::MAX };
    let mut item = Item::from([
        ("pk".to_owned(), Value::S(names::key_pk(sim.plan.seed, key))),
        ("sk".to_owned(), Value::S("KEY".to_owned())),
        ("client_id".to_owned(), Value::S(names::client(client))),
        ("label".to_owned(), Value::S("simulated".to_owned())),
        ("created_at".to_owned(), Value::N(i64::try_from(EPOCH).unwrap_or_default())),
    ]);
    if let Some(expires_at) = expires_at.and_then(|millis| i64::try_from(millis).ok()) {
        item.insert("expires_at".to_owned(), Value::N(expires_at));
    }
    item
}
