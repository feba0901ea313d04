//! Each fault by itself, once and without end, and the orders of events that decide whether a promise holds.

use std::time::Duration;

use futures_util::future::join_all;

use crate::fault_table::{Applied, Ending, FAULTS, Fate, Fault, PASS};
use crate::proxy::Gate;
use crate::world::{Answer, Request, TIMEOUT, World, is_full};
use testkit::runtime_api::Invocation;

const CCID: &str = "BAK-1";
const PHONE: &str = "6105551212";
const E164: &str = "+16105551212";

/// Time for little more than one attempt after one that was given up.
const SHORT: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn one_fault_is_never_visible() {
    join_all(FAULTS.iter().map(|(name, fault, fate)| async move {
        let world = World::new().await;
        world.customer(CCID, &[]).await;
        let environment = world.environment().await;
        world.proxy.next_write(*fault, None);
        let added = world.ask(&environment, &Request::add(CCID, PHONE)).await;
        world.proxy.heal().await;
        let there = world.phones_of(CCID).await.contains(E164);
        if *fate == Fate::Hopeless {
            assert_eq!((added, there), (Answer::Unknown, false), "{name}");
            return;
        }
        assert_eq!((added, there), (Answer::Done, true), "{name}");

        world.proxy.next_write(*fault, None);
        let again = world.ask(&environment, &Request::add(CCID, PHONE)).await;
        assert_eq!(again, Answer::refused("phone_already_added"), "{name}");

        world.proxy.next_write(*fault, None);
        let removed = world.ask(&environment, &Request::remove(CCID, PHONE)).await;
        world.proxy.heal().await;
        assert_eq!((removed, world.phones_of(CCID).await.len()), (Answer::Done, 0), "{name}");
    }))
    .await;
}

