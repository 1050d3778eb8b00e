"""The parser `hl7` on each ORU: the fields are where they belong and say what the event says."""

import hl7
from each import each


def judge(case):
    message = hl7.parse(case["message"])
    header = message.segment("MSH")
    assert str(header[9]) == "ORU^R01^ORU_R01" and str(header[12]) == "2.5.1" and str(header[18]) == "UNICODE UTF-8"
    assert 0 < len(str(header[10])) <= 20
    assert str(header[11]) == case["processing"]
    assert str(message.segment("OBR")[3]) and str(message.segment("OBR")[25])
    results = message.segments("OBX") if case["results"] else []
    values = [[message.unescape(str(result[number])) for number in (5, 6, 7)] for result in results]
    assert values == case["results"], values
    for index, result in enumerate(results):
        assert str(result[1]) == str(index + 1)
        assert str(result[2]) in ("NM", "ST")
        if str(result[2]) == "NM":
            float(str(result[5]))
    if case["sample"] is not None:
        assert message.unescape(str(message.segment("SPM")[2][0][1])) == case["sample"]


each(judge)
