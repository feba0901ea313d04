"""The add as most people would write it in Python, on boto3."""

import base64
import hashlib
import json
import os
import re
import time

import boto3

client = boto3.client("dynamodb")
TABLE = os.environ["TABLE_NAME"]


def respond(status, body):
    print(json.dumps({"level": "INFO", "message": "request answered", "status": status}), flush=True)
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def handler(event, context=None):
    parameters = event.get("pathParameters") or {}
    client_id, ccid, phone = parameters["client_id"], parameters["ccid"], parameters["phone_number"]
    digest = hashlib.sha256(event["headers"].get("x-relay-api-key", "").encode()).hexdigest()
    key = client.get_item(
        TableName=TABLE, Key={"pk": {"S": f"KEY#{digest}"}, "sk": {"S": "KEY"}}, ConsistentRead=True
    ).get("Item")
    if not key or key["client_id"]["S"] != client_id:
        return respond(401, {"message": "Unauthorized."})

    try:
        text = event.get("body") or "{}"
        body = json.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text)
    except ValueError:
        return respond(400, {"message": "The body is invalid."})
    phone_type, consent, source = body.get("phone_type"), body.get("consent_type"), body.get("client_source")
    valid = (
        re.fullmatch("[0-9]{10,11}", phone)
        and len(ccid) <= 100
        and phone_type in (None, "mobile", "landline", "unknown")
        and consent in (None, "written", "express", "stop")
        and (source is None or 1 <= len(source) <= 100)
    )
    if not valid:
        return respond(400, {"message": "The request is invalid."})

    e164 = f"+1{phone}" if len(phone) == 10 else f"+{phone}"
    channel = {"t": {"N": str(int(time.time() * 1000))}}
    channel |= {name: {"S": value} for name, value in (("p", phone_type), ("c", consent), ("s", source)) if value}
    common = {"TableName": TABLE, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    try:
        client.transact_write_items(
            TransactItems=[
                {
                    "Update": {
                        **common,
                        "Key": {"pk": {"S": f"CLIENT#{client_id}#CUSTOMER#{ccid}"}, "sk": {"S": "CUSTOMER"}},
                        "UpdateExpression": "SET notification_channels.#e164 = :channel ADD phone_count :one",
                        "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists("
                        "notification_channels.#e164) AND phone_count < :limit",
                        "ExpressionAttributeNames": {"#e164": e164},
                        "ExpressionAttributeValues": {
                            ":channel": {"M": channel},
                            ":one": {"N": "1"},
                            ":limit": {"N": "50"},
                        },
                    }
                },
                {
                    "Update": {
                        **common,
                        "Key": {"pk": {"S": f"CLIENT#{client_id}#PHONE#{e164}"}, "sk": {"S": "PHONE"}},
                        "UpdateExpression": "ADD ccid_count :one, ccids :ccid_set",
                        "ConditionExpression": "attribute_not_exists(pk) OR ccid_count < :limit",
                        "ExpressionAttributeValues": {
                            ":one": {"N": "1"},
                            ":limit": {"N": "50"},
                            ":ccid_set": {"SS": [ccid]},
                        },
                    }
                },
            ]
        )
    except client.exceptions.TransactionCanceledException:
        return respond(409, {"message": "The phone number cannot be added."})
    except Exception:
        return respond(500, {"message": "Please retry your request."})
    return respond(
        200,
        {"message": f"Phone number {phone} has been added to customer with ccid {ccid} for client {client_id}."},
    )
