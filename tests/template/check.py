#!/usr/bin/env python3
"""Checks template.yaml as CloudFormation will see it.

    check.py                     run every check of checks/
    check.py --mutations         also break the template in each way of mutations.py; each must make its check fail

Runs offline, with the Python of scripts/tools (environment `deploy`, which has the SAM translator). Expands the template as
AWS's transform does. Then resolves its conditions for two sets of parameters: the defaults, and every option in use.
"""

import sys

from checks import function, iam, monitoring, pipeline, resources, rollout, routes, table, versions
from expand import EVERY_OPTION, TEMPLATE, Expanded
from samtranslator.model.exceptions import InvalidDocumentException

TOPICS = (routes, function, iam, table, monitoring, versions, rollout, pipeline, resources)
CHECKS = [check for topic in TOPICS for name, check in vars(topic).items() if name.startswith("check_")]


def failures(text, only=None):
    """(check, message) of every check, or of the named one, that fails for this text of the template."""
    found = []
    try:
        variants = [Expanded(text, given) for given in ({}, EVERY_OPTION)]
    except InvalidDocumentException as error:
        return [("expand", error.message)]
    for check in CHECKS:
        if only not in (None, check.__name__):
            continue
        for variant, title in zip(variants, ("defaults", "every option")):
            try:
                check(variant)
            except AssertionError as error:
                found.append((check.__name__, f"with {title}: {error}"))
                break
            except (KeyError, TypeError, ValueError, IndexError) as error:
                found.append((check.__name__, f"with {title}: the template has another structure here: {error!r}"))
                break
    return found


def main():
    found = failures(TEMPLATE)
    for name, message in found:
        print(f"FAILED {name}\n  {message}")
    if found:
        return 1
    print(f"template: {len(CHECKS)} checks pass, with defaults and with every option")
    if "--mutations" in sys.argv:
        from mutations import survivors
        return survivors(TEMPLATE, failures, [check.__name__ for check in CHECKS])
    return 0


if __name__ == "__main__":
    sys.exit(main())
