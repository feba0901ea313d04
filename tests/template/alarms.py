#!/usr/bin/env python3
"""Simulates every alarm of the expanded template over the traffic of traffic.py, with the model of CloudWatch in cloudwatch.py.

    alarms.py                fail if an alarm fires late, without a reason, not at all, or too long; or if the table in
                             docs/operate.md differs from the one that this prints
    alarms.py --write        write the table to docs/operate.md
    alarms.py --mutations    also break the alarms in each way of alarm_mutations.py; each must be detected

situations.py says which alarms each situation must raise. An alarm over a metric that no request sends is an error.
"""

import math
import sys
from typing import NamedTuple

from cloudwatch import ALARM, DAY, Alarm, Assumption, Unsupported
from expand import ROOT, TEMPLATE, Expanded
from situations import CANARY_LEVELS, CANARY_MINUTES, OUTAGE_REQUESTS_A_DAY, OUTAGE_WITHIN, SITUATIONS
from traffic import KNOWN, LEVELS, Run, healthy

PAGE = ROOT / "docs/operate.md"
BEGIN, END = "<!-- tests/template/alarms.py writes this table -->\n", "<!-- end of the table -->\n"

# The extremes of what AWS does not document. Every expectation must hold for each of them. The table has the worst values.
ASSUMPTIONS = (
    Assumption(delay=0, extra=2, fills_empty=True),
    Assumption(delay=1, extra=2, fills_empty=False),
    Assumption(delay=3, extra=5, fills_empty=True),
)

BEFORE = 2 * DAY + 10 * 60  # Healthy minutes before a situation, which begins at 10:00.
SETTLES = 60  # Minutes before the situation in which an alarm must not fire.
CLEARS = 20  # An alarm must stop within this many minutes after a situation, plus a day for an alarm with a period of a day.


# --- The template's alarms --------------------------------------------------------------------------------------------


def plain(expanded, node):
    """A resolved value of the template as text: the name that it refers to."""
    if isinstance(node, dict):
        [(function, argument)] = node.items()
        if function == "Fn::FindInMap":
            table, row, column = (plain(expanded, part) for part in argument)
            return expanded.document["Mappings"][table][row][column]
        text = argument if isinstance(argument, str) else argument[0]
        return text.replace("${AWS::StackName}", "stack").replace("${Function}", "Function")
    return str(node)


def plain_tree(expanded, node):
    """Applies `plain` to every value in a tree."""
    if isinstance(node, list):
        return [plain_tree(expanded, part) for part in node]
    if isinstance(node, dict) and not (len(node) == 1 and next(iter(node)).startswith(("Fn::", "Ref"))):
        return {name: plain_tree(expanded, part) for name, part in node.items()}
    return node if isinstance(node, bool) else plain(expanded, node)


def alarms_for(text, level):
    """(alarms, names of those that roll back) of this template, deployed for this level."""
    expanded = Expanded(text, {
        "ProbeMinutes": str(level.probe_minutes), "NoTrafficMinutes": str(level.no_traffic_minutes)})
    found = []
    for name, resource in expanded.of_type("AWS::CloudWatch::Alarm").items():
        properties = plain_tree(expanded, resource["Properties"])
        alarm = Alarm(name, properties)
        alarm.definition = repr(properties)
        for stat in alarm.stats.values():
            if stat.metric not in KNOWN:
                raise Unsupported(f"{name} reads {stat.metric}, which no request sends")
        found.append(alarm)
    group = expanded.properties("FunctionDeploymentGroup")["AlarmConfiguration"]["Alarms"]
    return found, {plain(expanded, entry["Name"]) for entry in group}


# --- Simulation -------------------------------------------------------------------------------------------------------


class Fired(NamedTuple):
    """The worst times of an alarm in a situation: minutes until it fired, and minutes after the situation until it stopped."""

    after: int
    over: object


