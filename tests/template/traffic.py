"""Simulated traffic: the requests of each minute, and the metrics that each request sends to CloudWatch.

Arrivals are Poisson and requests fail independently, so each kind of request is a separate Poisson stream. All random
numbers are seeded, so the traffic is always the same.
"""

import math
import random
from typing import NamedTuple

from cloudwatch import DAY, Data

# --- Amount and kinds ---------------------------------------------------------------------------------------------


class Level(NamedTuple):
    """An amount of traffic, the parameters deployed for it, and how long a situation lasts (minutes)."""

    title: str
    a_minute: float
    probe_minutes: int
    no_traffic_minutes: int
    lasts: int
    healthy_days: int


LEVELS = {
    "unprobed": Level("10 a day, no probe", 10 / DAY, 0, 0, 2 * DAY, 30),
    "day": Level("10 a day", 10 / DAY, 5, 0, 2 * DAY, 30),
    "minute": Level("1 a minute", 1, 5, 240, 300, 14),
    "canary": Level("10 a minute", 10, 5, 60, 60, 7),
    "half": Level("30 a minute, no probe", 30, 0, 60, 90, 7),
    "second": Level("500 a second", 30_000, 5, 15, 60, 3),
}

# The shares of the operations. Those without a share send the same metrics, which the alarms read too.
OPERATIONS = {
    "add_phone": 0.8, "remove_phone": 0.05, "get_customer": 0.15,
    "create_customer": 0, "delete_customer": 0, "get_phone": 0, "update_consent": 0,
}

READS = ("get_customer", "get_phone")

# The shares of healthy requests that …
NOISE = {
    "failed": 1 / 100_000,  # a single 500
    "unauthorized": 1 / 10_000,
    "slow": 1 / 5_000,
    "contended": 1 / 200,  # conflict with another transaction once; four times as many in the nightly burst
    "refused": 1 / 20,  # 400, 404 or 409
}
# At every level: a single 500 and a single slow request, every second night at these minutes of the day.
SINGLES = {4 * 60: "failed", 5 * 60: "slow"}
LULL, BURST = (22 * 60, 6 * 60), (2 * 60, 2 * 60 + 15)  # Minutes of the day: the night, and a client's nightly sync.


def shape(minute):
    """Traffic of this minute of the day, relative to the day's average."""
    minute %= DAY
    if BURST[0] <= minute < BURST[1]:
        return 4 / MEAN_SHAPE
    return (0.3 if minute >= LULL[0] or minute < LULL[1] else 1) / MEAN_SHAPE


MEAN_SHAPE = 1
MEAN_SHAPE = sum(map(shape, range(DAY))) / DAY


def poisson(random_number, mean):
    """The number of events of a Poisson stream. Above a mean of 50, uses the normal distribution."""
    if mean > 50:
        normal = math.sqrt(-2 * math.log(1 - random_number())) * math.cos(2 * math.pi * random_number())
        return max(0, round(mean + math.sqrt(mean) * normal))
    count, product, least = 0, random_number(), math.exp(-mean)
    while product > least:
        count += 1
        product *= random_number()
    return count


def healthy(minute):
    """{kind: share} of the requests in a minute without faults."""
    shares = dict(NOISE)
    if BURST[0] <= minute % DAY < BURST[1]:
        shares["contended"] *= 4
    return {**shares, "ok": 1 - sum(shares.values())}


def mixed(**shares):
    """The given shares of some kinds, and healthy requests for the rest."""
    rest = 1 - sum(shares.values())

    def mix(minute):
        mixture = {kind: share * rest for kind, share in healthy(minute).items()}
        for kind, share in shares.items():
            mixture[kind] = mixture.get(kind, 0) + share
        return mixture

    return mix


# --- What a request sends to CloudWatch -------------------------------------------------------------------------------


def key(namespace, name, **dimensions):
    return (namespace, name, frozenset(dimensions.items()))


FUNCTION = {"FunctionName": "Function"}
ATTEMPTS = 4  # of a request that is throttled or conflicts each time
CODES = {  # kind -> (status, code)
    "ok": (200, "ok"), "slow": (200, "ok"), "contended": (200, "ok"), "refused": (409, "phone_already_added"),
    "unauthorized": (401, "unauthorized"), "failed": (500, "internal_error"), "throttled": (500, "try_again"),
    "slow_failure": (500, "try_again"),
}
NOT_ANSWERED = ("crashed", "not_started", "no_room", "limited")  # The gateway responds to the last, with 429.


def fails(kind):
    """Whether the caller gets a 5xx, from the function or from the gateway."""
    return kind != "limited" and (kind in NOT_ANSWERED or CODES[kind][0] >= 500)


