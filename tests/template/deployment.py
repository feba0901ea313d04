"""Checks of what a deployment does: what it publishes, how it shifts, what it may touch, who is let in."""

import re
import tomllib

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from expand import EVERY_OPTION, TABLES, Expanded, as_list, equal, get_att, read, references, statements, table_in_use
from samtranslator.yaml_helper import yaml_parse

# --- A parameter reaches callers --------------------------------------------------------------------------------------

# Of a published version these cannot change, or are the function's and not a version's.
NOT_OF_A_VERSION = {"Description", "ReservedConcurrentExecutions", "Tags"}

# The parameters whose change alters a version. Written out, so that one that no longer reaches it is noticed.
REACHES_THE_VERSION = {"Architecture", "KeyCacheSeconds", "KmsKeyArn", "LogLevel", "RestoredTable"}

# A parameter's other value, where AllowedValues and a number one higher give none.
OTHER = {
    "Release": "0123456789ab-1",
    "PermissionsBoundary": "cdm-boundary/other",
    **{name: EVERY_OPTION[name] for name in
       ("KmsKeyArn", "RestoredTable", "AlarmTopicArn", "DomainName", "CertificateArn", "BasePath")},
}


def other_value(name, parameter):
    if name in OTHER:
        return OTHER[name]
    default = str(parameter["Default"])
    for value in parameter.get("AllowedValues", []):
        if str(value) != default:
            return str(value)
    return str(int(default) + 1)


# What a version is replaced for, by CloudFormation's own schema, which cfn-lint carries. In 2021 a new Description was no
# reason; then a deployment that changed it failed (https://github.com/aws/serverless-application-model/issues/2786).
REPLACES_A_VERSION = {
    path.removeprefix("/properties/")
    for path in PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Lambda::Version").schema["createOnlyProperties"]
}


def version_of(t):
    """The logical id of the version, and the properties for which CloudFormation replaces it when they change."""
    [(name, version)] = t.of_type("AWS::Lambda::Version").items()
    return name, {key: value for key, value in t.settled(version["Properties"]).items() if key in REPLACES_A_VERSION}


def configuration_of(t):
    """What a version of the function is a snapshot of."""
    properties = t.settled(t.properties("Function"))
    return {name: value for name, value in properties.items() if name not in NOT_OF_A_VERSION}


def check_a_parameter_publishes_a_version_exactly_if_it_reaches_one(t):
    """In both directions: one that is not published never reaches callers, and CloudFormation refuses a version of a
    function in which nothing changed."""
    if t.given:
        return  # One parameter at a time, from the defaults.
    reaches = set()
    for name, parameter in t.parameters.items():
        changed = Expanded(t.text, {name: other_value(name, parameter)})
        alters = configuration_of(changed) != configuration_of(t)
        publishes = version_of(changed) != version_of(t)
        # Lambda compares the function with its last version; its description is part of it.
        renewed = changed.settled(changed.properties("Function")["Description"]) != t.settled(t.properties("Function")["Description"])
        equal(renewed, publishes, f"{name} publishes a version, and changes the function that is published")
        if name == "Release":
            assert publishes, "a new Release publishes no version"
            continue
        equal(publishes, alters, f"{name} alters the version's configuration, and publishes a version")
        if alters:
            reaches.add(name)
    equal(sorted(reaches), sorted(REACHES_THE_VERSION), "the parameters that reach the version")


def check_a_property_publishes_a_version(t):
    """A literal of the template: SAM's hash of all properties changes the version's name."""
    if t.given:
        return
    literal = "      MemorySize: 256\n      # Below the gateway's 30 s"
    for old, new in (
        (literal, literal.replace("256", "512")),
        ("      Timeout: 15\n", "      Timeout: 14\n"),
        ("      Tracing: Active\n", "      Tracing: PassThrough\n"),
        ("        SystemLogLevel: INFO\n", "        SystemLogLevel: WARN\n"),
        ("      Role: !GetAtt FunctionRole.Arn\n", "      Role: !GetAtt DeploymentRole.Arn\n"),
    ):
        if t.text.count(old) == 1:  # A mutation may have changed it.
            changed = Expanded(t.text.replace(old, new), {})
            assert version_of(changed)[0] != version_of(t)[0], f"{new.strip()} publishes no version"


def check_versions_before_stay_for_a_rollback(t):
    """Under another name (other code) by DeletionPolicy, under the same one (another description) by the other."""
    [version] = t.of_type("AWS::Lambda::Version").values()
    equal(version.get("DeletionPolicy"), "Retain", "a version of other code")
    equal(version.get("UpdateReplacePolicy"), "Retain", "a version with other parameters")


