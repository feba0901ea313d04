#!/usr/bin/env python3
"""Writes docs/costs.md: what the service costs, from units that follow from the design and the prices in prices.json.

    docs/costs.py            write it
    docs/costs.py --check    fail if it is not what would be written

The sizes are DynamoDB's own rules (names and values in UTF-8, a number's digits halved) over items as src/store/items.rs
makes them. The length of the function's log line is that of the example in operate.md, the number of metrics that of its
table; alarms, and the metrics that they read, are counted in template.yaml.
"""

import json
import re
import sys
from math import ceil
from pathlib import Path

DOCS = Path(__file__).resolve().parent
LIST = json.loads((DOCS / "prices.json").read_text())
PRICE = LIST["prices"]
MILLION = 1_000_000

# --- What is assumed, not derived ---------------------------------------------------------------------------------

WARM_MS = 10  # billed time of an add: mostly DynamoDB's transaction, which only AWS can tell
COLD_SHARE, COLD_MS = 0.001, 100  # of requests, and the billed start that comes on top
KEY_HIT_RATE = 0.95  # of requests, the key is remembered; each miss reads one unit
TRACED_SHARE = 0.05  # X-Ray's default: the first request of each second, and 5 % of the others
RETENTION_MONTHS = 3  # LogRetentionDays is 90
PLATFORM_LINES = (150, 420)  # Lambda's own JSON lines of a call: start, report
ACCESS_LINE = 330  # the template's format with typical values
LINE_OVERHEAD = 26  # CloudWatch counts these for each line
MEMORY_GB = 0.25


# --- Sizes and units ------------------------------------------------------------------------------------------------


def size(value):
    """Bytes of a value: text, number (int), binary, a set (set of text) or a map."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, int):
        return (len(str(value)) + 1) // 2 + 1
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, set):
        return sum(map(size, value))
    return 3 + sum(1 + size(name) + size(inner) for name, inner in value.items())


def item_size(item):
    return sum(size(name) + size(value) for name, value in item.items())


def channel(full):
    entry = {"t": 1_732_003_200_000}
    if full:
        entry |= {"p": "mobile", "c": "written", "s": "front desk", "i": bytes(16)}
    return entry


def customer(numbers, entry):
    return {
        "pk": "CLIENT#demo-clinic#CUSTOMER#BAK-11984-007", "sk": "CUSTOMER", "created_at": 1_732_003_200_000,
        "phone_count": numbers, "notification_channels": {f"+1610555{n:04}": entry for n in range(numbers)},
    }


def phone(ccids):
    return {"pk": "CLIENT#demo-clinic#PHONE#+16105551212", "sk": "PHONE", "ccid_count": ccids,
            "ccids": {f"BAK-11984-{n:03}" for n in range(ccids)}}


def write_units(*items):
    """Of a transaction: two for each started kilobyte of each item."""
    return sum(2 * ceil(item_size(item) / 1024) for item in items)


SMALL = write_units(customer(2, channel(True)), phone(1))
PLAIN_FULL = write_units(customer(50, channel(False)), phone(50))
RICH_FULL = write_units(customer(50, channel(True)), phone(50))
# The most the contract allows: a client_source of 100 characters of four bytes each, ccids of the same.
WORST = write_units(
    customer(50, {**channel(True), "s": "𝟙" * 100, "n": 261}), {**phone(50), "ccids": {f"{n:02}" + "𝟙" * 98 for n in range(50)}})


def log_line():
    text = (DOCS / "operate.md").read_text()
    [line] = re.findall(r"```json\n(\{.*?\})\n```", text, re.S)
    return len(json.dumps(json.loads(line), separators=(",", ":")))


def metric_series():
    """Series that the function and the metric filters can write: the third column of the table of metrics."""
    text = (DOCS / "operate.md").read_text().split("\n## Metrics\n")[1]
    return sum(int(series) for series in re.findall(r"^\| `\w+` \|[^|]*\| (\d+) \|", text, re.M))


def alarms():
    """(alarms, metrics that they read): an alarm over an expression is billed for each of its metrics."""
    text = (DOCS.parent / "template.yaml").read_text()
    return text.count("Type: AWS::CloudWatch::Alarm\n"), text.count("          MetricStat:\n")


# --- Dollars --------------------------------------------------------------------------------------------------------


def adds(gateway="http", write=SMALL, arch="arm64"):
    """Dollars for a million adds, by part."""
    lines = (log_line(), *PLATFORM_LINES, ACCESS_LINE)
    gigabytes = sum(line + LINE_OVERHEAD for line in lines) * MILLION / 1e9
    seconds = MILLION * (WARM_MS + COLD_SHARE * COLD_MS) / 1000
    return {
        f"gateway ({gateway.upper()} API)": PRICE[f"{gateway}_api_per_million"],
        f"function ({arch})": PRICE["lambda_per_million"] + seconds * MEMORY_GB * PRICE[f"lambda_gb_second_{arch}"],
        f"table: {write} write units each": write * PRICE["dynamodb_write_per_million"],
        f"table: the key, read by {1 - KEY_HIT_RATE:.0%}": (1 - KEY_HIT_RATE) * PRICE["dynamodb_read_per_million"],
        f"logs: {gigabytes:.1f} GB taken in, kept {RETENTION_MONTHS} months":
            gigabytes * (PRICE["logs_in_per_gb"] + RETENTION_MONTHS * PRICE["logs_kept_gb_month"]),
        f"X-Ray: {TRACED_SHARE:.0%} traced": TRACED_SHARE * PRICE["xray_per_million"],
    }


def total(parts):
    return sum(parts.values())


def refusals():
    """Dollars of the table for a million refused requests."""
    key, write, read = (1 - KEY_HIT_RATE), PRICE["dynamodb_write_per_million"], PRICE["dynamodb_read_per_million"]
    return {
        "a key of the wrong shape, a wrong route or method": 0,
        "an unknown key of the right shape (read each time, one unit)": read,
        "a bad request": key * read,
        "no such customer, or already added, small records": key * read + SMALL * write,
        "a full record, nothing but numbers on it": key * read + PLAIN_FULL * write,
        "a full record, every field and an Idempotency-Key": key * read + RICH_FULL * write,
        "the largest record that the contract allows": key * read + WORST * write,
    }


def storage(numbers):
    """(gigabytes, dollars a month) of a million customers, each with so many numbers that nobody shares."""
    overhead = 100  # DynamoDB counts these for each item
    each = item_size(customer(numbers, channel(True))) + overhead + numbers * (item_size(phone(1)) + overhead)
    gigabytes = each * MILLION / 1e9
    return gigabytes, gigabytes * (PRICE["dynamodb_storage_gb_month"] + PRICE["dynamodb_recovery_gb_month"])


# --- The page -------------------------------------------------------------------------------------------------------


def table(head, rows):
    lines = [head, "|---|" + "---:|" * (head.count("|") - 2)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def page():
    ours = adds()
    number, read = alarms()
    fixed = {
        f"metrics: at most {metric_series()} series": metric_series() * PRICE["metric_month"],
        f"alarms: {number} with every one switched on, which read {read} metrics": read * PRICE["alarm_month"],
        "dashboard": PRICE["dashboard_month"],
    }
    others = (
        ("this service", total(ours)),
        ("the same on x86_64", total(adds(arch="x86_64"))),
        ("the same on a REST API", total(adds(gateway="rest"))),
        ("the same with three items in the transaction", total(adds(write=SMALL + 2))),
        ("both of these", total(adds(gateway="rest", write=SMALL + 2))),
    )
    return f"""# What it costs

