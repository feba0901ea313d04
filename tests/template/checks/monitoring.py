"""Checks of alarms, metrics, dashboard and saved queries."""

import json
import re

from expand import EVERY_OPTION, ROOT, Expanded, equal, table_in_use


# Metrics, comparison, threshold, (periods, seconds of a period), missing data. alarms.py tests that these alarms fire when
# they should, and only then.
ALARMS = {
    "FunctionErrorsAlarm": ({("AWS/Lambda", "Errors")}, ">=", 1, (1, 900), "notBreaching"),
    "ServerErrorsAlarm": ({("CdmPhones", "Errors5xx")}, ">", 1, (1, 900), "notBreaching"),
    "GatewayErrorsAlarm": ({("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Count")}, ">", 1, (1, 900), "notBreaching"),
    "LatencyAlarm": ({("CdmPhones", "SlowRequests")}, ">", 2, (1, 900), "notBreaching"),
    "LowTrafficFailuresAlarm": (
        {("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Count"), ("CdmPhones", "SlowRequests")}, ">=", 3, (1, 86400), "notBreaching"),
    "FunctionThrottlesAlarm": ({("AWS/Lambda", "Throttles")}, ">=", 1, (1, 900), "notBreaching"),
    "TableThrottlesAlarm": (
        {("AWS/DynamoDB", "ReadThrottleEvents"), ("AWS/DynamoDB", "WriteThrottleEvents"), ("CdmPhones", "Throttles")},
        ">=", 10, (1, 900), "notBreaching"),
    "GatewayThrottlesAlarm": ({("CdmPhones/stack", "GatewayThrottles")}, ">=", 100, (1, 900), "notBreaching"),
    "ConflictsAlarm": ({("CdmPhones", "Conflicts")}, ">", 5, (1, 900), "notBreaching"),
    "InitErrorsAlarm": ({("CdmPhones/stack", "InitErrors")}, ">=", 1, (1, 900), "notBreaching"),
    "UnauthorizedAlarm": ({("CdmPhones", "Requests")}, ">=", 300, (1, 900), "notBreaching"),
    "NoTrafficAlarm": ({("AWS/ApiGateway", "Count")}, "<=", 0, (60, 60), "breaching"),
    "ProbeAlarm": ({("AWS/Lambda", "Errors"), ("AWS/Lambda", "Invocations")}, "<", 1, (1, 1200), "breaching"),
}


COMPARISONS = {
    "GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": ">=",
    "LessThanThreshold": "<", "LessThanOrEqualToThreshold": "<=",
}


def expected_alarms(t):
    """Those of ALARMS that exist with these parameters."""
    optional = {"NoTrafficAlarm": "HasNoTrafficAlarm", "UnauthorizedAlarm": "HasUnauthorizedAlarm", "ProbeAlarm": "HasProbe"}
    return {name: alarm for name, alarm in ALARMS.items() if name not in optional or t.holds(optional[name])}


def namespace(node):
    return node["Fn::Sub"].replace("${AWS::StackName}", "stack") if isinstance(node, dict) else node


def alarm_metrics(alarm):
    """(namespace, metric, [{Name, Value}], period) of everything an alarm reads."""
    if "Metrics" not in alarm:
        yield namespace(alarm["Namespace"]), alarm["MetricName"], alarm.get("Dimensions", []), alarm["Period"]
    for entry in alarm.get("Metrics", []):
        if "MetricStat" in entry:
            metric = entry["MetricStat"]["Metric"]
            yield namespace(metric["Namespace"]), metric["MetricName"], metric.get("Dimensions", []), entry["MetricStat"]["Period"]


def check_alarms_read_the_expected_metrics(t):
    found = {}
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        alarm = resource["Properties"]
        [period] = {str(period) for *_, period in alarm_metrics(alarm)}
        if "FindInMap" in period:
            period = t.document["Mappings"]["ProbeWindow"]["5"]["Seconds"]
        found[name] = (
            {(space, metric) for space, metric, *_ in alarm_metrics(alarm)},
            COMPARISONS[alarm["ComparisonOperator"]], int(alarm["Threshold"]), (int(alarm["EvaluationPeriods"]), int(period)),
            alarm["TreatMissingData"])
        assert "DatapointsToAlarm" not in alarm, f"{name} does not need all of its periods"
    expected = expected_alarms(t)
    assert found == expected, "\n".join(
        f"{name}: got {found.get(name)}, expected {expected.get(name)}"
        for name in sorted(expected | found) if found.get(name) != expected.get(name))


