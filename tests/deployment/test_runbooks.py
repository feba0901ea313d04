"""The runbooks of docs/operate.md and docs/deploy.md can be followed cold: each section is run, from its own commands alone,
in a shell that stops at a variable that is not set. `aws` is a stub that holds every call to botocore's model of the
service (does the operation exist, has it these options, are the required ones there), and `deploy/parameters` one that holds
every parameter to the template. What AWS answers is made up; that it answers so, only AWS can show.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Each with the commands that the page's head gives for all of it.
SECTIONS = {
    "docs/operate.md": [
        "API keys", "Changing a parameter", "A new version fails before it takes traffic",
        "An alarm blocks the deployment that repairs it", "Restoring the table",
    ],
    "docs/deploy.md": ["The pipeline: dev, then prod", "Undo"],
}

AWS = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from aws_stub import main
main(sys.argv[1:])
"""

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
    """The page's head and the section, up to the next heading of its own level."""
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
        self.stub(".ci/tools", f"#!/bin/sh\necho {self.folder}/tools\n")
        self.stub("tools/deploy/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        self.stub(".ci/smoke", "import sys\nassert sys.argv[1] == '--stack' and sys.argv[2], sys.argv\n")

    def stub(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def follow(self, *texts):
        script = "set -euo pipefail\n" + "".join(block for text in texts for block in blocks(text))
        environment = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOME": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=self.folder, env=environment, timeout=120)

    def test_every_section_can_be_followed(self):
        for page, headings in SECTIONS.items():
            for heading in headings:
                head, body = section(page, heading)
                self.assertTrue(list(blocks(body)), f"{page}, {heading} has no commands")
                done = self.follow(head if page == "docs/operate.md" else "", body)
                self.assertEqual(done.returncode, 0, f"{page}, {heading}: {done.stderr[-2000:]}")

    def test_a_runbook_that_cannot_be_followed_is_noticed(self):
        for fault, says in (
            ("aws dynamodb describe-table --table-name $NOWHERE", "NOWHERE: unbound variable"),
            ("aws dynamodb describe-tables", "describe-tables"),
            ("aws dynamodb describe-table", "TableName"),
            ("aws dynamodb describe-table --table-name x --name x", "--name"),
            ("deploy/parameters stack Write=stopped", "no parameter Write"),
            ("deploy/parameters stack Writes=off", "Writes cannot be off"),
            ("deploy/parameters stack RestoredTable=table", "RestoredTable cannot be"),
        ):
            done = self.follow(f"```sh\n{fault}\n```\n")
            self.assertNotEqual(done.returncode, 0, fault)
            self.assertIn(says, done.stderr, fault)


if __name__ == "__main__":
    unittest.main()
