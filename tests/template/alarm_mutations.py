"""Ways to break an alarm of template.yaml. Each must make alarms.py report a fault, which shows that the situations work.

A mutation has a title, the alarm (or another part of the template), a text in its block, and the text that replaces each
occurrence.
"""

import re

SERVER, GATEWAY, LATENCY, LOW = "ServerErrorsAlarm", "GatewayErrorsAlarm", "LatencyAlarm", "LowTrafficFailuresAlarm"
THROTTLES = "TableThrottlesAlarm"

MUTATIONS = [
    ("a threshold of 1000 crashes", "FunctionErrorsAlarm", "Threshold: 1\n", "Threshold: 1000\n"),
    ("crashes of another alias", "FunctionErrorsAlarm", "${Function}:live", "${Function}:old"),
    ("no FILL: the alarm stays", "FunctionErrorsAlarm", "FILL(errors, 0)", "errors"),
    ("a rate above that of a canary", SERVER, "Threshold: 1\n", "Threshold: 10\n"),
    ("at least 30 failures", SERVER, ">= 3", ">= 30"),
    ("at least 1 failure", SERVER, ">= 3", ">= 1"),
    ("a count instead of a rate", SERVER, "100 * FILL(errors, 0) / FILL(answers, 1)", "FILL(errors, 0) + 0 * FILL(answers, 0)"),
    ("a period of a minute", SERVER, "Period: 900", "Period: 60"),
    ("four periods", SERVER, "EvaluationPeriods: 1", "EvaluationPeriods: 4"),
    ("missing data breaches", SERVER, "TreatMissingData: notBreaching", "TreatMissingData: breaching"),
    ("no FILL: the rate stays after the last request", SERVER, "IF(FILL(errors, 0) >= 3, 100 * FILL(errors, 0) / FILL(answers, 1), 0)",
     "IF(errors >= 3, 100 * errors / answers, 0)"),
    ("no rollback", "      DeploymentPreference:", "          - !Ref ServerErrorsAlarm\n", ""),
    ("a rate of 50%", GATEWAY, "Threshold: 1\n", "Threshold: 50\n"),
    ("a metric that does not exist", GATEWAY, "MetricName: 5xx", "MetricName: 5XXError"),
    ("a period of a minute with late data", GATEWAY, "Period: 900", "Period: 60"),
    ("a threshold of 60%", LATENCY, "Threshold: 2\n", "Threshold: 60\n"),
    ("at least 1 slow request", LATENCY, ">= 3", ">= 1"),
    ("failures instead of slow requests", LATENCY, "MetricName: SlowRequests", "MetricName: Errors5xx"),
    ("a percentile", LATENCY, "Stat: Sum", "Stat: p99"),
    ("an hour instead of a day", LOW, "Period: 86400", "Period: 3600"),
    ("only with very little traffic", LOW, "< 10000", "< 1000"),
    ("with any traffic", LOW, "< 10000", "< 1000000000"),
    ("slow requests are not counted", LOW, "< 400,", "< 1,"),
    ("1 failure a day", LOW, "Threshold: 3\n", "Threshold: 1\n"),
    ("30 failures a day", LOW, "Threshold: 3\n", "Threshold: 30\n"),
    ("a threshold of 1000 throttled calls", "FunctionThrottlesAlarm", "Threshold: 1\n", "Threshold: 1000\n"),
    ("a threshold of 10,000 throttles", THROTTLES, "Threshold: 10\n", "Threshold: 10000\n"),
    ("a period of a minute with late data", THROTTLES, "Period: 900", "Period: 60"),
    ("no FILL: the alarm stays", THROTTLES,
     "FILL(reads, 0) + FILL(writes, 0) + FILL(adds, 0) + FILL(removals, 0) + FILL(gets, 0) + FILL(creations, 0)",
     "reads + writes + adds + removals + gets + creations"),
    ("a threshold of 100 million", "GatewayThrottlesAlarm", "Threshold: 100\n", "Threshold: 100000000\n"),
    ("at least 1 conflict", "ConflictsAlarm", ">= 10", ">= 1"),
    ("a threshold of 70%", "ConflictsAlarm", "Threshold: 5\n", "Threshold: 70\n"),
    ("a threshold of 50 failed starts", "InitErrorsAlarm", "Threshold: 1\n", "Threshold: 50\n"),
    ("adds are not counted", "UnauthorizedAlarm", "FILL(adds, 0) +", "0 * FILL(adds, 0) +"),
    ("a threshold of 20", "UnauthorizedAlarm", "Threshold: !Ref UnauthorizedLimit", "Threshold: 20"),
    ("missing data does not breach", "NoTrafficAlarm", "TreatMissingData: breaching", "TreatMissingData: notBreaching"),
    ("five minutes without traffic", "NoTrafficAlarm", "!Ref NoTrafficMinutes", "5"),
    ("a threshold below zero", "NoTrafficAlarm", "Threshold: 0\n", "Threshold: -1\n"),
    ("failed runs count as successful", "ProbeAlarm", "- FILL(errors, 0)", "- 0 * FILL(errors, 0)"),
    ("missing data does not breach", "ProbeAlarm", "TreatMissingData: breaching", "TreatMissingData: notBreaching"),
    ("a threshold of 4 runs", "ProbeAlarm", "Threshold: 1\n", "Threshold: 4\n"),
    ("a window of one run", "  ProbeWindow:", '"5": { Seconds: 1200 }', '"5": { Seconds: 300 }'),
    ("a window of an hour", "  ProbeWindow:", '"5": { Seconds: 1200 }', '"5": { Seconds: 3600 }'),
]


def mutate(text, part, old, new):
    """Replaces `old` in one part of the template: a resource, or the block that begins with this line."""
    head = part if part.startswith(" ") else f"  {part}:"
    start = text.index(f"\n{head}\n") + 1
    indent = len(head) - len(head.lstrip())
    end = re.compile(rf"\n {{0,{indent}}}[^\s]").search(text, start + len(head))
    block = text[start : end.start()]
    if old not in block:
        raise ValueError(f"{part} does not contain {old!r}")
    return text[:start] + block.replace(old, new) + text[end.start():]


def survivors(text, faults):
    """Returns 0 if every mutation causes a fault."""
    missed = 0
    for title, part, old, new in MUTATIONS:
        try:
            found = faults(mutate(text, part, old, new))
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
    untested = alarms - {part for _, part, _, _ in MUTATIONS}
    for name in sorted(untested):
        print(f"UNTESTED no mutation breaks {name}")
    print(f"mutations of alarms: {len(MUTATIONS) - missed} of {len(MUTATIONS)} caught")
    return 1 if missed or untested else 0
