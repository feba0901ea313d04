"""Checks of the files around the template: samconfig.toml, deploy/pipeline.yaml, the workflows."""

import tomllib

from expand import as_list, equal, read, statements
from samtranslator.yaml_helper import yaml_parse


def pipeline():
    return yaml_parse(read("deploy/pipeline.yaml"))["Resources"]


def granted(role):
    """action -> resources that a role of the pipeline grants."""
    [policy] = pipeline()[role]["Properties"]["Policies"]
    found = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        for action in as_list(statement.get("Action", [])):
            found.setdefault(action, []).extend(as_list(statement["Resource"]))
    return found


def check_dev_and_prod_use_the_same_canary(t):
    config = tomllib.loads(read("samconfig.toml"))
    for environment in ("dev", "prod"):
        overrides = dict(o.split("=", 1) for o in config[environment]["deploy"]["parameters"]["parameter_overrides"])
        # Long enough for the alarms to detect a fault, shorter than the job and its credentials.
        equal(overrides["DeploymentType"], "Canary10Percent10Minutes", environment)


def check_prod_needs_an_alarm_topic(t):
    [assertion] = t.document["Rules"]["AlarmsNeedATopic"]["Assertions"]
    equal(t.document["Rules"]["AlarmsNeedATopic"]["RuleCondition"], {"Fn::Equals": [{"Ref": "RequireAlarmTopic"}, "yes"]}, "condition of the rule")
    equal(assertion["Assert"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]}, "assertion of the rule")
    overrides = tomllib.loads(read("samconfig.toml"))["prod"]["deploy"]["parameters"]["parameter_overrides"]
    assert "RequireAlarmTopic=yes" in overrides, "samconfig.toml deploys prod without RequireAlarmTopic=yes"


def check_samconfig_sets_existing_parameters(t):
    config = tomllib.loads(read("samconfig.toml"))
    assert {"dev", "prod"} <= set(config), set(config)
    stacks = {}
    for environment in ("dev", "prod"):
        deploy = config[environment]["deploy"]["parameters"]
        stacks[environment] = deploy["stack_name"]
        for override in deploy["parameter_overrides"]:
            name, _, value = override.partition("=")
            assert name in t.parameters, f"{environment} sets {name}"
            allowed = t.parameters[name].get("AllowedValues")
            assert not allowed or value in map(str, allowed), f"{environment} sets {override}"
    assert stacks["dev"] != stacks["prod"], stacks
    prod = config["prod"]["deploy"]["parameters"]["parameter_overrides"]
    assert "DeploymentType=AllAtOnce" not in prod, "prod shifts traffic all at once"


def check_boundary_allows_what_the_roles_need(t):
    """A role can do only what its boundary also allows. A missing permission fails at run time."""
    pipeline = yaml_parse(read("deploy/pipeline.yaml"))["Resources"]
    allowed = set()
    for statement in pipeline["Boundary"]["Properties"]["PolicyDocument"]["Statement"]:
        statement = statement["Fn::If"][1] if "Fn::If" in statement else statement
        allowed |= set(as_list(statement["Action"]))
    used = {action for name, s in statements(t) if name != "OperatorPolicy" for action in as_list(s["Action"])}
    assert used <= allowed, f"not in the boundary: {sorted(used - allowed)}"
    if t.holds("HasKmsKey"):
        equal(sorted(allowed), sorted(used), "the boundary")
    [stack] = pipeline["ExecutionRole"]["Properties"]["Policies"]
    granted = {action for s in stack["PolicyDocument"]["Statement"] for action in as_list(s.get("Action", []))}
    assert "dynamodb:CreateTable" in granted and "dynamodb:DeleteTable" not in granted, "a deployment may delete the table"


