"""Tests deploy/parameters with a stub of the AWS CLI: only named parameters change, and each outcome has its own message."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

STUB = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
command = sys.argv[2]
if command == "describe-stacks":
    print("KeyCacheSeconds\\tRestoredTable\\tWrites")
elif command == "update-stack" and os.environ.get("REFUSED"):
    sys.exit(os.environ["REFUSED"])
elif command == "wait" and os.environ.get("FAILS"):
    sys.exit("Waiter StackUpdateComplete failed")
elif command == "describe-stack-events":
    print("2025-12-31\\tFunctionAliaslive\\tthe hook said no")
"""


class ParametersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.calls = Path(folder.name, "calls")
        stub = Path(folder.name, "aws")
        stub.write_text(STUB)
        stub.chmod(0o755)
        self.environment = os.environ | {"PATH": f"{folder.name}:{os.environ['PATH']}", "CALLS": str(self.calls)}

    def run_with(self, *arguments, **environment):
        return subprocess.run([ROOT / "deploy/parameters", *arguments], capture_output=True, text=True, env=self.environment | environment)

    def sent(self):
        """The parameters of the update, or None if there was none."""
        calls = [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []
        updates = [call for call in calls if call[1] == "update-stack"]
        if not updates:
            return None
        [call] = updates
        self.assertIn("--use-previous-template", call)
        return {one.pop("ParameterKey"): one for one in json.loads(call[call.index("--parameters") + 1])}

    def test_changes_only_the_named_parameters(self):
        done = self.run_with("stack", "Writes=stopped", "RestoredTable=")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.sent(), {
            "KeyCacheSeconds": {"UsePreviousValue": True},
            "RestoredTable": {"ParameterValue": ""},
            "Writes": {"ParameterValue": "stopped"},
        })
        self.assertIn("stack is changed: Writes=stopped RestoredTable=", done.stdout)

    def test_rejects_a_misspelled_parameter(self):
        for wrong in ("Write=stopped", "Writes", "KeyCacheSeconds\tWrites=1", 'Writes="stopped"'):
            done = self.run_with("stack", wrong)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIsNone(self.sent())

    def test_succeeds_if_nothing_changes(self):
        done = self.run_with("stack", "Writes=allowed", REFUSED="ValidationError: No updates are to be performed.")
        self.assertEqual((done.returncode, done.stdout), (0, "stack has these values already\n"))

    def test_fails_with_the_reason_if_the_change_is_refused(self):
        done = self.run_with("stack", "Writes=no", REFUSED="ValidationError: Parameter 'Writes' must be one of")
        self.assertEqual(done.returncode, 1)
        self.assertIn("must be one of", done.stderr)

    def test_fails_with_the_reason_if_the_change_is_rolled_back(self):
        done = self.run_with("stack", "Writes=stopped", FAILS="yes")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the hook said no", done.stderr)


if __name__ == "__main__":
    unittest.main()
