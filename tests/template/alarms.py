#!/usr/bin/env python3
"""Plays every alarm of the expanded template through made-up traffic (traffic.py), by CloudWatch's rules (cloudwatch.py).

    alarms.py                fail if an alarm fires late, without cause, not at all, or stays; or if the table in
                             docs/operate.md is not the one that this prints
    alarms.py --write        put the table into docs/operate.md
    alarms.py --mutations    also break the alarms in each way of alarm_mutations.py; every one must be noticed

Which alarms each situation must raise stands in situations.py. An alarm over a metric that no request sends is an
error, not silence.
"""

import math
import sys
from typing import NamedTuple

from cloudwatch import ALARM, DAY, Alarm, Unsupported, World
from expand import ROOT, TEMPLATE, Expanded
from situations import CANARY_LEVELS, CANARY_MINUTES, OUTAGE_REQUESTS_A_DAY, OUTAGE_WITHIN, SITUATIONS
from traffic import KNOWN, LEVELS, Run, healthy

PAGE = ROOT / "docs/operate.md"
BEGIN, END = "<!-- tests/template/alarms.py writes this table -->\n", "<!-- end of the table -->\n"

# What AWS does not document, at its extremes. Every expectation must hold in each of them; the table has the worst.
WORLDS = (
    World(delay=0, extra=2, fills_empty=True),
    World(delay=1, extra=2, fills_empty=False),
    World(delay=3, extra=5, fills_empty=True),
)

BEFORE = 2 * DAY + 10 * 60  # Healthy minutes before a situation: it begins at ten in the morning.
SETTLES = 60  # Minutes that an alarm is looked at before the situation begins.
CLEARS = 20  # Minutes after a situation in which an alarm must be over; for one that looks back a day, a day and these.


# --- The template's alarms --------------------------------------------------------------------------------------------


def plain(expanded, node):
    """A resolved value of the template as one word: what it refers to."""
    if isinstance(node, dict):
        [(function, argument)] = node.items()
        if function == "Fn::FindInMap":
            table, row, column = (plain(expanded, part) for part in argument)
            return expanded.document["Mappings"][table][row][column]
        text = argument if isinstance(argument, str) else argument[0]
        return text.replace("${AWS::StackName}", "stack").replace("${Function}", "Function")
    return str(node)


def deep(expanded, node):
    """The same for everything inside."""
    if isinstance(node, list):
        return [deep(expanded, part) for part in node]
    if isinstance(node, dict) and not (len(node) == 1 and next(iter(node)).startswith(("Fn::", "Ref"))):
        return {name: deep(expanded, part) for name, part in node.items()}
    return node if isinstance(node, bool) else plain(expanded, node)


def alarms_for(text, level):
    """(the alarms, the names of those that roll back): of this text, deployed for this level."""
    expanded = Expanded(text, {
        "ProbeMinutes": str(level.probe_minutes), "NoTrafficMinutes": str(level.no_traffic_minutes)})
    found = []
    for name, resource in expanded.of_type("AWS::CloudWatch::Alarm").items():
        properties = deep(expanded, resource["Properties"])
        alarm = Alarm(name, properties)
        alarm.definition = repr(properties)
        for stat in alarm.stats.values():
            if stat.metric not in KNOWN:
                raise Unsupported(f"{name} reads {stat.metric}, which nothing sends")
        found.append(alarm)
    group = expanded.properties("FunctionDeploymentGroup")["AlarmConfiguration"]["Alarms"]
    return found, {plain(expanded, entry["Name"]) for entry in group}


# --- Judging ----------------------------------------------------------------------------------------------------------


class Fired(NamedTuple):
    """Of one alarm in one situation, the worst of all worlds: minutes from the start, and minutes until it was over."""

    after: int
    over: object


