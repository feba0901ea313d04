"""deploy/probe/probe.py, with the built function: what passes, what stops a deployment, and that nothing is left behind.

The Lambda client is a stub that hands the event, as it is, to target/debug/bootstrap under AWS's Runtime Interface
Emulator; DynamoDB is the dev server's. Run by scripts/deploy/smoke-dev, which builds the one and starts the other.
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
    """The built function, behind Lambda's API for invocations."""

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
                 "--runtime-api-address", f"127.0.0.1:{ports[1]}", ROOT / "target/debug/bootstrap"],
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
    """A Lambda client whose version is the built function, with a fault where `broken` makes one.

    `broken` is given the number of the request (from 1), the event and the true response (status, body); it returns what
    the client returns.
    """

    def __init__(self, broken=None):
        self.broken, self.events = broken, []

    def invoke(self, FunctionName, Payload):
        assert FunctionName == VERSION, FunctionName
        event = json.loads(Payload)
        self.events.append(event)
        answer = emulator.invoke(Payload)
        if not self.broken:
            return {"Payload": io.BytesIO(answer)}
        answer = json.loads(answer)
        return self.broken(len(self.events), event, (answer["statusCode"], answer["body"]))


class CodeDeploy:
    def __init__(self):
        self.reports = []

    def put_lifecycle_event_hook_execution_status(self, **report):
        self.reports.append(report)


