"""The situations, and the alarms that each must raise."""

from typing import NamedTuple

from traffic import LEVELS, healthy, mixed


class Situation(NamedTuple):
    title: str
    mix: object
    # The alarms that must fire, by level. A situation is simulated only at these levels.
    must: dict
    # The alarms that may also fire. Any other alarm must not.
    may: tuple = ()
    # The kinds of request that count as failed.
    failures: tuple = ("failed",)
    # The alarms must fire within this many minutes after the third failed request.
    within: int = 10
    rate: float = 1  # of requests, relative to the level's
    extra_401s: int = 0  # a minute
    probe_runs: bool = True
    # Whether an alarm must fire until the end. If only some requests fail, it can stop by chance for a quarter of an hour.
    steady: bool = True


RATES = ("ServerErrorsAlarm", "GatewayErrorsAlarm")
DAY_LONG = ("LowTrafficFailuresAlarm",)
BUSY = ("minute", "half", "second")


def at(levels, *alarms):
    return dict.fromkeys(levels, alarms)


SITUATIONS = [
    Situation("all fail", mixed(failed=1), {
        "unprobed": DAY_LONG, "day": ("ServerErrorsAlarm", "ProbeAlarm"), **at(BUSY, *RATES)},
        may=(*RATES, *DAY_LONG, "ProbeAlarm")),
    Situation("5 % fail", mixed(failed=0.05), {
        "unprobed": (), "day": (), "minute": DAY_LONG, **at(BUSY[1:], *RATES)},
        may=(*RATES, *DAY_LONG, "ProbeAlarm"), steady=False),
    Situation("failing canary (10 %)", mixed(failed=0.1), {
        "unprobed": (), "day": (), "minute": DAY_LONG, **at(("canary", "half", "second"), "ServerErrorsAlarm")},
        may=(*RATES, *DAY_LONG, "ProbeAlarm"), steady=False),
    Situation("slow (half over 1 s)", mixed(slow=0.5), {
        "unprobed": DAY_LONG, "day": ("LatencyAlarm",), **at(BUSY, "LatencyAlarm")},
        may=("LatencyAlarm", *DAY_LONG), failures=("slow",), steady=False),
    Situation("table throttles half", mixed(throttled=0.5), {
        "unprobed": DAY_LONG, "day": (), **at(BUSY, "TableThrottlesAlarm", *RATES)},
        may=("TableThrottlesAlarm", *RATES, "LatencyAlarm", "ProbeAlarm", *DAY_LONG), failures=("throttled",), steady=False),
    Situation("DynamoDB out of reach", mixed(slow_failure=1), {
        "unprobed": DAY_LONG, "day": ("ServerErrorsAlarm", "ProbeAlarm"), **at(BUSY, *RATES, "LatencyAlarm")},
        may=(*RATES, "LatencyAlarm", "ProbeAlarm", *DAY_LONG), failures=("slow_failure",)),
    Situation("all crash", mixed(crashed=1), {
        "unprobed": ("FunctionErrorsAlarm", *DAY_LONG), "day": ("FunctionErrorsAlarm", "ProbeAlarm"),
        **at(BUSY, "FunctionErrorsAlarm", "GatewayErrorsAlarm")},
        may=("GatewayErrorsAlarm", "ProbeAlarm", *DAY_LONG), failures=("crashed",)),
    Situation("none starts", mixed(not_started=1), {
        "unprobed": ("InitErrorsAlarm", *DAY_LONG), "day": ("InitErrorsAlarm", "ProbeAlarm"),
        **at(BUSY, "InitErrorsAlarm", "GatewayErrorsAlarm")},
        may=("GatewayErrorsAlarm", "ProbeAlarm", *DAY_LONG), failures=("not_started",)),
    Situation("no room in Lambda for 30 %", mixed(no_room=0.3), {
        "unprobed": (), "day": (), **at(BUSY, "FunctionThrottlesAlarm", "GatewayErrorsAlarm")},
        may=("FunctionThrottlesAlarm", "GatewayErrorsAlarm", "ProbeAlarm", *DAY_LONG), failures=("no_room",), steady=False),
    Situation("gateway limits a third", mixed(limited=1 / 3), {
        **at(BUSY[2:], "GatewayThrottlesAlarm")}, failures=("limited",)),
    Situation("contention (half the requests)", mixed(contended=0.5), {
        "minute": (), **at(BUSY[1:], "ConflictsAlarm")}, may=("ConflictsAlarm",), failures=("contended",)),
    Situation("40 times 401 a minute", healthy, at(LEVELS, "UnauthorizedAlarm"),
        failures=("unauthorized",), extra_401s=40),
    Situation("no request arrives", healthy, {
        "day": (), "unprobed": (), **at(BUSY, "NoTrafficAlarm")}, rate=0, failures=()),
    Situation("the probe stops", healthy, at(("day", "minute", "second"), "ProbeAlarm"), failures=(), probe_runs=False),
]
# In every situation: with fewer requests a day than this, an alarm must fire within this many minutes after callers got the
# third 5xx within a day.
OUTAGE_REQUESTS_A_DAY, OUTAGE_WITHIN = 10_000, 10
# At these levels, an alarm that rolls back must detect a failing canary within its ten minutes.
CANARY_MINUTES, CANARY_LEVELS = 10, ("canary", "half", "second")
