#!/usr/bin/env python3
"""Holds template.yaml, as CloudFormation will see it, to what is meant.

    check.py                     every check against the template
    check.py --mutations         break it in each way of mutations.py; every one must make a check fail
    check.py --print             the expanded template, for other tools

Runs offline, with the Python of scripts/tools (its environment `deploy` has the SAM translator). The template is expanded
as AWS's transform would expand it, then its conditions are resolved for two sets of parameters: the defaults, and
every option in use. A check is a function below; its name is its title, an AssertionError its failure.
"""

import json
import re
import sys
import tomllib

import deployment
from expand import (
    EVERY_OPTION, ROOT, TABLES, TEMPLATE, Expanded, as_list, equal, get_att, read, references, statements,
    table_in_use,
)
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.yaml_helper import yaml_parse


# --- The way in -----------------------------------------------------------------------------------------------------

ROUTES = {
    "/cdm/client/{client_id}/customer/{ccid}",
    "/cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number}",
    "/cdm/client/{client_id}/customer/{ccid}/remove_phone/{phone_number}",
}


def integrations(t):
    for path, methods in t.properties("HttpApi")["Body"]["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation["x-amazon-apigateway-integration"]


def check_routes_are_the_contracts_paths_with_any_method(t):
    """Another path is the gateway's 404 and bills nothing; another method is our 405."""
    equal(sorted((path, method) for path, method, _ in integrations(t)),
          sorted((path, "x-amazon-apigateway-any-method") for path in ROUTES), "routes")


def check_routes_call_the_alias_with_payload_2(t):
    for path, _, integration in integrations(t):
        equal(integration["payloadFormatVersion"], "2.0", f"payload format of {path}")
        assert "FunctionAliaslive" in references(integration["uri"]), f"{path} does not call the alias"


def check_function_times_out_before_the_gateway(t):
    """And by a margin, so that a slow answer is ours: cold start and the gateway's own share come on top."""
    timeout = t.properties("Function")["Timeout"]
    for path, _, integration in integrations(t):
        gateway = integration["timeoutInMillis"] / 1000
        assert gateway <= 30, f"an HTTP API waits 30 s at most, not {gateway}"
        assert timeout + 5 <= gateway, f"function timeout {timeout} s, gateway {gateway} s on {path}"
    # Below this, recovery from an interrupted transaction (5 s) does not fit in.
    assert timeout >= 10, f"function timeout {timeout} s"


def check_gateway_throttles(t):
    settings = t.properties("HttpApiApiGatewayDefaultStage")["DefaultRouteSettings"]
    assert 1 <= int(settings["ThrottlingRateLimit"]) <= int(settings["ThrottlingBurstLimit"]) <= 5000, settings


def check_access_log_never_holds_the_path(t):
    settings = t.properties("HttpApiApiGatewayDefaultStage")["AccessLogSettings"]
    equal(settings["DestinationArn"], get_att("AccessLogs"), "access log's group")
    fields = json.loads(settings["Format"])
    harmless = {
        "$context.requestId", "$context.requestTime", "$context.routeKey", "$context.status",
        "$context.responseLatency", "$context.integrationLatency", "$context.integration.status",
        "$context.integration.error", "$context.error.responseType",
    }
    assert set(fields.values()) <= harmless, f"not known to be harmless: {set(fields.values()) - harmless}"
    needed = {"requestId", "routeKey", "status", "latency", "integrationLatency", "integrationError"}
    assert needed <= set(fields), f"missing: {needed - set(fields)}"


def check_only_the_gateway_may_call_and_only_on_its_routes(t):
    permissions = t.of_type("AWS::Lambda::Permission")
    paths = set()
    for name, resource in permissions.items():
        permission = resource["Properties"]
        equal(permission["Principal"], "apigateway.amazonaws.com", f"principal of {name}")
        equal(permission["FunctionName"], {"Ref": "FunctionAliaslive"}, f"function of {name}")
        text, variables = permission["SourceArn"]["Fn::Sub"]
        equal(variables["__ApiId__"], {"Ref": "HttpApi"}, f"API of {name}")
        paths.add(text.split("/${__Stage__}/*", 1)[-1])
    equal(sorted(paths), sorted(re.sub(r"\{[^}]+\}", "*", path) for path in ROUTES), "paths that may be called")
    assert not t.of_type("AWS::Lambda::Url"), "a function URL would be a way past the gateway"


def check_domain_and_base_path_are_optional(t):
    wanted = t.holds("HasDomain")
    equal("Domain" in t.resources, wanted, "Domain present")
    equal("DomainMapping" in t.resources, wanted, "DomainMapping present")
    url = t.resolve(t.outputs["Url"]["Value"])
    if wanted:
        [domain] = t.properties("Domain")["DomainNameConfigurations"]
        equal(domain["SecurityPolicy"], "TLS_1_2", "TLS of the domain")
        equal(t.properties("DomainMapping")["ApiMappingKey"], "platform/v3/api", "base path")
        assert "DomainName" in references(url) and "BasePath" in references(url), url
    else:
        assert "execute-api" in json.dumps(url), url


# --- The function ---------------------------------------------------------------------------------------------------


def check_function_is_what_was_measured(t):
    function = t.properties("Function")
    equal(function["Runtime"], "provided.al2023", "runtime")
    equal(function["Handler"], "bootstrap", "handler")
    equal(function["MemorySize"], 256, "memory")
    equal(function["Architectures"], ["arm64"], "architecture")
    equal(t.parameters["Architecture"]["AllowedValues"], ["arm64", "x86_64"], "architectures on offer")
    equal(function["TracingConfig"], {"Mode": "Active"}, "X-Ray")
    assert "VpcConfig" not in function and "Layers" not in function, "no VPC and no layers: both cost a cold start"


def check_function_environment(t):
    equal(t.properties("Function")["Environment"]["Variables"], {
        "TABLE_NAME": table_in_use(t),
        "KEY_CACHE_SECONDS": "60",
        "LOG_LEVEL": "info",
        "AWS_ENDPOINT_URL_DYNAMODB": "",
    }, "environment")


def check_reserved_concurrency_is_unset_by_default(t):
    wanted = t.holds("HasReservedConcurrency")
    equal(t.properties("Function").get("ReservedConcurrentExecutions"), "50" if wanted else None, "reserved concurrency")


def check_function_logs_json_to_its_own_group(t):
    """TRACE: Lambda drops nothing, LOG_LEVEL alone decides. INFO: the platform's reports, which InitErrors counts."""
    equal(t.properties("Function")["LoggingConfig"], {
        "LogGroup": {"Ref": "FunctionLogs"}, "LogFormat": "JSON",
        "ApplicationLogLevel": "TRACE", "SystemLogLevel": "INFO",
    }, "logging")


def check_every_log_group_expires(t):
    groups = t.of_type("AWS::Logs::LogGroup")
    equal(set(groups), {"FunctionLogs", "AccessLogs", "ProbeLogs"}, "log groups")
    for name, group in groups.items():
        equal(group["Properties"].get("RetentionInDays"), "90", f"retention of {name}")
        assert group.get("DeletionPolicy") == group.get("UpdateReplacePolicy") == "Delete", f"{name} outlives its stack"


# --- Permissions ----------------------------------------------------------------------------------------------------


def check_function_may_do_exactly_this(t):
    role = t.properties("FunctionRole")
    equal(t.properties("Function")["Role"], get_att("FunctionRole"), "the function's role")
    assert not role.get("ManagedPolicyArns"), "a managed policy grants more than is written here"
    meant = [
        {
            "Sid": "ReadKeysAndCustomers", "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": TABLES,
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["KEY#*", "CLIENT#*#CUSTOMER#*"]}},
        },
        {
            "Sid": "WriteCustomersAndPhonesInTransactions", "Effect": "Allow",
            "Action": ["dynamodb:ConditionCheckItem", "dynamodb:UpdateItem"],
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
        meant.append({
            "Sid": "UseTheTableKey", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": EVERY_OPTION["KmsKeyArn"],
        })
    equal([statement for name, statement in statements(t) if name == "FunctionRole"], meant, "the function's statements")


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
    }, "roles and who may take them")


