"""A model of how CloudWatch evaluates metric alarms: metric math, data points, states.

Contains only what this template uses. Anything else (a percentile, another function, a high-resolution period) raises
Unsupported, so that no alarm is evaluated in another way than by CloudWatch.

The rules are from the CloudWatch User Guide (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/…):

    alarm-evaluation.html           periods, M out of N, one evaluation a minute over a sliding window
    alarms-and-missing-data.html    the evaluation range, missing data, premature alarms
    using-metric-math.html          expressions, and what a missing value is in them

The guide leaves some rules open. An Assumption fixes them, and alarms.py tries several.
"""

import operator
import re
from itertools import accumulate
from typing import NamedTuple

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"


class Unsupported(Exception):
    """The template uses a feature of CloudWatch that this model does not have."""


class Assumption(NamedTuple):
    """What the guide leaves open."""

    # Minutes until a data point can be read. The guide warns of "a slight delay" (using-metric-math.html, FILL).
    delay: int
    # Data points that an evaluation reads in addition to Evaluation Periods. "The exact number … depends on the length of the
    # alarm period" (alarms-and-missing-data.html); its examples read 5 for 3.
    extra: int
    # Whether FILL fills a series that has no data at all in the evaluation range. The guide does not say.
    fills_empty: bool


# --- Metric math ------------------------------------------------------------------------------------------------------

COMPARISONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}
OPERATORS = COMPARISONS | {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    # "… attempt to divide by zero, the data point is dropped"
    "/": lambda left, right: left / right if right else None,
    "AND": lambda left, right: bool(left and right),
    "OR": lambda left, right: bool(left or right),
}
TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]\w*)|(<=|>=|==|!=|&&|\|\||[-+*/(),<>]))")


class Series(NamedTuple):
    """A time series: a value or None for each minute, and whether FILL fills it."""

    values: list
    fillable: bool


def parse(text):
    """The tree of an expression: ("number", 3.0), ("name", "errors") or (operator or function, argument, …)."""
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Unsupported(f"{text[at:]!r} in the expression {text!r}")
        tokens.append(match[1] or match[2] or match[3])
        at = match.end()
    tokens.append(None)

    def accept(*wanted):
        return tokens.pop(0) if tokens[0] in wanted else None

    def expect(wanted):
        if not accept(wanted):
            raise Unsupported(f"{tokens[0]!r} where {wanted!r} was expected, in the expression {text!r}")

    def binary(operand, *operators):
        tree = operand()
        while found := accept(*operators):
            tree = ({"&&": "AND", "||": "OR"}.get(found, found), tree, operand())
        return tree

    def disjunction():
        return binary(conjunction, "OR", "||")

    def conjunction():
        return binary(comparison, "AND", "&&")

    def comparison():
        return binary(addition, *COMPARISONS)

    def addition():
        return binary(product, "+", "-")

    def product():
        return binary(atom, "*", "/")

    def atom():
        token = tokens.pop(0)
        if token == "(":
            tree = disjunction()
            expect(")")
            return tree
        if token is None or not (token[0].isdigit() or token[0].isalpha()):
            raise Unsupported(f"{token!r} in the expression {text!r}")
        if token[0].isdigit():
            return ("number", float(token))
        if not accept("("):
            return ("name", token)
        arguments = [disjunction()]
        while accept(","):
            arguments.append(disjunction())
        expect(")")
        if (token, len(arguments)) not in (("FILL", 2), ("IF", 3)):
            raise Unsupported(f"{token} of {len(arguments)} arguments in the expression {text!r}")
        if token == "FILL" and [argument[0] for argument in arguments] != ["name", "number"]:
            raise Unsupported(f"FILL of something other than a metric, or with something other than a number, in {text!r}")
        return (token, *arguments)

    tree = disjunction()
    if tokens != [None]:
        raise Unsupported(f"{tokens[0]!r} in the expression {text!r}")
    return tree


def names(tree):
    """The ids that an expression refers to."""
    if tree[0] == "name":
        return {tree[1]}
    return set().union(*(names(part) for part in tree[1:] if isinstance(part, tuple)))


def filled_names(tree):
    """The ids to which an expression applies FILL."""
    if tree[0] == "FILL":
        return {tree[1][1]}
    return set().union(*(filled_names(part) for part in tree[1:] if isinstance(part, tuple)))


