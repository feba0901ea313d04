//! Each fault alone, once and persistently, and the sequences of events that decide whether the promise holds.

use std::time::Duration;

use futures_util::future::join_all;
use testkit::TIMEOUT;
use testkit::runtime_api::Invocation;

use crate::deployment::Deployment;
use crate::fault_table::{Applied, Consequence, Ending, FAULTS, Fault, PASS};
use crate::is_full;
use crate::proxy::Gate;
use crate::request::{Outcome, Request};

const CCID: &str = "BAK-1";
const PHONE: &str = "6105551212";
const E164: &str = "+16105551212";

/// Enough time for one attempt that times out, and a little more.
const SHORT: Duration = Duration::from_millis(2_500);

/// A deployment with one customer, who has no numbers.
async fn deployment() -> Deployment {
    let deployment = Deployment::start().await;
    deployment.customer(CCID, &[]).await;
    deployment
}

#[tokio::test]
async fn a_single_fault_does_not_change_the_response() {
    join_all(FAULTS.iter().map(|(name, fault, consequence)| async move {
        let deployment = deployment().await;
        let environment = deployment.environment().await;
        deployment.proxy.next_write(*fault, None);
        let added = deployment.send(&environment, &Request::add(CCID, PHONE)).await;
        deployment.proxy.clear_faults().await;
        let is_added = deployment.phones_of(CCID).await.contains(E164);
        if *consequence == Consequence::Permanent {
            assert_eq!((added, is_added), (Outcome::Unknown, false), "{name}");
            return;
        }
        assert_eq!((added, is_added), (Outcome::Done, true), "{name}");

        deployment.proxy.next_write(*fault, None);
        let again = deployment.send(&environment, &Request::add(CCID, PHONE)).await;
        assert_eq!(again, Outcome::refused("phone_already_added"), "{name}");

        deployment.proxy.next_write(*fault, None);
        let removed = deployment.send(&environment, &Request::remove(CCID, PHONE)).await;
        deployment.proxy.clear_faults().await;
        assert_eq!((removed, deployment.phones_of(CCID).await.len()), (Outcome::Done, 0), "{name}");
    }))
    .await;
}

#[tokio::test]
async fn a_persistent_fault_is_reported_as_its_kind_and_a_repeat_resolves_it() {
    join_all(FAULTS.iter().map(|(name, fault, consequence)| async move {
        let deployment = deployment().await;
        let environment = deployment.environment().await;
        let read = deployment.send(&environment, &Request::read(CCID)).await;
        assert_eq!(read, Outcome::Record([].into()), "{name}");
        let add = Request::add(CCID, PHONE).idempotency_key("a key");
        deployment.proxy.every_write(Some(*fault));
        let outcome = deployment.send_within(&environment, &add, SHORT).await;
        let is_added = deployment.phones_of(CCID).await.contains(E164);
        match consequence {
            Consequence::NotWritten => assert_eq!((outcome, is_added), (Outcome::TryAgain, false), "{name}"),
            Consequence::Permanent => assert_eq!((outcome, is_added), (Outcome::Unknown, false), "{name}"),
            // On a busy machine there may be no time for an attempt.
            Consequence::Unknown if deployment.proxy.stats().writes == 0 => {
                assert_eq!(outcome, Outcome::TryAgain, "{name}");
            }
            Consequence::Unknown => assert_eq!(outcome, Outcome::Unknown, "{name}"),
        }
        deployment.proxy.clear_faults().await;
        let is_added = deployment.phones_of(CCID).await.contains(E164);
        let repeated = deployment.send(&environment, &add).await;
        assert_eq!(repeated, if is_added { Outcome::Replayed } else { Outcome::Done }, "{name}");
        assert_eq!(deployment.phones_of(CCID).await.len(), 1, "{name}");
    }))
    .await;
}

#[tokio::test]
async fn an_api_key_that_cannot_be_looked_up_is_never_a_401() {
    let faults = FAULTS.iter().filter(|(_, fault, _)| !matches!(fault, Fault(_, Ending::Cancelled(_))));
    join_all(faults.map(|(name, fault, consequence)| async move {
        let deployment = deployment().await;
        let environment = deployment.environment().await;
        deployment.proxy.every_read(Some(*fault));
        let is_permanent = *consequence == Consequence::Permanent;
        let expected = if is_permanent { Outcome::Unknown } else { Outcome::TryAgain };
        for request in [Request::add(CCID, PHONE), Request::read(CCID)] {
            assert_eq!(deployment.send_within(&environment, &request, SHORT).await, expected, "{name}");
        }
        deployment.proxy.clear_faults().await;
        assert_eq!(deployment.proxy.stats().writes, 0, "{name}");
    }))
    .await;
}

#[tokio::test]
async fn an_endpoint_that_stops_and_restarts() {
    let deployment = deployment().await;
    let environment = deployment.environment().await;
    assert_eq!(deployment.send(&environment, &Request::read(CCID)).await, Outcome::Record([].into()));
    deployment.proxy.stop().await;
    assert_eq!(deployment.send_within(&environment, &Request::add(CCID, PHONE), SHORT).await, Outcome::TryAgain);
    let add = Request::add(CCID, PHONE);
    let (added, ()) = tokio::join!(deployment.send(&environment, &add), deployment.proxy.restart());
    assert_eq!(added, Outcome::Done, "the endpoint restarts within the request");
    deployment.proxy.stop().await;
    let cold = deployment.environment().await;
    deployment.proxy.restart().await;
    let again = deployment.send(&cold, &add).await;
    assert_eq!(
        again,
        Outcome::refused("phone_already_added"),
        "an environment can start while the endpoint is stopped"
    );
    assert_eq!(deployment.phones_of(CCID).await.len(), 1);
}