def check_no_wildcards_but_xrays(t):
    for name, statement in statements(t):
        equal(statement["Effect"], "Allow", f"effect in {name}")
        assert "NotAction" not in statement and "NotResource" not in statement, f"{name} grants all but something"
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{name} grants {action}"
        if "*" in as_list(statement["Resource"]):
            assert all(a.startswith("xray:Put") for a in as_list(statement["Action"])), f"{name} grants {statement} on all"


def check_deployment_role_moves_this_alias_and_reads_this_stacks_alarms(t):
    found = [statement for name, statement in statements(t) if name == "DeploymentRole"]
    equal([(s["Sid"], s["Action"]) for s in found], [
        ("ShiftTraffic", ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]),
        ("TryTheNewVersion", "lambda:InvokeFunction"),
        ("ReadAlarms", "cloudwatch:DescribeAlarms"),
    ], "what CodeDeploy may do")
    equal(found[0]["Resource"], [get_att("Function"), {"Fn::Sub": "${Function.Arn}:*"}], "on what")
    equal(found[1]["Resource"], get_att("PreTrafficHook"), "what it may call")
    assert found[2]["Resource"]["Fn::Sub"].endswith(":alarm:${AWS::StackName}-*"), found[2]
    assert not t.properties("DeploymentRole").get("ManagedPolicyArns")
    equal(t.properties("FunctionDeploymentGroup")["ServiceRoleArn"], get_att("DeploymentRole"), "CodeDeploy's role")


