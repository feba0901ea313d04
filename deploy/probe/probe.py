"""Tries a version of the function with two requests that write nothing.

before_traffic   CodeDeploy calls it before a new version takes any traffic, and stops the deployment if it fails
scheduled        a schedule calls it every few minutes for the live version; a failure is an error of this function

A request with an unknown key must be answered with 401 `unauthorized`. A request with a key that this run makes must be
answered with 404 `customer_not_found`: it passes the API key, and then meets a customer that does not exist, in the real
transaction. While writes are stopped the function may not begin one, so it reads the record instead.

The key belongs to the client CLIENT, which has no customers, ends by itself after five minutes, and is deleted at the
end of the run. Neither it nor anything made of it is logged.

Environment: VERSION (the ARN of what is tried), TABLE_NAME (what it works on), WRITES (allowed or stopped).
Lambda's Python runtime has all that this needs: the standard library and boto3.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import time
from datetime import datetime, timezone

import boto3
from botocore.config import Config

CLIENT = "cdm-probe"
KEY_LIVES_SECONDS = 300
PHONE = "6105551212"
ADD = "/cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number}"
GET = "/cdm/client/{client_id}/customer/{ccid}"

# The function gives up after 15 s. A run makes four calls and the hook a fifth, its report, each twice at most: that fits
# into the hook's timeout. A scheduled run that takes longer than its own timeout has failed.
CALLS = 5
PATIENCE = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})


class Failed(Exception):
    """The version does not do what it must. The message names no key."""


def new_key():
    """An API key as src/auth.rs reads it: a prefix, 256 random bits, and four bytes of checksum."""

    def text(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    key = "relay_" + text(secrets.token_bytes(32))
    return key + text(hashlib.sha256(key.encode()).digest()[:4])


def item_key(key):
    return {"pk": {"S": "KEY#" + hashlib.sha256(key.encode()).hexdigest()}, "sk": {"S": "KEY"}}


def request(key, ccid, writes):
    """What an HTTP API sends for an add, or for a read of the record, in its payload format 2.0."""
    now = datetime.now(timezone.utc)
    values = {"client_id": CLIENT, "ccid": ccid} | ({"phone_number": PHONE} if writes else {})
    method, route = ("PUT", ADD) if writes else ("GET", GET)
    path = route.format(**values)
    event = {
        "version": "2.0",
        "routeKey": f"ANY {route}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json", "host": "probe.invalid", "user-agent": "cdm-probe",
            "x-forwarded-port": "443", "x-forwarded-proto": "https", "x-relay-api-key": key,
        },
        "requestContext": {
            "accountId": "anonymous", "apiId": "probe", "domainName": "probe.invalid", "domainPrefix": "probe",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "cdm-probe"},
            "requestId": "probe-" + secrets.token_hex(8),
            "routeKey": f"ANY {route}",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "pathParameters": values,
        "isBase64Encoded": False,
    }
    return event | ({"body": "{}"} if writes else {})


def ask(functions, version, event):
    """(status, code) of the version's response."""
    try:
        invoked = functions.invoke(FunctionName=version, Payload=json.dumps(event).encode())
        payload = invoked["Payload"].read()
    except Exception as error:
        # Botocore's messages hold the function's ARN, and never the payload.
        raise Failed(f"the version cannot be invoked: {error}") from None
    if "FunctionError" in invoked:
        # The payload could be anything that the version says, so it is not shown. Its own log has it.
        raise Failed(f"the version failed ({invoked['FunctionError']}): see its log, request {event['requestContext']['requestId']}")
    try:
        response = json.loads(payload)
        status, code = int(response["statusCode"]), json.loads(response["body"])["code"]
        # Only what can be a code is shown: a broken version could say anything.
        return status, code if re.fullmatch("[a-z_]{1,40}", code) else "with another code"
    except (ValueError, KeyError, TypeError):
        raise Failed("the version answered with something that is no error response") from None


def expect(what, found, meant):
    if found != meant:
        raise Failed(f"{what}: answered with {found[0]} {found[1]}, not {meant[0]} {meant[1]}")


def try_version(version, table, writes, functions, items):
    """Raises [`Failed`], or what DynamoDB raised where the key could not be made."""
    # Random, so that no customer of that name was ever made.
    ccid = "probe-" + secrets.token_hex(8)
    expect("a request with an unknown key", ask(functions, version, request(new_key(), ccid, writes)), (401, "unauthorized"))

    key, now = new_key(), time.time()
    try:
        items.put_item(
            TableName=table,
            Item=item_key(key) | {
                "client_id": {"S": CLIENT},
                "label": {"S": "the deployment's own, deleted after its run"},
                "created_at": {"N": str(int(now * 1000))},
                "expires_at": {"N": str(int((now + KEY_LIVES_SECONDS) * 1000))},
            },
            ConditionExpression="attribute_not_exists(pk)",
        )
        expect("a request for a customer that does not exist",
               ask(functions, version, request(key, ccid, writes)), (404, "customer_not_found"))
    finally:
        # Also where the put failed: its answer may have been lost. A key that stays ends by itself.
        items.delete_item(TableName=table, Key=item_key(key))


def log(level, message):
    print(json.dumps({"level": level, "message": message, "version": os.environ["VERSION"], "writes": os.environ["WRITES"]}))


def run():
    try_version(os.environ["VERSION"], os.environ["TABLE_NAME"], os.environ["WRITES"] == "allowed",
                boto3.client("lambda", config=PATIENCE), boto3.client("dynamodb", config=PATIENCE))
    log("INFO", "the version does what it must")


def before_traffic(event, _context):
    """Reports to CodeDeploy whatever happens: without a report the deployment would wait for an hour."""
    status = "Failed"
    try:
        run()
        status = "Succeeded"
    except Exception as error:
        log("ERROR", f"the deployment is stopped: {type(error).__name__}: {error}")
    boto3.client("codedeploy", config=PATIENCE).put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )


def scheduled(_event, _context):
    """A failed run is an error of this function, which the alarm counts."""
    run()
