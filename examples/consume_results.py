"""Print every result of every device, with nothing but paho: consume_results.py HOST PORT."""

import json
import sys

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion


def show(_client: Client, _userdata: object, message: MQTTMessage) -> None:
    for row in json.loads(message.payload).get("rows", []):
        print(message.topic.split("/")[4], row["seq"], row["label"], row["score"], flush=True)


client = Client(CallbackAPIVersion.VERSION2)
client.on_message = show
client.connect(sys.argv[1], int(sys.argv[2]))
client.subscribe("edgeml/1/+/d/+/results", qos=1)
client.loop_forever()
