"""Tests that scripts/deploy/settings gives `sam deploy` everything in samconfig.toml, and a release that the template accepts."""

import importlib.util
import re
import tomllib
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
loader = SourceFileLoader("deploy_settings", str(ROOT / "scripts/deploy/settings"))
deploy_settings = importlib.util.module_from_spec(importlib.util.spec_from_loader("deploy_settings", loader))
loader.exec_module(deploy_settings)


class SettingsTest(unittest.TestCase):
    def test_contains_everything_in_samconfig_and_the_release(self):
        config = tomllib.loads((ROOT / "samconfig.toml").read_text())
        for environment in ("dev", "prod"):
            expected = config[environment]["deploy"]["parameters"]
            stack, overrides = deploy_settings.settings(config, environment, "0123456789ab-1")
            self.assertEqual(stack, expected["stack_name"])
            self.assertEqual(overrides.split(), [*expected["parameter_overrides"], "Release=0123456789ab-1"])

    def test_the_workflows_release_fits_the_parameter(self):
        workflow = (ROOT / ".github/workflows/deploy.yml").read_text()
        self.assertIn('scripts/deploy/settings "$ENVIRONMENT" "${GITHUB_SHA:0:12}-$GITHUB_RUN_ATTEMPT"', workflow)
        release = re.search(r"\n  Release:\n(.*?)\n  \w", (ROOT / "template.yaml").read_text(), re.S)[1]
        longest = int(re.search(r"MaxLength: (\d+)\n", release)[1])
        self.assertLessEqual(len("0123456789ab-9999999"), longest)

    def test_rejects_a_value_with_a_space(self):
        config = {"dev": {"deploy": {"parameters": {"stack_name": "s", "parameter_overrides": ["A=b c"]}}}}
        with self.assertRaises(SystemExit):
            deploy_settings.settings(config, "dev", "r")


if __name__ == "__main__":
    unittest.main()
