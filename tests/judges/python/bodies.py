"""A receiver of seed 000's webhook: the public package's model, and a strict one that takes no key more and none less."""

import json

from each import each
from pluslife.models import PluslifeWebhook

DEVICE = {"hwVersion": str, "swVersion": str, "deviceModel": str, "sn": int, "configuration": str}
TEMPERATURE = {"time": str, "temp": (int, float)}
SAMPLE = {
    "sampleType": int,
    "sampleStreamNumber": int,
    "currentDataIndex": int,
    "totalNumberOfSamples": int,
    "startingChannel": int,
    "numberOfChannels": int,
    "samplingTime": int,
    "samplingTemperature": (int, float),
    "firstChannelResult": int,
}
RESULT = {
    "detectionType": int,
    "detectionFlowNumber": int,
    "detectionResult": str,
    "numberOfChannels": int,
    "startingChannel": int,
    "channelResults": list,
    "numberOfSubGroups": int,
    "subGroupResults": list,
}


def exactly(value, shape):
    assert list(value) == [key for key in shape], f"{list(value)} where {list(shape)} is documented"
    for key, kind in shape.items():
        assert isinstance(value[key], kind) and not isinstance(value[key], bool), key


def judge(case):
    body = json.loads(case["body"], parse_constant=lambda word: 1 / 0)
    exactly(body, {"version": int, "event": str, "device": dict, "test": dict})
    assert body["version"] == 0 and body["event"] == case["event"]
    exactly(body["device"], DEVICE)
    test = body["test"]
    finished = "result" in test
    assert finished == (body["event"] == "TEST_FINISHED")
    exactly(test, {"state": str, "result": dict, "data": dict} if finished else {"state": str, "data": dict})
    if finished:
        exactly(test["result"], RESULT)
        for group in test["result"]["subGroupResults"]:
            assert sorted(group) == ["name", "result"], group
    exactly(test["data"], {"temperatureSamples": list, "samples": list})
    for temperature in test["data"]["temperatureSamples"]:
        exactly(temperature, TEMPERATURE)
    for sample in test["data"]["samples"]:
        exactly(sample, SAMPLE)

    webhook = PluslifeWebhook(body)
    assert webhook.event.name == body["event"] and webhook.state.name == test["state"]
    assert webhook.serial_number == body["device"]["sn"]
    assert [sample.to_json() for sample in webhook.samples] == test["data"]["samples"]
    assert len(webhook.temperatureSamples) == len(test["data"]["temperatureSamples"])
    if finished:
        assert webhook.result.detectionResult.name == test["result"]["detectionResult"]


each(judge)
