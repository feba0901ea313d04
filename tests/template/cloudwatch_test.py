#!/usr/bin/env python3
"""Tests cloudwatch.py with the examples of the CloudWatch User Guide."""

import unittest

from cloudwatch import ALARM, INSUFFICIENT_DATA, OK, Alarm, Assumption, Data, Series, Unsupported, calculate, next_state, parse

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
RETAIN = "retain the current state"
PLAIN = Assumption(delay=0, extra=2, fills_empty=True)


def points(text):
    return [{"0": False, "X": True, "-": None}[point] for point in text.split()]


class MissingData(unittest.TestCase):
    """alarms-and-missing-data.html: the evaluation range is 5, Evaluation Periods is 3."""

    def rows(self, wanted, table):
        for text, *expected in table:
            for treatment, state in zip(TREATMENTS, expected, strict=True):
                for previous in (OK, ALARM, INSUFFICIENT_DATA):
                    with self.subTest(points=text, treatment=treatment, previous=previous):
                        found = next_state(points(text), wanted, 3, treatment, previous)
                        self.assertEqual(found, previous if state is RETAIN else state)

    def test_three_of_three(self):
        self.rows(3, [
            ("0 - X - X", OK, OK, OK, OK),
            ("0 - - - -", OK, OK, OK, OK),
            ("- - - - -", INSUFFICIENT_DATA, RETAIN, ALARM, OK),
            ("0 X X - X", ALARM, ALARM, ALARM, ALARM),
            ("- - X - -", ALARM, RETAIN, ALARM, OK),
        ])

    def test_two_of_three(self):
        self.rows(2, [
            ("0 - X - X", ALARM, ALARM, ALARM, ALARM),
            ("0 0 X 0 X", ALARM, ALARM, ALARM, ALARM),
            ("0 - X - -", OK, OK, ALARM, OK),
            ("- - - - 0", OK, OK, ALARM, OK),
            ("- - - X -", ALARM, RETAIN, ALARM, OK),
        ])

    def test_no_premature_alarm(self):
        for text in ("- - - - X", "- - - X -"):
            with self.subTest(points=text):
                self.assertEqual(next_state(points(text), 3, 3, "missing", OK), INSUFFICIENT_DATA)
        for text in ("- - - X 0", "- - X - 0"):
            with self.subTest(points=text):
                self.assertEqual(next_state(points(text), 3, 3, "missing", OK), OK)


METRIC = ("CdmPhones", "Errors", frozenset())


def alarm(expression=None, period=60, **more):
    stat = {"Metric": {"Namespace": "CdmPhones", "MetricName": "Errors"}, "Stat": "Sum", "Period": period}
    metrics = [{"Id": "errors", "MetricStat": stat, "ReturnData": not expression}]
    if expression:
        metrics.append({"Id": "result", "Expression": expression})
    return Alarm("test", {
        "Metrics": metrics, "EvaluationPeriods": 3, "Threshold": 3, "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching", **more})


def play(an_alarm, values, assumption=PLAIN):
    """The states of an alarm over a metric with these values, one a minute; None is a minute without data."""
    data = Data(len(values), {METRIC: [(at, value, 1) for at, value in enumerate(values) if value is not None]})
    return "".join({OK: "o", ALARM: "A", INSUFFICIENT_DATA: "?"}[s] for s in an_alarm.states(data, assumption, 0, len(values)))


