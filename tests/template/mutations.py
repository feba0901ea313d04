"""Ways to break template.yaml. Each must make the named check fail, which shows that the check works.

A mutation has a title, a text of the template, the text that replaces it, and the check. If the text occurs several times, the
first occurrence after `after` is replaced.
"""

import re

import expand

MUTATIONS = [
    # Routes
    ("a route only for PUT", "Method: ANY", "Method: PUT", "check_routes_are_the_paths_of_the_contract", "AddPhone:"),
    ("a catch-all route",
     "Path: /cdm/client/{client_id}/customer/{ccid}\n", "Path: /{proxy+}\n",
     "check_routes_are_the_paths_of_the_contract"),
    ("payload 1.0", 'PayloadFormatVersion: "2.0"', 'PayloadFormatVersion: "1.0"', "check_routes_call_the_alias_with_payload_format_2"),
    ("a function URL", "      AutoPublishAlias: live\n",
     "      AutoPublishAlias: live\n      FunctionUrlConfig:\n        AuthType: NONE\n",
     "check_only_the_gateway_may_invoke_the_function"),
    ("no alias", "      AutoPublishAlias: live\n", "", "expand"),
    ("a function timeout above the gateway's", "      Timeout: 15\n", "      Timeout: 30\n", "check_function_times_out_before_the_gateway"),
    ("a gateway timeout below the function's", "TimeoutInMillis: 30000", "TimeoutInMillis: 10000", "check_function_times_out_before_the_gateway"),
    ("no throttling", "        ThrottlingRateLimit: !Ref ThrottleRate\n", "", "check_gateway_throttles"),
    ("the path in the access log", '"routeKey":"$context.routeKey"', '"routeKey":"$context.routeKey","path":"$context.path"',
     "check_access_log_contains_no_path"),
    ("a caller-chosen value in the access log", '"$context.routeKey"', '"$context.identity.userAgent"',
     "check_access_log_contains_no_path"),
    ("old TLS on the domain", "SecurityPolicy: TLS_1_2", "SecurityPolicy: TLS_1_0", "check_domain_and_base_path_are_optional"),
    # The function
    ("double memory", "MemorySize: 256", "MemorySize: 512", "check_function_has_the_measured_configuration"),
    ("another runtime", "Runtime: provided.al2023", "Runtime: provided.al2", "check_function_has_the_measured_configuration"),
    ("no X-Ray", "      Tracing: Active\n", "", "check_function_has_the_measured_configuration"),
    ("a foreign endpoint", 'AWS_ENDPOINT_URL_DYNAMODB: ""', 'AWS_ENDPOINT_URL_DYNAMODB: "http://example.com"',
     "check_function_environment_variables"),
    ("concurrency reserved in new accounts", "    Default: -1\n", "    Default: 10\n",
     "check_reserved_concurrency_is_unset_by_default"),
    ("plain text logs", "LogFormat: JSON", "LogFormat: Text", "check_function_logs_json_to_its_log_group"),
    ("no platform reports", "SystemLogLevel: INFO", "SystemLogLevel: WARN", "check_function_logs_json_to_its_log_group"),
    ("a log group that Lambda creates", "        LogGroup: !Ref FunctionLogs\n", "", "check_function_logs_json_to_its_log_group"),
    ("function logs without retention", "      RetentionInDays: !Ref LogRetentionDays\n", "", "check_every_log_group_expires", "\n  FunctionLogs:"),
    ("access logs without retention", "      RetentionInDays: !Ref LogRetentionDays\n", "", "check_every_log_group_expires", "\n  AccessLogs:"),
    # Permissions
    ("one more action", "Action: dynamodb:GetItem\n", "Action: [dynamodb:GetItem, dynamodb:Query]\n", "check_function_permissions"),
    ("an action that the boundary forbids", "                  - lambda:GetAlias\n", "                  - lambda:DeleteAlias\n",
     "check_boundary_allows_what_the_roles_need"),
    ("every action", "- dynamodb:UpdateItem\n                  Resource", '- "dynamodb:*"\n                  Resource', "check_no_wildcards_except_for_xray"),
    ("every table", "                  - !GetAtt Table.Arn\n", '                  - "*"\n', "check_no_wildcards_except_for_xray"),
    ("updates outside a transaction",
     "                    ForAnyValue:StringEquals:\n                      dynamodb:EnclosingOperation: TransactWriteItems\n", "",
     "check_function_permissions"),
    ("a right to write API keys", "dynamodb:LeadingKeys: CLIENT#*", 'dynamodb:LeadingKeys: "*"', "check_function_permissions"),
    ("an additional managed policy of AWS", "      Description: What the phone number function may do\n",
     "      ManagedPolicyArns: [arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess]\n", "check_function_permissions"),
    ("the wrong role", "      Role: !GetAtt FunctionRole.Arn\n", "      Role: !GetAtt DeploymentRole.Arn\n",
     "check_function_permissions"),
    ("a role that anyone may assume", "Service: lambda.amazonaws.com", 'AWS: "*"', "check_roles_trust_one_service_each"),
    ("CodeDeploy may change every alias", "                  - !GetAtt Function.Arn\n                  - !Sub ${Function.Arn}:*\n",
     '                  - "*"\n', "check_deployment_role_permissions"),
    ("operators may delete the table", "              - dynamodb:DeleteItem\n", "              - dynamodb:DeleteTable\n",
     "check_operator_policy", "  OperatorPolicy:"),
    ("a role without the boundary",
     "        - !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${PermissionsBoundary}\n", "        - !Ref AWS::NoValue\n",
     "check_every_role_has_the_boundary", "DeploymentRole:\n    Type"),
    # The table
    ("a table without DeletionPolicy", "    DeletionPolicy: Retain\n", "    DeletionPolicy: Delete\n",
     "check_table_is_protected_from_deletion"),
    ("a table without UpdateReplacePolicy", "    UpdateReplacePolicy: Retain\n", "",
     "check_table_is_protected_from_deletion", "  Table:"),
    ("no deletion protection", "DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false",
     "check_table_is_protected_from_deletion"),
    ("no point-in-time recovery", "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false",
     "check_table_is_protected_from_deletion"),
    ("Contributor Insights", "        Enabled: false\n", "        Enabled: true\n", "check_table_exposes_no_keys"),
    ("a stream", "      BillingMode: PAY_PER_REQUEST\n",
     "      BillingMode: PAY_PER_REQUEST\n      StreamSpecification:\n        StreamViewType: NEW_IMAGE\n",
     "check_table_exposes_no_keys"),
    ("an index of another type", "{ AttributeName: created_at, AttributeType: N }", "{ AttributeName: created_at, AttributeType: S }",
     "check_table_keys_and_index"),
    ("no throughput limit",
     "      OnDemandThroughput:\n        MaxReadRequestUnits: !Ref MaxReadUnits\n        MaxWriteRequestUnits: !Ref MaxWriteUnits\n", "",
     "check_table_is_on_demand_with_a_limit"),
    ("a throughput limit below the gateway's rate", "    Default: 4000\n", "    Default: 100\n", "check_table_is_on_demand_with_a_limit", "MaxWriteUnits:"),
    ("a KMS key that does not encrypt the table",
     "          KMSMasterKeyId: !Ref KmsKeyArn\n", "", "check_kms_key_encrypts_everything"),
    ("a KMS key that does not encrypt the log",
     "      KmsKeyId: !If [HasKmsKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n", "",
     "check_kms_key_encrypts_everything", "\n  FunctionLogs:"),
    # Monitoring
    ("no rollback on failed starts", "          - !Ref InitErrorsAlarm\n", "", "check_canary_and_rollback"),
    ("a threshold that is too high", "      Threshold: 100\n", "      Threshold: 100000\n", "check_alarms_read_the_expected_metrics"),
    ("an alarm with DatapointsToAlarm", "      EvaluationPeriods: 1\n", "      EvaluationPeriods: 1\n      DatapointsToAlarm: 1\n",
     "check_alarms_read_the_expected_metrics"),
    ("a probe window that is too short", '"30": { Seconds: 5700 }', '"30": { Seconds: 1800 }',
     "check_probe_alarm_covers_three_runs"),
    ("an optional alarm without a condition", "    Condition: HasUnauthorizedAlarm\n", "", "check_optional_alarms_can_be_turned_off"),
    ("NoTrafficAlarm on by default", "  NoTrafficMinutes:\n    Type: Number\n    Default: 0\n",
     "  NoTrafficMinutes:\n    Type: Number\n    Default: 60\n", "check_optional_alarms_can_be_turned_off"),
    ("missing data that breaches", "TreatMissingData: notBreaching", "TreatMissingData: breaching",
     "check_alarms_read_the_expected_metrics"),
    ("an alarm for all functions of the account",
     "              MetricName: Throttles\n              Dimensions:\n                - { Name: FunctionName, Value: !Ref Function }\n",
     "              MetricName: Throttles\n", "check_alarms_read_only_this_stack"),
    ("an alarm for another function", "{ Name: FunctionName, Value: !Ref Probe }", "{ Name: FunctionName, Value: !Ref Function }",
     "check_alarms_read_only_this_stack"),
    ("a dashboard without one alarm", "${OptionalProbe}]", "]", "check_dashboard_shows_health_refusals_and_cost"),
    ("an alarm without actions", "      AlarmActions: !If [HasAlarmTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]\n", "",
     "check_alarms_notify_the_topic", "\n  ConflictsAlarm:"),
    ("an alarm with a broken link", "docs/operate.md#conflicts", "docs/operate.md#nowhere", "check_every_alarm_links_to_its_runbook"),
    ("a filter that counts successful starts", '$.record.status != "success"', '$.record.status = "success"',
     "check_metric_filters"),
    ("a shift all at once", "    Default: Canary10Percent10Minutes\n", "    Default: AllAtOnce\n",
     "check_canary_and_rollback"),
    ("no deployment preference", "        Enabled: true\n        Type: !If",
     "        Enabled: false\n        Type: !If", "check_canary_and_rollback"),
    ("a circular dependency", "          - !Ref ServerErrorsAlarm\n", "          - !Ref GatewayErrorsAlarm\n",
     "check_no_circular_dependency"),
    ("an unknown metric", "MetricName: Errors5xx", "MetricName: Errors6xx", "check_metrics_are_documented"),
    ("a dimension of client_id", "- { Name: operation, Value: add_phone }", "- { Name: client_id, Value: add_phone }",
     "check_metrics_are_documented"),
    ("a dashboard that is not JSON", '"periodOverride": "inherit",', '"periodOverride": inherit,',
     "check_dashboard_shows_health_refusals_and_cost"),
    ("a dashboard with an old price", "wcu * 0.625", "wcu * 1.25", "check_dashboard_uses_the_price_list"),
    ("a saved query for another log group", "LogGroupNames: [!Ref AccessLogs]", "LogGroupNames: [/aws/lambda/other]",
     "check_saved_queries_read_this_stacks_logs"),
    # Versions and rollout
    ("a parameter that publishes no version", "keys=${KeyCacheSeconds}s ", "", "check_parameter_publishes_a_version_only_if_it_changes_one"),
    ("a restored table that publishes no version", "table=${TableInUse} ", "",
     "check_parameter_publishes_a_version_only_if_it_changes_one"),
    ("an unrelated parameter that publishes a version", "log=${LogLevel} ", "log=${LogLevel} throttle=${ThrottleRate} ",
     "check_parameter_publishes_a_version_only_if_it_changes_one"),
    ("a version of an unchanged function",
     "log=${LogLevel} ${Architecture}", "log=${LogLevel}", "check_parameter_publishes_a_version_only_if_it_changes_one",
     "\n      Description: !Sub"),
    ("a property that publishes no version", "      AutoPublishAliasAllProperties: true\n", "", "check_changed_property_publishes_a_version"),
    ("old versions that are deleted", "    UpdateReplacePolicy: Retain\n", "", "check_old_versions_are_retained", "  Function:"),
    ("a description that is too long", "    MaxLength: 20\n", "    MaxLength: 40\n", "check_version_description_fits"),
    ("a restored table with a name that is too long", "    MaxLength: 148\n", "    MaxLength: 255\n", "check_version_description_fits"),
    ("a stop of writes that keeps the canary", "    - !Equals [!Ref Writes, stopped]\n", "    - !Equals [!Ref Writes, never]\n",
     "check_stopping_writes_turns_off_rollback"),
    ("a stop of writes that keeps one alarm", "          - [!Ref AWS::NoValue]\n", "          - [!Ref LatencyAlarm]\n",
     "check_stopping_writes_turns_off_rollback"),
    ("a stop of writes that keeps the permission", "  WritesAreStopped: !Equals [!Ref Writes, stopped]", "  WritesAreStopped: !Equals [!Ref Writes, never]",
     "check_stopping_writes_removes_write_permissions"),
    ("a permission that depends on the table in use", "table/${AWS::StackName}-restored-*\n", "table/${RestoredTable}\n",
     "check_permissions_do_not_depend_on_the_table_in_use"),
    ("no hook", "        Hooks:\n          PreTraffic: !Ref PreTrafficHook\n", "",
     "check_hook_tests_a_version_before_traffic"),
    ("a hook that tests the live version", "VERSION: !Ref Function.Version", "VERSION: !Ref Function.Alias",
     "check_hook_tests_a_version_before_traffic"),
    ("a probe that tests $LATEST", "VERSION: !Ref Function.Alias", "VERSION: !Ref Function",
     "check_probe_tests_the_live_version"),
    ("a schedule that exists without its probe", "    Type: AWS::Scheduler::Schedule\n    Condition: HasProbe\n", "    Type: AWS::Scheduler::Schedule\n",
     "check_probe_tests_the_live_version"),
    ("a hook that may write records", "dynamodb:LeadingKeys: KEY#*", "dynamodb:LeadingKeys: \"*\"",
     "check_hook_and_probe_permissions", "  PreTrafficHookRole:"),
    ("no rule for the alarm topic", '!Equals [!Ref RequireAlarmTopic, "yes"]', '!Equals [!Ref RequireAlarmTopic, "prod"]',
     "check_prod_needs_an_alarm_topic"),
    ("an operators' policy in a stack of the pipeline", "    Condition: MakesOperatorPolicy\n", "",
     "check_pipeline_cannot_change_managed_policies"),
    ("warm throughput by default", "  IsWarmed: !Not [!Equals [!Ref WarmWriteUnits, \"0\"]]",
     "  IsWarmed: !Not [!Equals [!Ref WarmWriteUnits, \"1\"]]", "check_table_is_warmed_only_on_request"),
    # The rest
    ("a renamed parameter that samconfig sets", "  LogRetentionDays:\n    Type", "  LogDays:\n    Type",
     "check_samconfig_sets_existing_parameters"),
    ("a hook timeout that is too short", "      Timeout: 300\n", "      Timeout: 120\n", "check_hook_finishes_before_its_timeout"),
    ("retries of the probe", "        MaximumRetryAttempts: 0\n        MaximumEventAgeInSeconds", "        MaximumRetryAttempts: 2\n        MaximumEventAgeInSeconds",
     "check_failed_probe_is_not_retried"),
    ("an additional bucket", "\nOutputs:\n", "\n  Bucket:\n    Type: AWS::S3::Bucket\n\nOutputs:\n", "check_resource_counts"),
    ("a renamed output", "  TableName:\n    Description", "  Tables:\n    Description", "check_outputs"),
]

