"""Tests deploy/probe/probe.py with the built function: which versions pass, which stop a deployment, and that no key remains.

The Lambda client is a stub that passes the event to the function (BOOTSTRAP) in AWS's Runtime Interface Emulator. DynamoDB is
the dev server's. scripts/deploy/smoke-dev builds the function if necessary, starts the dev server and runs this.
"""

import contextlib
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import boto3
from botocore.exceptions import ClientError, EndpointConnectionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/probe"))

import probe

TABLE = "cdm-phones"
VERSION = "arn:aws:lambda:us-east-1:111122223333:function:stack-Function:7"


class Emulator:
    """The built function, behind Lambda's invocation API."""

    def __init__(self, folder):
        import samcli

        ports = []
        for _ in range(2):
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                ports.append(listener.getsockname()[1])
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
        rie = Path(shutil.copy(Path(samcli.__file__).parent / f"local/rapid/aws-lambda-rie-{machine}", folder))
        rie.chmod(0o755)  # The wheel does not keep it executable.
        self.log = Path(folder, "log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [rie, "--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}",
                 "--runtime-api-address", f"127.0.0.1:{ports[1]}", (ROOT / os.environ["BOOTSTRAP"]).resolve()],
                stdout=log, stderr=log, env=os.environ | {
                    "TABLE_NAME": TABLE, "AWS_SESSION_TOKEN": "local",
                    "AWS_LAMBDA_FUNCTION_NAME": "probe", "AWS_LAMBDA_FUNCTION_TIMEOUT": "15"})
        self.url = f"http://127.0.0.1:{ports[0]}/2015-03-31/functions/function/invocations"
        deadline = time.monotonic() + 20
        while not self.listens(ports[0]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the emulator does not listen: {self.log.read_text()}")

    @staticmethod
    def listens(port):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    def invoke(self, event):
        with urllib.request.urlopen(urllib.request.Request(self.url, event), timeout=30) as response:
            return response.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(5)


def setUpModule():
    global emulator
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    emulator = Emulator(folder.name)
    unittest.addModuleCleanup(emulator.stop)


def payload(status, body):
    return {"Payload": io.BytesIO(json.dumps({"statusCode": status, "headers": {}, "body": body}).encode())}


class Functions:
    """A Lambda client whose version is the built function, with a fault if `broken` is given.

    `broken` gets the number of the request (from 1), the event and the real response (status, body). It returns what the
    client returns.
    """

    def __init__(self, broken=None):
        self.broken, self.events = broken, []

    def invoke(self, FunctionName, Payload):
        assert FunctionName == VERSION, FunctionName
        event = json.loads(Payload)
        self.events.append(event)
        response = emulator.invoke(Payload)
        if not self.broken:
            return {"Payload": io.BytesIO(response)}
        response = json.loads(response)
        return self.broken(len(self.events), event, (response["statusCode"], response["body"]))


class CodeDeploy:
    def __init__(self):
        self.reports = []

    def put_lifecycle_event_hook_execution_status(self, **report):
        self.reports.append(report)


class DeniedItems:
    """A DynamoDB client whose role lacks one permission."""

    def __init__(self, items, denied):
        self.items, self.denied = items, denied

    def __getattr__(self, name):
        if name != self.denied:
            return getattr(self.items, name)

        def refuse(**_):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, name)

        return refuse


