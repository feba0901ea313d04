//! `cdm phone`: adds a number to a customer, removes one, lists the customers of a number, and shows or changes its consent.

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{
    AddPhone, Channel, ClientId, ClientSource, Consent, ConsentType, CountryCode, Number, Phone as E164, PhoneType,
    Rule, UpdateConsent,
};
use cdm_lambda::http::response::consent_json;
use cdm_lambda::operations::{phone_added, phone_removed};
use cdm_lambda::store::items::{self, Item};
use cdm_lambda::store::{CallContext, StoreError};
use cdm_lambda::time::UnixMillis;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::commands::arguments::{Customer, client_id};
use crate::table::call_failure;
use crate::table::connection::{Connection, OPERATION_TIMEOUT};
use crate::table::erase;
use crate::table::item_parts;
use crate::table::saved::{Save, lock};
use crate::ui::Failure;
use crate::ui::output::{self, Output};
use crate::ui::stdin;

/// Add a phone number to a customer, remove one, list the customers of one, or show or change its consent.
#[derive(Debug, Subcommand)]
pub(crate) enum Phone {
    Add(Add),
    Remove(Remove),
    Who(Who),
    Consent(SetConsent),
}

/// Add a phone number to a customer's record, under the same limits as the API.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm phone add --client demo-clinic --ccid BAK-11984-007 6105551212
  cdm phone add --client demo-clinic --ccid BAK-11984-007 0612345678 --country-code 33 --consent-type written
  cdm phone add --client demo-clinic --ccid BAK-11984-007 +33612345678")]
pub(crate) struct Add {
    #[command(flatten)]
    customer: Customer,
    #[command(flatten)]
    number: Dialled,
    /// The consent that was given: written, express or stop. It becomes the number's consent, unless the number is
    /// stopped.
    #[arg(long, value_parser = word(ConsentType::parse))]
    consent_type: Option<ConsentType>,
    /// The type of line: mobile, landline or unknown.
    #[arg(long, value_parser = word(PhoneType::parse), default_value = "unknown")]
    phone_type: PhoneType,
    /// The source of the number, 1 to 100 characters.
    #[arg(long, value_parser = word(ClientSource::parse), default_value = "internal")]
    client_source: ClientSource,
}

/// Remove a phone number from a customer's record, and the customer from the number's count.
///
/// If only the record or only the number's item shows that the customer has the number, it corrects that item.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm phone remove --client demo-clinic --ccid BAK-11984-007 +16105551212
  printf '%s\\n' \"$CCID\" \"$NUMBER\" | cdm phone remove --client demo-clinic --ccid - - --yes")]
pub(crate) struct Remove {
    #[command(flatten)]
    customer: Customer,
    #[command(flatten)]
    number: Dialled,
    #[command(flatten)]
    save: Save,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// List the customers that have a phone number.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm phone who --client demo-clinic 6105551212
  cdm phone who --client demo-clinic 6105551212 --output json | jq -r .ccid")]
pub(crate) struct Who {
    /// The client that the customers belong to.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    #[command(flatten)]
    number: Dialled,
}

/// Show the consent of a phone number, or change it for all customers that have the number.
///
/// You can also store a stop for a number that no customer has. Only this command and the API's operation for consent lift a
/// stop.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cdm phone consent --client demo-clinic 6105551212
  cdm phone consent --client demo-clinic +16105551212 --set stop
  printf '%s\\n' \"$NUMBER\" | cdm phone consent --client demo-clinic - --set written --yes")]
pub(crate) struct SetConsent {
    /// The client that the number belongs to.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    #[command(flatten)]
    number: Dialled,
    /// The new consent: written, express or stop.
    #[arg(long, value_name = "CONSENT", value_parser = word(ConsentType::parse))]
    set: Option<ConsentType>,
    /// Do not ask before a stop is lifted.
    #[arg(long, short)]
    yes: bool,
}

/// A phone number as an argument.
#[derive(Debug, Args)]
struct Dialled {
    /// The number: 10 to 11 digits, or E.164 such as +33612345678, or - to read it from standard input.
    #[arg(value_parser = number)]
    number: String,
    /// The calling code of the number's country; default 1. A number in E.164 form contains its own.
    #[arg(long, value_name = "CODE", value_parser = word(CountryCode::parse))]
    country_code: Option<CountryCode>,
}

impl Dialled {
    /// The number to look for.
    fn phone(&self) -> Result<E164, Failure> {
        let (number, country_code) = self.read()?;
        number.phone(country_code).map_err(bad("phone number"))
    }

    /// The number to store something under.
    fn canonical_phone(&self) -> Result<E164, Failure> {
        let (number, country_code) = self.read()?;
        number.canonical_phone(country_code).map_err(bad("phone number"))
    }

    fn read(&self) -> Result<(Number<'_>, CountryCode), Failure> {
        let number = Number::parse(&self.number).map_err(bad("phone number"))?;
        if let Some(stated) = self.country_code {
            number.agrees_with(stated).map_err(bad("country code"))?;
        }
        Ok((number, self.country_code.unwrap_or_default()))
    }
}

fn bad(name: &'static str) -> impl Fn(Rule) -> Failure {
    move |Rule(rule)| Failure(format!("the {name} {rule}"))
}

/// Turns a parser of the domain into a parser for clap.
fn word<T>(
    parse: impl Fn(&str) -> Result<T, Rule> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| parse(text).map_err(|Rule(rule)| rule.to_owned())
}

fn number(text: &str) -> Result<String, String> {
    let text = stdin::value(text, "phone number")?;
    Number::parse(text.trim()).map_err(|Rule(rule)| rule)?;
    Ok(text.trim().to_owned())
}