class Judge:
    """Plays everything once; judges any text of the template against it."""

    def __init__(self):
        self._histories, self._runs, self._beginnings, self._memory = {}, {}, {}, {}

    def healthy_days(self, level_name):
        level, name = LEVELS[level_name], (level_name, None, None)
        if name not in self._runs:
            run = Run()
            run.play(level.healthy_days * DAY, level, healthy, seed=f"healthy {level_name}", singles=True)
            self._runs[name] = run.data()
        return name

    def plays(self, level_name, situation):
        """({ending: name of the run}, minutes until the third failed request, minutes until the third 5xx of a day)

        After the situation, traffic is healthy again in one ending and silent in the other.
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
            # With more traffic, single failures add up to three a day by themselves: there, `must` says what is one.
            few = level.a_minute * DAY < OUTAGE_REQUESTS_A_DAY
            outage = next((last for first, last in zip(got, got[2:]) if few and last - first <= DAY), None)
            for ending, name in endings.items():
                twin = run.copy()
                twin.play(DAY + 2 * CLEARS, level, healthy, seed=" ".join(name), rate=int(ending == "healthy"))
                self._runs[name] = twin.data()
            self._beginnings[level_name, situation.title] = third, outage
        return endings, *self._beginnings[level_name, situation.title]

    def healthy(self, level_name, alarm):
        """Complaints about an alarm that fires while nothing is wrong."""
        level, run = LEVELS[level_name], self._runs[self.healthy_days(level_name)]
        for world in WORLDS:
            states = alarm.states(run, world, DAY, level.healthy_days * DAY)
            if ALARM in states:
                return [f"{level.title}, healthy: {alarm.name} fires on day {1 + states.index(ALARM) // DAY}, {world}"]
        return []

    def fires(self, level_name, situation, alarm):
        """(complaints, Fired or None, {world: minutes from the start}) of one alarm in one situation."""
        level, name = LEVELS[level_name], alarm.name
        endings, third, _ = self.plays(level_name, situation)
        complaints, fired, firsts = [], None, {}
        begins, ends = BEFORE, BEFORE + level.lasts
        must, may = name in situation.must[level_name], name in situation.may or name in situation.must[level_name]

        def complain(what):
            complaints.append(f"{level.title}, {situation.title}: {name} {what}, {world}")

        for world in WORLDS:
            states = alarm.states(self._runs[endings["healthy"]], world, begins - SETTLES, ends)
            before, during = states[:SETTLES], states[SETTLES:]
            if ALARM in before[world.delay + 1 :]:
                complain("fires before it begins")
            if ALARM in during:
                firsts[world] = first = during.index(ALARM)
                if not may:
                    complain("fires, and should not")
                if must and first > self._deadline(situation, level, name, third) + world.delay:
                    complain(f"fires after {first} minutes, the third failure was at {third}")
                # Without the probe, requests are further apart than most alarms look back.
                if must and situation.steady and states[-1] != ALARM and (level.probe_minutes or alarm.minutes == DAY):
                    complain("no longer fires at the end")
                fired = Fired(max(fired.after, first), fired.over) if fired else Fired(first, 0)
            elif must:
                complain("does not fire")
            allowed = max(CLEARS, DAY + CLEARS if alarm.minutes == DAY else alarm.minutes) + world.delay
            for ending, played in endings.items():
                if ending == "silent" and name == "NoTrafficAlarm":
                    continue  # Silence is what it is for.
                after = alarm.states(self._runs[played], world, ends, ends + allowed, during[-1])
                still = next((len(after) - i for i, state in enumerate(reversed(after)) if state == ALARM), 0)
                if still == len(after):
                    complain(f"still fires {still} minutes after, {ending}")
                elif still and not may:
                    complain("fires afterwards")
                elif fired:
                    fired = Fired(fired.after, max(fired.over, still))
        return complaints, fired, firsts

    def situation(self, level_name, situation, alarms, rolls_back):
        """(complaints, {alarm: Fired}, minutes until the third failed request)"""
        where = f"{LEVELS[level_name].title}, {situation.title}"
        _, third, outage = self.plays(level_name, situation)
        complaints, fired, noticed = [], {}, dict.fromkeys(WORLDS, math.inf)
        for alarm in alarms:
            more, one, firsts = self.remembered(self.fires, level_name, situation, alarm)
            complaints += more
            if one:
                fired[alarm.name] = one
            for world, first in firsts.items():
                noticed[world] = min(noticed[world], first)
        for world, first in noticed.items():
            if outage is not None and first > outage + OUTAGE_WITHIN + world.delay:
                complaints.append(f"{where}: the outage of minute {outage} is noticed in minute {first}, {world}")
        if situation.title.startswith("failing canary") and level_name in CANARY_LEVELS:
            soonest = min((each.after for name, each in fired.items() if name in rolls_back), default=math.inf)
            if soonest >= CANARY_MINUTES:
                complaints.append(f"{where}: the first alarm that rolls back comes after {soonest} minutes")
        return complaints, fired, third

    def remembered(self, judgement, *arguments):
        """Remembered by what the alarm is, so that a mutation plays only the alarm that it changes."""
        *where, alarm = arguments
        key = (judgement.__name__, *(getattr(part, "title", part) for part in where), alarm.name, alarm.definition)
        if key not in self._memory:
            self._memory[key] = judgement(*arguments)
        return self._memory[key]

    @staticmethod
    def _deadline(situation, level, name, third):
        """Minutes after the start by which an alarm must have fired."""
        if name == "NoTrafficAlarm":
            return level.no_traffic_minutes
        if name == "ProbeAlarm":  # Whatever fails: three runs, and five minutes.
            return 3 * level.probe_minutes + 5
        return third + situation.within

    def judge(self, text, rows=None, stop=False):
        """Everything that is wrong with the alarms of this text. Fills `rows` with the table's lines."""
        complaints, seen, defined = [], set(), set()
        for level_name, level in LEVELS.items():
            try:
                alarms, rolls_back = alarms_for(text, level)
            except Unsupported as reason:
                return [str(reason)]
            defined |= {alarm.name for alarm in alarms}
            found = [each for alarm in alarms for each in self.remembered(self.healthy, level_name, alarm)]
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
            complaints += found
            if found and stop:
                return complaints
        complaints += [f"no situation raises {name}" for name in sorted(defined - seen)]
        return complaints


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
    judge, rows = Judge(), []
    complaints = judge.judge(TEMPLATE, rows)
    for complaint in complaints:
        print(f"FAILED {complaint}")
    printed = table(rows)
    print(printed)
    page = PAGE.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{PAGE.name} has no place for the table: {BEGIN}")
    head, rest = page.split(BEGIN)
    written, tail = rest.split(END)
    if "--write" in sys.argv:
        PAGE.write_text(head + BEGIN + "\n" + printed + "\n" + END + tail)
    elif written != "\n" + printed + "\n":
        print("FAILED docs/operate.md does not have this table: alarms.py --write")
        return 1
    if complaints:
        return 1
    if "--mutations" in sys.argv:
        from alarm_mutations import survivors
        return survivors(TEMPLATE, lambda text: judge.judge(text, stop=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
