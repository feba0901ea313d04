"""Ways to break template.yaml. Each must make the check that is named beside it fail: so the checks are checked.

A mutation is a title, a text that stands in the template, what to put in its place, and the check. A text that stands
there more than once is replaced where it stands first after `after`.
"""

import re

import expand

MUTATIONS = [
    # The way in
    ("a route only for PUT", "Method: ANY", "Method: PUT", "check_routes_are_the_contracts_paths_with_any_method", "AddPhone:"),
    ("a catch-all route",
     "Path: /cdm/client/{client_id}/customer/{ccid}\n", "Path: /{proxy+}\n",
     "check_routes_are_the_contracts_paths_with_any_method"),
    ("payload 1.0", 'PayloadFormatVersion: "2.0"', 'PayloadFormatVersion: "1.0"', "check_routes_call_the_alias_with_payload_2"),
    ("a way past the gateway", "      AutoPublishAlias: live\n",
     "      AutoPublishAlias: live\n      FunctionUrlConfig:\n        AuthType: NONE\n",
     "check_only_the_gateway_may_call_and_only_on_its_routes"),
    ("no alias", "      AutoPublishAlias: live\n", "", "expand"),
    ("a function that outlasts the gateway", "      Timeout: 15\n", "      Timeout: 30\n", "check_function_times_out_before_the_gateway"),
    ("a gateway that gives up first", "TimeoutInMillis: 30000", "TimeoutInMillis: 10000", "check_function_times_out_before_the_gateway"),
    ("no throttling", "        ThrottlingRateLimit: !Ref ThrottleRate\n", "", "check_gateway_throttles"),
    ("the path in the access log", '"routeKey":"$context.routeKey"', '"routeKey":"$context.routeKey","path":"$context.path"',
     "check_access_log_never_holds_the_path"),
    ("a caller-chosen value in the access log", '"$context.routeKey"', '"$context.identity.userAgent"',
     "check_access_log_never_holds_the_path"),
    ("old TLS on the domain", "SecurityPolicy: TLS_1_2", "SecurityPolicy: TLS_1_0", "check_domain_and_base_path_are_optional"),
    # The function
    ("twice the memory", "MemorySize: 256", "MemorySize: 512", "check_function_is_what_was_measured"),
    ("another runtime", "Runtime: provided.al2023", "Runtime: provided.al2", "check_function_is_what_was_measured"),
    ("no X-Ray", "      Tracing: Active\n", "", "check_function_is_what_was_measured"),
    ("an endpoint of someone else's", 'AWS_ENDPOINT_URL_DYNAMODB: ""', 'AWS_ENDPOINT_URL_DYNAMODB: "http://example.com"',
     "check_function_environment"),
    ("concurrency reserved in new accounts", "    Default: -1\n", "    Default: 10\n",
     "check_reserved_concurrency_is_unset_by_default"),
    ("plain text logs", "LogFormat: JSON", "LogFormat: Text", "check_function_logs_json_to_its_own_group"),
    ("platform reports dropped", "SystemLogLevel: INFO", "SystemLogLevel: WARN", "check_function_logs_json_to_its_own_group"),
    ("a log group that Lambda makes itself", "        LogGroup: !Ref FunctionLogs\n", "", "check_function_logs_json_to_its_own_group"),
    ("logs kept for ever", "      RetentionInDays: !Ref LogRetentionDays\n", "", "check_every_log_group_expires", "\n  FunctionLogs:"),
    ("access logs kept for ever", "      RetentionInDays: !Ref LogRetentionDays\n", "", "check_every_log_group_expires", "\n  AccessLogs:"),
    # Permissions
    ("one action more", "Action: dynamodb:GetItem\n", "Action: [dynamodb:GetItem, dynamodb:Query]\n", "check_function_may_do_exactly_this"),
    ("an action that the boundary forbids", "                  - lambda:GetAlias\n", "                  - lambda:DeleteAlias\n",
     "check_pipelines_boundary_lets_the_roles_work"),
    ("every action", "- dynamodb:UpdateItem\n                  Resource", '- "dynamodb:*"\n                  Resource', "check_no_wildcards_but_xrays"),
    ("every table", "                  - !GetAtt Table.Arn\n", '                  - "*"\n', "check_no_wildcards_but_xrays"),
    ("lone updates",
     "                    ForAnyValue:StringEquals:\n                      dynamodb:EnclosingOperation: TransactWriteItems\n", "",
     "check_function_may_do_exactly_this"),
    ("keys may be minted", "dynamodb:LeadingKeys: CLIENT#*", 'dynamodb:LeadingKeys: "*"', "check_function_may_do_exactly_this"),
    ("AWS's managed policy on top", "      Description: What the phone number function may do\n",
     "      ManagedPolicyArns: [arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess]\n", "check_function_may_do_exactly_this"),
    ("the wrong role", "      Role: !GetAtt FunctionRole.Arn\n", "      Role: !GetAtt DeploymentRole.Arn\n",
     "check_function_may_do_exactly_this"),
    ("anyone may take the role", "Service: lambda.amazonaws.com", 'AWS: "*"', "check_roles_trust_one_service_each"),
    ("CodeDeploy may move every alias", "                  - !GetAtt Function.Arn\n                  - !Sub ${Function.Arn}:*\n",
     '                  - "*"\n', "check_deployment_role_moves_this_alias_and_reads_this_stacks_alarms"),
    ("operators may drop the table", "              - dynamodb:DeleteItem\n", "              - dynamodb:DeleteTable\n",
     "check_operator_policy", "  OperatorPolicy:"),
    ("a role without the boundary",
     "        - !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${PermissionsBoundary}\n", "        - !Ref AWS::NoValue\n",
     "check_every_role_takes_the_boundary", "DeploymentRole:\n    Type"),
    # The table
    ("a table deleted with its stack", "    DeletionPolicy: Retain\n", "    DeletionPolicy: Delete\n",
     "check_table_survives_the_stack_and_mistakes"),
    ("a table lost by a replacement", "    UpdateReplacePolicy: Retain\n", "",
     "check_table_survives_the_stack_and_mistakes", "  Table:"),
    ("no deletion protection", "DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false",
     "check_table_survives_the_stack_and_mistakes"),
    ("no way back in time", "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false",
     "check_table_survives_the_stack_and_mistakes"),
    ("Contributor Insights", "        Enabled: false\n", "        Enabled: true\n", "check_table_shows_keys_to_nobody"),
    ("a stream", "      BillingMode: PAY_PER_REQUEST\n",
     "      BillingMode: PAY_PER_REQUEST\n      StreamSpecification:\n        StreamViewType: NEW_IMAGE\n",
     "check_table_shows_keys_to_nobody"),
    ("an index of another type", "{ AttributeName: created_at, AttributeType: N }", "{ AttributeName: created_at, AttributeType: S }",
     "check_table_keys_and_index"),
    ("no cap on cost",
     "      OnDemandThroughput:\n        MaxReadRequestUnits: !Ref MaxReadUnits\n        MaxWriteRequestUnits: !Ref MaxWriteUnits\n", "",
     "check_table_is_on_demand_with_a_cap"),
    ("a cap below the gateway's rate", "    Default: 4000\n", "    Default: 100\n", "check_table_is_on_demand_with_a_cap", "MaxWriteUnits:"),
    ("a customer's key that leaves the table out",
     "          KMSMasterKeyId: !Ref KmsKeyArn\n", "", "check_customer_managed_key_covers_everything"),
    ("a customer's key that leaves the log out",
     "      KmsKeyId: !If [HasKmsKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n", "",
     "check_customer_managed_key_covers_everything", "\n  FunctionLogs:"),
    # Watching and rolling back
    ("no alarm on failed starts", "          - !Ref InitErrorsAlarm\n", "", "check_new_versions_are_tried_on_a_tenth_and_rolled_back"),
    ("a deaf alarm", "      Threshold: 100\n", "      Threshold: 100000\n", "check_alarms_watch_what_matters"),
    ("an alarm that is content with less", "      EvaluationPeriods: 1\n", "      EvaluationPeriods: 1\n      DatapointsToAlarm: 1\n",
     "check_alarms_watch_what_matters"),
    ("a probe every half hour that may fail once", '"30": { Seconds: 5700 }', '"30": { Seconds: 1800 }',
     "check_probes_alarm_waits_for_three_runs_and_late_data"),
    ("an alarm that cannot be switched off", "    Condition: HasUnauthorizedAlarm\n", "", "check_optional_alarms_can_be_switched_off"),
    ("an alarm that fires in every new stack", "  NoTrafficMinutes:\n    Type: Number\n    Default: 0\n",
     "  NoTrafficMinutes:\n    Type: Number\n    Default: 60\n", "check_optional_alarms_can_be_switched_off"),
    ("an alarm that is calm when data is missing no more", "TreatMissingData: notBreaching", "TreatMissingData: breaching",
     "check_alarms_watch_what_matters"),
    ("an alarm on every function of the account",
     "              MetricName: Throttles\n              Dimensions:\n                - { Name: FunctionName, Value: !Ref Function }\n",
     "              MetricName: Throttles\n", "check_alarms_watch_this_stack_alone"),
    ("an alarm on another function than the probe", "{ Name: FunctionName, Value: !Ref Probe }", "{ Name: FunctionName, Value: !Ref Function }",
     "check_alarms_watch_this_stack_alone"),
    ("an alarm that is not on the dashboard", "${OptionalProbe}]", "]", "check_dashboard_shows_health_refusals_and_cost"),
    ("an alarm that tells nobody", "      AlarmActions: !If [HasAlarmTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]\n", "",
     "check_alarms_reach_someone", "\n  ConflictsAlarm:"),
    ("an alarm without a page", "docs/operate.md#conflicts", "docs/operate.md#nowhere", "check_every_alarm_has_its_page"),
    ("a filter that counts good starts", '$.record.status != "success"', '$.record.status = "success"',
     "check_metric_filters_feed_their_alarms"),
    ("all at once", "    Default: Canary10Percent10Minutes\n", "    Default: AllAtOnce\n",
     "check_new_versions_are_tried_on_a_tenth_and_rolled_back"),
    ("no canary at all", "        Enabled: true\n        Type: !If",
     "        Enabled: false\n        Type: !If", "check_new_versions_are_tried_on_a_tenth_and_rolled_back"),
    ("an alarm that waits for the API that waits for it", "          - !Ref ServerErrorsAlarm\n", "          - !Ref GatewayErrorsAlarm\n",
     "check_nothing_waits_for_itself"),
    ("a metric that the function does not write", "MetricName: Errors5xx", "MetricName: Errors6xx", "check_metrics_are_those_the_function_writes"),
    ("a metric by client", "- { Name: operation, Value: add_phone }", "- { Name: client_id, Value: add_phone }",
     "check_metrics_are_those_the_function_writes"),
    ("a dashboard that is not JSON", '"periodOverride": "inherit",', '"periodOverride": inherit,',
     "check_dashboard_shows_health_refusals_and_cost"),
    ("a dashboard with an old price", "wcu * 0.625", "wcu * 1.25", "check_dashboard_uses_the_price_list"),
    ("a saved query on another group", "LogGroupNames: [!Ref AccessLogs]", "LogGroupNames: [/aws/lambda/other]",
     "check_saved_queries_read_this_stacks_logs"),
    # What a deployment does
    ("a parameter that reaches no caller", "keys=${KeyCacheSeconds}s ", "", "check_a_parameter_publishes_a_version_exactly_if_it_reaches_one"),
    ("a restored table that reaches no caller", "table=${TableInUse} ", "",
     "check_a_parameter_publishes_a_version_exactly_if_it_reaches_one"),
    ("a parameter that publishes what has not changed", "log=${LogLevel} ", "log=${LogLevel} throttle=${ThrottleRate} ",
     "check_a_parameter_publishes_a_version_exactly_if_it_reaches_one"),
    ("a new version of a function that is as it was",
     "log=${LogLevel} ${Architecture}", "log=${LogLevel}", "check_a_parameter_publishes_a_version_exactly_if_it_reaches_one",
     "\n      Description: !Sub"),
    ("a property that reaches no caller", "      AutoPublishAliasAllProperties: true\n", "", "check_a_property_publishes_a_version"),
    ("no version to go back to", "    UpdateReplacePolicy: Retain\n", "", "check_versions_before_stay_for_a_rollback", "  Function:"),
    ("a description that Lambda refuses", "    MaxLength: 20\n", "    MaxLength: 40\n", "check_a_versions_description_fits"),
    ("a restored table whose name Lambda refuses", "    MaxLength: 148\n", "    MaxLength: 255\n", "check_a_versions_description_fits"),
    ("a stop of writes that the alarms undo", "    - !Equals [!Ref Writes, stopped]\n", "    - !Equals [!Ref Writes, never]\n",
     "check_a_stop_of_writes_is_not_undone_by_the_alarms_it_raises"),
    ("alarms that stay on the group", "          - [!Ref AWS::NoValue]\n", "          - [!Ref LatencyAlarm]\n",
     "check_a_stop_of_writes_is_not_undone_by_the_alarms_it_raises"),
    ("a stop of writes that stops nothing", "  WritesAreStopped: !Equals [!Ref Writes, stopped]", "  WritesAreStopped: !Equals [!Ref Writes, never]",
     "check_a_stop_of_writes_takes_the_right_to_write"),
    ("a permission that moves with the switch", "table/${AWS::StackName}-restored-*\n", "table/${RestoredTable}\n",
     "check_no_permission_moves_with_a_switch"),
    ("a version that no one tries", "        Hooks:\n          PreTraffic: !Ref PreTrafficHook\n", "",
     "check_a_new_version_is_tried_before_traffic"),
    ("a hook that tries the old version", "VERSION: !Ref Function.Version", "VERSION: !Ref Function.Alias",
     "check_a_new_version_is_tried_before_traffic"),
    ("a probe of the function that no caller reaches", "VERSION: !Ref Function.Alias", "VERSION: !Ref Function",
     "check_a_schedule_tries_the_live_version"),
    ("a schedule without its probe", "    Type: AWS::Scheduler::Schedule\n    Condition: HasProbe\n", "    Type: AWS::Scheduler::Schedule\n",
     "check_a_schedule_tries_the_live_version"),
    ("a hook that may write records", "dynamodb:LeadingKeys: KEY#*", "dynamodb:LeadingKeys: \"*\"",
     "check_what_tries_a_version_may_do_exactly_this", "  PreTrafficHookRole:"),
    ("a prod that wakes no one", '!Equals [!Ref RequireAlarmTopic, "yes"]', '!Equals [!Ref RequireAlarmTopic, "prod"]',
     "check_prod_is_not_deployed_without_an_alarm_topic"),
    ("an operators' policy that a pipeline can rewrite", "    Condition: MakesOperatorPolicy\n", "",
     "check_no_pipeline_rewrites_what_operators_may_do"),
    ("a table that is warmed unasked", "  IsWarmed: !Not [!Equals [!Ref WarmWriteUnits, \"0\"]]",
     "  IsWarmed: !Not [!Equals [!Ref WarmWriteUnits, \"1\"]]", "check_the_table_is_warmed_only_on_request"),
    # Around it
    ("a parameter renamed under samconfig", "  LogRetentionDays:\n    Type", "  LogDays:\n    Type",
     "check_samconfig_sets_only_what_the_template_has"),
    ("a hook that is cut off", "      Timeout: 300\n", "      Timeout: 120\n", "check_the_hook_can_report_before_its_time_is_over"),
    ("a probe that Lambda runs again", "        MaximumRetryAttempts: 0\n        MaximumEventAgeInSeconds", "        MaximumRetryAttempts: 2\n        MaximumEventAgeInSeconds",
     "check_lambda_runs_a_failed_probe_once"),
    ("a bucket nobody asked for", "\nOutputs:\n", "\n  Bucket:\n    Type: AWS::S3::Bucket\n\nOutputs:\n", "check_nothing_else_is_made"),
    ("a table of many names", "  TableName:\n    Description", "  Tables:\n    Description", "check_outputs"),
]