def check_pipeline_may_create_the_stack(t):
    """The execution role may pass each role to its service, and may create each log group and schedule by its name."""
    services = {s["Principal"]["Service"] for r in t.of_type("AWS::IAM::Role").values()
                for s in r["Properties"]["AssumeRolePolicyDocument"]["Statement"]}
    [stack] = pipeline()["ExecutionRole"]["Properties"]["Policies"]
    [hand_on] = [s for s in stack["PolicyDocument"]["Statement"] if s.get("Sid") == "HandRolesOn"]
    equal(sorted(hand_on["Condition"]["StringEquals"]["iam:PassedToService"]), sorted(services), "services to which roles are passed")
    names = [g["Properties"]["LogGroupName"] for g in t.of_type("AWS::Logs::LogGroup").values()]
    groups = [r["Fn::Sub"] for r in granted("ExecutionRole")["logs:CreateLogGroup"]]
    for name in names:
        name = name["Fn::Sub"].replace("AWS::StackName", "StackName")
        assert any(group.endswith(f":log-group:{name}") for group in groups), f"the pipeline may not create the log group {name}"
    schedule = t.properties("ProbeSchedule")["Name"]["Fn::Sub"].replace("AWS::StackName", "StackName")
    [resource] = granted("ExecutionRole")["scheduler:CreateSchedule"]
    assert resource["Fn::Sub"].endswith(f":schedule/default/{schedule}"), f"the pipeline may not create the schedule {schedule}"


def check_pipeline_cannot_change_managed_policies(t):
    """With a boundary, the operators' policy belongs to the administrator's stack, with the same permissions. The execution
    role may not change any managed policy."""
    made = t.of_type("AWS::IAM::ManagedPolicy")
    equal(list(made), [] if t.holds("HasPermissionsBoundary") else ["OperatorPolicy"], "managed policies of the stack")
    equal(t.document["Outputs"]["OperatorPolicyArn"].get("Condition"), "MakesOperatorPolicy", "the output")
    [stack] = pipeline()["ExecutionRole"]["Properties"]["Policies"]
    for statement in stack["PolicyDocument"]["Statement"]:
        for action in as_list(statement.get("Action", [])):
            assert not (action.startswith("iam:") and "Policy" in action and not action.endswith("RolePolicy")) or action in (
                "iam:UpdateAssumeRolePolicy",), f"the execution role may {action}"
    if made:
        def actions(document):
            return [(s["Sid"], s["Action"]) for s in document["Statement"] if "Sid" in s]

        equal(actions(pipeline()["OperatorPolicy"]["Properties"]["PolicyDocument"]),
              actions(made["OperatorPolicy"]["Properties"]["PolicyDocument"]), "the pipeline's policy for operators")


def check_deploy_role_allows_the_smoke_test(t):
    asks = {"cloudformation:DescribeStacks", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem",
            "dynamodb:Query", "iam:SimulatePrincipalPolicy", "lambda:GetAlias", "lambda:GetFunctionConfiguration"}
    missing = asks - granted("DeployRole").keys()
    assert not missing, f"the deploy role may not {sorted(missing)}"


def check_only_the_deploy_branch_may_assume_the_deploy_role(t):
    [statement] = pipeline()["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    equal(statement["Condition"], {"StringEquals": {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        "token.actions.githubusercontent.com:ref": {"Fn::Sub": "refs/heads/${Branch}"},
    }}, "who may assume the deploy role")


def check_artifacts_do_not_expire(t):
    """A rollback reads the code of the previous deployment, which can be old."""
    for rule in pipeline()["Artifacts"]["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert "ExpirationInDays" not in rule, "the artifacts expire"


def check_arm64_build_is_tested(t):
    build = yaml_parse(read(".github/workflows/build.yml"))["jobs"]["build"]
    runners = {one["arch"]: one["runner"] for one in build["strategy"]["matrix"]["include"]}
    equal(runners.get("arm64"), "ubuntu-24.04-arm", "the arm64 runner")
    commands = "\n".join(step.get("run", "") for step in build["steps"])
    for command in ("cargo test", "scripts/sam/build", "scripts/sam/events-rie"):
        assert command in commands, f"build.yml does not run {command}"