class ProbeTest(unittest.TestCase):
    def setUp(self):
        self.items = boto3.client("dynamodb")
        self.before = self.scan()
        os.environ |= {"VERSION": VERSION, "TABLE_NAME": TABLE, "WRITES": "allowed"}
        self.addCleanup(setattr, probe.boto3, "client", probe.boto3.client)

    def scan(self):
        pages = self.items.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))

    def before_traffic(self, functions, items=None):
        """The status that CodeDeploy gets, and the log."""
        code_deploy = CodeDeploy()
        clients = {"lambda": functions, "dynamodb": items or self.items, "codedeploy": code_deploy}
        probe.boto3.client = lambda name, **_: clients[name]
        with contextlib.redirect_stdout(io.StringIO()) as log:
            probe.before_traffic({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"}, None)
        [report] = code_deploy.reports
        self.assertEqual((report["deploymentId"], report["lifecycleEventHookExecutionId"]), ("d-1", "e-1"))
        for event in functions.events:
            key = event["headers"]["x-relay-api-key"]
            for secret in (key, key[6:49], probe.item_key(key)["pk"]["S"][4:]):
                self.assertNotIn(secret, log.getvalue())
        return report["status"], log.getvalue()

    def assert_stops(self, broken, because, items=None):
        functions = Functions(broken)
        status, log = self.before_traffic(functions, items)
        self.assertEqual(status, "Failed", log)
        self.assertIn(because, log)
        return functions

    def test_a_good_version_passes_and_leaves_the_table_unchanged(self):
        functions = Functions()
        self.assertEqual(self.before_traffic(functions)[0], "Succeeded")
        self.assertEqual([event["requestContext"]["http"]["method"] for event in functions.events], ["PUT", "PUT"])
        self.assertEqual(self.scan(), self.before)

    def test_the_function_runs_the_real_transaction_and_logs_no_key(self):
        functions = Functions()
        self.before_traffic(functions)
        lines = [json.loads(line) for line in emulator.log.read_text().splitlines() if line.startswith("{")]
        by_id = {line["request_id"]: line for line in lines if "request_id" in line}
        logged = [by_id[event["requestContext"]["requestId"]] for event in functions.events]
        self.assertEqual([(line["operation"], line["code"]) for line in logged],
                         [("add_phone", "unauthorized"), ("add_phone", "customer_not_found")])
        # The first call reads the key, the second is the transaction.
        self.assertEqual([line["RoundTrips"] for line in logged], [1, 2])
        for event in functions.events:
            self.assertNotIn(event["headers"]["x-relay-api-key"], emulator.log.read_text())

    def test_only_reads_while_writes_are_stopped(self):
        os.environ["WRITES"] = "stopped"
        functions = Functions()
        self.assertEqual(self.before_traffic(functions)[0], "Succeeded")
        self.assertEqual([event["requestContext"]["http"]["method"] for event in functions.events], ["GET", "GET"])
        self.assertEqual(self.scan(), self.before)

    def test_the_scheduled_run_does_the_same_and_raises_on_failure(self):
        functions = Functions()
        clients = {"lambda": functions, "dynamodb": self.items}
        probe.boto3.client = lambda name, **_: clients[name]
        with contextlib.redirect_stdout(io.StringIO()):
            probe.scheduled({}, None)
            self.assertEqual(len(functions.events), 2)
            functions.broken = lambda n, event, real: payload(500, '{"code":"internal_error"}')
            with self.assertRaises(probe.Failed):
                probe.scheduled({}, None)
        self.assertEqual(self.scan(), self.before)

    def test_stops_a_version_that_fails_every_request(self):
        self.assert_stops(lambda n, event, real: payload(500, '{"code":"internal_error"}'), "500 internal_error")
        self.assertEqual(self.scan(), self.before)

    def test_stops_a_version_that_cannot_reach_its_table(self):
        """It finds no key, which is correct for the first request and wrong for the second."""
        self.assert_stops(lambda n, event, real: payload(401, '{"code":"unauthorized"}'), "401 unauthorized, not 404")
        self.assertEqual(self.scan(), self.before)

    def test_stops_a_version_that_may_not_write(self):
        self.assert_stops(lambda n, event, real: payload(*real) if n == 1 else payload(500, '{"code":"internal_error"}'),
                          "a customer that does not exist: returned 500")
        self.assertEqual(self.scan(), self.before)

    def test_stops_a_version_that_accepts_any_key(self):
        for body in ('{"message":"added"}', '"added"', "added", '{"code":1}'):
            self.assert_stops(lambda n, event, real: payload(200, body), "did not return an error response")
        self.assertEqual(self.scan(), self.before)

    def test_stops_a_version_that_finds_every_customer(self):
        self.assert_stops(lambda n, event, real: payload(*real) if n == 1 else payload(200, '{"message":"added"}'),
                          "did not return an error response")
        self.assertEqual(self.scan(), self.before)

    def test_stops_a_version_that_crashes_and_does_not_log_its_output(self):
        def crash(n, event, real):
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(event).encode())}

        self.assert_stops(crash, "the version failed (Unhandled)")

    def test_stops_a_version_that_returns_the_key_and_does_not_log_it(self):
        def echo(n, event, real):
            return payload(401, json.dumps({"code": event["headers"]["x-relay-api-key"]}))

        self.assert_stops(echo, "with another code")

    def test_stops_a_version_that_cannot_be_invoked(self):
        def refuse(n, event, real):
            raise EndpointConnectionError(endpoint_url="https://lambda.us-east-1.amazonaws.com")

        self.assert_stops(refuse, "cannot be invoked")
        self.assertEqual(self.scan(), self.before)

    def test_stops_if_the_key_cannot_be_created_or_deleted(self):
        self.assert_stops(None, "AccessDeniedException", DeniedItems(self.items, "put_item"))
        self.assertEqual(self.scan(), self.before)
        functions = self.assert_stops(None, "AccessDeniedException", DeniedItems(self.items, "delete_item"))
        left = [item for item in self.scan() if item not in self.before]
        key = probe.item_key(functions.events[1]["headers"]["x-relay-api-key"])
        self.assertEqual([{name: item[name] for name in ("pk", "sk")} for item in left], [key])
        lives = int(left[0]["expires_at"]["N"]) - int(left[0]["created_at"]["N"])
        self.assertEqual(lives, probe.KEY_LIVES_SECONDS * 1000, "a key that remains expires")
        self.items.delete_item(TableName=TABLE, Key=key)

    def test_the_key_has_the_attributes_that_the_function_reads(self):
        """`cdm key issue` writes an item with the same attributes."""
        made = {}

        class Watched(DeniedItems):
            def put_item(self, **request):
                made.update(request["Item"])
                return self.items.put_item(**request)

        self.assertEqual(self.before_traffic(Functions(), Watched(self.items, None))[0], "Succeeded")
        [issued] = [item for item in self.before if item["sk"]["S"] == "KEY" and "expires_at" in item][:1]
        self.assertEqual({name: list(value) for name, value in made.items()}, {name: list(value) for name, value in issued.items()})

    def test_the_events_have_the_form_of_the_gateways_events(self):
        """Every name in them is in a recorded event, in the same place."""

        def names(value, at=""):
            if not isinstance(value, dict):
                return {at}
            return set().union(*(names(inner, f"{at}.{name}") for name, inner in value.items()))

        for writes, file in ((True, "http-404-customer-not-found.json"), (False, "http-404-get-customer-not-found.json")):
            recorded = json.loads((ROOT / "events" / file).read_text())
            made = probe.request(probe.new_key(), "unknown", writes)
            self.assertEqual(names(made) - names(recorded), set())
            self.assertEqual(made["routeKey"], recorded["routeKey"])
            self.assertEqual(made["requestContext"]["http"]["method"], recorded["requestContext"]["http"]["method"])
            # The function reads only these parts of an event.
            for name in ("version", "routeKey", "rawPath", "headers", "requestContext", "pathParameters", "isBase64Encoded"):
                self.assertIn(name, made)


if __name__ == "__main__":
    unittest.main()
