#!/usr/bin/env python3
"""What the endpoint costs and meets at 1, 1,000 and 100,000 adds a second, on paper: docs/scale.py > docs/scale.md

It takes what was measured from bench/results/results.json, prices from docs/prices.json, and the assumptions below.
Nothing here was run against AWS.
"""

import json
import math
from pathlib import Path

HERE = Path(__file__).parent
MEASURED = json.loads((HERE / "../bench/results/results.json").read_text())
SHEET = json.loads((HERE / "prices.json").read_text())
PRICES = SHEET["prices"]

# --- Assumptions: what neither a measurement nor a price list says ---------------------------------------------------

RATES = (1, 1_000, 100_000)  # adds a second, steady
DATABASE_P50_MS, DATABASE_P99_MS = 8.0, 25.0  # a two-item transaction within the region, as seen by its caller
FIRST_READ_MS = 4.0  # one strongly consistent GetItem
START_MS = 40.0  # Lambda makes an environment and loads the package, before our code runs: not billed
LIFETIME_S = 2 * 3600  # after which Lambda replaces an environment
SPARE = 4.0  # environments beyond the mean, in standard deviations of a Poisson arrival
LOG_BYTES = 2_200  # as costs.py derives: our line, the gateway's, and Lambda's own
LOG_MONTHS = 3
NUMBERS_PER_RECORD = 3
BYTES_PER_ADD_STORED = 350  # a share of a record, a counter, and 100 bytes of overhead for each item

# --- AWS's limits, from its public documentation as of 2025 ----------------------------------------------------------

PARTITION_WRITES = 1_000  # units a second, hard
TABLE_WRITES = 40_000  # units a second of an on-demand table, can be raised
NEW_TABLE_WRITES = 4_000  # units a second of a new on-demand table, until it has grown or was warmed
CONCURRENCY = 1_000  # of the account in the region, can be raised
PER_ENVIRONMENT = 10  # synchronous calls a second count as one environment at least
SCALE_PER_10_S = 1_000  # environments that one function gains in 10 s
GATEWAY_RATE = 10_000  # calls a second of the account in the region, can be raised
CONCURRENCY_OF_PROCESSOR = 1769  # MB that come with one processor

# --- The sums --------------------------------------------------------------------------------------------------------

FUNCTION = MEASURED["subjects"]["function"]
MEMORIES = (128, 256, 512)


def units(numbers):
    return next(r["write_units"] for r in MEASURED["records"] if r["numbers"] == numbers)


UNITS = units(0)


def share(megabytes):
    return megabytes / CONCURRENCY_OF_PROCESSOR


def duration_ms(megabytes, database_ms, quantile):
    """The measured time of an add at this share of a processor, with a database that took none, and the database's."""
    limited = FUNCTION["limited"].get(str(megabytes))
    own = limited["warm_ms"][quantile] if limited else FUNCTION["warm_cpu_us"]["median"] / 1000 / share(megabytes)
    return database_ms + own


def lambda_dollars(megabytes):
    """Per million adds: the calls, and the time at the median, billed by the millisecond."""
    seconds = math.ceil(duration_ms(megabytes, DATABASE_P50_MS, "median")) / 1000
    return PRICES["lambda_per_million"] + 1e6 * seconds * megabytes / 1024 * PRICES["lambda_gb_second_arm64"]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def environments(rate, megabytes):
    mean = rate * duration_ms(megabytes, DATABASE_P50_MS, "median") / 1000
    return max(1, math.ceil(mean + SPARE * math.sqrt(mean)))


