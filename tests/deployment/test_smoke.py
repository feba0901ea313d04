"""Tests the parts of scripts/deploy/smoke that run only on AWS, with stubs of Lambda and IAM. It must detect a live alias whose
settings differ from what was asked for, and a role that may do more or less than the function needs. The stub of IAM evaluates
the template's own policy. scripts/deploy/smoke-dev tests the rest against the dev server."""

import contextlib
import copy
import importlib.util
import io
import sys
import unittest
from fnmatch import fnmatchcase
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
loader = SourceFileLoader("smoke", str(ROOT / "scripts/deploy/smoke"))
smoke = importlib.util.module_from_spec(importlib.util.spec_from_loader("smoke", loader))
loader.exec_module(smoke)
sys.path.insert(0, str(ROOT / "tests/template"))
from expand import TEMPLATE, Expanded, as_list, statements

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


TABLE = "arn:aws:dynamodb:us-east-1:111122223333:table/stack-Table"


class Iam:
    """IAM's simulator for the function's role, as the template has it."""

    def __init__(self, writes="allowed"):
        template = Expanded(TEMPLATE, {"Writes": writes})
        self.statements = [statement for name, statement in statements(template) if name == "FunctionRole"]

    def simulate_principal_policy(self, PolicySourceArn, ActionNames, ResourceArns, ContextEntries):
        assert PolicySourceArn == "role"
        [action], [resource] = ActionNames, ResourceArns
        context = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in ContextEntries}
        allowed = any(
            action in as_list(one["Action"]) and resource == TABLE and {"Fn::GetAtt": ["Table", "Arn"]} in as_list(one["Resource"])
            and all(self.matches(*condition, context) for condition in one.get("Condition", {}).items())
            for one in self.statements)
        return {"EvaluationResults": [{"EvalDecision": "allowed" if allowed else "implicitDeny"}]}

    @staticmethod
    def matches(operator, keys, context):
        """Every key of one condition operator. As in IAM, `ForAllValues` also matches a key without values."""
        quantifier, compare = {
            "ForAllValues:StringLike": (all, fnmatchcase), "ForAnyValue:StringEquals": (any, str.__eq__),
        }[operator]
        return all(
            quantifier(any(compare(value, pattern) for pattern in as_list(patterns)) for value in context.get(key, []))
            for key, patterns in keys.items())


class RoleTest(unittest.TestCase):
    def failures(self, iam, writes=True):
        smoke.failures.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            smoke.check_iam(iam, "role", TABLE, writes)
        return list(smoke.failures)

    def test_accepts_the_role_of_the_template(self):
        self.assertEqual(self.failures(Iam()), [])
        self.assertEqual(self.failures(Iam("stopped"), writes=False), [])

    def test_detects_each_missing_permission(self):
        for sid, titles in (
            ("ReadKeysCustomersAndPhones", ["read a key", "read a customer", "read a number"]),
            ("ReadPhonesInBatches", ["read numbers in a batch"]),
            ("WriteCustomersAndPhonesInTransactions", ["write both items in a transaction", "delete a customer in a transaction"]),
        ):
            iam = Iam()
            iam.statements = [one for one in iam.statements if one["Sid"] != sid]
            self.assertEqual(self.failures(iam), [f"IAM: the function may {title}" for title in titles])

    def test_detects_statements_without_their_conditions(self):
        iam = Iam()
        for one in iam.statements:
            one.pop("Condition", None)
        self.assertEqual(self.failures(iam), [f"IAM: the function may not {title}" for title in (
            "read customers in a batch", "write outside a transaction", "write a key", "delete a key", "delete an item")])

    def test_detects_writes_that_should_be_stopped(self):
        self.assertEqual(self.failures(Iam(), writes=False), [
            "IAM: the function may not write both items in a transaction",
            "IAM: the function may not delete a customer in a transaction"])


if __name__ == "__main__":
    unittest.main()
