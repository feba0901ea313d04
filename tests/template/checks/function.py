"""Checks of the function's configuration and its logs."""

from expand import equal, table_in_use


def check_function_has_the_measured_configuration(t):
    function = t.properties("Function")
    equal(function["Runtime"], "provided.al2023", "runtime")
    equal(function["Handler"], "bootstrap", "handler")
    equal(function["MemorySize"], 256, "memory")
    equal(function["Architectures"], ["arm64"], "architecture")
    equal(t.parameters["Architecture"]["AllowedValues"], ["arm64", "x86_64"], "allowed architectures")
    equal(function["TracingConfig"], {"Mode": "Active"}, "X-Ray")
    assert "VpcConfig" not in function and "Layers" not in function, "a VPC and layers slow down a cold start"


def check_function_environment_variables(t):
    equal(t.properties("Function")["Environment"]["Variables"], {
        "TABLE_NAME": table_in_use(t),
        "KEY_CACHE_SECONDS": "60",
        "LOG_LEVEL": "info",
        "AWS_ENDPOINT_URL_DYNAMODB": "",
    }, "environment")


def check_reserved_concurrency_is_unset_by_default(t):
    wanted = t.holds("HasReservedConcurrency")
    equal(t.properties("Function").get("ReservedConcurrentExecutions"), "50" if wanted else None, "reserved concurrency")


def check_function_logs_json_to_its_log_group(t):
    """With TRACE, Lambda drops no line, so that only LOG_LEVEL decides. With INFO, it writes the reports that InitErrors counts."""
    equal(t.properties("Function")["LoggingConfig"], {
        "LogGroup": {"Ref": "FunctionLogs"}, "LogFormat": "JSON",
        "ApplicationLogLevel": "TRACE", "SystemLogLevel": "INFO",
    }, "logging")


def check_every_log_group_expires(t):
    groups = t.of_type("AWS::Logs::LogGroup")
    equal(set(groups), {"FunctionLogs", "AccessLogs", "ProbeLogs"}, "log groups")
    for name, group in groups.items():
        equal(group["Properties"].get("RetentionInDays"), "90", f"retention of {name}")
        assert group.get("DeletionPolicy") == group.get("UpdateReplacePolicy") == "Delete", f"{name} is not deleted with its stack"
