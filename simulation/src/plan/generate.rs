//! From a seed to a plan.

use crate::plan::draw::{Draw, Purpose};
use crate::plan::names::{CLIENTS, CUSTOMERS, KEYS_PER_CLIENT, PHONES, STATES_CONSENTS, USED_AFTER_REVOCATION};
use crate::plan::{
    Accident, ApiKey, CONTRACT, CallFault, Consent, Event, EventKind, Fault, InvocationFault, Operation, Plan, Request,
    ServiceBehavior,
};

/// After this many tries that were executed, a client counts as not served. Faults end long before.
const TRIES: u32 = 300;

/// How many of a thousand calls go wrong.
const CALL_FAULTS: u64 = 40;

/// The plan of this seed, with so many requests.
pub fn plan(seed: u64, requests: u32) -> Plan {
    let mut draw = Draw::new(seed, Purpose::Plan, &[]);
    let behavior = ServiceBehavior {
        refuses_both: draw.chance(1, 3),
        remembers_cancelled: draw.chance(1, 2),
        holds: draw.pick(&[(1, 3), (1, 8), (5, 30), (20, 120)]),
    };
    let limits = draw.pick(&[CONTRACT, (2, 2), (3, 2), (2, 3), (4, 4)]);
    let key_cache_seconds = draw.pick(&[60, 60, 60, 5, 0]);
    // Bursts, and quiet times longer than a key is cached.
    let gaps = draw.pick(&[(1, 5), (1, 20), (5, 60), (20, 200)]);
    // Enough for the requests, most of the time. An invocation takes about 140 ms, faults included.
    let environments = draw.pick(&[1, 2, 4]) * (300 / (gaps.0 + gaps.1)).max(2);
    let environments = u32::try_from(environments + 2).unwrap_or(u32::MAX);
    let mut planned = Vec::new();
    let mut at = 0;
    for id in 0..requests {
        at += match draw.range(0, 999) {
            0 => draw.range(10_000, 90_000),
            1..300 => 0,
            _ => draw.range(gaps.0, gaps.1),
        };
        planned.push(request(&mut draw, id, at, progress(u64::from(id), u64::from(requests))));
    }
    let end = at;
    let mut plan = Plan {
        seed,
        limits,
        given_limits: None,
        behavior,
        key_cache_seconds,
        environments,
        tries: TRIES,
        is_storm: false,
        requests: planned,
        call_faults: Vec::new(),
        invocation_faults: Vec::new(),
        events: events(&mut draw, end, requests),
    };
    for id in 0..requests {
        // Most requests meet a fault now and then. Some meet the same few again and again.
        let few = draw.chance(1, 10).then(|| [fault(&mut draw), fault(&mut draw), fault(&mut draw)]);
        for call in 0..10 {
            let faults = if few.is_some() { 500 } else { CALL_FAULTS };
            if draw.chance(faults, 1000) {
                let fault = if let Some(few) = few { draw.pick(&few) } else { fault(&mut draw) };
                plan.call_faults.push(CallFault { request: id, call, fault });
            }
        }
        if draw.chance(1, 50) {
            let accident = match draw.range(0, 3) {
                0 => Accident::Killed,
                1 => Accident::Frozen(draw.pick(&[200, 3_000, 20_000])),
                _ => Accident::GatewayGivesUp,
            };
            let attempt = u32::from(draw.chance(1, 4));
            let after = draw.range(0, 40);
            plan.invocation_faults.push(InvocationFault { request: id, attempt, after, fault: accident });
        }
    }
    plan
}

/// The index of the API key around which keys are used, issued and revoked. It grows during the run, so there is always a key
/// to issue and one to revoke.
fn progress(done: u64, of: u64) -> u16 {
    u16::try_from(done * u64::from(KEYS_PER_CLIENT - 8) / of.max(1)).unwrap_or(KEYS_PER_CLIENT - 8) + 4
}

