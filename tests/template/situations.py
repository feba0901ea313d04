"""What can happen, and which alarms it must raise: the one place for both."""

from typing import NamedTuple

from traffic import LEVELS, healthy, mixed


class Situation(NamedTuple):
    title: str
    mix: object
    # The alarms that must fire, by level: a situation is played at these levels alone. Those that may fire as well, by
    # chance or because more than one alarm sees it. Any other alarm must not.
    must: dict
    may: tuple = ()
    # What counts as a failed request here.
    failures: tuple = ("failed",)
    # Minutes after the third failed request by which they must have fired.
    within: int = 10
    rate: float = 1  # of requests, relative to the level's
    extra_401s: int = 0  # a minute
    probe_runs: bool = True
    # Whether an alarm must keep firing until the end. Where only some requests fail, a quarter of an hour may be lucky.
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
# Whatever is listed above: with fewer requests a day than these, some alarm must fire within so many minutes after the
# third 5xx for callers within a day.
OUTAGE_REQUESTS_A_DAY, OUTAGE_WITHIN = 10_000, 10
# A canary must be noticed within its ten minutes, by an alarm that rolls back, from this traffic on.
CANARY_MINUTES, CANARY_LEVELS = 10, ("canary", "half", "second")