# Mutations of the files around the template.
MUTATIONS_AROUND = [
    ("no canary in dev", "samconfig.toml", "DeploymentType=Canary10Percent10Minutes", "DeploymentType=AllAtOnce",
     "check_dev_and_prod_use_the_same_canary"),
    ("a shorter canary in dev", "samconfig.toml", "DeploymentType=Canary10Percent10Minutes", "DeploymentType=Canary10Percent5Minutes",
     "check_dev_and_prod_use_the_same_canary"),
    ("artifacts that expire", "deploy/pipeline.yaml", "            NoncurrentVersionExpiration:", "            ExpirationInDays: 90\n            NoncurrentVersionExpiration:",
     "check_artifacts_do_not_expire"),
    ("no job on arm64", ".github/workflows/build.yml", "runner: ubuntu-24.04-arm", "runner: ubuntu-24.04",
     "check_arm64_build_is_tested"),
    ("no alarm topic in prod", "samconfig.toml", "RequireAlarmTopic=yes", "RequireAlarmTopic=no",
     "check_prod_needs_an_alarm_topic"),
    ("a deploy role for every branch", "deploy/pipeline.yaml",
     "                token.actions.githubusercontent.com:ref: !Sub refs/heads/${Branch}\n", "",
     "check_only_the_deploy_branch_may_assume_the_deploy_role"),
    ("a deploy role for every repository", "deploy/pipeline.yaml", "repo:${Repository}:environment", "repo:*:environment",
     "check_only_the_deploy_branch_may_assume_the_deploy_role"),
    ("a pipeline that changes policies", "deploy/pipeline.yaml", "                  - iam:DeleteRole\n",
     "                  - iam:DeleteRole\n                  - iam:CreatePolicyVersion\n", "check_pipeline_cannot_change_managed_policies"),
    ("operators with fewer permissions", "deploy/pipeline.yaml", "              - dynamodb:Scan\n", "",
     "check_pipeline_cannot_change_managed_policies"),
    ("a missing permission of the smoke test", "deploy/pipeline.yaml", "                  - lambda:GetAlias\n", "", "check_deploy_role_allows_the_smoke_test"),
    ("a role that cannot be passed", "deploy/pipeline.yaml", "                      - scheduler.amazonaws.com\n", "",
     "check_pipeline_may_create_the_stack"),
    ("a schedule with another name", "deploy/pipeline.yaml", "schedule/default/${StackName}-probe", "schedule/default/${StackName}",
     "check_pipeline_may_create_the_stack"),
    ("a boundary without the permission of the probe", "deploy/pipeline.yaml", "              - lambda:InvokeFunction\n", "",
     "check_boundary_allows_what_the_roles_need"),
]


