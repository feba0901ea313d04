"""Tests the part of scripts/deploy/smoke that runs only on AWS, with a stub of Lambda: it must detect a live alias whose settings
differ from what was asked for. scripts/deploy/smoke-dev tests the rest against the dev server."""

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
    """A live alias with the settings in PARAMETERS."""

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


class LiveAliasTest(unittest.TestCase):
    def failures(self, functions, parameters=PARAMETERS, asked=None):
        smoke.failures.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            smoke.check_live(functions, "f", "t", parameters, asked or {})
        return list(smoke.failures)

    def test_accepts_the_settings_that_were_asked_for(self):
        self.assertEqual(self.failures(Lambda(), asked={"KeyCacheSeconds": "0"}), [])

    def test_accepts_a_stack_without_a_kms_key(self):
        functions = Lambda()
        del functions.live["KMSKeyArn"]
        self.assertEqual(self.failures(functions, PARAMETERS | {"KmsKeyArn": ""}), [])

    def test_detects_a_stack_with_other_parameters(self):
        self.assertEqual(self.failures(Lambda(), asked={"LogLevel": "info"}), ["the stack's LogLevel"])

    def test_detects_each_setting_of_an_older_version(self):
        for title, change in (
            ("live uses the stack's table", lambda live: live["Environment"]["Variables"].update(TABLE_NAME="other")),
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

    def test_detects_a_traffic_shift(self):
        functions = Lambda()
        functions.alias["RoutingConfig"] = {"AdditionalVersionWeights": {"9": 0.1}}
        self.assertEqual(self.failures(functions), ["live is one version, without a traffic shift"])


if __name__ == "__main__":
    unittest.main()
