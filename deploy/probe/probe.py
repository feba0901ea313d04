"""Tests a version of the function with two requests that write nothing.

before_traffic   CodeDeploy calls it before a new version gets traffic, and stops the deployment if it fails
scheduled        a schedule calls it every few minutes for the live version; a failure is an error of this function

A request with an unknown key must return 401 `unauthorized`. A request with a key that this run creates must return 404
`customer_not_found`: it passes the check of the API key, then fails in the real transaction because the customer does not
exist. While writes are stopped, the function cannot start a transaction, so the request reads the record instead.

The key belongs to the client CLIENT, which has no customers. It expires after five minutes, and the end of the run deletes
it. Neither the key nor anything derived from it is logged.

Environment: VERSION (the ARN of the version), TABLE_NAME (the version's table), WRITES (allowed or stopped).
Lambda's Python runtime contains all that this needs: the standard library and boto3.
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

# The function times out after 15 s. A run makes four calls, and the hook's report is the fifth. Each call is made at most
# twice, and all of that fits into the hook's timeout. A scheduled run that exceeds its timeout has failed.
CALLS = 5
PATIENCE = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})


class Failed(Exception):
    """The version did not respond as expected. The message contains no key."""


def new_key():
    """An API key as src/auth.rs reads it: a prefix, 256 random bits, and a checksum of four bytes."""

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
        # Botocore's messages contain the function's ARN, but never the payload.
        raise Failed(f"the version cannot be invoked: {error}") from None
    if "FunctionError" in invoked:
        # The payload can contain any text of the version, so do not log it. The version's log has the details.
        raise Failed(f"the version failed ({invoked['FunctionError']}): see its log, request {event['requestContext']['requestId']}")
    try:
        response = json.loads(payload)
        status, code = int(response["statusCode"]), json.loads(response["body"])["code"]
        # Show only a text that can be a code, because a broken version can return any text.
        return status, code if re.fullmatch("[a-z_]{1,40}", code) else "with another code"
    except (ValueError, KeyError, TypeError):
        raise Failed("the version did not return an error response") from None


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: returned {found[0]} {found[1]}, not {expected[0]} {expected[1]}")


def check_version(version, table, writes, functions, items):
    """Raises Failed, or DynamoDB's error if the key could not be created."""
    # Random, so that no such customer exists.
    ccid = "probe-" + secrets.token_hex(8)
    expect("a request with an unknown key", ask(functions, version, request(new_key(), ccid, writes)), (401, "unauthorized"))

    key, now = new_key(), time.time()
    try:
        items.put_item(
            TableName=table,
            Item=item_key(key) | {
                "client_id": {"S": CLIENT},
                "label": {"S": "of the probe, deleted after its run"},
                "created_at": {"N": str(int(now * 1000))},
                "expires_at": {"N": str(int((now + KEY_LIVES_SECONDS) * 1000))},
            },
            ConditionExpression="attribute_not_exists(pk)",
        )
        expect("a request for a customer that does not exist",
               ask(functions, version, request(key, ccid, writes)), (404, "customer_not_found"))
    finally:
        # Also after a failed put, because only its response may have been lost. A key that remains expires.
        items.delete_item(TableName=table, Key=item_key(key))


def log(level, message):
    print(json.dumps({"level": level, "message": message, "version": os.environ["VERSION"], "writes": os.environ["WRITES"]}))


def run():
    check_version(os.environ["VERSION"], os.environ["TABLE_NAME"], os.environ["WRITES"] == "allowed",
                  boto3.client("lambda", config=PATIENCE), boto3.client("dynamodb", config=PATIENCE))
    log("INFO", "the version responds as expected")


def before_traffic(event, _context):
    """Reports to CodeDeploy in every case: without a report the deployment waits for an hour."""
    status = "Failed"
    try:
        run()
        status = "Succeeded"
    except Exception as error:
        log("ERROR", f"stopping the deployment: {type(error).__name__}: {error}")
    boto3.client("codedeploy", config=PATIENCE).put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )


def scheduled(_event, _context):
    """A failed run is an error of this function, which the alarm counts."""
    run()
