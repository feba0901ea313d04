#!/usr/bin/env python3
"""Checks that the saved queries read only fields that exist. Mutations of the queries show that the check works.

    queries.py             compare the queries with the lists below and with docs/operate.md
    queries.py --source    also compare the list of the function's fields with src/telemetry/request_log.rs, which logs them
"""

import json
import re
import sys

from expand import ROOT, TEMPLATE, Expanded

# The fields that the function logs for a request; capitalized ones are metrics. docs/operate.md explains them.
REQUEST = {
    "operation", "status", "code", "replayed", "client_id", "key_fingerprint", "request_id", "lambda_request_id",
    "trace_id", "duration_ms", "FunctionName", "Requests", "RoundTrips", "Retries", "Throttles", "Conflicts", "Errors5xx",
    "SlowRequests", "ColdStarts", "KeyCacheHits",
}
FAILURE = {"cause", "aws_code", "aws_request_id", "throttling_reason"}  # Only in the line of a failure.
EVERY_LINE = {"timestamp", "level", "message"}
PLATFORM = {  # Lambda's lines.
    "type", "record.status", "record.metrics.initDurationMs", "record.metrics.maxMemoryUsedMB", "record.metrics.durationMs",
}
INSIGHTS = {"@timestamp", "@message"}

# The query of a failure must show these, so that an operator finds the cause and the trace.
LEADS_TO = {"cause", "aws_code", "throttling_reason", "aws_request_id", "trace_id", "key_fingerprint", "message"}
WORDS = {"fields", "filter", "stats", "sort", "limit", "by", "as", "in", "or", "and", "not", "like", "asc", "desc"}


def names(query):
    """The fields that a query reads."""
    text = re.sub(r'"[^"]*"|/[^/]*/', " ", query)
    new = set(re.findall(r"\bas (\w+)", text))
    functions = set(re.findall(r"([\w.]+)\(", text))
    words = set(re.findall(r"@?[A-Za-z_][\w.]*", re.sub(r"\b\d+[smhd]?\b", " ", text)))
    return words - WORDS - new - functions


def faults(text):
    t = Expanded(text, {})
    settings = t.properties("HttpApiApiGatewayDefaultStage")["AccessLogSettings"]
    known = {"FunctionLogs": REQUEST | FAILURE | EVERY_LINE | PLATFORM, "AccessLogs": set(json.loads(settings["Format"]))}
    titles, read = [], {}
    for name, query in t.of_type("AWS::Logs::QueryDefinition").items():
        properties = query["Properties"]
        titles.append(properties["Name"]["Fn::Sub"].split("/", 1)[1])
        read[name] = names(properties["QueryString"])
        allowed = INSIGHTS.union(*(known[group["Ref"]] for group in properties["LogGroupNames"]))
        for field in sorted(read[name] - allowed):
            yield f"{name} reads {field}, which that log group does not contain"
    for name in ("OneRequestQuery", "ErrorsQuery"):
        missing = LEADS_TO - read.get(name, set())
        if missing:
            yield f"{name} does not show {sorted(missing)}"
    if not re.search(r"stats max\(@timestamp\).* by key_fingerprint\b", t.properties("KeysQuery")["QueryString"]):
        yield "KeysQuery does not show the last use of each key"
    [prefix] = re.findall(r"request_id not like /\^([\w-]+)/", t.properties("KeysQuery")["QueryString"]) or [None]
    if f'"requestId": "{prefix}"' not in (ROOT / "deploy/probe/probe.py").read_text():
        yield f"KeysQuery excludes {prefix}, but the probe's request ids begin with another prefix"
    section = (ROOT / "docs/operate.md").read_text().split("\n## Saved queries\n")[1].split("\n## ")[0]
    explained = re.findall(r"^\| ([a-z][^|]*?) \|", section, re.M)[1:]
    if sorted(explained) != sorted(titles):
        yield f"docs/operate.md explains {sorted(explained)}, the template has {sorted(titles)}"


def not_logged():
    source = (ROOT / "src/telemetry/request_log.rs").read_text()
    for field in sorted(REQUEST | FAILURE):
        if not re.search(rf"\b{field}\b", source):
            yield f"src/telemetry/request_log.rs does not log {field}"


MUTATIONS = [
    ("a misspelled field", "pct(duration_ms, 99)", "pct(duration, 99)"),
    ("a field of another log group", "by status, routeKey, gatewayError", "by status, operation, gatewayError"),
    ("no trace", "key_fingerprint, request_id, trace_id", "key_fingerprint, request_id"),
    ("no cause", "code, message, cause, aws_code", "code, message, aws_code"),
    ("keys that are not separated", "by key_fingerprint, client_id", "by client_id"),
    ("the probe's keys are included", "not like /^probe-/", "not like /^hook-/"),
    ("a query without documentation", "/starts, memory and platform failures", "/starts"),
]


def main():
    found = list(faults(TEMPLATE))
    if "--source" in sys.argv:
        found += not_logged()
    for title, old, new in MUTATIONS:
        if old not in TEMPLATE:
            found.append(f"stale mutation, {title}: the template does not contain {old!r}")
        elif not list(faults(TEMPLATE.replace(old, new))):
            found.append(f"not detected: {title}")
    for fault in found:
        print(f"FAILED {fault}")
    if not found:
        print(f"the saved queries read existing fields; {len(MUTATIONS)} of {len(MUTATIONS)} mutations detected")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