def check_operator_policy(t):
    if not t.holds("MakesOperatorPolicy"):
        return
    found = [statement for name, statement in statements(t) if name == "OperatorPolicy"]
    indexes = [{"Fn::Sub": "${Table.Arn}/index/keys_by_client"}, {"Fn::Sub": TABLES[1]["Fn::Sub"] + "/index/keys_by_client"}]
    equal([(s["Action"], s["Resource"]) for s in found if s["Sid"] != "UseTheTableKey"], [
        ([f"dynamodb:{verb}" for verb in ("ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Scan", "UpdateItem")], TABLES),
        ("dynamodb:Query", indexes),
    ], "what an operator may do")
    assert not t.properties("OperatorPolicy").get("Roles"), "people attach it; no role here has it"


def check_every_role_takes_the_boundary(t):
    for name, role in t.of_type("AWS::IAM::Role").items():
        meant = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${PermissionsBoundary}"}
        meant = meant if t.holds("HasPermissionsBoundary") else None
        equal(role["Properties"].get("PermissionsBoundary"), meant, f"boundary of {name}")


# --- The table ------------------------------------------------------------------------------------------------------


def check_table_survives_the_stack_and_mistakes(t):
    table = t.resources["Table"]
    equal(table.get("DeletionPolicy"), "Retain", "deletion policy")
    equal(table.get("UpdateReplacePolicy"), "Retain", "replacement policy")
    equal(table["Properties"].get("DeletionProtectionEnabled"), True, "deletion protection")
    equal(table["Properties"].get("PointInTimeRecoverySpecification"),
          {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 35}, "point-in-time recovery")
    assert "TableName" not in table["Properties"], "a fixed name stands in the way of a replacement and of a second stack"


def check_table_shows_keys_to_nobody(t):
    table = t.properties("Table")
    equal(table.get("ContributorInsightsSpecification"), {"Enabled": False}, "Contributor Insights")
    assert "StreamSpecification" not in table and "KinesisStreamSpecification" not in table, "a stream copies personal data"


