//! Reads items again, as they are now, and plans their repair.

use super::PlanTarget;
use crate::table::connection::Connection;
use crate::table::corruption::{Subject, subject};
use crate::table::repair::{self, Planned, Record, old_consent};
use crate::table::scan::pace::Pace;
use crate::ui::Failure;
use aws_sdk_dynamodb::types::{Get, ReturnConsumedCapacity, TransactGetItem};
use cdm_lambda::domain::{Ccid, ClientId, Phone};
use cdm_lambda::store::items::{self, Item};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Reads items again, as they are now.
#[derive(Clone)]
pub(super) struct Rereader {
    pub(super) connection: Connection,
    pub(super) pace: Arc<Pace>,
    /// How many pairs were read again.
    pub(super) pairs: Arc<AtomicU64>,
}

impl Rereader {
    /// Plans the repair of an item from what it is now.
    pub(super) async fn plan(&self, target: &PlanTarget) -> Result<Planned, Failure> {
        match target {
            PlanTarget::Item(key) => {
                let Some(item) = self.item(key.clone()).await? else { return Ok(Planned::default()) };
                let mut numbers = Vec::new();
                if let Subject::Customer { client_id, .. } = subject(&item) {
                    for phone in old_consent::numbers(&item) {
                        let number = self.item(items::phone_key(&client_id, &phone)).await?;
                        numbers.push((phone, number));
                    }
                }
                Ok(repair::item(&item, &numbers, self.connection.now()))
            }
            PlanTarget::Number { client_id, phone, ccids } => {
                let mut records = Vec::new();
                for ccid in ccids {
                    let (record, _) = self.read(client_id, ccid, phone).await?;
                    records.push((ccid.clone(), record));
                }
                // Read the records first, because adding or removing a number meanwhile also changes
                // the number's item.
                let item = self.item(items::phone_key(client_id, phone)).await?;
                Ok(repair::number(client_id, phone, item.as_ref(), &records))
            }
        }
    }

    /// Reads one item, strongly consistent, within the limit on reads.
    pub(super) async fn item(&self, key: Item) -> Result<Option<Item>, Failure> {
        let connection = &self.connection;
        let mut get =
            connection.client.get_item().table_name(&connection.table).set_key(Some(key)).consistent_read(true);
        if self.pace.is_limited() {
            get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
        }
        let turn = self.pace.turn().await;
        let read = get.send().await;
        turn.took(read.as_ref().ok().and_then(|read| read.consumed_capacity()?.capacity_units()));
        read.map(|read| read.item).map_err(|error| connection.failed("the item cannot be read", &error))
    }

    /// Reads what the customer's record says about the number, and the number's item, both at one moment.
    pub(super) async fn read(
        &self,
        client_id: &ClientId,
        ccid: &Ccid,
        phone: &Phone,
    ) -> Result<(Record, Option<Item>), Failure> {
        use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;

        let connection = &self.connection;
        let unmade = |_| Failure("the transaction cannot be described".to_owned());
        let mut call = connection.client.transact_get_items();
        if self.pace.is_limited() {
            call = call.return_consumed_capacity(ReturnConsumedCapacity::Total);
        }
        for key in [items::customer_key(client_id, ccid), items::phone_key(client_id, phone)] {
            let get = Get::builder().table_name(&connection.table).set_key(Some(key)).build().map_err(unmade)?;
            call = call.transact_items(TransactGetItem::builder().get(get).build());
        }
        let mut pause = Duration::from_millis(20);
        let output = loop {
            let turn = self.pace.turn().await;
            let read = call.clone().send().await;
            turn.took(
                read.as_ref()
                    .ok()
                    .map(|read| read.consumed_capacity().iter().filter_map(|capacity| capacity.capacity_units).sum()),
            );
            match read {
                Ok(output) => break output,
                // Another write holds one of the two items, for a short time.
                Err(error)
                    if pause < Duration::from_secs(20)
                        && matches!(
                            error.as_service_error(),
                            Some(TransactGetItemsError::TransactionCanceledException(_))
                        ) =>
                {
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    pause *= 2;
                }
                Err(error) => return Err(connection.failed("two items cannot be read together", &error)),
            }
        };
        let mut read = output.responses.unwrap_or_default().into_iter().map(|response| response.item);
        let (Some(record), Some(number), None) = (read.next(), read.next(), read.next()) else {
            return Err(Failure(
                "DynamoDB did not return the two items that were requested: run the command again".to_owned(),
            ));
        };
        // DynamoDB may return an empty item for an absent one.
        let there = |item: Option<Item>| item.filter(|item| !item.is_empty());
        Ok((Record::from_item(there(record).as_ref(), phone), there(number)))
    }
}