/// The endpoint neither refuses nor accepts connections. So the function sends nothing, and knows that it wrote nothing.
#[tokio::test]
async fn an_endpoint_that_ignores_connections() {
    let deployment = deployment().await;
    let environment = deployment.environment().await;
    assert_eq!(deployment.send(&environment, &Request::read(CCID)).await, Outcome::Record([].into()));
    let listener = deployment.proxy.ignore_connections().await;
    let add = Request::add(CCID, PHONE);
    assert_eq!(deployment.send_within(&environment, &add, SHORT).await, Outcome::TryAgain);
    drop(listener);
    deployment.proxy.restart().await;
    assert_eq!(deployment.send(&environment, &add).await, Outcome::Done);
    assert_eq!(deployment.proxy.stats().writes, 1);
}

/// Lambda freezes environments. Meanwhile the endpoint closes the connection, which the process does not notice.
#[tokio::test]
async fn a_frozen_environment_continues() {
    let deployment = deployment().await;
    let environment = deployment.environment().await;
    assert_eq!(deployment.send(&environment, &Request::read(CCID)).await, Outcome::Record([].into()));
    environment.freeze();
    deployment.proxy.disconnect().await;
    if !is_full() {
        environment.thaw();
        assert_eq!(deployment.send(&environment, &Request::add(CCID, PHONE)).await, Outcome::Done);
        return;
    }
    // Longer than the client keeps an idle connection, and longer than the function caches a key.
    deployment.revoke_key().await;
    tokio::time::sleep(Duration::from_secs(95)).await;
    environment.thaw();
    let outcome = deployment.send(&environment, &Request::add(CCID, PHONE)).await;
    assert_eq!(outcome, Outcome::refused("unauthorized"));
}

#[tokio::test]
async fn a_process_that_is_killed_in_a_request_writes_all_or_nothing() {
    for (fault, is_written) in [(Fault(Applied::Never, Ending::Reset), false), (PASS, true)] {
        let deployment = deployment().await;
        let environment = deployment.environment().await;
        let gate = Gate::new();
        deployment.proxy.next_write(fault, Some(&gate));
        let add = Request::add(CCID, PHONE).idempotency_key("a key");
        let kill = async {
            gate.arrived().await;
            environment.signal("KILL");
        };
        let (invocation, ()) = tokio::join!(environment.invoke(deployment.event(&add), TIMEOUT), kill);
        assert_eq!(invocation, Invocation::Exited);
        gate.open();
        assert_eq!(deployment.phones_of(CCID).await.contains(E164), is_written);
        let next = deployment.environment().await;
        let repeated = deployment.send(&next, &add).await;
        assert_eq!(repeated, if is_written { Outcome::Replayed } else { Outcome::Done });
        assert_eq!(deployment.phones_of(CCID).await.len(), 1);
    }
}

/// DynamoDB commits the add and the response is lost. Another request removes the number before the add is retried.
#[tokio::test]
async fn a_number_removed_before_the_retry_of_its_add_is_not_added_again() {
    let deployment = deployment().await;
    let (adding, removing) = (deployment.environment().await, deployment.environment().await);
    let gate = Gate::new();
    deployment.proxy.next_write(Fault(Applied::Immediately, Ending::Reset), Some(&gate));
    let add = Request::add(CCID, PHONE);
    let remove = async {
        gate.arrived().await;
        assert_eq!(deployment.send(&removing, &Request::remove(CCID, PHONE)).await, Outcome::Done);
        gate.open();
    };
    let (added, ()) = tokio::join!(deployment.send(&adding, &add), remove);
    assert_eq!(added, Outcome::Done, "the number was added, then removed");
    assert_eq!(deployment.phones_of(CCID).await.len(), 0, "the number must not be added again");
}

/// The first attempt times out and is still on its way when the second is refused. After the function has responded 4xx,
/// the first attempt must not write when it arrives.
#[tokio::test]
async fn a_refusal_is_final_even_if_an_earlier_attempt_arrives_later() {
    let late = Fault(Applied::Late, Ending::Silence);

    let deployment = Deployment::start().await;
    let fifty: Vec<_> = (0..50).map(|n| format!("61055500{n:02}")).collect();
    deployment.customer(CCID, &fifty.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let environment = deployment.environment().await;
    deployment.proxy.next_write(late, None);
    let full = deployment.send(&environment, &Request::add(CCID, PHONE)).await;
    assert_eq!(full, Outcome::refused("customer_phone_limit_reached"));
    assert_eq!(deployment.send(&environment, &Request::remove(CCID, &fifty[0])).await, Outcome::Done);
    deployment.proxy.clear_faults().await;
    assert!(!deployment.phones_of(CCID).await.contains(E164), "a refused add must not be written");

    let deployment = self::deployment().await;
    let environment = deployment.environment().await;
    deployment.proxy.next_write(late, None);
    let absent = deployment.send(&environment, &Request::remove(CCID, PHONE)).await;
    assert_eq!(absent, Outcome::refused("phone_not_found"));
    assert_eq!(deployment.send(&environment, &Request::add(CCID, PHONE)).await, Outcome::Done);
    deployment.proxy.clear_faults().await;
    assert!(deployment.phones_of(CCID).await.contains(E164), "a refused removal must not be written");
}