fn request(draw: &mut Draw, id: u32, at: u64, progress: u16) -> Request {
    let client = u16::from(draw.chance(1, 4));
    let operation = match draw.range(0, 149) {
        0..66 => Operation::Add,
        102..118 => Operation::Read,
        118..126 => Operation::ReadPhone,
        126..145 if client == STATES_CONSENTS => Operation::UpdateConsent,
        66..102 | 126..145 => Operation::Remove,
        145..149 => Operation::Create,
        _ => Operation::Delete,
    };
    let consent = draw.pick(&[Consent::Written, Consent::Written, Consent::Express, Consent::Stop]);
    let states = match operation {
        Operation::Add => client == STATES_CONSENTS && draw.chance(1, 3),
        Operation::UpdateConsent => true,
        _ => false,
    };
    let customer = if draw.chance(1, 40) { CUSTOMERS } else { index(draw, CUSTOMERS) };
    let key = match draw.range(0, 99) {
        0 => ApiKey::Unknown,
        1..3 => ApiKey::Of { client: 1 - client, index: 0 },
        3..65 => ApiKey::Of { client, index: 0 },
        65..75 => ApiKey::Of { client, index: USED_AFTER_REVOCATION },
        _ => ApiKey::Of { client, index: progress - 3 + index(draw, 6) },
    };
    Request {
        id,
        at,
        operation,
        client,
        customer,
        phone: index(draw, PHONES),
        idempotency: draw.chance(2, 3).then(|| index(draw, 3)),
        source: index(draw, 2),
        consent: states.then_some(consent),
        key,
        timeout_millis: draw.pick(&[2_000, 10_000, 29_000, 29_000]),
    }
}

fn index(draw: &mut Draw, of: u16) -> u16 {
    u16::try_from(draw.range(0, u64::from(of) - 1)).unwrap_or_default()
}

fn fault(draw: &mut Draw) -> Fault {
    match draw.range(0, 27) {
        0 => Fault::Dns,
        1 => Fault::DnsHangs,
        2 => Fault::Unreachable,
        3 => Fault::LostRequest,
        4 | 5 => Fault::LostResponse,
        6 => Fault::ResetBefore,
        7 | 8 => Fault::ResetAfter,
        9 | 10 => Fault::Late(draw.pick(&[1_600, 2_500, 6_000, 20_000])),
        11 => Fault::SlowResponse(draw.range(1_000, 4_000)),
        12 | 13 => Fault::Stuck(draw.range(500, 5_000)),
        14 => Fault::PageBefore(draw.pick(&[200, 400, 503])),
        15 => Fault::PageAfter(draw.pick(&[200, 502])),
        16 => Fault::HalfResponse,
        17 => Fault::EmptyBefore,
        18 => Fault::FailureBefore(draw.pick(&[500, 503])),
        19 => Fault::FailureAfter(draw.pick(&[500, 503])),
        20 => Fault::Throttled(index(draw, 3)),
        21 | 22 => Fault::ItemThrottled(index(draw, 4)),
        23 => Fault::Conflict,
        24..27 => Fault::ResetAndLate(draw.pick(&[20, 50, 100, 200, 500, 1_500, 5_000])),
        _ => Fault::AccessDenied,
    }
}

/// One event for about forty requests.
fn events(draw: &mut Draw, end: u64, requests: u32) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..requests / 40 {
        let client = index(draw, CLIENTS);
        let at = draw.range(0, end);
        let progress = progress(at, end);
        let environment = u32::from(index(draw, 8));
        let kind = match draw.range(0, 25) {
            0..3 => EventKind::ClockJumps {
                environment,
                by: draw.pick(&[-70_000, -2_000, 300, 4_000, 70_000]),
                lasts: draw.range(100, 3_000),
            },
            3 => EventKind::CredentialsExpire { environment, lasts: draw.range(100, 5_000) },
            4 => EventKind::Recycle,
            5 => EventKind::Deploy { key_cache_seconds: draw.pick(&[60, 5, 0]) },
            6..10 => {
                let expires_in = draw.chance(1, 2).then(|| draw.range(100, 120_000));
                EventKind::IssueKey { client, index: progress + index(draw, 3), expires_in }
            }
            10..14 => EventKind::RevokeKey { client, index: progress - 1 - index(draw, 2) },
            14 => EventKind::RevokeKey { client, index: USED_AFTER_REVOCATION },
            15..18 => EventKind::Import { client, customer: index(draw, CUSTOMERS), phone: index(draw, PHONES) },
            18 => EventKind::Backup,
            19 => EventKind::Restore,
            20 | 21 => EventKind::Corrupt { client, index: index(draw, progress + 1) },
            22..25 => EventKind::Check,
            _ => EventKind::Outage { lasts: draw.pick(&[2_000, 10_000, 20_000]) },
        };
        events.push(Event { at, kind });
    }
    events.sort_by_key(|event| event.at);
    events
}
