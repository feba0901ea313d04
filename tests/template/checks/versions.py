"""Checks of which changes publish a version of the function."""

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from expand import EVERY_OPTION, Expanded, equal


# These properties belong to the function only, or cannot change for a published version.
NOT_OF_A_VERSION = {"Description", "ReservedConcurrentExecutions", "Tags"}


# The parameters that change a version. A list, so that the check fails if one no longer does.
REACHES_THE_VERSION = {"Architecture", "KeyCacheSeconds", "KmsKeyArn", "LogLevel", "RestoredTable"}


# Other values of parameters that have no AllowedValues and are not numbers.
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


# CloudFormation replaces a version if one of these properties changes. The list is from CloudFormation's schema, which
# cfn-lint contains. In 2021 Description was not in it, and a deployment that changed it failed
# (https://github.com/aws/serverless-application-model/issues/2786).
REPLACES_A_VERSION = {
    path.removeprefix("/properties/")
    for path in PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Lambda::Version").schema["createOnlyProperties"]
}


def version_of(t):
    """The logical id of the version, and the properties for which CloudFormation replaces it when they change."""
    [(name, version)] = t.of_type("AWS::Lambda::Version").items()
    return name, {key: value for key, value in t.settled(version["Properties"]).items() if key in REPLACES_A_VERSION}


def configuration_of(t):
    """The properties that a version of the function copies."""
    properties = t.settled(t.properties("Function"))
    return {name: value for name, value in properties.items() if name not in NOT_OF_A_VERSION}


def check_parameter_publishes_a_version_only_if_it_changes_one(t):
    """In both directions: without a new version a change does not reach callers, and CloudFormation rejects a new version if
    the function did not change."""
    if t.given:
        return  # Only from the defaults, one parameter at a time.
    reaches = set()
    for name, parameter in t.parameters.items():
        changed = Expanded(t.text, {name: other_value(name, parameter)})
        alters = configuration_of(changed) != configuration_of(t)
        publishes = version_of(changed) != version_of(t)
        # Lambda compares the function, with its description, with the last version.
        renewed = changed.settled(changed.properties("Function")["Description"]) != t.settled(t.properties("Function")["Description"])
        equal(renewed, publishes, f"{name} publishes a version, and changes the function that is published")
        if name == "Release":
            assert publishes, "a new Release publishes no version"
            continue
        equal(publishes, alters, f"{name} alters the version's configuration, and publishes a version")
        if alters:
            reaches.add(name)
    equal(sorted(reaches), sorted(REACHES_THE_VERSION), "the parameters that reach the version")


def check_changed_property_publishes_a_version(t):
    """A new value in the template changes SAM's hash of all properties, which is in the version's name."""
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


def check_old_versions_are_retained(t):
    """For a rollback. DeletionPolicy keeps a version with another name (new code), UpdateReplacePolicy one with the same name (a new description)."""
    [version] = t.of_type("AWS::Lambda::Version").values()
    equal(version.get("DeletionPolicy"), "Retain", "deletion policy of a version")
    equal(version.get("UpdateReplacePolicy"), "Retain", "replacement policy of a version")


def check_version_description_fits(t):
    """At most 256 characters, in the function and in the version. CloudFormation builds a table's name from the stack's name
    (at most 128 characters), the logical id, and 12 to 14 characters."""
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