def calculate(tree, series):
    """The values of an expression: a number, or a list with a value for each minute, None if there is no data point.

    `series` maps an id to its Series.
    """
    kind, *parts = tree
    if kind == "number":
        return parts[0]
    if kind == "name":
        return series[parts[0]].values
    if kind == "FILL":
        values, fillable = series[parts[0][1]]
        filler = parts[1][1]
        return [filler if value is None else value for value in values] if fillable else values
    if kind == "IF":
        condition, yes, no = (calculate(part, series) for part in parts)
        if not isinstance(condition, list):
            raise Unsupported("IF on a condition that is not a time series")
        yes, no = ((part if isinstance(part, list) else [part] * len(condition)) for part in (yes, no))
        # "has the value of 0, if … TRUE and the corresponding data point does not exist in metric2"; "is dropped, if …
        # FALSE and the corresponding data point does not exist in metric3", or the condition does not exist.
        return [
            None if when is None else ((0.0 if then is None else then) if when else otherwise)
            for when, then, otherwise in zip(condition, yes, no)
        ]
    left, right = (calculate(part, series) for part in parts)
    apply = OPERATORS[kind]
    if not isinstance(left, list) and not isinstance(right, list):
        return apply(left, right)
    if not isinstance(left, list):
        return [None if value is None else apply(left, value) for value in right]
    if not isinstance(right, list):
        return [None if value is None else apply(value, right) for value in left]
    # "Missing values in a time series are treated as 0" if the other series has a value.
    return [None if a is None and b is None else apply(a or 0, b or 0) for a, b in zip(left, right)]


# --- States -----------------------------------------------------------------------------------------------------------


def next_state(points, wanted, periods, missing, previous):
    """The state after one evaluation.

    `points` are the data points of the evaluation range, oldest first: True is breaching, False is not, None is
    missing. `wanted` of `periods` must breach. `missing` is the alarm's treatment of missing data.
    """
    existing = [point for point in points if point is not None]
    if len(existing) >= periods:  # Enough data points: the treatment "is not needed and is ignored".
        return ALARM if sum(existing[-periods:]) >= wanted else OK
    breaching = sum(existing)
    if missing == "breaching":
        breaching += periods - len(existing)
    if breaching >= wanted:
        return ALARM
    if missing in ("breaching", "notBreaching") or not all(existing):
        return OK
    if missing == "ignore":
        return previous
    if not existing:
        return INSUFFICIENT_DATA
    # All existing points breach. Without this rule, the alarm would fire before `wanted` data points exist.
    oldest = next(index for index, point in enumerate(points) if point)
    return ALARM if len(points) - oldest >= wanted else INSUFFICIENT_DATA


# --- Alarms -----------------------------------------------------------------------------------------------------------


class MetricStat(NamedTuple):
    metric: tuple  # (namespace, name, frozenset of (dimension, value))
    stat: str
    minutes: int


BREACHES = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
DAY = 24 * 60


