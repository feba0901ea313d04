"""Checks of the stack as a whole."""

from checks.monitoring import expected_alarms
from expand import as_list, equal, references


def check_resource_counts(t):
    """A new kind of resource costs money or grants something, so this list must name it."""
    found = {}
    for resource in t.resources.values():
        found[resource["Type"]] = found.get(resource["Type"], 0) + 1
    expected = {
        "AWS::ApiGatewayV2::Api": 1, "AWS::ApiGatewayV2::Stage": 1,
        "AWS::Lambda::Function": 3, "AWS::Lambda::Version": 1, "AWS::Lambda::Alias": 1, "AWS::Lambda::Permission": 5,
        "AWS::DynamoDB::Table": 1, "AWS::IAM::Role": 5,
        "AWS::CodeDeploy::Application": 1, "AWS::CodeDeploy::DeploymentGroup": 1,
        "AWS::Scheduler::Schedule": 1, "AWS::Lambda::EventInvokeConfig": 1,
        "AWS::Logs::LogGroup": 3, "AWS::Logs::MetricFilter": 2, "AWS::Logs::QueryDefinition": 7,
        "AWS::CloudWatch::Alarm": len(expected_alarms(t)), "AWS::CloudWatch::Dashboard": 1,
    }
    if t.holds("MakesOperatorPolicy"):
        expected |= {"AWS::IAM::ManagedPolicy": 1}
    if t.holds("HasDomain"):
        expected |= {"AWS::ApiGatewayV2::DomainName": 1, "AWS::ApiGatewayV2::ApiMapping": 1}
    equal(found, expected, "resources by type")


def check_outputs(t):
    assert {"Url", "TableName", "DashboardUrl"} <= set(t.outputs), set(t.outputs)


def check_no_circular_dependency(t):
    """CloudFormation detects cycles only when it deploys. The update policy of the alias counts as a reference."""
    needs = {name: (references(r) | set(as_list(r.get("DependsOn", [])))) & set(t.resources) for name, r in t.resources.items()}
    done = set()
    while ready := {name for name, need in needs.items() if name not in done and need <= done}:
        done |= ready
    assert not set(needs) - done, f"circular dependency of {sorted(set(needs) - done)}"
