"""What scripts/deploy/smoke asks only on AWS, with a stub of Lambda: it must notice a live alias that runs with something else than
was asked for. The walk through the API is tried against the dev server, by scripts/deploy/smoke-dev."""

import contextlib
import copy
import importlib.util
import io
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
loader = SourceFileLoader("smoke", str(ROOT / "scripts/deploy/smoke"))
smoke = importlib.util.module_from_spec(importlib.util.spec_from_loader("smoke", loader))
loader.exec_module(smoke)

KEY = "arn:aws:kms:us-east-1:111122223333:key/k"
PARAMETERS = {
    "Architecture": "arm64", "KeyCacheSeconds": "0", "LogLevel": "warn", "KmsKeyArn": KEY, "Release": "0123456789ab-1", "Writes": "allowed",
}


class Lambda:
    """A live alias with all that PARAMETERS asked for."""

    def __init__(self):
        self.alias = {"FunctionVersion": "8"}
        self.live = {
            "Architectures": ["arm64"], "KMSKeyArn": KEY, "Description": "release=0123456789ab-1 table=t",
            "Environment": {"Variables": {"TABLE_NAME": "t", "KEY_CACHE_SECONDS": "0", "LOG_LEVEL": "warn"}},
        }

    def get_alias(self, FunctionName, Name):
        assert (FunctionName, Name) == ("f", "live")
        return self.alias

    def get_function_configuration(self, FunctionName, Qualifier):
        assert (FunctionName, Qualifier) == ("f", "live")
        return self.live


class AskLiveTest(unittest.TestCase):
    def failures(self, functions, parameters=PARAMETERS, asked=None):
        smoke.failures.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            smoke.ask_live(functions, "f", "t", parameters, asked or {})
        return list(smoke.failures)

    def test_all_as_asked_for(self):
        self.assertEqual(self.failures(Lambda(), asked={"KeyCacheSeconds": "0"}), [])

    def test_no_key_is_no_key(self):
        functions = Lambda()
        del functions.live["KMSKeyArn"]
        self.assertEqual(self.failures(functions, PARAMETERS | {"KmsKeyArn": ""}), [])

    def test_a_stack_with_other_parameters_than_were_asked_for(self):
        self.assertEqual(self.failures(Lambda(), asked={"LogLevel": "info"}), ["the stack's LogLevel"])

    def test_a_live_version_of_before(self):
        """Each setting alone, as the version before had it."""
        for title, change in (
            ("live works on the stack's table", lambda live: live["Environment"]["Variables"].update(TABLE_NAME="other")),
            ("live has the stack's KeyCacheSeconds", lambda live: live["Environment"]["Variables"].update(KEY_CACHE_SECONDS="60")),
            ("live has the stack's LogLevel", lambda live: live["Environment"]["Variables"].update(LOG_LEVEL="info")),
            ("live has the stack's KmsKeyArn", lambda live: live.pop("KMSKeyArn")),
            ("live has the stack's Architecture", lambda live: live.update(Architectures=["x86_64"])),
            ("live is the stack's Release", lambda live: live.update(Description="release=0123456789ab-2 table=t")),
        ):
            functions = Lambda()
            functions.live = copy.deepcopy(functions.live)
            change(functions.live)
            self.assertEqual(self.failures(functions), [title])

    def test_a_shift_that_is_not_over(self):
        functions = Lambda()
        functions.alias["RoutingConfig"] = {"AdditionalVersionWeights": {"9": 0.1}}
        self.assertEqual(self.failures(functions), ["live is one version: no shift is under way"])


if __name__ == "__main__":
    unittest.main()