class DeniedItems:
    """The hook's role lacks a right."""

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
        """The status that CodeDeploy is given, and all that was logged."""
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

    def test_a_good_version_passes_and_the_table_is_as_before(self):
        functions = Functions()
        self.assertEqual(self.before_traffic(functions)[0], "Succeeded")
        self.assertEqual([event["requestContext"]["http"]["method"] for event in functions.events], ["PUT", "PUT"])
        self.assertEqual(self.scan(), self.before)

    def test_the_function_runs_the_real_transaction_and_logs_no_key(self):
        functions = Functions()
        self.before_traffic(functions)
        lines = [json.loads(line) for line in emulator.log.read_text().splitlines() if line.startswith("{")]
        by_id = {line["request_id"]: line for line in lines if "request_id" in line}
        answered = [by_id[event["requestContext"]["requestId"]] for event in functions.events]
        self.assertEqual([(line["operation"], line["code"]) for line in answered],
                         [("add_phone", "unauthorized"), ("add_phone", "customer_not_found")])
        # One call looks the key up, and the second is the transaction.
        self.assertEqual([line["RoundTrips"] for line in answered], [1, 2])
        for event in functions.events:
            self.assertNotIn(event["headers"]["x-relay-api-key"], emulator.log.read_text())

    def test_while_writes_are_stopped_it_only_reads(self):
        os.environ["WRITES"] = "stopped"
        functions = Functions()
        self.assertEqual(self.before_traffic(functions)[0], "Succeeded")
        self.assertEqual([event["requestContext"]["http"]["method"] for event in functions.events], ["GET", "GET"])
        self.assertEqual(self.scan(), self.before)

    def test_the_schedule_tries_the_same_and_fails_aloud(self):
        functions = Functions()
        clients = {"lambda": functions, "dynamodb": self.items}
        probe.boto3.client = lambda name, **_: clients[name]
        with contextlib.redirect_stdout(io.StringIO()):
            probe.scheduled({}, None)
            self.assertEqual(len(functions.events), 2)
            functions.broken = lambda n, event, true: payload(500, '{"code":"internal_error"}')
            with self.assertRaises(probe.Failed):
                probe.scheduled({}, None)
        self.assertEqual(self.scan(), self.before)

    def test_a_version_that_fails_every_request_stops(self):
        self.assert_stops(lambda n, event, true: payload(500, '{"code":"internal_error"}'), "500 internal_error")
        self.assertEqual(self.scan(), self.before)

    def test_a_version_that_cannot_reach_its_table_stops(self):
        """It knows no key: right for the first request, wrong for the second."""
        self.assert_stops(lambda n, event, true: payload(401, '{"code":"unauthorized"}'), "401 unauthorized, not 404")
        self.assertEqual(self.scan(), self.before)

    def test_a_version_that_may_not_write_stops(self):
        self.assert_stops(lambda n, event, true: payload(*true) if n == 1 else payload(500, '{"code":"internal_error"}'),
                          "a customer that does not exist: answered with 500")
        self.assertEqual(self.scan(), self.before)

    def test_a_version_that_lets_anyone_in_stops(self):
        for body in ('{"message":"added"}', '"added"', "added", '{"code":1}'):
            self.assert_stops(lambda n, event, true: payload(200, body), "no error response")
        self.assertEqual(self.scan(), self.before)

    def test_a_version_that_finds_every_customer_stops(self):
        self.assert_stops(lambda n, event, true: payload(*true) if n == 1 else payload(200, '{"message":"added"}'),
                          "no error response")
        self.assertEqual(self.scan(), self.before)

    def test_a_version_that_crashes_stops_and_what_it_says_is_not_logged(self):
        def crash(n, event, true):
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(event).encode())}

        self.assert_stops(crash, "the version failed (Unhandled)")

    def test_a_version_that_echoes_the_key_stops_and_it_is_not_logged(self):
        def echo(n, event, true):
            return payload(401, json.dumps({"code": event["headers"]["x-relay-api-key"]}))

        self.assert_stops(echo, "with another code")

    def test_a_version_that_cannot_be_invoked_stops(self):
        def refuse(n, event, true):
            raise EndpointConnectionError(endpoint_url="https://lambda.us-east-1.amazonaws.com")

        self.assert_stops(refuse, "cannot be invoked")
        self.assertEqual(self.scan(), self.before)

    def test_a_key_that_cannot_be_made_or_deleted_stops(self):
        self.assert_stops(None, "AccessDeniedException", DeniedItems(self.items, "put_item"))
        self.assertEqual(self.scan(), self.before)
        functions = self.assert_stops(None, "AccessDeniedException", DeniedItems(self.items, "delete_item"))
        left = [item for item in self.scan() if item not in self.before]
        key = probe.item_key(functions.events[1]["headers"]["x-relay-api-key"])
        self.assertEqual([{name: item[name] for name in ("pk", "sk")} for item in left], [key])
        lives = int(left[0]["expires_at"]["N"]) - int(left[0]["created_at"]["N"])
        self.assertEqual(lives, probe.KEY_LIVES_SECONDS * 1000, "a key that stays ends by itself")
        self.items.delete_item(TableName=TABLE, Key=key)

    def test_the_key_is_one_that_the_function_reads(self):
        """The item that `cdm key issue` writes has these attributes, too."""
        made = {}

        class Watched(DeniedItems):
            def put_item(self, **request):
                made.update(request["Item"])
                return self.items.put_item(**request)

        self.assertEqual(self.before_traffic(Functions(), Watched(self.items, None))[0], "Succeeded")
        [issued] = [item for item in self.before if item["sk"]["S"] == "KEY" and "expires_at" in item][:1]
        self.assertEqual({name: list(value) for name, value in made.items()}, {name: list(value) for name, value in issued.items()})

    def test_the_events_are_shaped_as_the_gateways(self):
        """Every name in them is in a recorded event, at the same place."""

        def names(value, at=""):
            if not isinstance(value, dict):
                return {at}
            return set().union(*(names(inner, f"{at}.{name}") for name, inner in value.items()))

        for writes, file in ((True, "http-404-customer-not-found.json"), (False, "http-404-get-customer-not-found.json")):
            recorded = json.loads((ROOT / "events" / file).read_text())
            made = probe.request(probe.new_key(), "nobody", writes)
            self.assertEqual(names(made) - names(recorded), set())
            self.assertEqual(made["routeKey"], recorded["routeKey"])
            self.assertEqual(made["requestContext"]["http"]["method"], recorded["requestContext"]["http"]["method"])
            # The function reads no more of an event than these.
            for name in ("version", "routeKey", "rawPath", "headers", "requestContext", "pathParameters", "isBase64Encoded"):
                self.assertIn(name, made)


if __name__ == "__main__":
    unittest.main()
