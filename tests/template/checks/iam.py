"""Checks of roles and permissions."""

from expand import EVERY_OPTION, TABLES, Expanded, as_list, equal, get_att, statements


def check_function_permissions(t):
    role = t.properties("FunctionRole")
    equal(t.properties("Function")["Role"], get_att("FunctionRole"), "the function's role")
    assert not role.get("ManagedPolicyArns"), "a managed policy grants more than the statements"
    expected = [
        {
            # PHONE: `get_phone`, and `update_consent`, which reads the consent that it changes.
            "Sid": "ReadKeysCustomersAndPhones", "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": TABLES,
            "Condition": {"ForAllValues:StringLike": {
                "dynamodb:LeadingKeys": ["KEY#*", "CLIENT#*#CUSTOMER#*", "CLIENT#*#PHONE#*"],
            }},
        },
        {
            # `get_customer` shows the consent of each number, which the number's item holds.
            "Sid": "ReadPhonesInBatches", "Effect": "Allow", "Action": "dynamodb:BatchGetItem", "Resource": TABLES,
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "CLIENT#*#PHONE#*"}},
        },
        {
            "Sid": "WriteCustomersAndPhonesInTransactions", "Effect": "Allow",
            # DeleteItem: `delete_customer`. A creation is an update, so PutItem is not needed.
            "Action": ["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"],
            "Resource": TABLES,
            "Condition": {
                "ForAnyValue:StringEquals": {"dynamodb:EnclosingOperation": "TransactWriteItems"},
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": "CLIENT#*"},
            },
        },
        {
            "Sid": "Log", "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": get_att("FunctionLogs"),
        },
        {
            "Sid": "Trace", "Effect": "Allow", "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
            "Resource": "*",
        },
    ]
    if t.holds("HasKmsKey"):
        expected.append({
            "Sid": "UseTheTableKey", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": EVERY_OPTION["KmsKeyArn"],
        })
    equal([statement for name, statement in statements(t) if name == "FunctionRole"], expected, "the function's statements")


def check_roles_trust_one_service_each(t):
    trusted = {}
    for name, role in t.of_type("AWS::IAM::Role").items():
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            equal(statement["Action"], "sts:AssumeRole", f"action of {name}'s trust")
            trusted.setdefault(name, []).append(statement["Principal"])
    equal(trusted, {
        "FunctionRole": [{"Service": "lambda.amazonaws.com"}],
        "DeploymentRole": [{"Service": "codedeploy.amazonaws.com"}],
        "PreTrafficHookRole": [{"Service": "lambda.amazonaws.com"}],
        "ProbeRole": [{"Service": "lambda.amazonaws.com"}],
        "ProbeScheduleRole": [{"Service": "scheduler.amazonaws.com"}],
    }, "roles and who may assume them")


def check_no_wildcards_except_for_xray(t):
    for name, statement in statements(t):
        equal(statement["Effect"], "Allow", f"effect in {name}")
        assert "NotAction" not in statement and "NotResource" not in statement, f"{name} grants everything except something"
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{name} grants {action}"
        if "*" in as_list(statement["Resource"]):
            assert all(a.startswith("xray:Put") for a in as_list(statement["Action"])), f"{name} grants {statement} on all"


def check_deployment_role_permissions(t):
    found = [statement for name, statement in statements(t) if name == "DeploymentRole"]
    equal([(s["Sid"], s["Action"]) for s in found], [
        ("ShiftTraffic", ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]),
        ("TryTheNewVersion", "lambda:InvokeFunction"),
        ("ReadAlarms", "cloudwatch:DescribeAlarms"),
    ], "actions of CodeDeploy")
    equal(found[0]["Resource"], [get_att("Function"), {"Fn::Sub": "${Function.Arn}:*"}], "resources of ShiftTraffic")
    equal(found[1]["Resource"], get_att("PreTrafficHook"), "the function that CodeDeploy may invoke")
    assert found[2]["Resource"]["Fn::Sub"].endswith(":alarm:${AWS::StackName}-*"), found[2]
    assert not t.properties("DeploymentRole").get("ManagedPolicyArns")
    equal(t.properties("FunctionDeploymentGroup")["ServiceRoleArn"], get_att("DeploymentRole"), "CodeDeploy's role")


def check_hook_and_probe_permissions(t):
    own_key = {
        "Sid": "OwnKey", "Effect": "Allow", "Action": ["dynamodb:DeleteItem", "dynamodb:PutItem"], "Resource": TABLES,
        "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "KEY#*"}},
    }
    log = {"Sid": "Log", "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": get_att("ProbeLogs")}
    decrypt = [{"Sid": "UseTheTableKey", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": EVERY_OPTION["KmsKeyArn"]}]
    decrypt = decrypt if t.holds("HasKmsKey") else []

    def invoke(sid, resource):
        return {"Sid": sid, "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": resource}

    expected = {
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
    for role, expected_statements in expected.items():
        equal([s for name, s in statements(t) if name == role], expected_statements, f"statements of {role}")
        assert not t.properties(role).get("ManagedPolicyArns"), f"{role} also has a managed policy"


def check_operator_policy(t):
    if not t.holds("MakesOperatorPolicy"):
        return
    found = [statement for name, statement in statements(t) if name == "OperatorPolicy"]
    indexes = [{"Fn::Sub": "${Table.Arn}/index/keys_by_client"}, {"Fn::Sub": TABLES[1]["Fn::Sub"] + "/index/keys_by_client"}]
    equal([(s["Action"], s["Resource"]) for s in found if s["Sid"] != "UseTheTableKey"], [
        ([f"dynamodb:{verb}" for verb in ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Scan", "UpdateItem")], TABLES),
        ("dynamodb:Query", indexes),
    ], "permissions of an operator")
    assert not t.properties("OperatorPolicy").get("Roles"), "people attach this policy; no role of the stack has it"


def check_every_role_has_the_boundary(t):
    for name, role in t.of_type("AWS::IAM::Role").items():
        expected = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${PermissionsBoundary}"}
        expected = expected if t.holds("HasPermissionsBoundary") else None
        equal(role["Properties"].get("PermissionsBoundary"), expected, f"boundary of {name}")


def check_stopping_writes_removes_write_permissions(t):
    def writes(t):
        return [s for name, s in statements(t) if name == "FunctionRole" and "dynamodb:UpdateItem" in as_list(s["Action"])]

    assert writes(t), "the function has no write permission"
    stopped = Expanded(t.text, t.given | {"Writes": "stopped"})
    equal(writes(stopped), [], "write permissions while writes are stopped")
    reads = [s for name, s in statements(stopped) if name == "FunctionRole" and "dynamodb:GetItem" in as_list(s["Action"])]
    assert reads, "the function may not read while writes are stopped"
    for name in ("PreTrafficHook", "Probe"):
        equal(stopped.properties(name)["Environment"]["Variables"]["WRITES"], "stopped", f"WRITES of {name} while writes are stopped")


def check_permissions_do_not_depend_on_the_table_in_use(t):
    """Every statement names the table and the tables restored from it."""
    for name, statement in statements(t):
        if any(action.startswith("dynamodb:") and action != "dynamodb:Query" for action in as_list(statement["Action"])):
            equal(statement["Resource"], TABLES, f"tables of {name}'s {statement['Sid']}")
    other = Expanded(t.text, t.given | {"RestoredTable": "stack-restored-2"})
    equal(list(statements(other)), list(statements(t)), "permissions after a switch")
