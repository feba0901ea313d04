//! The table of operations. An entry has everything that makes an operation: its route, its name, how its request is
//! parsed, which call of the store it makes, and its response.

use std::pin::Pin;

use crate::domain::{AddOutcome, AddPhone, ChannelField, ClientId, CreateOutcome, RemovePhone, UpdateConsent};
use crate::error::Error;
use crate::http::RequestError;
use crate::http::event::Event;
use crate::http::request::Fields;
use crate::http::response::Response;
use crate::http::route::{PathParameters, Route};
use crate::store::{CallContext, Store};
use crate::time::UnixMillis;

/// An operation of the API.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// Its method and path.
    pub route: Route,
    /// Whether it changes the table.
    pub writes: bool,
    /// Parses the request, calls the store, builds the response.
    pub(crate) run: for<'a> fn(Call<'a>) -> Running<'a>,
}

/// A call that is running. Boxed, so that operations of different types fit into one table.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + 'a>>;

/// Every operation.
pub const ALL: [Operation; 7] = [
    Operation {
        name: "add_phone",
        route: Route { method: "PUT", path: "/cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number}" },
        writes: true,
        run: |call| Box::pin(add_phone(call)),
    },
    Operation {
        name: "remove_phone",
        route: Route { method: "PUT", path: "/cdm/client/{client_id}/customer/{ccid}/remove_phone/{phone_number}" },
        writes: true,
        run: |call| Box::pin(remove_phone(call)),
    },
    Operation {
        name: "get_customer",
        route: Route { method: "GET", path: "/cdm/client/{client_id}/customer/{ccid}" },
        writes: false,
        run: |call| Box::pin(get_customer(call)),
    },
    Operation {
        name: "create_customer",
        route: Route { method: "PUT", path: "/cdm/client/{client_id}/customer/{ccid}" },
        writes: true,
        run: |call| Box::pin(create_customer(call)),
    },
    Operation {
        name: "delete_customer",
        route: Route { method: "DELETE", path: "/cdm/client/{client_id}/customer/{ccid}" },
        writes: true,
        run: |call| Box::pin(delete_customer(call)),
    },
    Operation {
        name: "get_phone",
        route: Route { method: "GET", path: "/cdm/client/{client_id}/phone/{phone_number}" },
        writes: false,
        run: |call| Box::pin(get_phone(call)),
    },
    Operation {
        name: "update_consent",
        route: Route {
            method: "PUT",
            path: "/messaging/client/{client_id}/consent/channel_addr/{phone_number}/channel_type/{channel_type}",
        },
        writes: true,
        run: |call| Box::pin(update_consent(call)),
    },
];

/// A request whose route and API key are valid.
pub(crate) struct Call<'a> {
    pub(crate) store: &'a Store,
    pub(crate) client_id: &'a ClientId,
    pub(crate) event: &'a Event,
    pub(crate) parameters: &'a PathParameters<'a>,
    pub(crate) context: &'a mut CallContext,
}

impl Call<'_> {
    /// `{phone_number}` as the caller sent it, for the message of a success.
    fn phone_number(&self) -> &str {
        self.parameters.get(ChannelField::PhoneNumber.name()).unwrap_or_default()
    }
}

async fn add_phone(call: Call<'_>) -> Result<Response, Error> {
    let add = parse_add_phone(call.client_id, call.event, call.parameters, call.context.now)?;
    let outcome = call.store.add_phone(&add, call.context).await?;
    let message = phone_added(call.phone_number(), add.ccid.as_str(), add.client_id.as_str());
    let response = Response::message(&message);
    Ok(match outcome {
        AddOutcome::Added => response,
        AddOutcome::Replayed => response.with_header("idempotency-replayed", "true"),
    })
}

/// # Errors
/// Every invalid field.
pub fn parse_add_phone(
    client_id: &ClientId,
    event: &Event,
    parameters: &PathParameters<'_>,
    now: UnixMillis,
) -> Result<AddPhone, RequestError> {
    let mut fields = Fields::new(event, parameters);
    let (ccid, channel, key) = (fields.ccid(), fields.channel(), fields.idempotency_key());
    let add = ccid.zip(channel).zip(key).map(|((ccid, channel), key)| {
        let mut channel = channel.into_channel(now);
        channel.fingerprint = key.map(|key| channel.fingerprint_for(&key));
        AddPhone { client_id: client_id.clone(), ccid, channel }
    });
    fields.finish(&ChannelField::BODY, add)
}