def check_optional_alarms_can_be_turned_off(t):
    """Each by its own parameter. NoTrafficAlarm is off by default, because a new stack has no traffic."""
    equal({name: t.parameters[name]["Default"] for name in ("NoTrafficMinutes", "UnauthorizedLimit")},
          {"NoTrafficMinutes": 0, "UnauthorizedLimit": 300}, "defaults")
    off = Expanded(t.text, {"NoTrafficMinutes": "0", "UnauthorizedLimit": "0", "ProbeMinutes": "0"})
    left = set(ALARMS) - {"NoTrafficAlarm", "UnauthorizedAlarm", "ProbeAlarm"}
    equal(sorted(off.of_type("AWS::CloudWatch::Alarm")), sorted(left), "alarms that cannot be turned off")


def check_probe_alarm_covers_three_runs(t):
    equal(t.document["Mappings"]["ProbeWindow"],
          {str(minutes): {"Seconds": (3 * int(minutes) + 5) * 60} for minutes in t.parameters["ProbeMinutes"]["AllowedValues"]},
          "window by ProbeMinutes")


def check_alarms_read_only_this_stack(t):
    own = {"ApiId": {"Ref": "HttpApi"}, "FunctionName": {"Ref": "Function"}, "TableName": table_in_use(t)}
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        for space, metric, dimensions, _ in alarm_metrics(resource["Properties"]):
            dimensions = {d["Name"]: d["Value"] for d in dimensions}
            if space == "CdmPhones/stack":
                continue
            if name == "ProbeAlarm":
                equal(dimensions, {"FunctionName": {"Ref": "Probe"}}, f"what {name} reads")
                continue
            mine = [key for key in own if dimensions.get(key) == own[key]]
            assert mine, f"{name} reads {space} {metric} of {dimensions}"
            if "Resource" in dimensions:
                equal(dimensions["Resource"], {"Fn::Sub": "${Function}:live"}, f"alias in {name}")


def check_alarms_notify_the_topic(t):
    expected = [EVERY_OPTION["AlarmTopicArn"]] if t.holds("HasAlarmTopic") else None
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        equal(resource["Properties"].get("AlarmActions"), expected, f"alarm actions of {name}")
        equal(resource["Properties"].get("OKActions"), expected, f"OK actions of {name}")


def check_every_alarm_links_to_its_runbook(t):
    headings = {re.sub(r"[^a-z0-9-]", "", line.strip("# ").lower().replace(" ", "-"))
                for line in (ROOT / "docs/operate.md").read_text().splitlines() if line.startswith("#")}
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        link = re.search(r"docs/operate\.md#(\S+)$", resource["Properties"]["AlarmDescription"])
        assert link, f"{name} has no link to docs/operate.md"
        assert link[1] in headings, f"docs/operate.md has no heading for #{link[1]}"


def check_metric_filters(t):
    found = {
        name: (r["Properties"]["LogGroupName"], r["Properties"]["FilterPattern"],
               [(namespace(m["MetricNamespace"]), m["MetricName"], m["MetricValue"])
                for m in r["Properties"]["MetricTransformations"]])
        for name, r in t.of_type("AWS::Logs::MetricFilter").items()
    }
    assert found == {
        "InitErrors": ({"Ref": "FunctionLogs"}, '{ $.type = "platform.initReport" && $.record.status != "success" }',
                       [("CdmPhones/stack", "InitErrors", "1")]),
        "GatewayThrottles": ({"Ref": "AccessLogs"}, '{ $.status = "429" }', [("CdmPhones/stack", "GatewayThrottles", "1")]),
    }, found