/// Runs the command.
///
/// # Errors
/// What was refused or failed, in one line.
pub(crate) async fn run(command: Phone, connection: &Connection, output: Output) -> Result<(), Failure> {
    match command {
        Phone::Add(add) => add.run(connection, output).await,
        Phone::Remove(remove) => remove.run(connection, output).await,
        Phone::Who(who) => who.run(connection, output).await,
        Phone::Consent(consent) => consent.run(connection, output).await,
    }
}

impl Add {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let add = AddPhone {
            client_id: self.customer.client,
            ccid: self.customer.ccid,
            channel: Channel {
                phone_type: self.phone_type,
                consent_type: self.consent_type,
                client_source: self.client_source,
                ..Channel::new(self.number.canonical_phone()?, UnixMillis::now())
            },
        };
        let added = connection.store.add_phone(&add, &mut CallContext::within(OPERATION_TIMEOUT)).await;
        added.map_err(|error| call_failure::refusal(error, &connection.table))?;
        say(output, &phone_added(&self.number.number, add.ccid.as_str(), add.client_id.as_str()))?;
        if let Some(stated @ (ConsentType::Written | ConsentType::Express)) = add.channel.consent_type {
            let stated = stated.as_str();
            match consent(connection, &add.client_id, &add.channel.phone).await {
                Ok(Some(Consent { consent_type: ConsentType::Stop, .. })) => output::note(&format!(
                    "The number is stopped, so its consent is not {stated}: `cdm phone consent --set` lifts a stop."
                )),
                Ok(_) => {}
                // The number was added, so this is no failure of the command.
                Err(Failure(why)) => output::note(&format!(
                    "It is unknown whether the number is stopped, or its consent is {stated} now ({why}): `cdm phone consent` shows it."
                )),
            }
        }
        Ok(())
    }
}

impl Remove {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let phone = self.number.phone()?;
        let Customer { client, ccid } = self.customer;
        output::confirm(
            &format!("Remove {} from {} of {}?", phone.e164(), ccid.as_str(), client.as_str()),
            "y",
            self.yes,
        )?;
        let saving = self.save.open(connection.address(), "phone remove").shared();
        let removed = erase::number(connection, &client, &ccid, &phone, &saving).await;
        lock(&saving).report_on(removed)?;
        say(output, &phone_removed(&self.number.number, ccid.as_str(), client.as_str()))?;
        lock(&saving).report();
        Ok(())
    }
}

impl Who {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let phone = self.number.phone()?;
        let item = connection.item(items::phone_key(&self.client, &phone)).await?;
        let ccids = item.as_ref().map(item_parts::ccids).unwrap_or_default();
        let names_no_one = |item: &Item| item.get(items::CCID_COUNT) == Some(&AttributeValue::N("0".to_owned()));
        if item
            .is_some_and(|item| item_parts::has_unreadable_ccids(&item) || (ccids.is_empty() && !names_no_one(&item)))
        {
            return Err(Failure("the number's item is corrupt: `cdm check` says what to do about it".to_owned()));
        }
        let rows: Vec<_> = ccids.iter().map(|ccid| json!({ "ccid": ccid })).collect();
        let none = format!("No customer of {} has {}.", self.client.as_str(), phone.e164());
        output.list(&[("CCID", "ccid")], &rows, &none)
    }
}

impl SetConsent {
    async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let phone = if self.set.is_some() { self.number.canonical_phone()? } else { self.number.phone()? };
        let seen = consent(connection, &self.client, &phone).await?;
        let Some(consent_type) = self.set else {
            return match seen {
                Some(consent) => show(&self.client, &phone, consent, output),
                None => output.done(
                    &format!("No consent is stated for {} of {}.", phone.e164(), self.client.as_str()),
                    &json!({ "client_id": self.client.as_str(), "channel_addr": phone.e164(), "consent_type": null }),
                ),
            };
        };
        if seen.is_some_and(|seen| seen.consent_type == ConsentType::Stop) && consent_type != ConsentType::Stop {
            output::confirm(&format!("Lift the stop of {} of {}?", phone.e164(), self.client.as_str()), "y", self.yes)?;
        }
        let update = UpdateConsent { client_id: self.client, phone, consent_type };
        let updated = connection.store.update_consent(&update, &mut CallContext::within(OPERATION_TIMEOUT)).await;
        let updated = updated.map_err(|error| match error {
            StoreError::PhoneNotFound => {
                Failure("no customer has the number and no consent is stated for it: only a stop can be set".to_owned())
            }
            error => call_failure::refusal(error, &connection.table),
        })?;
        show(&update.client_id, &update.phone, updated, output)
    }
}

/// The number's consent, if one is stated.
async fn consent(connection: &Connection, client_id: &ClientId, phone: &E164) -> Result<Option<Consent>, Failure> {
    match connection.store.phone(client_id, phone, &mut CallContext::within(OPERATION_TIMEOUT)).await {
        Ok(record) => Ok(record.consent),
        Err(StoreError::PhoneNotFound) => Ok(None),
        Err(error) => Err(call_failure::refusal(error, &connection.table)),
    }
}

fn show(client_id: &ClientId, phone: &E164, consent: Consent, output: Output) -> Result<(), Failure> {
    let body = consent_json(client_id, phone, consent);
    match output {
        Output::Json => output::print_object(&body),
        Output::Table => output.details(
            &[
                ("Client", "client_id"),
                ("Number", "channel_addr"),
                ("Consent", "consent_type"),
                ("Stated", "created_at"),
                ("Changed", "updated_at"),
            ],
            &body,
        ),
    }
}

/// Prints the message of the API.
fn say(output: Output, message: &str) -> Result<(), Failure> {
    output.done(message, &json!({ "message": message }))
}
