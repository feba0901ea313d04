"""Ways to break an alarm of template.yaml. Each must make alarms.py complain: so the situations are checked.

A mutation is a title, the alarm (or another part of the template), a text that stands in its block, and what to put in
the place of each such text.
"""

import re

SERVER, GATEWAY, LATENCY, LOW = "ServerErrorsAlarm", "GatewayErrorsAlarm", "LatencyAlarm", "LowTrafficFailuresAlarm"
THROTTLES = "TableThrottlesAlarm"

MUTATIONS = [
    ("a crash is one of many", "FunctionErrorsAlarm", "Threshold: 1\n", "Threshold: 1000\n"),
    ("crashes of another alias", "FunctionErrorsAlarm", "${Function}:live", "${Function}:old"),
    ("crashes that are remembered", "FunctionErrorsAlarm", "FILL(errors, 0)", "errors"),
    ("an error rate that a canary does not reach", SERVER, "Threshold: 1\n", "Threshold: 10\n"),
    ("thirty failures at least", SERVER, ">= 3", ">= 30"),
    ("a single failure at night", SERVER, ">= 3", ">= 1"),
    ("no rate, so that a big client's few failures count", SERVER, "100 * FILL(errors, 0) / FILL(answers, 1)", "FILL(errors, 0) + 0 * FILL(answers, 0)"),
    ("one minute", SERVER, "Period: 900", "Period: 60"),
    ("an hour in a row", SERVER, "EvaluationPeriods: 1", "EvaluationPeriods: 4"),
    ("no data is a failure", SERVER, "TreatMissingData: notBreaching", "TreatMissingData: breaching"),
    ("an error rate that stays after the last request", SERVER, "IF(FILL(errors, 0) >= 3, 100 * FILL(errors, 0) / FILL(answers, 1), 0)",
     "IF(errors >= 3, 100 * errors / answers, 0)"),
    ("rolls nothing back", "      DeploymentPreference:", "          - !Ref ServerErrorsAlarm\n", ""),
    ("half of what callers get", GATEWAY, "Threshold: 1\n", "Threshold: 50\n"),
    ("a metric that no one sends", GATEWAY, "MetricName: 5xx", "MetricName: 5XXError"),
    ("a minute, and data comes later", GATEWAY, "Period: 900", "Period: 60"),
    ("most requests slow", LATENCY, "Threshold: 2\n", "Threshold: 60\n"),
    ("a single slow request at night", LATENCY, ">= 3", ">= 1"),
    ("failures for slow ones", LATENCY, "MetricName: SlowRequests", "MetricName: Errors5xx"),
    ("a percentile", LATENCY, "Stat: Sum", "Stat: p99"),
    ("an hour for a day", LOW, "Period: 86400", "Period: 3600"),
    ("only where there is hardly any traffic", LOW, "< 10000", "< 1000"),
    ("whatever the traffic", LOW, "< 10000", "< 1000000000"),
    ("slow requests do not count", LOW, "< 400,", "< 1,"),
    ("a single failure in a day", LOW, "Threshold: 3\n", "Threshold: 1\n"),
    ("thirty failures in a day", LOW, "Threshold: 3\n", "Threshold: 30\n"),
    ("some calls without room", "FunctionThrottlesAlarm", "Threshold: 1\n", "Threshold: 1000\n"),
    ("many throttles", THROTTLES, "Threshold: 10\n", "Threshold: 10000\n"),
    ("throttles of one minute, and data comes later", THROTTLES, "Period: 900", "Period: 60"),
    ("throttles that are remembered", THROTTLES, "FILL(reads, 0) + FILL(writes, 0) + FILL(adds, 0) + FILL(removals, 0) + FILL(gets, 0)",
     "reads + writes + adds + removals + gets"),
    ("every second 429", "GatewayThrottlesAlarm", "Threshold: 100\n", "Threshold: 100000000\n"),
    ("a single conflict", "ConflictsAlarm", ">= 10", ">= 1"),
    ("most adds in conflict", "ConflictsAlarm", "Threshold: 5\n", "Threshold: 70\n"),
    ("failed starts of busy functions", "InitErrorsAlarm", "Threshold: 1\n", "Threshold: 50\n"),
    ("401s of removals", "UnauthorizedAlarm", "FILL(adds, 0) +", "0 * FILL(adds, 0) +"),
    ("a few 401s", "UnauthorizedAlarm", "Threshold: !Ref UnauthorizedLimit", "Threshold: 20"),
    ("silence is fine", "NoTrafficAlarm", "TreatMissingData: breaching", "TreatMissingData: notBreaching"),
    ("five minutes of silence", "NoTrafficAlarm", "!Ref NoTrafficMinutes", "5"),
    ("less than nothing", "NoTrafficAlarm", "Threshold: 0\n", "Threshold: -1\n"),
    ("a probe that fails", "ProbeAlarm", "- FILL(errors, 0)", "- 0 * FILL(errors, 0)"),
    ("a probe that stopped", "ProbeAlarm", "TreatMissingData: breaching", "TreatMissingData: notBreaching"),
    ("a probe that must succeed twice", "ProbeAlarm", "Threshold: 1\n", "Threshold: 4\n"),
    ("one run of the probe", "  ProbeWindow:", '"5": { Seconds: 1200 }', '"5": { Seconds: 300 }'),
    ("an hour without the probe", "  ProbeWindow:", '"5": { Seconds: 1200 }', '"5": { Seconds: 3600 }'),
]


def mutate(text, part, old, new):
    """The template with `old` replaced in one part: a resource, or what begins with this line."""
    head = part if part.startswith(" ") else f"  {part}:"
    start = text.index(f"\n{head}\n") + 1
    indent = len(head) - len(head.lstrip())
    end = re.compile(rf"\n {{0,{indent}}}[^\s]").search(text, start + len(head))
    block = text[start : end.start()]
    if old not in block:
        raise ValueError(f"{part} no longer says {old!r}")
    return text[:start] + block.replace(old, new) + text[end.start():]


def survivors(text, complaints):
    """0 if every mutation brings a complaint."""
    missed = 0
    for title, part, old, new in MUTATIONS:
        try:
            found = complaints(mutate(text, part, old, new))
        except ValueError as stale:
            print(f"STALE    {title}: {stale}")
            missed += 1
            continue
        if found:
            print(f"caught   {part.strip(' :')}, {title}: {found[0]}")
        else:
            print(f"SURVIVED {part.strip(' :')}, {title}")
            missed += 1
    alarms = set(re.findall(r"^  (\w+Alarm):$", text, re.M))
    untried = alarms - {part for _, part, _, _ in MUTATIONS}
    for name in sorted(untried):
        print(f"UNTRIED  no mutation breaks {name}")
    print(f"mutations of alarms: {len(MUTATIONS) - missed} of {len(MUTATIONS)} caught")
    return 1 if missed or untried else 0