class Simulation:
    """Simulates all traffic once, and checks any text of the template with it."""

    def __init__(self):
        self._histories, self._runs, self._firsts, self._cache = {}, {}, {}, {}

    def healthy_days(self, level_name):
        level, name = LEVELS[level_name], (level_name, None, None)
        if name not in self._runs:
            run = Run()
            run.play(level.healthy_days * DAY, level, healthy, seed=f"healthy {level_name}", singles=True)
            self._runs[name] = run.data()
        return name

    def traffic(self, level_name, situation):
        """({ending: name of the run}, minutes until the third failed request, minutes until the third 5xx of a day)

        After the situation there is healthy traffic in one ending, and no traffic in the other.
        """
        level = LEVELS[level_name]
        endings = {ending: (level_name, situation.title, ending) for ending in ("healthy", "silent")}
        if endings["healthy"] not in self._runs:
            if level_name not in self._histories:
                history = self._histories[level_name] = Run()
                history.play(BEFORE, level, healthy, seed=level_name)
            run = self._histories[level_name].copy()
            run.play(
                level.lasts, level, situation.mix, seed=f"{level_name} {situation.title}", rate=situation.rate,
                extra_401s=situation.extra_401s, failures=situation.failures, probe_runs=situation.probe_runs)
            third = run.failures[2] - BEFORE if len(run.failures) > 2 else None
            got = [minute - BEFORE for minute in run.got_5xx if minute >= BEFORE]
            # With more traffic, unrelated failures can be three a day. There only `must` decides.
            few = level.a_minute * DAY < OUTAGE_REQUESTS_A_DAY
            outage = next((last for first, last in zip(got, got[2:]) if few and last - first <= DAY), None)
            for ending, name in endings.items():
                copy = run.copy()
                copy.play(DAY + 2 * CLEARS, level, healthy, seed=" ".join(name), rate=int(ending == "healthy"))
                self._runs[name] = copy.data()
            self._firsts[level_name, situation.title] = third, outage
        return endings, *self._firsts[level_name, situation.title]

    def healthy(self, level_name, alarm):
        """Faults: the alarm fires with healthy traffic."""
        level, run = LEVELS[level_name], self._runs[self.healthy_days(level_name)]
        for assumption in ASSUMPTIONS:
            states = alarm.states(run, assumption, DAY, level.healthy_days * DAY)
            if ALARM in states:
                return [f"{level.title}, healthy: {alarm.name} fires on day {1 + states.index(ALARM) // DAY}, {assumption}"]
        return []

    def fires(self, level_name, situation, alarm):
        """(faults, Fired or None, {assumption: minutes from the start}) of an alarm in a situation."""
        level, name = LEVELS[level_name], alarm.name
        endings, third, _ = self.traffic(level_name, situation)
        faults, fired, firsts = [], None, {}
        begins, ends = BEFORE, BEFORE + level.lasts
        must, may = name in situation.must[level_name], name in situation.may or name in situation.must[level_name]

        def fault(what):
            faults.append(f"{level.title}, {situation.title}: {name} {what}, {assumption}")

        for assumption in ASSUMPTIONS:
            states = alarm.states(self._runs[endings["healthy"]], assumption, begins - SETTLES, ends)
            before, during = states[:SETTLES], states[SETTLES:]
            if ALARM in before[assumption.delay + 1 :]:
                fault("fires before the situation")
            if ALARM in during:
                firsts[assumption] = first = during.index(ALARM)
                if not may:
                    fault("fires, but must not")
                if must and first > self._deadline(situation, level, name, third) + assumption.delay:
                    fault(f"fires after {first} minutes, the third failure was at {third}")
                # Without the probe, the time between requests exceeds the period of most alarms.
                if must and situation.steady and states[-1] != ALARM and (level.probe_minutes or alarm.minutes == DAY):
                    fault("no longer fires at the end")
                fired = Fired(max(fired.after, first), fired.over) if fired else Fired(first, 0)
            elif must:
                fault("does not fire")
            allowed = max(CLEARS, DAY + CLEARS if alarm.minutes == DAY else alarm.minutes) + assumption.delay
            for ending, played in endings.items():
                if ending == "silent" and name == "NoTrafficAlarm":
                    continue  # It fires if there is no traffic.
                after = alarm.states(self._runs[played], assumption, ends, ends + allowed, during[-1])
                still = next((len(after) - i for i, state in enumerate(reversed(after)) if state == ALARM), 0)
                if still == len(after):
                    fault(f"still fires {still} minutes afterwards, with {ending} traffic")
                elif still and not may:
                    fault("fires afterwards")
                elif fired:
                    fired = Fired(fired.after, max(fired.over, still))
        return faults, fired, firsts

    def situation(self, level_name, situation, alarms, rolls_back):
        """(faults, {alarm: Fired}, minutes until the third failed request)"""
        where = f"{LEVELS[level_name].title}, {situation.title}"
        _, third, outage = self.traffic(level_name, situation)
        faults, fired, fired_first = [], {}, dict.fromkeys(ASSUMPTIONS, math.inf)
        for alarm in alarms:
            more, one, firsts = self.cached(self.fires, level_name, situation, alarm)
            faults += more
            if one:
                fired[alarm.name] = one
            for assumption, first in firsts.items():
                fired_first[assumption] = min(fired_first[assumption], first)
        for assumption, first in fired_first.items():
            if outage is not None and first > outage + OUTAGE_WITHIN + assumption.delay:
                faults.append(f"{where}: no alarm fires until minute {first}, the outage began in minute {outage}, {assumption}")
        if situation.title.startswith("failing canary") and level_name in CANARY_LEVELS:
            soonest = min((each.after for name, each in fired.items() if name in rolls_back), default=math.inf)
            if soonest >= CANARY_MINUTES:
                faults.append(f"{where}: the first alarm that rolls back fires after {soonest} minutes")
        return faults, fired, third

    def cached(self, check, *arguments):
        """Caches by the definition of the alarm, so that a mutation simulates only the alarm that it changes."""
        *where, alarm = arguments
        key = (check.__name__, *(getattr(part, "title", part) for part in where), alarm.name, alarm.definition)
        if key not in self._cache:
            self._cache[key] = check(*arguments)
        return self._cache[key]

    @staticmethod
    def _deadline(situation, level, name, third):
        """The alarm must fire within this many minutes from the start."""
        if name == "NoTrafficAlarm":
            return level.no_traffic_minutes
        if name == "ProbeAlarm":  # Three runs and five minutes, for any failure.
            return 3 * level.probe_minutes + 5
        return third + situation.within

    def faults(self, text, rows=None, stop=False):
        """The faults of the alarms of this template. Fills `rows` with the lines of the table."""
        faults, seen, defined = [], set(), set()
        for level_name, level in LEVELS.items():
            try:
                alarms, rolls_back = alarms_for(text, level)
            except Unsupported as reason:
                return [str(reason)]
            defined |= {alarm.name for alarm in alarms}
            found = [each for alarm in alarms for each in self.cached(self.healthy, level_name, alarm)]
            if rows is not None:
                rows.append((level.title, f"healthy, {level.healthy_days} days", "", "none"))
            for situation in SITUATIONS:
                if level_name not in situation.must:
                    continue
                more, fired, third = self.situation(level_name, situation, alarms, rolls_back)
                found += more
                seen |= set(fired)
                if rows is not None:
                    rows.append((level.title, situation.title, "" if third is None else str(third), cells(fired, third)))
            faults += found
            if found and stop:
                return faults
        faults += [f"no situation raises {name}" for name in sorted(defined - seen)]
        return faults