def check_table_keys_and_index(t):
    table = t.properties("Table")
    keys = [(k["AttributeName"], k["KeyType"]) for k in table["KeySchema"]]
    equal(keys, [("pk", "HASH"), ("sk", "RANGE")], "keys")
    [index] = table["GlobalSecondaryIndexes"]
    equal(index, {
        "IndexName": "keys_by_client",
        "KeySchema": [
            {"AttributeName": "client_id", "KeyType": "HASH"}, {"AttributeName": "created_at", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }, "index")
    equal({a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]},
          {"pk": "S", "sk": "S", "client_id": "S", "created_at": "N"}, "attributes")


def check_table_is_on_demand_with_a_cap(t):
    table = t.properties("Table")
    equal(table["BillingMode"], "PAY_PER_REQUEST", "billing")
    cap = {name: int(value) for name, value in table["OnDemandThroughput"].items()}
    equal(set(cap), {"MaxReadRequestUnits", "MaxWriteRequestUnits"}, "caps")
    # The gateway must throttle first: its 429 says that nothing was done, a throttled table only ends in a 500.
    rate = int(t.properties("HttpApiApiGatewayDefaultStage")["DefaultRouteSettings"]["ThrottlingRateLimit"])
    assert cap["MaxWriteRequestUnits"] >= 4 * rate, f"{rate} adds a second take {4 * rate} write units, the cap is {cap}"
    assert cap["MaxReadRequestUnits"] >= 3 * rate, f"{rate} reads of full records take {3 * rate} read units, the cap is {cap}"


def check_customer_managed_key_covers_everything(t):
    key = EVERY_OPTION["KmsKeyArn"] if t.holds("HasKmsKey") else None
    sse = t.properties("Table").get("SSESpecification")
    equal(sse, {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key} if key else None, "the table's key")
    for name in t.of_type("AWS::Lambda::Function"):
        equal(t.properties(name).get("KmsKeyArn"), key, f"the key of {name}'s environment")
    for name, group in t.of_type("AWS::Logs::LogGroup").items():
        equal(group["Properties"].get("KmsKeyId"), key, f"key of {name}")


# --- Watching and rolling back --------------------------------------------------------------------------------------

# Metrics read, comparison and threshold, periods of so many seconds, missing data. That an alarm over these fires when it
# should, and at no other time, is shown by alarms.py.
ALARMS = {
    "FunctionErrorsAlarm": ({("AWS/Lambda", "Errors")}, ">=", 1, (1, 900), "notBreaching"),
    "ServerErrorsAlarm": ({("CdmPhones", "Errors5xx")}, ">", 1, (1, 900), "notBreaching"),
    "GatewayErrorsAlarm": ({("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Count")}, ">", 1, (1, 900), "notBreaching"),
    "LatencyAlarm": ({("CdmPhones", "SlowRequests")}, ">", 2, (1, 900), "notBreaching"),
    "LowTrafficFailuresAlarm": (
        {("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Count"), ("CdmPhones", "SlowRequests")}, ">=", 3, (1, 86400), "notBreaching"),
    "FunctionThrottlesAlarm": ({("AWS/Lambda", "Throttles")}, ">=", 1, (1, 900), "notBreaching"),
    "TableThrottlesAlarm": (
        {("AWS/DynamoDB", "ReadThrottleEvents"), ("AWS/DynamoDB", "WriteThrottleEvents"), ("CdmPhones", "Throttles")},
        ">=", 10, (1, 900), "notBreaching"),
    "GatewayThrottlesAlarm": ({("CdmPhones/stack", "GatewayThrottles")}, ">=", 100, (1, 900), "notBreaching"),
    "ConflictsAlarm": ({("CdmPhones", "Conflicts")}, ">", 5, (1, 900), "notBreaching"),
    "InitErrorsAlarm": ({("CdmPhones/stack", "InitErrors")}, ">=", 1, (1, 900), "notBreaching"),
    "UnauthorizedAlarm": ({("CdmPhones", "Requests")}, ">=", 300, (1, 900), "notBreaching"),
    "NoTrafficAlarm": ({("AWS/ApiGateway", "Count")}, "<=", 0, (60, 60), "breaching"),
    "ProbeAlarm": ({("AWS/Lambda", "Errors"), ("AWS/Lambda", "Invocations")}, "<", 1, (1, 1200), "breaching"),
}
ROLLS_BACK = ["FunctionErrorsAlarm", "ServerErrorsAlarm", "LatencyAlarm", "InitErrorsAlarm"]
COMPARISONS = {
    "GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": ">=",
    "LessThanThreshold": "<", "LessThanOrEqualToThreshold": "<=",
}


def alarms_meant(t):
    """Those of ALARMS that are there with these parameters."""
    optional = {"NoTrafficAlarm": "HasNoTrafficAlarm", "UnauthorizedAlarm": "HasUnauthorizedAlarm", "ProbeAlarm": "HasProbe"}
    return {name: alarm for name, alarm in ALARMS.items() if name not in optional or t.holds(optional[name])}


def namespace(node):
    return node["Fn::Sub"].replace("${AWS::StackName}", "stack") if isinstance(node, dict) else node


def alarm_metrics(alarm):
    """(namespace, metric, {dimension: value}, period) of everything an alarm reads."""
    if "Metrics" not in alarm:
        yield namespace(alarm["Namespace"]), alarm["MetricName"], alarm.get("Dimensions", []), alarm["Period"]
    for entry in alarm.get("Metrics", []):
        if "MetricStat" in entry:
            metric = entry["MetricStat"]["Metric"]
            yield namespace(metric["Namespace"]), metric["MetricName"], metric.get("Dimensions", []), entry["MetricStat"]["Period"]


def check_alarms_watch_what_matters(t):
    found = {}
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        alarm = resource["Properties"]
        [period] = {str(period) for *_, period in alarm_metrics(alarm)}
        if "FindInMap" in period:
            period = t.document["Mappings"]["ProbeWindow"]["5"]["Seconds"]
        found[name] = (
            {(space, metric) for space, metric, *_ in alarm_metrics(alarm)},
            COMPARISONS[alarm["ComparisonOperator"]], int(alarm["Threshold"]), (int(alarm["EvaluationPeriods"]), int(period)),
            alarm["TreatMissingData"])
        assert "DatapointsToAlarm" not in alarm, f"{name} is content with fewer of its periods"
    meant = alarms_meant(t)
    assert found == meant, "\n".join(
        f"{name}: is {found.get(name)}, meant {meant.get(name)}"
        for name in sorted(meant | found) if found.get(name) != meant.get(name))


def check_optional_alarms_can_be_switched_off(t):
    """Each by its own parameter. NoTrafficAlarm is off at first: a new stack has no traffic."""
    equal({name: t.parameters[name]["Default"] for name in ("NoTrafficMinutes", "UnauthorizedLimit")},
          {"NoTrafficMinutes": 0, "UnauthorizedLimit": 300}, "defaults")
    off = Expanded(t.text, {"NoTrafficMinutes": "0", "UnauthorizedLimit": "0", "ProbeMinutes": "0"})
    gone = set(ALARMS) - {"NoTrafficAlarm", "UnauthorizedAlarm", "ProbeAlarm"}
    equal(sorted(off.of_type("AWS::CloudWatch::Alarm")), sorted(gone), "alarms with all of them switched off")


def check_probes_alarm_waits_for_three_runs_and_late_data(t):
    equal(t.document["Mappings"]["ProbeWindow"],
          {str(minutes): {"Seconds": (3 * int(minutes) + 5) * 60} for minutes in t.parameters["ProbeMinutes"]["AllowedValues"]},
          "window by ProbeMinutes")


def check_alarms_watch_this_stack_alone(t):
    own = {"ApiId": {"Ref": "HttpApi"}, "FunctionName": {"Ref": "Function"}, "TableName": table_in_use(t)}
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        for space, metric, dimensions, _ in alarm_metrics(resource["Properties"]):
            dimensions = {d["Name"]: d["Value"] for d in dimensions}
            if space == "CdmPhones/stack":
                continue
            if name == "ProbeAlarm":
                equal(dimensions, {"FunctionName": {"Ref": "Probe"}}, f"what {name} reads")
                continue
            mine = [key for key in own if dimensions.get(key) == own[key]]
            assert mine, f"{name} reads {space} {metric} of {dimensions}"
            if "Resource" in dimensions:
                equal(dimensions["Resource"], {"Fn::Sub": "${Function}:live"}, f"alias in {name}")


def check_alarms_reach_someone(t):
    meant = [EVERY_OPTION["AlarmTopicArn"]] if t.holds("HasAlarmTopic") else None
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        equal(resource["Properties"].get("AlarmActions"), meant, f"{name} tells")
        equal(resource["Properties"].get("OKActions"), meant, f"{name} tells when it is over")


def check_every_alarm_has_its_page(t):
    headings = {re.sub(r"[^a-z0-9-]", "", line.strip("# ").lower().replace(" ", "-"))
                for line in (ROOT / "docs/operate.md").read_text().splitlines() if line.startswith("#")}
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        link = re.search(r"docs/operate\.md#(\S+)$", resource["Properties"]["AlarmDescription"])
        assert link, f"{name} does not say where to read on"
        assert link[1] in headings, f"docs/operate.md has no heading for #{link[1]}"


def check_metric_filters_feed_their_alarms(t):
    found = {
        name: (r["Properties"]["LogGroupName"], r["Properties"]["FilterPattern"],
               [(namespace(m["MetricNamespace"]), m["MetricName"], m["MetricValue"])
                for m in r["Properties"]["MetricTransformations"]])
        for name, r in t.of_type("AWS::Logs::MetricFilter").items()
    }
    assert found == {
        "InitErrors": ({"Ref": "FunctionLogs"}, '{ $.type = "platform.initReport" && $.record.status != "success" }',
                       [("CdmPhones/stack", "InitErrors", "1")]),
        "GatewayThrottles": ({"Ref": "AccessLogs"}, '{ $.status = "429" }', [("CdmPhones/stack", "GatewayThrottles", "1")]),
    }, found


def check_new_versions_are_tried_on_a_tenth_and_rolled_back(t):
    group = t.properties("FunctionDeploymentGroup")
    equal(group["DeploymentConfigName"]["Fn::Sub"][1], {"ConfigName": "Canary10Percent10Minutes"}, "how traffic moves")
    equal(group["AlarmConfiguration"], {"Enabled": True, "Alarms": [{"Name": {"Ref": name}} for name in ROLLS_BACK]},
          "what rolls back")
    equal(group["AutoRollbackConfiguration"]["Enabled"], True, "rolling back")
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    alias = t.resources["FunctionAliaslive"]
    equal(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"], {"Ref": "FunctionDeploymentGroup"},
          "who moves the alias")


def check_nothing_waits_for_itself(t):
    """CloudFormation refuses cycles only when it deploys. The alias's update policy counts."""
    needs = {name: (references(r) | set(as_list(r.get("DependsOn", [])))) & set(t.resources) for name, r in t.resources.items()}
    done = set()
    while ready := {name for name, need in needs.items() if name not in done and need <= done}:
        done |= ready
    assert not set(needs) - done, f"a cycle among {sorted(set(needs) - done)}"


def metrics_table():
    """The table under 'Metrics' in docs/operate.md: metric -> (dimensions, number of series)."""
    text = (ROOT / "docs/operate.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): (tuple(re.findall(r"`([^`]+)`", row[1])), int(row[2])) for row in rows if len(row) == 4}


def check_metrics_are_those_the_function_writes(t):
    """What alarms and dashboard read is in docs/operate.md with the same dimensions, and costs at most 44 series."""
    table = metrics_table()
    total = sum(series for _, series in table.values())
    assert total <= 44, f"{total} series"
    for name, resource in t.of_type("AWS::CloudWatch::Alarm").items():
        for space, metric, dimensions, _ in alarm_metrics(resource["Properties"]):
            if space.startswith("CdmPhones"):
                equal(tuple(d["Name"] for d in dimensions), table[metric][0], f"dimensions of {metric} in {name}")
    for widget in dashboard(t)["widgets"]:
        for entry in widget["properties"].get("metrics", []):
            if isinstance(entry[0], str) and entry[0].startswith("CdmPhones"):
                names = tuple(part for part in entry[2:] if isinstance(part, str))[::2]
                equal(names, table[entry[1]][0], f"dimensions of {entry[1]} on the dashboard")
            elif isinstance(entry[0], dict) and "SEARCH" in entry[0]["expression"]:
                [schema] = re.findall(r"\{CdmPhones,([^}]+)\}", entry[0]["expression"])
                [metric] = re.findall(r'MetricName="(\w+)"', entry[0]["expression"])
                equal(tuple(schema.split(",")), table[metric][0], f"dimensions of {metric} on the dashboard")


def dashboard(t):
    text, variables = t.properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    for name in re.findall(r"\$\{([^!}]+)\}", text):
        if not name.startswith("AWS::") and name not in variables:
            assert name.split(".")[0] in t.resources, f"the dashboard names {name}"
        value = variables.get(name, name.replace("AWS::StackName", "stack"))
        if isinstance(value, dict) and "Fn::Sub" in value:
            value = re.sub(r"\$\{([^}]+)\}", r"\1", value["Fn::Sub"])
        text = text.replace("${%s}" % name, str(value))
    return json.loads(text.replace("${!", "${"))


def check_dashboard_shows_health_refusals_and_cost(t):
    body = dashboard(t)
    titles = " ".join(widget["properties"]["title"] for widget in body["widgets"])
    for question in ("Is it healthy?", "Which refusals?", "What does it cost?"):
        assert question in titles, f"no widget asks: {question}"
    [alarms] = [widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm"]
    equal(sorted(alarms), sorted(f"{name}.Arn" for name in alarms_meant(t)), "alarms on the dashboard")
    for one in body["widgets"]:
        assert one["x"] + one["width"] <= 24, f"{one['properties']['title']} is off the right edge"


def check_dashboard_uses_the_price_list(t):
    prices = json.loads((ROOT / "docs/prices.json").read_text())["prices"]
    [cost] = [w["properties"] for w in dashboard(t)["widgets"] if w["properties"]["title"].startswith("What does it cost?")]
    found = {entry[0]["id"]: [float(n) for n in re.findall(r"\* ([\d.]+)", entry[0]["expression"])]
             for entry in cost["metrics"] if isinstance(entry[0], dict)}
    memory = t.properties("Function")["MemorySize"] / 1024
    equal(found, {
        "gateway": [prices["http_api_per_million"]],
        "function": [prices["lambda_per_million"], memory, prices["lambda_gb_second_arm64"]],
        "writes": [prices["dynamodb_write_per_million"]],
        "reads": [prices["dynamodb_read_per_million"]],
        "logs": [prices["logs_in_per_gb"]],
    }, "prices on the dashboard")


def check_saved_queries_read_this_stacks_logs(t):
    queries = t.of_type("AWS::Logs::QueryDefinition")
    assert len(queries) >= 5, f"{len(queries)} saved queries"
    for name, query in queries.items():
        for group in query["Properties"]["LogGroupNames"]:
            assert group in ({"Ref": "FunctionLogs"}, {"Ref": "AccessLogs"}), f"{name} reads {group}"
        assert "${AWS::StackName}/" in query["Properties"]["Name"]["Fn::Sub"], f"{name} is not under the stack's name"


# --- Around it ------------------------------------------------------------------------------------------------------


def check_nothing_else_is_made(t):
    """A new kind of resource costs money or grants something: it belongs in this test first."""
    found = {}
    for resource in t.resources.values():
        found[resource["Type"]] = found.get(resource["Type"], 0) + 1
    meant = {
        "AWS::ApiGatewayV2::Api": 1, "AWS::ApiGatewayV2::Stage": 1,
        "AWS::Lambda::Function": 3, "AWS::Lambda::Version": 1, "AWS::Lambda::Alias": 1, "AWS::Lambda::Permission": 3,
        "AWS::DynamoDB::Table": 1, "AWS::IAM::Role": 5,
        "AWS::CodeDeploy::Application": 1, "AWS::CodeDeploy::DeploymentGroup": 1,
        "AWS::Scheduler::Schedule": 1, "AWS::Lambda::EventInvokeConfig": 1,
        "AWS::Logs::LogGroup": 3, "AWS::Logs::MetricFilter": 2, "AWS::Logs::QueryDefinition": 7,
        "AWS::CloudWatch::Alarm": len(alarms_meant(t)), "AWS::CloudWatch::Dashboard": 1,
    }
    if t.holds("MakesOperatorPolicy"):
        meant |= {"AWS::IAM::ManagedPolicy": 1}
    if t.holds("HasDomain"):
        meant |= {"AWS::ApiGatewayV2::DomainName": 1, "AWS::ApiGatewayV2::ApiMapping": 1}
    equal(found, meant, "resources by type")


def check_outputs(t):
    assert {"Url", "TableName", "DashboardUrl"} <= set(t.outputs), set(t.outputs)


def check_samconfig_sets_only_what_the_template_has(t):
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
    assert "DeploymentType=AllAtOnce" not in prod, "prod takes new versions all at once"


def check_pipelines_boundary_lets_the_roles_work(t):
    """A role can do only what its boundary allows too: what is missing there fails at run time, in production."""
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
    assert "dynamodb:CreateTable" in granted and "dynamodb:DeleteTable" not in granted, "a deployment may lose the table"


CHECKS = [function for name, function in list(globals().items()) if name.startswith("check_")] + deployment.CHECKS


def failures(text, only=None):
    """(check, message) of every check, or of the one named, that fails on this text of the template."""
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
                found.append((check.__name__, f"with {title}: the template has another shape here: {error!r}"))
                break
    return found


def main():
    if "--print" in sys.argv:
        print(json.dumps(Expanded(TEMPLATE, {}).document, indent=1))
        return 0
    found = failures(TEMPLATE)
    for name, message in found:
        print(f"FAILED {name}\n  {message}")
    if found:
        return 1
    print(f"template: {len(CHECKS)} checks hold, with defaults and with every option")
    if "--mutations" in sys.argv:
        from mutations import survivors
        return survivors(TEMPLATE, failures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