def check_a_versions_description_fits(t):
    """256 characters, in the function and in the version. CloudFormation makes a table's name of the stack's (at most 128),
    the logical id and 12 to 14 characters."""
    longest = {"RestoredTable": "x" * int(t.parameters["RestoredTable"]["MaxLength"])}
    for name in ("Architecture", "LogLevel"):
        longest[name] = max(map(str, t.parameters[name]["AllowedValues"]), key=len)
    longest["KeyCacheSeconds"] = str(t.parameters["KeyCacheSeconds"]["MaxValue"])
    longest["Release"] = "x" * int(t.parameters["Release"]["MaxLength"])
    assert "key/[A-Za-z0-9-]{1,36})" in t.parameters["KmsKeyArn"]["AllowedPattern"], "a key's id has 36 characters"
    longest["KmsKeyArn"] = "arn:aws:kms:us-east-1:111122223333:key/" + "x" * 36
    for given in (longest, {**longest, "RestoredTable": ""}):
        changed = Expanded(t.text, given)
        for properties in (version_of(changed)[1], changed.settled(changed.properties("Function"))):
            text = properties["Description"].replace("table=Table", "table=" + "x" * (128 + len("-Table-") + 14))
            assert len(text) <= 256, f"{len(text)} characters: {text}"


# --- How it shifts ----------------------------------------------------------------------------------------------------


def how_it_shifts(t):
    group = t.properties("FunctionDeploymentGroup")
    alarms = [alarm["Name"]["Ref"] for alarm in group.get("AlarmConfiguration", {}).get("Alarms", [])]
    return t.settled(group["DeploymentConfigName"]), alarms


def check_a_stop_of_writes_is_not_undone_by_the_alarms_it_raises(t):
    """Nor is a deployment that repairs what an alarm reports. All at once then: a canary that nothing watches is none."""
    watched = how_it_shifts(Expanded(t.text, t.given))
    assert watched[0].startswith("CodeDeployDefault.LambdaCanary") and watched[1], watched
    for given in ({"Writes": "stopped"}, {"DeploymentAlarms": "ignored"}):
        changed = Expanded(t.text, t.given | given)
        equal(how_it_shifts(changed), ("CodeDeployDefault.LambdaAllAtOnce", []), f"with {given}")
        equal(version_of(changed), version_of(t), f"{given} publishes no version of its own")
        # Empty, not absent: CodeDeploy keeps what an update leaves out.
        equal(changed.properties("FunctionDeploymentGroup").get("AlarmConfiguration"), {}, f"alarms with {given}")


def check_a_stop_of_writes_takes_the_right_to_write(t):
    def writes(t):
        return [s for name, s in statements(t) if name == "FunctionRole" and "dynamodb:UpdateItem" in as_list(s["Action"])]

    assert writes(t), "the function may not write"
    stopped = Expanded(t.text, t.given | {"Writes": "stopped"})
    equal(writes(stopped), [], "what the function may write while writes are stopped")
    reads = [s for name, s in statements(stopped) if name == "FunctionRole" and "dynamodb:GetItem" in as_list(s["Action"])]
    assert reads, "reads go on while writes are stopped"
    for name in ("PreTrafficHook", "Probe"):
        equal(stopped.properties(name)["Environment"]["Variables"]["WRITES"], "stopped", f"{name} knows that writes are stopped")


def check_no_permission_moves_with_a_switch(t):
    """The table and what is restored from it, for everyone, at all times."""
    for name, statement in statements(t):
        if any(action.startswith("dynamodb:") and action != "dynamodb:Query" for action in as_list(statement["Action"])):
            equal(statement["Resource"], TABLES, f"tables of {name}'s {statement['Sid']}")
    other = Expanded(t.text, t.given | {"RestoredTable": "stack-restored-2"})
    equal(list(statements(other)), list(statements(t)), "permissions after a switch")


# --- What tries a version ---------------------------------------------------------------------------------------------