def cells(fired, third):
    texts = []
    for name, (after, over) in sorted(fired.items(), key=lambda item: (item[1].after, item[0])):
        late = after if third is None else max(0, after - third)
        texts.append(f"{name.removesuffix('Alarm')} {late}, {over}")
    return "; ".join(texts) or "none"


def table(rows):
    lines = ["| traffic | what happens | third failure | alarms: minutes to fire, minutes to clear |", "|---|---|---:|---|"]
    previous = None
    for level, *rest in rows:
        lines.append("| " + " | ".join(["" if level == previous else level, *rest]) + " |")
        previous = level
    return "\n".join(lines) + "\n"


def main():
    simulation, rows = Simulation(), []
    faults = simulation.faults(TEMPLATE, rows)
    for fault in faults:
        print(f"FAILED {fault}")
    printed = table(rows)
    print(printed)
    page = PAGE.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{PAGE.name} does not contain {BEGIN}")
    head, rest = page.split(BEGIN)
    written, tail = rest.split(END)
    if "--write" in sys.argv:
        PAGE.write_text(head + BEGIN + "\n" + printed + "\n" + END + tail)
    elif written != "\n" + printed + "\n":
        print("FAILED docs/operate.md does not contain this table: run alarms.py --write")
        return 1
    if faults:
        return 1
    if "--mutations" in sys.argv:
        from alarm_mutations import survivors
        return survivors(TEMPLATE, lambda text: simulation.faults(text, stop=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