/// The message of a successful add. `phone_number` is the number as the caller sent it.
pub fn phone_added(phone_number: &str, ccid: &str, client_id: &str) -> String {
    format!("Phone number {phone_number} has been added to customer with ccid {ccid} for client {client_id}.")
}

async fn remove_phone(call: Call<'_>) -> Result<Response, Error> {
    let remove = parse_remove_phone(call.client_id, call.event, call.parameters)?;
    call.store.remove_phone(&remove, call.context).await?;
    Ok(Response::message(&phone_removed(call.phone_number(), remove.ccid.as_str(), remove.client_id.as_str())))
}

/// # Errors
/// Every invalid field.
pub fn parse_remove_phone(
    client_id: &ClientId,
    event: &Event,
    parameters: &PathParameters<'_>,
) -> Result<RemovePhone, RequestError> {
    let mut fields = Fields::new(event, parameters);
    let (ccid, phone) = (fields.ccid(), fields.phone());
    fields.check_client_source();
    let remove = ccid.zip(phone).map(|(ccid, phone)| RemovePhone { client_id: client_id.clone(), ccid, phone });
    fields.finish(&[ChannelField::CountryCode, ChannelField::ClientSource], remove)
}

/// The message of a successful removal. `phone_number` is the number as the caller sent it.
pub fn phone_removed(phone_number: &str, ccid: &str, client_id: &str) -> String {
    format!("Phone number {phone_number} has been removed from customer with ccid {ccid} for client {client_id}.")
}

async fn get_customer(call: Call<'_>) -> Result<Response, Error> {
    let mut fields = Fields::without_body(call.event, call.parameters);
    let ccid = fields.ccid();
    let ccid = fields.finish(&[], ccid)?;
    let record = call.store.customer(call.client_id, &ccid, call.context).await?;
    Ok(Response::customer(call.client_id, &ccid, &record))
}

async fn create_customer(call: Call<'_>) -> Result<Response, Error> {
    let mut fields = Fields::new(call.event, call.parameters);
    let ccid = fields.ccid();
    let ccid = fields.finish(&[], ccid)?;
    let (client_id, name) = (call.client_id.as_str(), ccid.as_str());
    Ok(match call.store.create_customer(call.client_id, &ccid, call.context).await? {
        CreateOutcome::Created => {
            Response::created(&format!("Customer with ccid {name} has been created for client {client_id}."))
        }
        CreateOutcome::AlreadyExists => {
            Response::message(&format!("Customer with ccid {name} already exists for client {client_id}."))
        }
    })
}

async fn delete_customer(call: Call<'_>) -> Result<Response, Error> {
    let mut fields = Fields::without_body(call.event, call.parameters);
    let ccid = fields.ccid();
    let ccid = fields.finish(&[], ccid)?;
    call.store.delete_customer(call.client_id, &ccid, call.context).await?;
    let (client_id, name) = (call.client_id.as_str(), ccid.as_str());
    Ok(Response::message(&format!("Customer with ccid {name} has been deleted for client {client_id}.")))
}

async fn get_phone(call: Call<'_>) -> Result<Response, Error> {
    let mut fields = Fields::without_body(call.event, call.parameters);
    let phone = fields.phone_and_query();
    let phone = fields.finish(&[], phone)?;
    let record = call.store.phone(call.client_id, &phone, call.context).await?;
    Ok(Response::phone(call.client_id, &phone, &record))
}

async fn update_consent(call: Call<'_>) -> Result<Response, Error> {
    let update = parse_update_consent(call.client_id, call.event, call.parameters)?;
    let consent = call.store.update_consent(&update, call.context).await?;
    Ok(Response::consent(&update.client_id, &update.phone, consent))
}

/// # Errors
/// Every invalid field.
pub fn parse_update_consent(
    client_id: &ClientId,
    event: &Event,
    parameters: &PathParameters<'_>,
) -> Result<UpdateConsent, RequestError> {
    let mut fields = Fields::new(event, parameters);
    let (consent_type, phone, channel_type) = (fields.consent_type(), fields.canonical_phone(), fields.channel_type());
    let update = consent_type.zip(phone).zip(channel_type);
    let update =
        update.map(|((consent_type, phone), _)| UpdateConsent { client_id: client_id.clone(), phone, consent_type });
    fields.finish(&[ChannelField::ConsentType, ChannelField::CountryCode], update)
}
