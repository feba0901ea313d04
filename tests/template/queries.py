#!/usr/bin/env python3
"""Holds the saved queries to the fields that there are, and breaks them to see that it does.

    queries.py             the queries against the lists below, and against docs/operate.md
    queries.py --source    and the list of the function's fields against src/telemetry/request_log.rs, which logs them
"""

import json
import re
import sys

from expand import ROOT, TEMPLATE, Expanded

# What the function logs of a request; the capitalised ones are metrics. docs/operate.md explains them.
REQUEST = {
    "operation", "status", "code", "replayed", "client_id", "key_fingerprint", "request_id", "lambda_request_id",
    "trace_id", "duration_ms", "FunctionName", "Requests", "RoundTrips", "Retries", "Throttles", "Conflicts", "Errors5xx",
    "SlowRequests", "ColdStarts", "KeyCacheHits",
}
FAILURE = {"cause", "aws_code", "aws_request_id", "throttling_reason"}  # On the line of a failure.
EVERY_LINE = {"timestamp", "level", "message"}
PLATFORM = {  # Lambda's own lines.
    "type", "record.status", "record.metrics.initDurationMs", "record.metrics.maxMemoryUsedMB", "record.metrics.durationMs",
}
INSIGHTS = {"@timestamp", "@message"}

# From any 500, one query leads to cause and trace.
LEADS_TO = {"cause", "aws_code", "throttling_reason", "aws_request_id", "trace_id", "key_fingerprint", "message"}
WORDS = {"fields", "filter", "stats", "sort", "limit", "by", "as", "in", "or", "and", "not", "like", "asc", "desc"}


def names(query):
    """The fields that a query reads."""
    text = re.sub(r'"[^"]*"|/[^/]*/', " ", query)
    new = set(re.findall(r"\bas (\w+)", text))
    functions = set(re.findall(r"([\w.]+)\(", text))
    words = set(re.findall(r"@?[A-Za-z_][\w.]*", re.sub(r"\b\d+[smhd]?\b", " ", text)))
    return words - WORDS - new - functions


def complaints(text):
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
            yield f"{name} reads {field}, which nothing logs there"
    for name in ("OneRequestQuery", "ErrorsQuery"):
        missing = LEADS_TO - read.get(name, set())
        if missing:
            yield f"{name} does not show {sorted(missing)}"
    if not re.search(r"stats max\(@timestamp\).* by key_fingerprint\b", t.properties("KeysQuery")["QueryString"]):
        yield "KeysQuery does not show the last use of each key"
    [prefix] = re.findall(r"request_id not like /\^([\w-]+)/", t.properties("KeysQuery")["QueryString"]) or [None]
    if f'"requestId": "{prefix}"' not in (ROOT / "deploy/probe/probe.py").read_text():
        yield f"the probe's requests do not begin with {prefix}, which KeysQuery leaves out"
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
    ("a misspelt field", "pct(duration_ms, 99)", "pct(duration, 99)"),
    ("a field of another log", "by status, routeKey, gatewayError", "by status, operation, gatewayError"),
    ("a 500 without its trace", "key_fingerprint, request_id, trace_id", "key_fingerprint, request_id"),
    ("a request without its cause", "code, message, cause, aws_code", "code, message, aws_code"),
    ("keys that are not told apart", "by key_fingerprint, client_id", "by client_id"),
    ("the probe's keys among the callers'", "not like /^probe-/", "not like /^hook-/"),
    ("a query that no one explains", "/starts, memory and platform failures", "/starts"),
]


def main():
    found = list(complaints(TEMPLATE))
    if "--source" in sys.argv:
        found += not_logged()
    for title, old, new in MUTATIONS:
        if old not in TEMPLATE:
            found.append(f"stale mutation, {title}: the template no longer says {old!r}")
        elif not list(complaints(TEMPLATE.replace(old, new))):
            found.append(f"not noticed: {title}")
    for complaint in found:
        print(f"FAILED {complaint}")
    if not found:
        print(f"saved queries read what is logged; {len(MUTATIONS)} mutations noticed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
