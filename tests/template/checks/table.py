"""Checks of the DynamoDB table."""

from expand import EVERY_OPTION, equal


def check_table_is_protected_from_deletion(t):
    table = t.resources["Table"]
    equal(table.get("DeletionPolicy"), "Retain", "deletion policy")
    equal(table.get("UpdateReplacePolicy"), "Retain", "replacement policy")
    equal(table["Properties"].get("DeletionProtectionEnabled"), True, "deletion protection")
    equal(table["Properties"].get("PointInTimeRecoverySpecification"),
          {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 35}, "point-in-time recovery")
    assert "TableName" not in table["Properties"], "a fixed name prevents a replacement and a second stack"


def check_table_exposes_no_keys(t):
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


def check_table_is_on_demand_with_a_limit(t):
    table = t.properties("Table")
    equal(table["BillingMode"], "PAY_PER_REQUEST", "billing")
    limit = {name: int(value) for name, value in table["OnDemandThroughput"].items()}
    equal(set(limit), {"MaxReadRequestUnits", "MaxWriteRequestUnits"}, "limits")
    # The gateway must throttle first: its 429 says that nothing was executed, but a throttled table causes a 500.
    rate = int(t.properties("HttpApiApiGatewayDefaultStage")["DefaultRouteSettings"]["ThrottlingRateLimit"])
    assert limit["MaxWriteRequestUnits"] >= 4 * rate, f"{rate} adds a second take {4 * rate} write units, the limit is {limit}"
    assert limit["MaxReadRequestUnits"] >= 3 * rate, f"{rate} reads of full records take {3 * rate} read units, the limit is {limit}"


def check_table_is_warmed_only_on_request(t):
    """DynamoDB raises the warm throughput as traffic grows, and rejects a lower value. So a default would make a later deployment fail."""
    expected = {"ReadUnitsPerSecond": "50000", "WriteUnitsPerSecond": "40000"} if "WarmWriteUnits" in t.given else None
    equal(t.properties("Table").get("WarmThroughput"), expected, "warm throughput")
    [assertion] = t.document["Rules"]["WarmReadsNeedWarmWrites"]["Assertions"]
    equal(assertion["Assert"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "WarmWriteUnits"}, "0"]}]}, "the rule against warm reads without warm writes")


def check_kms_key_encrypts_everything(t):
    key = EVERY_OPTION["KmsKeyArn"] if t.holds("HasKmsKey") else None
    sse = t.properties("Table").get("SSESpecification")
    equal(sse, {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key} if key else None, "the table's key")
    for name in t.of_type("AWS::Lambda::Function"):
        equal(t.properties(name).get("KmsKeyArn"), key, f"the key of {name}'s environment")
    for name, group in t.of_type("AWS::Logs::LogGroup").items():
        equal(group["Properties"].get("KmsKeyId"), key, f"key of {name}")
