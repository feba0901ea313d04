"""Checks of the HTTP API: routes, throttling, access log, who may call, domain."""

import json
import re

from expand import equal, get_att, references


ROUTES = {
    "/cdm/client/{client_id}/customer/{ccid}",
    "/cdm/client/{client_id}/customer/{ccid}/add_phone/{phone_number}",
    "/cdm/client/{client_id}/customer/{ccid}/remove_phone/{phone_number}",
    "/cdm/client/{client_id}/phone/{phone_number}",
    "/messaging/client/{client_id}/consent/channel_addr/{phone_number}/channel_type/{channel_type}",
}


def integrations(t):
    for path, methods in t.properties("HttpApi")["Body"]["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation["x-amazon-apigateway-integration"]


def check_routes_are_the_paths_of_the_contract(t):
    """For another path the gateway returns 404, and the function is not billed. For another method the function returns 405."""
    equal(sorted((path, method) for path, method, _ in integrations(t)),
          sorted((path, "x-amazon-apigateway-any-method") for path in ROUTES), "routes")


def check_routes_call_the_alias_with_payload_format_2(t):
    for path, _, integration in integrations(t):
        equal(integration["payloadFormatVersion"], "2.0", f"payload format of {path}")
        assert "FunctionAliaslive" in references(integration["uri"]), f"{path} does not call the alias"


def check_function_times_out_before_the_gateway(t):
    """With a margin for a cold start and for the gateway, so that the caller gets the function's response."""
    timeout = t.properties("Function")["Timeout"]
    for path, _, integration in integrations(t):
        gateway = integration["timeoutInMillis"] / 1000
        assert gateway <= 30, f"an HTTP API waits at most 30 s, not {gateway}"
        assert timeout + 5 <= gateway, f"function timeout {timeout} s, gateway {gateway} s on {path}"
    # Time for several attempts of 1.5 s, and for the calls that settle a write in doubt.
    assert timeout >= 10, f"function timeout {timeout} s"


def check_gateway_throttles(t):
    settings = t.properties("HttpApiApiGatewayDefaultStage")["DefaultRouteSettings"]
    assert 1 <= int(settings["ThrottlingRateLimit"]) <= int(settings["ThrottlingBurstLimit"]) <= 5000, settings


def check_access_log_contains_no_path(t):
    settings = t.properties("HttpApiApiGatewayDefaultStage")["AccessLogSettings"]
    equal(settings["DestinationArn"], get_att("AccessLogs"), "access log's group")
    fields = json.loads(settings["Format"])
    allowed = {
        "$context.requestId", "$context.requestTime", "$context.routeKey", "$context.status",
        "$context.responseLatency", "$context.integrationLatency", "$context.integration.status",
        "$context.integration.error", "$context.error.responseType",
    }
    assert set(fields.values()) <= allowed, f"may contain a path: {set(fields.values()) - allowed}"
    needed = {"requestId", "routeKey", "status", "latency", "integrationLatency", "integrationError"}
    assert needed <= set(fields), f"missing: {needed - set(fields)}"


def check_only_the_gateway_may_invoke_the_function(t):
    permissions = t.of_type("AWS::Lambda::Permission")
    paths = set()
    for name, resource in permissions.items():
        permission = resource["Properties"]
        equal(permission["Principal"], "apigateway.amazonaws.com", f"principal of {name}")
        equal(permission["FunctionName"], {"Ref": "FunctionAliaslive"}, f"function of {name}")
        text, variables = permission["SourceArn"]["Fn::Sub"]
        equal(variables["__ApiId__"], {"Ref": "HttpApi"}, f"API of {name}")
        paths.add(text.split("/${__Stage__}/*", 1)[-1])
    equal(sorted(paths), sorted(re.sub(r"\{[^}]+\}", "*", path) for path in ROUTES), "paths of the permissions")
    assert not t.of_type("AWS::Lambda::Url"), "a function URL bypasses the gateway"


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