#[tokio::test]
async fn a_fault_without_end_is_told_for_what_it_is_and_a_repeat_settles_it() {
    join_all(FAULTS.iter().map(|(name, fault, fate)| async move {
        let world = World::new().await;
        world.customer(CCID, &[]).await;
        let environment = world.environment().await;
        assert_eq!(world.ask(&environment, &Request::read(CCID)).await, Answer::Record([].into()), "{name}");
        let add = Request::add(CCID, PHONE).under("a key");
        world.proxy.every_write(Some(*fault));
        let ended = world.ask_within(&environment, &add, SHORT).await;
        let there = world.phones_of(CCID).await.contains(E164);
        match fate {
            Fate::Refused => assert_eq!((ended, there), (Answer::TryAgain, false), "{name}"),
            Fate::Hopeless => assert_eq!((ended, there), (Answer::Unknown, false), "{name}"),
            // A machine that was busy elsewhere may have left no time for an attempt.
            Fate::Unknown if world.proxy.tally().writes == 0 => assert_eq!(ended, Answer::TryAgain, "{name}"),
            Fate::Unknown => assert_eq!(ended, Answer::Unknown, "{name}"),
        }
        world.proxy.heal().await;
        let there = world.phones_of(CCID).await.contains(E164);
        let settled = world.ask(&environment, &add).await;
        assert_eq!(settled, if there { Answer::Replayed } else { Answer::Done }, "{name}");
        assert_eq!(world.phones_of(CCID).await.len(), 1, "{name}");
    }))
    .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_looked_up_is_never_a_401() {
    let faults = FAULTS.iter().filter(|(_, fault, _)| !matches!(fault, Fault(_, Ending::Cancelled(_))));
    join_all(faults.map(|(name, fault, fate)| async move {
        let world = World::new().await;
        world.customer(CCID, &[]).await;
        let environment = world.environment().await;
        world.proxy.every_read(Some(*fault));
        for request in [Request::add(CCID, PHONE), Request::read(CCID)] {
            let ended = world.ask_within(&environment, &request, SHORT).await;
            let told = if *fate == Fate::Hopeless { Answer::Unknown } else { Answer::TryAgain };
            assert_eq!(ended, told, "{name}");
        }
        world.proxy.heal().await;
        assert_eq!(world.proxy.tally().writes, 0, "{name}");
    }))
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_and_back() {
    let world = World::new().await;
    world.customer(CCID, &[]).await;
    let environment = world.environment().await;
    assert_eq!(world.ask(&environment, &Request::read(CCID)).await, Answer::Record([].into()));
    world.proxy.gone().await;
    assert_eq!(world.ask_within(&environment, &Request::add(CCID, PHONE), SHORT).await, Answer::TryAgain);
    let asked = Request::add(CCID, PHONE);
    let (added, ()) = tokio::join!(world.ask(&environment, &asked), world.proxy.back());
    assert_eq!(added, Answer::Done, "it came back within the request");
    world.proxy.gone().await;
    let cold = world.environment().await;
    world.proxy.back().await;
    let again = world.ask(&cold, &asked).await;
    assert_eq!(again, Answer::refused("phone_already_added"), "a start without a database is no failed start");
    assert_eq!(world.phones_of(CCID).await.len(), 1);
}

/// No connection is refused, and none is made: nothing was sent, and so nothing was written.
#[tokio::test]
async fn an_endpoint_that_hears_nothing() {
    let world = World::new().await;
    world.customer(CCID, &[]).await;
    let environment = world.environment().await;
    assert_eq!(world.ask(&environment, &Request::read(CCID)).await, Answer::Record([].into()));
    let deaf = world.proxy.deaf().await;
    let asked = Request::add(CCID, PHONE);
    assert_eq!(world.ask_within(&environment, &asked, SHORT).await, Answer::TryAgain);
    drop(deaf);
    world.proxy.back().await;
    assert_eq!(world.ask(&environment, &asked).await, Answer::Done);
    assert_eq!(world.proxy.tally().writes, 1);
}

/// Lambda's freeze: the far end closes the connection meanwhile, and the process does not hear of it.
#[tokio::test]
async fn a_frozen_environment_goes_on() {
    let world = World::new().await;
    world.customer(CCID, &[]).await;
    let environment = world.environment().await;
    assert_eq!(world.ask(&environment, &Request::read(CCID)).await, Answer::Record([].into()));
    environment.freeze();
    world.proxy.gone().await;
    world.proxy.back().await;
    if !is_full() {
        environment.thaw();
        assert_eq!(world.ask(&environment, &Request::add(CCID, PHONE)).await, Answer::Done);
        return;
    }
    // Longer than the client keeps an idle connection, and than the function remembers a key.
    world.revoke_key().await;
    tokio::time::sleep(Duration::from_secs(95)).await;
    environment.thaw();
    assert_eq!(world.ask(&environment, &Request::add(CCID, PHONE)).await, Answer::refused("unauthorized"));
}

#[tokio::test]
async fn a_process_killed_mid_request_leaves_all_or_nothing() {
    for (fault, there) in [(Fault(Applied::Never, Ending::Reset), false), (PASS, true)] {
        let world = World::new().await;
        world.customer(CCID, &[]).await;
        let environment = world.environment().await;
        let gate = Gate::new();
        world.proxy.next_write(fault, Some(&gate));
        let add = Request::add(CCID, PHONE).under("a key");
        let killed = async {
            gate.arrived().await;
            environment.signal("KILL");
        };
        let (ended, ()) = tokio::join!(environment.invoke(world.event(&add), TIMEOUT), killed);
        assert_eq!(ended, Invocation::Exited);
        gate.open();
        assert_eq!(world.phones_of(CCID).await.contains(E164), there);
        let next = world.environment().await;
        let settled = world.ask(&next, &add).await;
        assert_eq!(settled, if there { Answer::Replayed } else { Answer::Done });
        assert_eq!(world.phones_of(CCID).await.len(), 1);
    }
}

/// The add is committed and its answer lost; another request removes the number; only then does the add ask again.
#[tokio::test]
async fn a_number_removed_while_the_answer_was_lost_does_not_come_back() {
    let world = World::new().await;
    world.customer(CCID, &[]).await;
    let (adding, removing) = (world.environment().await, world.environment().await);
    let gate = Gate::new();
    world.proxy.next_write(Fault(Applied::AtOnce, Ending::Reset), Some(&gate));
    let add = Request::add(CCID, PHONE);
    let meanwhile = async {
        gate.arrived().await;
        assert_eq!(world.ask(&removing, &Request::remove(CCID, PHONE)).await, Answer::Done);
        gate.open();
    };
    let (added, ()) = tokio::join!(world.ask(&adding, &add), meanwhile);
    assert_eq!(added, Answer::Done, "it was added, and then removed");
    assert_eq!(world.phones_of(CCID).await.len(), 0, "it came back");
}

/// An attempt that was given up is still on its way when the next one is refused. The refusal must be final: what is
/// answered with a 4xx must not be written when the first attempt arrives at last.
#[tokio::test]
async fn a_refusal_stands_even_if_an_earlier_attempt_arrives_after_it() {
    let late = Fault(Applied::Late, Ending::Silence);

    let world = World::new().await;
    let fifty: Vec<_> = (0..50).map(|n| format!("61055500{n:02}")).collect();
    world.customer(CCID, &fifty.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let environment = world.environment().await;
    world.proxy.next_write(late, None);
    let full = world.ask(&environment, &Request::add(CCID, PHONE)).await;
    assert_eq!(full, Answer::refused("customer_phone_limit_reached"));
    assert_eq!(world.ask(&environment, &Request::remove(CCID, &fifty[0])).await, Answer::Done);
    world.proxy.heal().await;
    assert!(!world.phones_of(CCID).await.contains(E164), "refused, and added all the same");

    let world = World::new().await;
    world.customer(CCID, &[]).await;
    let environment = world.environment().await;
    world.proxy.next_write(late, None);
    let absent = world.ask(&environment, &Request::remove(CCID, PHONE)).await;
    assert_eq!(absent, Answer::refused("phone_not_found"));
    assert_eq!(world.ask(&environment, &Request::add(CCID, PHONE)).await, Answer::Done);
    world.proxy.heal().await;
    assert!(world.phones_of(CCID).await.contains(E164), "not found, and removed all the same");
}