List prices of {LIST["region"]}, as of {LIST["as_of"]}, without free tiers ([prices.json](prices.json)). This page is written by
[costs.py](costs.py); the assumptions stand at its top. Units follow from the design and are exact; the billed time of a call is
assumed ({WARM_MS} ms), since only AWS can tell it.

## A million adds

{table("| part | $ |", [(part, f"{dollars:.2f}") for part, dollars in ours.items()] + [("**together**", f"**{total(ours):.2f}**")])}

An add to a small record takes {SMALL} write units: two items, two units each because it is a transaction. That is the least
that two independent limits can cost. Beside it:

{table("| | $ per million adds |", [(name, f"{dollars:.2f}") for name, dollars in others])}

## Whatever the traffic, a month

{table("| part | $ |", [(part, f"{dollars:.2f}") for part, dollars in fixed.items()] + [("**together**", f"**{total(fixed):.2f}**")])}

## A million refused requests: the table's part

A refused write costs what an accepted one does, since DynamoDB has looked at both items. The rest (gateway, function, logs)
is as above.

{table("| refused because of | $ |", [(name, f"{dollars:.2f}") for name, dollars in refusals().items()])}

So a full record costs {PLAIN_FULL} to {RICH_FULL} units an attempt, {WORST} at the very worst, and that is bounded. `MaxWriteUnits` caps the rate.

## Storage

A million customers, with point-in-time recovery:

{table("| numbers each | GB | $ a month |", [(str(n), f"{storage(n)[0]:.2f}", f"{storage(n)[1]:.2f}") for n in (1, 2, 5, 50)])}
"""


def main():
    path = DOCS / "costs.md"
    if "--check" in sys.argv:
        if not path.exists() or path.read_text() != page():
            sys.exit("docs/costs.md is not what docs/costs.py computes: run it")
        return
    path.write_text(page())


if __name__ == "__main__":
    main()
