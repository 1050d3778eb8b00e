"""Subscribes to everything with paho and judges each message by the schemas beside docs/mqtt.md.

Arguments: the broker's port, the file of schemas. Says `ready`, waits for a line, then `ok PATTERN` or `bad TOPIC: why` for each
message, and `judged`.
"""

import json
import sys
import threading

import jsonschema
from paho.mqtt import client as mqtt

ROOT = "analyzer-gateway/box/"


def matches(pattern, rest):
    wanted, levels = pattern.split("/"), rest.split("/")
    same = lambda word, level: word == level or (word.startswith("<") and level)
    return len(wanted) == len(levels) and all(same(*pair) for pair in zip(wanted, levels))


def main():
    port, schemas = int(sys.argv[1]), json.load(open(sys.argv[2], encoding="utf-8"))
    heard, subscribed, stopped = [], threading.Event(), threading.Event()

    def on_message(_client, _data, message):
        heard.append((message.topic, message.payload, message.qos))
        if message.topic == ROOT + "status" and b'"cause":"stopped"' in message.payload:
            stopped.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho")
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert subscribed.wait(30), "no subscription"
    print("ready", flush=True)
    sys.stdin.readline()
    assert stopped.wait(30), "the good-bye has not come"
    client.disconnect()
    client.loop_stop()
    for topic, payload, qos in heard:
        rest = topic.removeprefix(ROOT)
        pattern = next((pattern for pattern in schemas if matches(pattern, rest)), None)
        why = None
        if pattern is None or qos != 1:
            why = f"no such topic, or QoS {qos}"
        elif payload:
            format_checker = jsonschema.FormatChecker()
            validator = jsonschema.Draft202012Validator(schemas[pattern], format_checker=format_checker)
            why = "; ".join(error.message for error in validator.iter_errors(json.loads(payload)))
        print(f"bad {topic}: {why}" if why else f"ok {pattern}")
    print("judged", flush=True)


main()
