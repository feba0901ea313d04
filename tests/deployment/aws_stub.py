"""`aws`, as far as the runbooks use it: holds a call to botocore's model of the service, and answers with something that
the runbook can go on with."""

import json
import sys

from botocore import xform_name
from botocore.session import Session

GLOBAL = {"--query", "--output", "--region", "--max-items", "--no-cli-pager"}
# Commands of the CLI's own, which are no operation of a service: their options.
CUSTOM = {
    ("logs", "tail"): {"--since"},
    ("cloudformation", "deploy"): {"--template-file", "--stack-name", "--capabilities", "--parameter-overrides"},
}
SERVICES = {"deploy": "codedeploy"}
ANSWERS = {
    "Table.TableStatus": "ACTIVE",
    "Table.OnDemandThroughput": json.dumps({"MaxReadRequestUnits": 4000, "MaxWriteRequestUnits": 4000}),
    "Tags[?!starts_with(Key, 'aws:')]": json.dumps([{"Key": "service", "Value": "cdm-phones"}]),
}


def check(service, operation, options):
    if (service, operation) in CUSTOM:
        unknown = options.keys() - GLOBAL - CUSTOM[service, operation]
        return [f"no option {name}" for name in sorted(unknown)]
    model = Session().get_service_model(SERVICES.get(service, service))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return [f"{service} has no operation {operation}"]
    shape = model.operation_model(names[operation]).input_shape
    members = {"--" + xform_name(name, "-"): name for name in (shape.members if shape else {})}
    for option, name in list(members.items()):
        if shape.members[name].type_name == "boolean":
            members["--no-" + option[2:]] = name
    faults = [f"{operation} has no option {name}" for name in sorted(options.keys() - GLOBAL - members.keys())]
    given = {members[name] for name in options if name in members}
    return faults + [f"{operation} needs {name}" for name in (shape.required_members if shape else ()) if name not in given]


def main(arguments):
    service, operation, *rest = arguments
    options = {}
    for word in rest:
        if word.startswith("--"):
            name = word
            options[name] = []
        elif options:
            options[name].append(word)
    for name, values in options.items():
        if "" in values:
            sys.exit(f"aws {service} {operation}: {name} is empty")
    if faults := check(service, operation, options):
        sys.exit(f"aws {service} {operation}: {'; '.join(faults)}")
    query = " ".join(options.get("--query", []))
    print(ANSWERS.get(query, "value"))