class Sequences(unittest.TestCase):
    def test_three_of_three_in_the_guides_figure(self):
        """alarm-evaluation.html: above the threshold of 3 in periods 3 to 5, again only in period 9."""
        self.assertEqual(play(alarm(), [1, 2, 4, 5, 6, 2, 1, 1, 4, 1, 1]), "ooooAoooooo")

    def test_two_of_three(self):
        self.assertEqual(play(alarm(DatapointsToAlarm=2), [1, 4, 1, 4, 1, 1, 4, 4, 1, 1]), "oooAoooAAo")

    def test_a_long_period_moves_each_minute(self):
        """alarm-evaluation.html: 1 period of 5 minutes is evaluated over minutes 1 to 5, then 2 to 6."""
        self.assertEqual(play(alarm(period=300, EvaluationPeriods=1), [0, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0]), "ooooAAooooo")

    def test_the_last_points_of_a_metric_count_until_the_range_ends(self):
        """"CloudWatch alarms might repeatedly re-evaluate the last set of data points"."""
        self.assertEqual(play(alarm(EvaluationPeriods=1), [4] + [None] * 5), "AAAooo")
        self.assertEqual(play(alarm(EvaluationPeriods=1), [4] + [None] * 5, PLAIN._replace(extra=0)), "Aooooo")

    def test_fill_replaces_the_last_points(self):
        self.assertEqual(play(alarm("FILL(errors, 0)", EvaluationPeriods=1), [4] + [None] * 5), "Aooooo")

    def test_fill_hides_late_data_unless_the_period_is_longer(self):
        """using-metric-math.html: "the latest data point for the metric … always … the FILL value"."""
        late = PLAIN._replace(delay=1)
        self.assertEqual(play(alarm("FILL(errors, 0)", EvaluationPeriods=1), [4] * 6, late), "oooooo")
        self.assertEqual(play(alarm("FILL(errors, 0)", DatapointsToAlarm=2), [4] * 6, late), "ooAAAA")
        self.assertEqual(play(alarm("FILL(errors, 0)", period=300, EvaluationPeriods=1), [4, 0, 0, 0, 0, 0, 0], late), "oAAAAoo")

    def test_without_fill_late_data_delays_the_alarm(self):
        self.assertEqual(play(alarm(EvaluationPeriods=1), [4, 4, 0, 0], PLAIN._replace(delay=1)), "oAAo")

    def test_fill_of_a_series_without_any_data(self):
        low = {"EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "LessThanOrEqualToThreshold"}
        quiet = [5, None, None, None, None, None]
        self.assertEqual(play(alarm("FILL(errors, 0)", **low), quiet), "oAAAAA")
        unfilled = PLAIN._replace(fills_empty=False)
        self.assertEqual(play(alarm("FILL(errors, 0)", **low), quiet, unfilled), "oAAooo")
        self.assertEqual(play(alarm("FILL(errors, 0)", **low | {"TreatMissingData": "breaching"}), quiet, unfilled), "oAAAAA")

    def test_dynamodb_ignores_missing_data(self):
        stat = {"Metric": {"Namespace": "AWS/DynamoDB", "MetricName": "WriteThrottleEvents"}, "Stat": "Sum", "Period": 60}
        held = Alarm("test", {
            "Metrics": [{"Id": "writes", "MetricStat": stat}], "EvaluationPeriods": 1, "Threshold": 0,
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"})
        data = Data(5, {("AWS/DynamoDB", "WriteThrottleEvents", frozenset()): [(0, 7, 1)]})
        self.assertEqual(held.states(data, PLAIN, 0, 5), [ALARM] * 5)

    def test_sample_count(self):
        counted = alarm()
        counted.stats["errors"] = counted.stats["errors"]._replace(stat="SampleCount")
        data = Data(3, {METRIC: [(at, 0, 4) for at in range(3)]})
        self.assertEqual(counted.states(data, PLAIN, 0, 3), [OK, OK, ALARM])


class MetricMath(unittest.TestCase):
    """The examples of using-metric-math.html."""

    def check(self, expression, expected, **series):
        found = calculate(parse(expression), {name: Series(values, True) for name, values in series.items()})
        self.assertEqual(found, expected, expression)

    def test_comparisons(self):
        two = {"metric1": [30, 20, 0, 0], "metric2": [20, None, 20, None]}
        self.check("(metric1 < metric2)", [0, 0, 1, 0], **two)
        self.check("(metric1 >= 30)", [1, 0, 0, 0], **two)
        self.check("(metric1 > 15 AND metric2 > 15)", [1, 0, 0, 0], **two)

    def test_if(self):
        three = {"metric1": [1, 1, 0, 0, None], "metric2": [30, None, 0, 0, 30], "metric3": [0, 0, 20, None, 20]}
        self.check("IF(metric1, metric2, metric3)", [30, 0, 20, None, None], **three)
        self.check("IF(metric1, 5, metric3)", [5, 5, 20, None, None], **three)
        self.check("IF(metric1, metric2, 5)", [30, 0, 5, 5, None], **three)

    def test_arithmetic(self):
        two = {"m1": [6, None, None, 3], "m2": [2, 4, None, 0]}
        self.check("m1 - m2", [4, -4, None, 3], **two)
        self.check("m1 / m2", [3, 0, None, None], **two)  # A division by zero is dropped.
        self.check("5 * m1 + 1", [31, None, None, 16], **two)
        self.check("1 + 2 * (m2 - 1) / 2", [2, 4, None, 0], **two)

    def test_fill(self):
        self.check("FILL(m1, 10)", [1, 10, 3], m1=[1, None, 3])
        self.check("FILL(m1, 0) > 2 OR m2 > 2", [0, 1, 1], m1=[1, None, 3], m2=[None, 3, 0])

    def test_rejects_unknown_features(self):
        for expression in ("SUM(m1)", "IF(m1, 1)", "m1 m2", "m1 ^ 2", "FILL(m1, REPEAT)", "FILL(m1 + m2, 0)", "(m1", "-m1"):
            with self.subTest(expression=expression), self.assertRaises(Unsupported):
                parse(expression)
        for wrong in ({"period": 30}, {"EvaluationPeriods": 1441}, {"DatapointsToAlarm": 4}, {"expression": "m1 + errors"}):
            with self.subTest(wrong=wrong), self.assertRaises(Unsupported):
                alarm(**wrong)
        with self.assertRaises(Unsupported):
            Alarm("test", {"Namespace": "AWS/Lambda", "MetricName": "Duration", "ExtendedStatistic": "p99", "Period": 60})


if __name__ == "__main__":
    unittest.main()