def metrics_table():
    """The table under 'Metrics' in docs/operate.md: metric -> (dimensions, number of series)."""
    text = (ROOT / "docs/operate.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): (tuple(re.findall(r"`([^`]+)`", row[1])), int(row[2])) for row in rows if len(row) == 4}


def check_metrics_are_documented(t):
    """docs/operate.md lists every metric that alarms and dashboard read, with its dimensions. Together they have at most 81 series, of seven operations."""
    table = metrics_table()
    total = sum(series for _, series in table.values())
    assert total <= 81, f"{total} series"
    codes = (ROOT / "docs/operate.md").read_text().split("\n| operation | codes |\n")[1].split("\n\n")[0]
    equal(sum(line.split("|")[2].count("`") // 2 for line in codes.splitlines()), table["Requests"][1], "codes by operation")
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        for space, metric, dimensions, _ in alarm_metrics(resource["Properties"]):
            if space.startswith("CdmPhones"):
                equal(tuple(d["Name"] for d in dimensions), table[metric][0], f"dimensions of {metric} in {name}")
    for widget in dashboard(t)["widgets"]:
        for entry in widget["properties"].get("metrics", []):
            if isinstance(entry[0], str) and entry[0].startswith("CdmPhones"):
                names = tuple(part for part in entry[2:] if isinstance(part, str))[::2]
                equal(names, table[entry[1]][0], f"dimensions of {entry[1]} on the dashboard")
            elif isinstance(entry[0], dict) and "SEARCH" in entry[0]["expression"]:
                [schema] = re.findall(r"\{CdmPhones,([^}]+)\}", entry[0]["expression"])
                [metric] = re.findall(r'MetricName="(\w+)"', entry[0]["expression"])
                equal(tuple(schema.split(",")), table[metric][0], f"dimensions of {metric} on the dashboard")


def dashboard(t):
    text, variables = t.properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    for name in re.findall(r"\$\{([^!}]+)\}", text):
        if not name.startswith("AWS::") and name not in variables:
            assert name.split(".")[0] in t.resources, f"the dashboard refers to {name}"
        value = variables.get(name, name.replace("AWS::StackName", "stack"))
        if isinstance(value, dict) and "Fn::Sub" in value:
            value = re.sub(r"\$\{([^}]+)\}", r"\1", value["Fn::Sub"])
        text = text.replace("${%s}" % name, str(value))
    return json.loads(text.replace("${!", "${"))


def check_dashboard_shows_health_refusals_and_cost(t):
    body = dashboard(t)
    titles = " ".join(widget["properties"]["title"] for widget in body["widgets"])
    for question in ("Is it healthy?", "Which refusals?", "What does it cost?"):
        assert question in titles, f"no widget has the title: {question}"
    [alarms] = [widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm"]
    equal(sorted(alarms), sorted(f"{name}.Arn" for name in expected_alarms(t)), "alarms on the dashboard")
    for one in body["widgets"]:
        assert one["x"] + one["width"] <= 24, f"{one['properties']['title']} exceeds the right edge"


def check_dashboard_uses_the_price_list(t):
    prices = json.loads((ROOT / "docs/prices.json").read_text())["prices"]
    [cost] = [w["properties"] for w in dashboard(t)["widgets"] if w["properties"]["title"].startswith("What does it cost?")]
    found = {entry[0]["id"]: [float(n) for n in re.findall(r"\* ([\d.]+)", entry[0]["expression"])]
             for entry in cost["metrics"] if isinstance(entry[0], dict)}
    memory = t.properties("Function")["MemorySize"] / 1024
    equal(found, {
        "gateway": [prices["http_api_per_million"]],
        "function": [prices["lambda_per_million"], memory, prices["lambda_gb_second_arm64"]],
        "writes": [prices["dynamodb_write_per_million"]],
        "reads": [prices["dynamodb_read_per_million"]],
        "logs": [prices["logs_in_per_gb"]],
    }, "prices on the dashboard")


def check_saved_queries_read_this_stacks_logs(t):
    queries = t.of_type("AWS::Logs::QueryDefinition")
    assert len(queries) >= 5, f"{len(queries)} saved queries"
    for name, query in queries.items():
        for group in query["Properties"]["LogGroupNames"]:
            assert group in ({"Ref": "FunctionLogs"}, {"Ref": "AccessLogs"}), f"{name} reads {group}"
        assert "${AWS::StackName}/" in query["Properties"]["Name"]["Fn::Sub"], f"the name of {name} does not begin with the stack's name"
