"""Checks of how a new version gets traffic: hook, canary, rollback, probe."""

import re

from checks.versions import version_of
from expand import Expanded, equal, get_att, read, references, table_in_use


ROLLS_BACK = ["FunctionErrorsAlarm", "ServerErrorsAlarm", "LatencyAlarm", "InitErrorsAlarm"]


def check_canary_and_rollback(t):
    group = t.properties("FunctionDeploymentGroup")
    equal(group["DeploymentConfigName"]["Fn::Sub"][1], {"ConfigName": "Canary10Percent10Minutes"}, "deployment configuration")
    equal(group["AlarmConfiguration"], {"Enabled": True, "Alarms": [{"Name": {"Ref": name}} for name in ROLLS_BACK]},
          "alarms that roll back")
    equal(group["AutoRollbackConfiguration"]["Enabled"], True, "rollback")
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    alias = t.resources["FunctionAliaslive"]
    equal(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"], {"Ref": "FunctionDeploymentGroup"},
          "deployment group of the alias")


def traffic_shift(t):
    """(deployment configuration, alarms that roll back)"""
    group = t.properties("FunctionDeploymentGroup")
    alarms = [alarm["Name"]["Ref"] for alarm in group.get("AlarmConfiguration", {}).get("Alarms", [])]
    return t.settled(group["DeploymentConfigName"]), alarms


def check_stopping_writes_turns_off_rollback(t):
    """Otherwise the alarms that a stop of writes causes would undo it. Without alarms a canary is useless, so the shift is all at once."""
    watched = traffic_shift(Expanded(t.text, t.given))
    assert watched[0].startswith("CodeDeployDefault.LambdaCanary") and watched[1], watched
    for given in ({"Writes": "stopped"}, {"DeploymentAlarms": "ignored"}):
        changed = Expanded(t.text, t.given | given)
        equal(traffic_shift(changed), ("CodeDeployDefault.LambdaAllAtOnce", []), f"with {given}")
        equal(version_of(changed), version_of(t), f"{given} must not publish a version")
        # Empty, not absent: CodeDeploy keeps a setting that an update omits.
        equal(changed.properties("FunctionDeploymentGroup").get("AlarmConfiguration"), {}, f"alarms with {given}")


def check_hook_tests_a_version_before_traffic(t):
    update = t.resources["FunctionAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    equal(update.get("BeforeAllowTrafficHook"), {"Ref": "PreTrafficHook"}, "the hook before traffic")
    [version] = t.of_type("AWS::Lambda::Version")
    equal(t.properties("PreTrafficHook")["Environment"]["Variables"], {
        "VERSION": {"Ref": version}, "TABLE_NAME": table_in_use(t), "WRITES": "allowed"}, "environment of the hook")
    equal(t.properties("PreTrafficHook")["Handler"], "probe.before_traffic", "handler of the hook")
    equal(t.properties("PreTrafficHook")["Role"], get_att("PreTrafficHookRole"), "role of the hook")


def check_probe_tests_the_live_version(t):
    """With ProbeMinutes=0 the stack has no probe."""
    equal(t.properties("Probe")["Environment"]["Variables"], {
        "VERSION": {"Ref": "FunctionAliaslive"}, "TABLE_NAME": table_in_use(t), "WRITES": "allowed"}, "environment of the probe")
    equal(t.properties("Probe")["Handler"], "probe.scheduled", "handler of the probe")
    equal(t.properties("Probe")["Role"], get_att("ProbeRole"), "role of the probe")
    schedule = t.properties("ProbeSchedule")
    equal(t.settled(schedule["ScheduleExpression"]), "rate(5 minutes)", "schedule of the probe")
    assert 1 not in t.parameters["ProbeMinutes"]["AllowedValues"], "rate(1 minutes) is not valid"
    equal(schedule["Target"]["Arn"], get_att("Probe"), "target of the schedule")
    never = Expanded(t.text, t.given | {"ProbeMinutes": "0"})
    left = {name for name in never.resources if name.startswith("Probe")}
    equal(sorted(left), ["ProbeLogs"], "resources of the probe with ProbeMinutes=0")
    for name, resource in never.resources.items():
        gone = references(resource) & (set(t.resources) - set(never.resources))
        assert not gone, f"with ProbeMinutes=0 {name} refers to {sorted(gone)}"


def check_hook_finishes_before_its_timeout(t):
    probe = read("deploy/probe/probe.py")
    numbers = {name: int(re.search(rf"{name}\s*=\s*(\d+)", probe)[1]) for name in ("CALLS", "connect_timeout", "read_timeout")}
    attempts = int(re.search(r'"total_max_attempts": (\d+)', probe)[1])
    longest = numbers["CALLS"] * attempts * (numbers["connect_timeout"] + numbers["read_timeout"])
    assert longest < t.properties("PreTrafficHook")["Timeout"], f"the calls of the hook can take {longest} s"


def check_failed_probe_is_not_retried(t):
    [config] = [r["Properties"] for r in t.of_type("AWS::Lambda::EventInvokeConfig").values()]
    equal(config["FunctionName"], {"Ref": "Probe"}, "function of the invoke configuration")
    equal(config["MaximumRetryAttempts"], 0, "retries")
