"""Reads cases as JSON, `[{secret, headers, body}]`, and prints for each whether the library takes it, as JSON."""
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def takes(case):
    try:
        Webhook(case["secret"]).verify(case["body"], case["headers"])
        return True
    except WebhookVerificationError:
        return False


print(json.dumps([takes(case) for case in json.load(sys.stdin)]))