def number(value):
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def main():
    memory = 256
    print("# Scale and cost, on paper\n")
    print(
        "Written by `docs/scale.py` from what the benchmark measured and AWS's list prices "
        f"({SHEET['region']}, as of {SHEET['as_of']}; arm64, no free tiers). Nothing here was run against AWS. "
        "The assumptions stand at the top of the script; the ones that matter:\n"
    )
    print(f"- a transaction takes {DATABASE_P50_MS:g} ms at the median, {DATABASE_P99_MS:g} ms at p99;")
    print(f"- adds arrive independently; a record has about {NUMBERS_PER_RECORD} numbers, so an add writes {UNITS:g} units;")
    print(f"- {memory} MB unless a line says otherwise; Lambda replaces an environment after {LIFETIME_S // 3600} hours.\n")

    print("## What it takes\n")
    rows = []
    for rate in RATES:
        running = environments(rate, memory)
        quota = max(running, math.ceil(rate / PER_ENVIRONMENT))
        rows.append(
            (
                f"**{rate:,}**",
                f"{running:,}",
                f"{quota:,}",
                number(running * 86_400 / LIFETIME_S),
                f"{rate * UNITS:,.0f}",
                f"{max(1, math.ceil(rate * UNITS / PARTITION_WRITES)):,}",
            )
        )
    print(
        table(
            ("adds a second", "environments", "concurrency quota", "cold starts a day", "write units a second", "partitions"),
            rows,
        )
    )
    print(
        f"""
Cold starts follow from environments being replaced; each burst adds as many as it needs more. The quota is larger than
the environments because AWS counts {PER_ENVIRONMENT} calls a second as one environment, however short they are: an add of
{duration_ms(memory, DATABASE_P50_MS, 'median'):.0f} ms meets that limit long before its concurrency.
"""
    )

    print("## What is met first\n")
    limits = [
        (NEW_TABLE_WRITES / UNITS, f"a new table's first {NEW_TABLE_WRITES:,} write units", "warm it (`WarmWriteUnits`) before the first day"),
        (TABLE_WRITES / UNITS, f"the table's {TABLE_WRITES:,} write units", "raise the quota"),
        (GATEWAY_RATE, f"the account's {GATEWAY_RATE:,} calls of API Gateway", "raise the quota"),
        (CONCURRENCY * PER_ENVIRONMENT, f"{CONCURRENCY:,} environments, {PER_ENVIRONMENT} calls a second each", "raise the quota"),
        (CONCURRENCY * 1000 / duration_ms(memory, DATABASE_P50_MS, "median"), f"{CONCURRENCY:,} environments by their time", "raise the quota"),
    ]
    rows = [(limit, f"{adds:,.0f}", remedy) for adds, limit, remedy in sorted(limits)]
    print(table(("limit", "adds a second", "what to do"), rows))
    steps = math.ceil(environments(100_000, memory) / SCALE_PER_10_S)
    print(
        f"""
A function gains {SCALE_PER_10_S:,} environments in 10 s, so a jump from nothing to 100,000 adds a second is served in full
after about {steps * 10} s, and throttled (429, not executed) until then.
"""
    )

    print("## Dollars per million adds\n")
    first_ms = FUNCTION["limited"].get(str(memory), {}).get("first_ms", FUNCTION["first_ms"])["median"]
    init_ms = FUNCTION["init_ms"]["median"]
    rows = []
    totals = []
    for rate in RATES:
        running = environments(rate, memory)
        cold = running * 86_400 / LIFETIME_S / (rate * 86_400)  # of all adds
        cold_dollars = 1e6 * cold * (init_ms + first_ms + FIRST_READ_MS) / 1000 * memory / 1024 * PRICES["lambda_gb_second_arm64"]
        # Each environment reads a key about once a minute, and never more often than it is called.
        reads = min(1.0, running / 60 / rate)
        parts = (
            PRICES["http_api_per_million"],
            UNITS * PRICES["dynamodb_write_per_million"],
            reads * PRICES["dynamodb_read_per_million"],
            lambda_dollars(memory) + cold_dollars,
            LOG_BYTES / 1e9 * 1e6 * (PRICES["logs_in_per_gb"] + LOG_MONTHS * PRICES["logs_kept_gb_month"]),
            BYTES_PER_ADD_STORED / 1e9 * 1e6 * (PRICES["dynamodb_storage_gb_month"] + PRICES["dynamodb_recovery_gb_month"]),
        )
        totals.append(sum(parts))
        rows.append((f"**{rate:,}**", *(f"{part:.3f}" for part in parts), f"**{sum(parts):.2f}**"))
    print(
        table(
            ("adds a second", "HTTP API", "writes", "key reads", "Lambda", "logs", "storage, a month", "sum"),
            rows,
        )
    )
    three = MEASURED["subjects"]["three-items"]["embedded"]["write_units"]
    rest = PRICES["rest_api_per_million"] - PRICES["http_api_per_million"]
    print(
        f"""
- Storage is for the first month and comes again each month. Alarms, dashboard and metrics are a few dollars a month, whatever the rate.
- The three-item design writes {three:g} units: {(three - UNITS) * PRICES['dynamodb_write_per_million']:.2f} $ more per million.
- An add to a record of 49 numbers writes {units(49):g} units: {units(49) * PRICES['dynamodb_write_per_million']:.2f} $ instead of {UNITS * PRICES['dynamodb_write_per_million']:.2f} $. A refused attempt costs the same as an accepted one.
- A REST API is {rest:.2f} $ more per million. X-Ray on every call would add {PRICES['xray_per_million']:.2f} $.
- API Gateway above 300 million calls a month, and large accounts' discounts, make it less.
"""
    )

    print("## Which memory size\n")
    rows = []
    for megabytes in MEMORIES:
        limited = FUNCTION["limited"].get(str(megabytes), {})
        cold = limited.get("first_ms", {}).get("median", float("nan")) + FUNCTION["init_ms"]["median"] + START_MS + FIRST_READ_MS + DATABASE_P50_MS
        rows.append(
            (
                f"**{megabytes} MB**",
                f"{duration_ms(megabytes, DATABASE_P50_MS, 'median'):.1f}",
                f"{duration_ms(megabytes, DATABASE_P99_MS, 'p99'):.1f}",
                f"{cold:.0f}",
                f"{lambda_dollars(megabytes):.3f}",
            )
        )
    print(table(("", "p50 ms", "p99 ms", "a cold add, ms", "Lambda, $ per million"), rows))
    cheapest = min(MEMORIES, key=lambda_dollars)
    print(
        f"""
The function's own time at its share of a processor was measured (control group quota), the database's is assumed.
{cheapest} MB is cheapest. The dearest of the three costs {max(map(lambda_dollars, MEMORIES)) - lambda_dollars(cheapest):.3f} $ per million more: of a sum of about
{totals[1]:.2f} $ that buys little, so take the p99 that you want. Memory itself is no reason: {MEASURED['peak_mb']['after_10000']:.0f} MB are used.
"""
    )

    record_units = units(49) - UNITS / 2
    print("## A hot number, a hot record\n")
    print(
        f"""- **A number** goes onto at most 50 customers of a client. 50 adds at once conflict with each other and are retried; after
  that every attempt is refused. Each attempt writes {UNITS / 2:g} units at the number's item: its partition bears {PARTITION_WRITES / (UNITS / 2):,.0f} attempts a
  second, or fewer once the set of ccids is over 1 KB (50 ccids of 13 characters stay under it).
- **A record** takes at most 50 numbers; an attempt at a full one costs {record_units:g} units there: its partition bears {PARTITION_WRITES / record_units:,.0f} attempts a second.
  Beyond that DynamoDB throttles that partition alone, the caller gets `try_again`, and others on the same partition may feel it until
  DynamoDB splits it. One client's storm is best stopped at the gateway (throttling, usage plans).
- **A client** is on no single partition: its keys spread by hash over customers and numbers. Its API key's item is read
  about once a minute by each environment: {environments(100_000, memory) / 60:,.0f} reads a second at 100,000 adds, of the 3,000 that a partition bears."""
    )


if __name__ == "__main__":
    main()
