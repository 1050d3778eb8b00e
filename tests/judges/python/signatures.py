"""The two libraries that receivers verify Standard Webhooks with, under their own header names, at the time of the attempt."""

from datetime import datetime, timezone

import standardwebhooks.webhooks
from each import each
from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as Svix


class Then(datetime):
    """A clock that stands at the attempt, so that the tolerance is judged as well."""

    at = 0.0

    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(cls.at, tz or timezone.utc)


standardwebhooks.webhooks.datetime = Then


def refused(verify):
    try:
        verify()
    except WebhookVerificationError:
        return
    raise AssertionError("what should be refused is accepted")


def judge(case):
    headers, body = case["headers"], case["body"]
    named = ("id", "timestamp", "signature")
    svix = {f"svix-{name}": headers[f"webhook-{name}"] for name in named}
    for secret in case["secrets"]:
        Then.at = case["at"]
        standard = lambda text: Webhook(secret).verify(text, headers, json_parse=False)
        standard(body)
        Svix(secret).verify(body, dict(svix))
        refused(lambda: standard(body + " "))
        refused(lambda: Svix(secret).verify(body + " ", dict(svix)))
        for away in (-400, 400):
            Then.at = case["at"] + away
            refused(lambda: standard(body))


each(judge)