class Alarm:
    """One alarm of the expanded template, from its properties with every parameter resolved."""

    def __init__(self, name, properties):
        self.name = name
        self.stats, self.expressions = {}, {}
        returned = []
        entries = properties.get("Metrics") or [{"Id": "metric", "MetricStat": {
            "Metric": {key: properties[key] for key in ("Namespace", "MetricName", "Dimensions") if key in properties},
            "Stat": properties.get("Statistic", properties.get("ExtendedStatistic")), "Period": properties["Period"]}}]
        for entry in entries:
            if entry.get("ReturnData", True):
                returned.append(entry["Id"])
            if "Expression" in entry:
                self.expressions[entry["Id"]] = parse(entry["Expression"])
            else:
                self.stats[entry["Id"]] = self._stat(entry["MetricStat"])
        [self.returned] = returned
        for filled in set().union(*map(filled_names, self.expressions.values())) - set(self.stats):
            raise Unsupported(f"{name}: FILL of {filled}, which is not a metric")
        used = {self.returned}.union(*map(names, self.expressions.values()))
        known = set(self.stats) | set(self.expressions)
        if used != known:
            raise Unsupported(f"{name}: unused or undefined: {sorted(used ^ known)}")
        lengths = {stat.minutes for stat in self.stats.values()}
        if len(lengths) != 1:  # "Each metric must be using the same period."
            raise Unsupported(f"{name}: periods of {sorted(lengths)} minutes in one alarm")
        [self.minutes] = lengths
        self.periods = int(properties["EvaluationPeriods"])
        self.wanted = int(properties.get("DatapointsToAlarm", self.periods))
        if not 1 <= self.wanted <= self.periods:
            raise Unsupported(f"{name}: {self.wanted} of {self.periods}")
        if self.periods * self.minutes > DAY:  # CloudWatch evaluates these once an hour.
            raise Unsupported(f"{name} has an evaluation range of more than a day")
        self.threshold = float(properties["Threshold"])
        self.breaches = BREACHES[properties["ComparisonOperator"]]
        self.missing = properties.get("TreatMissingData", "missing")
        # "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data" (PutMetricAlarm). The
        # guide says that this can be overridden. Assume the stricter rule.
        if any(stat.metric[0] == "AWS/DynamoDB" for stat in self.stats.values()):
            self.missing = "ignore"

    def _stat(self, entry):
        metric = entry["Metric"]
        if entry["Stat"] not in ("Sum", "SampleCount"):
            raise Unsupported(f"{self.name}: the statistic {entry['Stat']}")
        seconds = int(entry["Period"])
        if seconds < 60 or seconds % 60:
            raise Unsupported(f"{self.name}: a period of {seconds} s")
        dimensions = frozenset((d["Name"], d["Value"]) for d in metric.get("Dimensions", []))
        return MetricStat((metric["Namespace"], metric["MetricName"], dimensions), entry["Stat"], seconds // 60)

    def states(self, data, assumption, start, end, state=INSUFFICIENT_DATA):
        """The state after the evaluation at the end of each minute from `start` on, `end` excluded.

        `state` is the previous one.
        """
        reach, step = self.periods + assumption.extra, self.minutes
        first = max(0, start - (reach - 1) * step)  # The earliest minute at which a data point can end.
        # `behind` of the newest data points have not arrived, and the next one lacks `late` minutes.
        behind, late = divmod(assumption.delay, step)
        cache = {}

        def breaching(filled, missing_minutes):
            key = (filled, missing_minutes)
            if key not in cache:
                cache[key] = self._breaching(data, first, end, filled, missing_minutes)
            return cache[key]

        every = frozenset(self.stats)
        alive = {} if assumption.fills_empty else {name: data.alive(stat, reach, first, end) for name, stat in self.stats.items()}
        found = []
        for at in range(start - first, end - first):
            filled = every if assumption.fills_empty else frozenset(name for name in every if alive[name][at])
            if self.periods == 1 and not behind:  # A shortcut: if the newest data point exists, it decides.
                newest = breaching(filled, late)[at]
                if newest is not None:
                    state = ALARM if newest else OK
                    found.append(state)
                    continue
            oldest = at - (reach - 1) * step
            points = breaching(filled, 0)[oldest if oldest >= 0 else at % step : at + 1 : step]
            for k in range(min(behind, len(points))):
                points[-1 - k] = breaching(filled, step)[at - k * step]
            if late and len(points) > behind:
                points[-1 - behind] = breaching(filled, late)[at - behind * step]
            if len(points) < reach:
                points = [None] * (reach - len(points)) + points
            state = next_state(points, self.wanted, self.periods, self.missing, state)
            found.append(state)
        return found

    def _breaching(self, data, first, end, filled, missing_minutes):
        """Whether the data point that ends with each minute breaches, without the newest `missing_minutes` of it.

        `filled` names the metrics that FILL fills.
        """
        series = {
            name: Series(data.values(stat, missing_minutes, first, end), name in filled)
            for name, stat in self.stats.items()
        }
        waiting = dict(self.expressions)
        while waiting:
            ready = [name for name, tree in waiting.items() if names(tree) <= set(series)]
            if not ready:
                raise Unsupported(f"{self.name}: circular expressions")
            for name in ready:
                values = calculate(waiting.pop(name), series)
                if not isinstance(values, list):
                    raise Unsupported(f"{self.name}: {name} is not a time series")
                series[name] = Series(values, False)
        breaches, threshold = self.breaches, self.threshold
        return [None if value is None else breaches(value, threshold) for value in series[self.returned].values]


class Data:
    """The samples of a number of minutes: for each metric, (minute, sum of the samples, their number)."""

    def __init__(self, minutes, events):
        self._minutes, self._events = minutes, events
        self._totals, self._cache = {}, {}

    def values(self, stat, late, first, end):
        """The data points that end with each minute from `first`; None if there is no sample.

        The newest `late` minutes of each are missing.
        """
        key = (stat, late, first, end)
        if key not in self._cache:
            if late >= stat.minutes:
                self._cache[key] = [None] * (end - first)
            else:
                samples = self._added(stat, 1, first, end, stat.minutes, late)
                values = samples if stat.stat == "SampleCount" else self._added(stat, 0, first, end, stat.minutes, late)
                self._cache[key] = [value if count else None for value, count in zip(values, samples)]
        return self._cache[key]

    def alive(self, stat, reach, first, end):
        """Whether the metric has any sample in the `reach` periods that end with each minute."""
        key = (stat.metric, reach * stat.minutes, first, end)
        if key not in self._cache:
            self._cache[key] = [count > 0 for count in self._added(stat, 1, first, end, reach * stat.minutes, 0)]
        return self._cache[key]

    def _added(self, stat, column, first, end, minutes, late):
        """For each minute, the sum over the `minutes` before its end, without the newest `late`."""
        if stat.metric not in self._totals:
            columns = [0] * self._minutes, [0] * self._minutes
            for minute, value, count in self._events.get(stat.metric, ()):
                columns[0][minute] += value
                columns[1][minute] += count
            self._totals[stat.metric] = [[0, *accumulate(each)] for each in columns]
        totals = self._totals[stat.metric][column]

        def shifted(back):
            since, to = first + 1 - back, end + 1 - back
            return [0] * (min(to, 0) - min(since, 0)) + totals[max(since, 0) : max(to, 0)]

        return [newer - older for newer, older in zip(shifted(late), shifted(minutes))]
