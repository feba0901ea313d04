"""The smallest loop that serves a handler. The Python client of AWS does more, so the figures favor Python slightly."""

import http.client
import json
import os

from function import handler

runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
PREFIX = "/2018-06-01/runtime/invocation"
while True:
    runtime.request("GET", f"{PREFIX}/next")
    response = runtime.getresponse()
    event = json.loads(response.read())
    result = json.dumps(handler(event))
    runtime.request("POST", f"{PREFIX}/{response.headers['Lambda-Runtime-Aws-Request-Id']}/response", result)
    runtime.getresponse().read()
