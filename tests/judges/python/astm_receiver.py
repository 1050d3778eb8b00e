"""A public receiver of LIS01-A2 sessions, `labmcp-astm-lis`, on a free port. The first line it prints is the port; for each
line that it reads it prints what it has stored, as JSON: for each message whether it is complete, its sample ids, how many
results it has."""

import json
import sys

from labmcp_astm_lis.driver import ASTMReceiver, ListenTransport, ResultStore

link = ListenTransport("127.0.0.1", 0)
store = ResultStore(redacted=False)
receiver = ASTMReceiver(lambda: link, mode="tcp-listen", where="bench", store=store, redact=False)
print(link.port, flush=True)
for _ in sys.stdin:
    messages, _ = store.messages(limit=5000)
    shown = [
        [message.complete, sorted({result.sample_id or result.specimen_id for result in message.results}), len(message.results)]
        for message in messages
    ]
    print(json.dumps(shown), flush=True)
