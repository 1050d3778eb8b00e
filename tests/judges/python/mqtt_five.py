"""A subscriber and commander of MQTT 5, by paho: prints each message with its properties, one JSON line each, and gives one
command with a response topic and correlation data. Arguments: port, and the command's payload."""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, command = int(sys.argv[1]), sys.argv[2]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="five", protocol=mqtt.MQTTv5)


def heard(client, userdata, message):
    given = message.properties
    print(
        json.dumps(
            {
                "topic": message.topic,
                "payload": json.loads(message.payload) if message.payload else None,
                "retain": message.retain,
                "content_type": getattr(given, "ContentType", None),
                "expiry": getattr(given, "MessageExpiryInterval", None),
                "user": dict(getattr(given, "UserProperty", [])),
                "correlation": getattr(given, "CorrelationData", b"").decode(),
            }
        ),
        flush=True,
    )


def subscribed(client, userdata, mid, reasons, properties):
    wanted = Properties(PacketTypes.PUBLISH)
    wanted.ResponseTopic = "answers/five"
    wanted.CorrelationData = b"correlated"
    client.publish("analyzer-gateway/box/commands/request", command, qos=1, properties=wanted)
    wanted.ResponseTopic = "analyzer-gateway/other/status"
    forged = json.dumps(dict(json.loads(command), id="elsewhere"))
    client.publish("analyzer-gateway/box/commands/request", forged, qos=1, properties=wanted)


client.on_message = heard
client.on_subscribe = subscribed
client.connect("127.0.0.1", port)
client.subscribe("#", qos=1)
client.loop_forever()