def check_a_new_version_is_tried_before_traffic(t):
    update = t.resources["FunctionAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    equal(update.get("BeforeAllowTrafficHook"), {"Ref": "PreTrafficHook"}, "what CodeDeploy calls before traffic shifts")
    [version] = t.of_type("AWS::Lambda::Version")
    equal(t.properties("PreTrafficHook")["Environment"]["Variables"], {
        "VERSION": {"Ref": version}, "TABLE_NAME": table_in_use(t), "WRITES": "allowed"}, "what the hook tries")
    equal(t.properties("PreTrafficHook")["Handler"], "probe.before_traffic", "the hook's code")
    equal(t.properties("PreTrafficHook")["Role"], get_att("PreTrafficHookRole"), "the hook's role")


def check_a_schedule_tries_the_live_version(t):
    """And none of it is there with ProbeMinutes=0."""
    equal(t.properties("Probe")["Environment"]["Variables"], {
        "VERSION": {"Ref": "FunctionAliaslive"}, "TABLE_NAME": table_in_use(t), "WRITES": "allowed"}, "what the probe tries")
    equal(t.properties("Probe")["Handler"], "probe.scheduled", "the probe's code")
    equal(t.properties("Probe")["Role"], get_att("ProbeRole"), "the probe's role")
    schedule = t.properties("ProbeSchedule")
    equal(t.settled(schedule["ScheduleExpression"]), "rate(5 minutes)", "how often")
    assert 1 not in t.parameters["ProbeMinutes"]["AllowedValues"], "rate(1 minutes) is no rate"
    equal(schedule["Target"]["Arn"], get_att("Probe"), "what the schedule starts")
    never = Expanded(t.text, t.given | {"ProbeMinutes": "0"})
    left = {name for name in never.resources if name.startswith("Probe")}
    equal(sorted(left), ["ProbeLogs"], "what is left of the probe without a schedule")
    for name, resource in never.resources.items():
        gone = references(resource) & (set(t.resources) - set(never.resources))
        assert not gone, f"without a schedule {name} refers to {sorted(gone)}"


def check_what_tries_a_version_may_do_exactly_this(t):
    own_key = {
        "Sid": "OwnKey", "Effect": "Allow", "Action": ["dynamodb:DeleteItem", "dynamodb:PutItem"], "Resource": TABLES,
        "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "KEY#*"}},
    }
    log = {"Sid": "Log", "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": get_att("ProbeLogs")}
    decrypt = [{"Sid": "UseTheTableKey", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": EVERY_OPTION["KmsKeyArn"]}]
    decrypt = decrypt if t.holds("HasKmsKey") else []

    def invoke(sid, resource):
        return {"Sid": sid, "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": resource}

    meant = {
        "PreTrafficHookRole": [
            invoke("TryTheNewVersion", {"Fn::Sub": "${Function.Arn}:*"}), own_key,
            {"Sid": "Report", "Effect": "Allow", "Action": "codedeploy:PutLifecycleEventHookExecutionStatus",
             "Resource": {"Fn::Sub": "arn:${AWS::Partition}:codedeploy:${AWS::Region}:${AWS::AccountId}:deploymentgroup:"
                                     "${ServerlessDeploymentApplication}/*"}},
            log, *decrypt,
        ],
        "ProbeRole": [invoke("TryTheLiveVersion", {"Fn::Sub": "${Function.Arn}:live"}), own_key, log, *decrypt],
        "ProbeScheduleRole": [invoke("StartTheProbe", get_att("Probe"))],
    }
    for role, statements_meant in meant.items():
        equal([s for name, s in statements(t) if name == role], statements_meant, f"statements of {role}")
        assert not t.properties(role).get("ManagedPolicyArns"), f"{role} has a managed policy, too"


# --- Around it --------------------------------------------------------------------------------------------------------


def check_prod_is_not_deployed_without_an_alarm_topic(t):
    [assertion] = t.document["Rules"]["AlarmsNeedATopic"]["Assertions"]
    equal(t.document["Rules"]["AlarmsNeedATopic"]["RuleCondition"], {"Fn::Equals": [{"Ref": "RequireAlarmTopic"}, "yes"]}, "when")
    equal(assertion["Assert"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]}, "what is asked")
    overrides = tomllib.loads(read("samconfig.toml"))["prod"]["deploy"]["parameters"]["parameter_overrides"]
    assert "RequireAlarmTopic=yes" in overrides, "samconfig.toml deploys prod without asking for an alarm topic"


def check_the_table_is_warmed_only_on_request(t):
    """DynamoDB raises it by itself as traffic grows, and refuses a lower value: a default would fail a later deployment."""
    meant = {"ReadUnitsPerSecond": "50000", "WriteUnitsPerSecond": "40000"} if "WarmWriteUnits" in t.given else None
    equal(t.properties("Table").get("WarmThroughput"), meant, "warm throughput")
    [assertion] = t.document["Rules"]["WarmReadsNeedWarmWrites"]["Assertions"]
    equal(assertion["Assert"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "WarmWriteUnits"}, "0"]}]}, "reads alone, which would warm nothing")


def pipeline():
    return yaml_parse(read("deploy/pipeline.yaml"))["Resources"]


def check_dev_shows_the_canary_of_prod(t):
    config = tomllib.loads(read("samconfig.toml"))
    for environment in ("dev", "prod"):
        overrides = dict(o.split("=", 1) for o in config[environment]["deploy"]["parameters"]["parameter_overrides"])
        # Longer than the alarms need to see a fault in it, shorter than the job and its credentials last.
        equal(overrides["DeploymentType"], "Canary10Percent10Minutes", environment)


