"""Tests that the runbooks in docs/operate.md and docs/deploy.md can be followed. Runs the commands of each section in a shell
that stops at an unset variable. Compares each call of `aws` with botocore's model of the service: the operation and its
options exist, and no required option is missing. Compares each call of `deploy/parameters` with the template. The responses
of AWS are stubs, so this does not show what AWS really returns.
"""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import botocore
import botocore.session

ROOT = Path(__file__).resolve().parents[2]

# The commands at the start of docs/operate.md run before those of each of its sections.
SECTIONS = {
    "docs/operate.md": [
        "API keys", "Who has this number", "Erasing a customer or a client", "Corrupt records", "Changing a parameter",
        "A new version fails before it takes traffic", "An alarm blocks the deployment that repairs it", "Restoring the table",
    ],
    "docs/deploy.md": ["A stack of your own", "The pipeline: dev, then prod", "Undo", "Smoke test"],
}

# Records each call for `faults`, and prints a response with which the runbook can continue.
AWS = """#!/bin/sh
printf '%s\\037' "$@" >>"$CALLS"
printf '\\036' >>"$CALLS"
case "$*" in
  *Table.TableStatus*) echo ACTIVE ;;
  *Table.OnDemandThroughput*) echo '{"MaxReadRequestUnits": 4000, "MaxWriteRequestUnits": 4000}' ;;
  *starts_with*) echo '[{"Key": "service", "Value": "cdm-phones"}]' ;;
  *) echo value ;;
esac
"""

GLOBAL = {"--query", "--output", "--region", "--max-items"}
# Options of the commands of the CLI that are not operations of a service.
CUSTOM = {
    ("logs", "tail"): {"--since"},
    ("cloudformation", "deploy"): {"--template-file", "--stack-name", "--capabilities", "--parameter-overrides"},
}
SERVICES = {"deploy": "codedeploy"}
session = botocore.session.Session()


def faults(service, operation, *rest):
    """What is wrong with a call, according to the model that the AWS CLI uses."""
    options = {}
    for word in rest:
        if word.startswith("--"):
            options[word] = []
        elif options:
            options[list(options)[-1]].append(word)
    found = [f"{name} is empty" for name, values in options.items() if "" in values]
    if (service, operation) in CUSTOM:
        return found + [f"no option {name}" for name in options.keys() - GLOBAL - CUSTOM[service, operation]]
    model = session.get_service_model(SERVICES.get(service, service))
    names = {botocore.xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return [f"{service} has no operation {operation}"]
    shape = model.operation_model(names[operation]).input_shape
    members = {"--" + botocore.xform_name(name, "-"): name for name in shape.members}
    members |= {"--no-" + option[2:]: name for option, name in members.items() if shape.members[name].type_name == "boolean"}
    found += [f"{operation} has no option {name}" for name in options.keys() - GLOBAL - members.keys()]
    given = {members[name] for name in options if name in members}
    return found + [f"{operation} needs {name}" for name in shape.required_members if name not in given]


PARAMETERS = f"""#!{sys.executable}
import re, sys
template = open({str(ROOT / "template.yaml")!r}).read().split("\\nRules:")[0]
for one in sys.argv[2:]:
    name, value = one.split("=", 1)
    if name == "NAME":
        continue
    body = re.search(rf"\\n  {{name}}:\\n((?:    .*\\n)+)", template)
    if not body:
        sys.exit(f"the template has no parameter {{name}}")
    allowed = re.search(r"AllowedValues: \\[(.*)\\]", body[1])
    if allowed and value not in allowed[1].replace('"', "").split(", "):
        sys.exit(f"{{name}} cannot be {{value}}")
    pattern = re.search(r'AllowedPattern: "(.*)"', body[1])
    if pattern and not re.search(pattern[1], value):
        sys.exit(f"{{name}} cannot be {{value!r}}")
"""


def blocks(text):
    """The commands of a text, without the indentation of a list."""
    for indent, body in re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.M | re.S):
        yield "".join(line.removeprefix(indent) + "\n" for line in body.splitlines())


def section(page, heading):
    """The start of the page, and the section up to the next heading of the same level."""
    text = (ROOT / page).read_text()
    assert f"\n## {heading}\n" in text, f"{page} has no section {heading}"
    return text.split("\n## ")[0], text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


class RunbooksTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.stub("bin/aws", AWS)
        self.stub("deploy/parameters", PARAMETERS)
        for name in ("cdm", "sam", "git", "gh"):
            self.stub(f"bin/{name}", "#!/bin/sh\nexit 0\n")
        self.stub("scripts/tools", f"#!/bin/sh\necho {self.folder}/tools\n")
        self.stub("tools/deploy/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        self.stub("scripts/deploy/smoke", "import sys\nassert sys.argv[1] in ('--stack', '--url') and sys.argv[2], sys.argv\n")

    def stub(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run_commands(self, *texts):
        script = "set -euo pipefail\n" + "".join(block for text in texts for block in blocks(text))
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOME": str(self.folder), "CALLS": str(calls)}
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=self.folder, env=environment, timeout=120)
        wrong = [done.stderr] if done.returncode else []
        for call in calls.read_text().split("\036")[:-1]:
            words = call.split("\037")[:-1]
            wrong += [f"aws {' '.join(words)}: {fault}" for fault in faults(*words)]
        return wrong

    def test_every_section_runs(self):
        for page, headings in SECTIONS.items():
            for heading in headings:
                head, body = section(page, heading)
                self.assertTrue(list(blocks(body)), f"{page}, {heading} has no commands")
                self.assertEqual(self.run_commands(head if page == "docs/operate.md" else "", body), [], f"{page}, {heading}")

    def test_detects_a_wrong_command(self):
        for fault, says in (
            ("aws dynamodb describe-table --table-name $NOWHERE", "NOWHERE: unbound variable"),
            ("aws dynamodb describe-tables", "dynamodb has no operation describe-tables"),
            ("aws dynamodb describe-table", "describe-table needs TableName"),
            ("aws dynamodb describe-table --table-name x --name x", "describe-table has no option --name"),
            ('aws dynamodb describe-table --table-name ""', "--table-name is empty"),
            ("deploy/parameters stack Write=stopped", "no parameter Write"),
            ("deploy/parameters stack Writes=off", "Writes cannot be off"),
            ("deploy/parameters stack RestoredTable=table", "RestoredTable cannot be"),
        ):
            self.assertIn(says, "".join(self.run_commands(f"```sh\n{fault}\n```\n")), fault)


if __name__ == "__main__":
    unittest.main()
