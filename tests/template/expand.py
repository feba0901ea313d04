"""Expands template.yaml for one set of parameters, as AWS's transform does, and has the helpers of the checks.

Works offline, with the SAM translator of scripts/tools.
"""

import json
import logging
import os
import re
from pathlib import Path

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # The translator needs a region, but makes no call.

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

logging.disable(logging.WARNING)  # Hides the translator's log.

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "template.yaml").read_text()

EVERY_OPTION = {
    "ReservedConcurrency": "50",
    "WarmWriteUnits": "40000",
    "WarmReadUnits": "50000",
    "KmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/k",
    "RestoredTable": "stack-restored-1",
    "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:pager",
    "DomainName": "api.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/c",
    "BasePath": "platform/v3/api",
    "PermissionsBoundary": "cdm-boundary/stack",
    "NoTrafficMinutes": "60",
}

# path -> text of the files around the template that a mutation has changed.
around = {}


def read(path):
    return around.get(path) or (ROOT / path).read_text()


# --- Expanding ------------------------------------------------------------------------------------------------------


class NoManagedPolicies:
    """The translator asks for AWS's managed policies. This template names none."""

    def load(self):
        return {}


class Expanded:
    """The template after the transform, with conditions resolved for one set of parameters."""

    def __init__(self, text, given):
        self.text, self.given = text, given
        source = yaml_parse(text)
        for resource in source["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = "s3://bucket/key"
        self.parameters = source["Parameters"]
        values = {name: str(p.get("Default")) for name, p in self.parameters.items()} | given
        document = transform(source, dict(values), NoManagedPolicies())
        self.document = document
        self._values = values
        self._conditions = document.get("Conditions", {})
        self.outputs = document["Outputs"]
        self.resources = {
            name: self.resolve({key: value for key, value in resource.items() if key != "Metadata"})
            for name, resource in document["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }

    def holds(self, condition):
        return self._truth(self._conditions[condition])

    def _truth(self, node):
        [(function, arguments)] = node.items()
        if function == "Fn::Equals":
            left, right = (self.resolve(argument) for argument in arguments)
            return str(left) == str(right)
        if function == "Fn::Not":
            return not self._truth(arguments[0])
        if function == "Fn::Or":
            return any(map(self._truth, arguments))
        raise AssertionError(f"this test does not know conditions with {function}")

    def resolve(self, node):
        """Replaces parameters by their values and Fn::If by its branch. Keeps every other function."""
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value != {"Ref": "AWS::NoValue"}]
        if not isinstance(node, dict):
            return node
        if set(node) == {"Ref"} and node["Ref"] in self._values:
            return self._values[node["Ref"]]
        if set(node) == {"Fn::If"}:
            condition, yes, no = node["Fn::If"]
            return self.resolve(yes if self.holds(condition) else no)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value != {"Ref": "AWS::NoValue"}}

    def settled(self, node):
        """Like `resolve`, and also evaluates Fn::Sub, Fn::Select and Fn::Split, as CloudFormation does. A value that only
        AWS knows is replaced by its logical id."""
        node = self.resolve(node)
        if isinstance(node, list):
            return [self.settled(value) for value in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(function, argument)] = node.items()
            if function == "Ref":
                return argument
            if function == "Fn::GetAtt":
                return ".".join(argument)
            if function == "Fn::Sub":
                text, variables = argument if isinstance(argument, list) else (argument, {})
                known = self._values | {name: self.settled(value) for name, value in variables.items()}
                return re.sub(r"\$\{([^!}]+)\}", lambda m: str(known.get(m[1], m[1])), text)
            if function == "Fn::Split":
                delimiter, text = argument
                return self.settled(text).split(delimiter)
            if function == "Fn::Select":
                index, values = argument
                return self.settled(values)[int(index)]
        return {key: self.settled(value) for key, value in node.items()}

    def of_type(self, kind):
        return {name: r for name, r in self.resources.items() if r["Type"] == kind}

    def properties(self, name):
        assert name in self.resources, f"there is no {name}"
        return self.resources[name]["Properties"]


def get_att(name, attribute="Arn"):
    return {"Fn::GetAtt": [name, attribute]}


def table_in_use(t):
    """The name of the table that the function uses."""
    return EVERY_OPTION["RestoredTable"] if t.holds("HasRestoredTable") else {"Ref": "Table"}


# The tables in every permission. They do not depend on the table in use, so a switch to a restored table changes no permission.
TABLES = [
    get_att("Table"),
    {"Fn::Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${AWS::StackName}-restored-*"},
]


def references(node):
    """The names that a node refers to, with any function."""
    if isinstance(node, list):
        return set().union(*map(references, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    found = set()
    for key, value in node.items():
        if key == "Ref":
            found.add(value)
        elif key == "Fn::GetAtt":
            found.add((value if isinstance(value, list) else value.split("."))[0])
        elif key == "Fn::Sub":
            text, variables = value if isinstance(value, list) else (value, {})
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text)} - set(variables)
            found |= references(variables)
        else:
            found |= references(value)
    return found


def statements(t):
    """(resource, statement) of every policy in the stack."""
    for name, resource in t.resources.items():
        properties = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
            documents.append(properties["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                yield name, statement


def as_list(value):
    return value if isinstance(value, list) else [value]


def equal(found, expected, what):
    assert found == expected, (
        f"{what}\n    got      {json.dumps(found, sort_keys=True)}\n    expected {json.dumps(expected, sort_keys=True)}")