def check_a_rollback_finds_its_code(t):
    """CloudFormation reads the code of the deployment before, however long ago that was."""
    for rule in pipeline()["Artifacts"]["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert "ExpirationInDays" not in rule, "a current object would expire"


def check_what_ships_is_built_tested_and_tried_on_arm64(t):
    build = yaml_parse(read(".github/workflows/build.yml"))["jobs"]["build"]
    runners = {one["arch"]: one["runner"] for one in build["strategy"]["matrix"]["include"]}
    equal(runners.get("arm64"), "ubuntu-24.04-arm", "the arm64 runner")
    commands = "\n".join(step.get("run", "") for step in build["steps"])
    for command in ("cargo test", "scripts/sam/build", "scripts/sam/events-rie"):
        assert command in commands, f"build.yml does not run {command}"


def check_the_hook_can_report_before_its_time_is_over(t):
    probe = read("deploy/probe/probe.py")
    numbers = {name: int(re.search(rf"{name}\s*=\s*(\d+)", probe)[1]) for name in ("CALLS", "connect_timeout", "read_timeout")}
    attempts = int(re.search(r'"total_max_attempts": (\d+)', probe)[1])
    longest = numbers["CALLS"] * attempts * (numbers["connect_timeout"] + numbers["read_timeout"])
    assert longest < t.properties("PreTrafficHook")["Timeout"], f"its calls may take {longest} s"


def check_lambda_runs_a_failed_probe_once(t):
    [config] = [r["Properties"] for r in t.of_type("AWS::Lambda::EventInvokeConfig").values()]
    equal(config["FunctionName"], {"Ref": "Probe"}, "whose starts")
    equal(config["MaximumRetryAttempts"], 0, "retries of a failed start")


def check_no_pipeline_rewrites_what_operators_may_do(t):
    """With a boundary, the operators' policy is the administrator's stack's, with the same rights. The role that changes the
    stack may touch no managed policy at all."""
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


def granted(role):
    """action -> resources, of one role of the pipeline."""
    [policy] = pipeline()[role]["Properties"]["Policies"]
    found = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        for action in as_list(statement.get("Action", [])):
            found.setdefault(action, []).extend(as_list(statement["Resource"]))
    return found


def check_the_pipeline_may_make_what_is_new_here(t):
    """Of what a deployment would otherwise only learn on AWS: roles are handed on, log groups and schedules are named."""
    services = {s["Principal"]["Service"] for r in t.of_type("AWS::IAM::Role").values()
                for s in r["Properties"]["AssumeRolePolicyDocument"]["Statement"]}
    [stack] = pipeline()["ExecutionRole"]["Properties"]["Policies"]
    [hand_on] = [s for s in stack["PolicyDocument"]["Statement"] if s.get("Sid") == "HandRolesOn"]
    equal(sorted(hand_on["Condition"]["StringEquals"]["iam:PassedToService"]), sorted(services), "services that roles are handed to")
    names = [g["Properties"]["LogGroupName"] for g in t.of_type("AWS::Logs::LogGroup").values()]
    groups = [r["Fn::Sub"] for r in granted("ExecutionRole")["logs:CreateLogGroup"]]
    for name in names:
        name = name["Fn::Sub"].replace("AWS::StackName", "StackName")
        assert any(group.endswith(f":log-group:{name}") for group in groups), f"the pipeline may not make the log group {name}"
    schedule = t.properties("ProbeSchedule")["Name"]["Fn::Sub"].replace("AWS::StackName", "StackName")
    [resource] = granted("ExecutionRole")["scheduler:CreateSchedule"]
    assert resource["Fn::Sub"].endswith(f":schedule/default/{schedule}"), f"the pipeline may not make the schedule {schedule}"


def check_the_smoke_test_may_ask_what_it_asks(t):
    asks = {"cloudformation:DescribeStacks", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem",
            "dynamodb:Query", "iam:SimulatePrincipalPolicy", "lambda:GetAlias", "lambda:GetFunctionConfiguration"}
    missing = asks - granted("DeployRole").keys()
    assert not missing, f"the deploy role may not {sorted(missing)}"


def check_only_the_branch_that_deploys_may_take_the_deploy_role(t):
    [statement] = pipeline()["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    equal(statement["Condition"], {"StringEquals": {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        "token.actions.githubusercontent.com:ref": {"Fn::Sub": "refs/heads/${Branch}"},
    }}, "who may take the deploy role")


CHECKS = [function for name, function in list(globals().items()) if name.startswith("check_")]
