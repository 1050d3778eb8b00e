"""The script that a laboratory writes in an afternoon, for comparison: pyserial, sqlite3, paho-mqtt, requests.

Reads lines from a serial port, commits each to SQLite, publishes it with QoS 1 and waits for the PUBACK, then posts it and
waits for the answer. Reads what the driver has at once, not byte by byte as pyserial's readline does."""
import sqlite3
import sys

import paho.mqtt.client as mqtt
import requests
import serial

device, database, broker_port, url = sys.argv[1:5]

store = sqlite3.connect(database)
store.execute("PRAGMA journal_mode=WAL")
store.execute("PRAGMA synchronous=FULL")
store.execute("CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY, text TEXT)")
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="rival")
client.connect("127.0.0.1", int(broker_port))
client.loop_start()
http = requests.Session()
port = serial.Serial(device, 9600)


def forward(line):
    store.execute("INSERT INTO lines (text) VALUES (?)", (line.decode(),))
    store.commit()
    client.publish("rival/events", line, qos=1).wait_for_publish()
    answer = http.post(url, data=line, headers={"content-type": "application/json"}, timeout=10)
    answer.raise_for_status()


rest = b""
while True:
    rest += port.read(max(1, port.in_waiting))
    *lines, rest = rest.split(b"\n")
    for line in lines:
        if line.strip():
            forward(line)