def mutate(text, old, new, after=""):
    start = text.index(after)
    at = text.index(old, start)
    return text[:at] + new + text[at + len(old):]


def survivors(text, failures, checks):
    """Returns 0 if every mutation makes its check fail, and every check has a mutation."""
    missed = 0
    rows = [(title, None, old, new, check, after) for title, old, new, check, *after in MUTATIONS]
    rows += [(title, file, old, new, check, ()) for title, file, old, new, check in MUTATIONS_AROUND]
    for title, file, old, new, check, after in rows:
        expand.around.clear()
        broken = text
        try:
            if file:
                expand.around[file] = mutate(expand.read(file), old, new)
            else:
                broken = mutate(text, old, new, *after)
        except ValueError:
            print(f"STALE    {title}: {file or 'the template'} does not contain {old!r}")
            missed += 1
            continue
        found = failures(broken, only=check)
        names = [name for name, _ in found]
        if check in names:
            message = re.sub(r"\s+", " ", dict(found)[check])
            print(f"caught   {title}: {check}: {message[:110]}")
        else:
            others = [name for name, _ in failures(broken)]
            print(f"SURVIVED {title}: should fail {check}, failed {others or 'nothing'}")
            missed += 1
    unused = set(checks) - {check for _, _, _, _, check, _ in rows}
    for check in sorted(unused):
        print(f"UNTESTED no mutation is for {check}")
    print(f"mutations: {len(rows) - missed} of {len(rows)} caught")
    return 1 if missed or unused else 0