# The same for the files around the template.
MUTATIONS_AROUND = [
    ("dev without a canary", "samconfig.toml", "DeploymentType=Canary10Percent10Minutes", "DeploymentType=AllAtOnce",
     "check_dev_shows_the_canary_of_prod"),
    ("a dev with a shorter canary", "samconfig.toml", "DeploymentType=Canary10Percent10Minutes", "DeploymentType=Canary10Percent5Minutes",
     "check_dev_shows_the_canary_of_prod"),
    ("artifacts that expire", "deploy/pipeline.yaml", "            NoncurrentVersionExpiration:", "            ExpirationInDays: 90\n            NoncurrentVersionExpiration:",
     "check_a_rollback_finds_its_code"),
    ("no job on arm64", ".github/workflows/build.yml", "runner: ubuntu-24.04-arm", "runner: ubuntu-24.04",
     "check_what_ships_is_built_tested_and_tried_on_arm64"),
    ("a prod that needs no topic", "samconfig.toml", "RequireAlarmTopic=yes", "RequireAlarmTopic=no",
     "check_prod_is_not_deployed_without_an_alarm_topic"),
    ("a role for every branch", "deploy/pipeline.yaml",
     "                token.actions.githubusercontent.com:ref: !Sub refs/heads/${Branch}\n", "",
     "check_only_the_branch_that_deploys_may_take_the_deploy_role"),
    ("a role for every repository", "deploy/pipeline.yaml", "repo:${Repository}:environment", "repo:*:environment",
     "check_only_the_branch_that_deploys_may_take_the_deploy_role"),
    ("a pipeline that rewrites policies", "deploy/pipeline.yaml", "                  - iam:DeleteRole\n",
     "                  - iam:DeleteRole\n                  - iam:CreatePolicyVersion\n", "check_no_pipeline_rewrites_what_operators_may_do"),
    ("operators with fewer rights behind a pipeline", "deploy/pipeline.yaml", "              - dynamodb:Scan\n", "",
     "check_no_pipeline_rewrites_what_operators_may_do"),
    ("a smoke test that may not ask", "deploy/pipeline.yaml", "                  - lambda:GetAlias\n", "", "check_the_smoke_test_may_ask_what_it_asks"),
    ("a role that cannot be handed on", "deploy/pipeline.yaml", "                      - scheduler.amazonaws.com\n", "",
     "check_the_pipeline_may_make_what_is_new_here"),
    ("a schedule of another name", "deploy/pipeline.yaml", "schedule/default/${StackName}-probe", "schedule/default/${StackName}",
     "check_the_pipeline_may_make_what_is_new_here"),
    ("a boundary that stops the probe", "deploy/pipeline.yaml", "              - lambda:InvokeFunction\n", "",
     "check_pipelines_boundary_lets_the_roles_work"),
]


def mutate(text, old, new, after=""):
    start = text.index(after)
    at = text.index(old, start)
    return text[:at] + new + text[at + len(old):]


def survivors(text, failures):
    """0 if every mutation makes its check fail."""
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
            print(f"STALE    {title}: {file or 'the template'} no longer says {old!r}")
            missed += 1
            continue
        found = failures(broken, only=check)
        names = [name for name, _ in found]
        if check in names:
            message = re.sub(r"\s+", " ", dict(found)[check])
            print(f"caught   {title}: {check}: {message[:110]}")
        else:
            others = [name for name, _ in failures(broken)]
            print(f"SURVIVED {title}: meant to fail {check}, failed {others or 'nothing'}")
            missed += 1
    unused = {check.__name__ for check in __import__("check").CHECKS}
    unused -= {check for _, _, _, _, check, _ in rows}
    for check in sorted(unused):
        print(f"UNTRIED  no mutation is meant for {check}")
    print(f"mutations: {len(rows) - missed} of {len(rows)} caught")
    return 1 if missed or unused else 0