def sent(kind, operation, through_gateway=True):
    """(metric, value) of each sample that a request sends. A zero is also a sample."""
    found = []
    if through_gateway:
        found += [(key("AWS/ApiGateway", "Count", ApiId="HttpApi"), 1), (key("AWS/ApiGateway", "5xx", ApiId="HttpApi"), int(fails(kind)))]
    if kind == "limited":  # The gateway responds with 429.
        return [*found, (key("CdmPhones/stack", "GatewayThrottles"), 1)]
    if kind == "no_room":  # "Invocations aren't recorded if the invocation request is throttled"
        return [*found, (key("AWS/Lambda", "Throttles", **FUNCTION), 1)]
    if kind == "not_started":
        return [*found, (key("CdmPhones/stack", "InitErrors"), 1)]
    live = {**FUNCTION, "Resource": "Function:live"}
    found += [(key("AWS/Lambda", "Invocations", **live), 1), (key("AWS/Lambda", "Errors", **live), int(kind == "crashed"))]
    if kind == "crashed":
        return found
    status, code = CODES[kind]
    by_operation = {**FUNCTION, "operation": operation}
    throttles = ATTEMPTS if kind == "throttled" else 0
    if throttles:
        event = "ReadThrottleEvents" if operation in READS else "WriteThrottleEvents"
        found.append((key("AWS/DynamoDB", event, TableName="Table"), throttles))
    if operation not in READS:
        found.append((key("CdmPhones", "Conflicts", **by_operation), int(kind == "contended")))
    return found + [
        (key("CdmPhones", "Requests", **by_operation, code=code), 1),
        (key("CdmPhones", "Throttles", **by_operation), throttles),
        (key("CdmPhones", "Errors5xx", **FUNCTION), int(status >= 500)),
        (key("CdmPhones", "SlowRequests", **FUNCTION), int(kind in ("slow", "slow_failure", "throttled"))),
    ]


def sent_by_probe(succeeds):
    probe = {"FunctionName": "Probe"}
    return [(key("AWS/Lambda", "Invocations", **probe), 1), (key("AWS/Lambda", "Errors", **probe), int(not succeeds))]


KINDS = [*CODES, *NOT_ANSWERED]
# The samples of each kind and operation; SENT_DIRECTLY for the probe, which calls the function without the gateway.
SENT = {(kind, operation): sent(kind, operation) for kind in KINDS for operation in OPERATIONS}
SENT_DIRECTLY = {(kind, operation): sent(kind, operation, False) for kind in KINDS if kind != "limited" for operation in OPERATIONS}
KNOWN = {metric for each in [*SENT.values(), sent_by_probe(True)] for metric, _ in each}


# --- A run of minutes -------------------------------------------------------------------------------------------------


class Run:
    """The samples of consecutive minutes, and the minutes of failures."""

    def __init__(self):
        self._random = None
        self.minute = 0
        self.events = {}  # metric -> [(minute, sum of the samples, their number)]
        # The minutes of failures, at most three of a kind for each minute. `failures` has the kinds given to `play` and
        # the failed runs of the probe. `got_5xx` has what callers got as a 5xx.
        self.failures, self.got_5xx = [], []

    def play(self, minutes, level, mix, *, seed, rate=1, extra_401s=0, failures=(), probe_runs=True, singles=False):
        """Adds this many minutes.

        `mix` returns the share of each kind of request in a minute, `rate` is relative to the level's, `extra_401s` are
        added in each minute, `failures` are the kinds that count as failed, `singles` adds those of SINGLES.
        """
        self._random = random.Random(seed).random
        draw = self._random
        for _ in range(minutes):
            here = mix(self.minute)
            requests = level.a_minute * shape(self.minute) * rate
            for kind, share in here.items() if requests else ():
                for operation, part in ((operation, part) for operation, part in OPERATIONS.items() if part):
                    count = poisson(draw, requests * share * part)
                    if count:
                        self._add(SENT[kind, operation], count)
                        if kind in failures:
                            self.failures += [self.minute] * min(3, count)
                        if fails(kind):
                            self.got_5xx += [self.minute] * min(3, count)
            if extra_401s:
                self._add(SENT["unauthorized", "add_phone"], poisson(draw, extra_401s))
                self.failures += [self.minute] * 3
            if singles and self.minute % (2 * DAY) in SINGLES:
                self._add(SENT[SINGLES[self.minute % (2 * DAY)], "add_phone"], 1)
            if probe_runs and level.probe_minutes and self.minute % level.probe_minutes == 0:
                self._probe(here, failures)
            self.minute += 1

    def _probe(self, mix, failures):
        """Two requests: with an unknown key (401), and for a customer that does not exist (404)."""
        succeeds = True
        for expected in ("unauthorized", "refused"):
            point, kind = self._random(), expected
            for candidate, share in mix.items():
                point -= share
                if point < 0:
                    kind = candidate
                    break
            if kind in ("ok", "refused", "unauthorized", "limited"):
                kind = expected
            succeeds = succeeds and not fails(kind)
            self._add(SENT_DIRECTLY[kind, "add_phone"], 1)
        self._add(sent_by_probe(succeeds), 1)
        if not succeeds and failures:
            self.failures.append(self.minute)

    def _add(self, metrics, count):
        for metric, value in metrics:
            self.events.setdefault(metric, []).append((self.minute, value * count, count))

    def data(self):
        return Data(self.minute, self.events)

    def copy(self):
        twin = Run()
        twin.minute, twin.failures, twin.got_5xx = self.minute, list(self.failures), list(self.got_5xx)
        twin.events = {metric: list(events) for metric, events in self.events.items()}
        return twin
