"""An analyzer made of other people's libraries: sends messages and prints, a line of JSON each, what their parsers read in the
answers. Arguments: the library, and `tcp` with a port, or `line` with the path of a pseudo-terminal to be made and the gateway's log."""

import json
import os
import pathlib
import socket
import sys
import time
import tty

import hl7
import hl7.client
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.parser import parse_message

SECONDS_MAX = 50


def tell(name, code):
    print(json.dumps({"name": name, "code": code}), flush=True)


class Line:
    """The analyzer's end of a serial line, with what a socket has."""

    def __init__(self, path):
        self.fd, slave = os.openpty()
        tty.setraw(self.fd)
        tty.setraw(slave)
        os.symlink(os.ttyname(slave), path)
        os.close(slave)

    def send(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view):]

    sendall = send

    def recv(self, count):
        return os.read(self.fd, count)

    def close(self):
        os.close(self.fd)


def connected(way, where, log=None):
    if way == "tcp":
        return socket.create_connection(("127.0.0.1", int(where)), SECONDS_MAX)
    line = Line(where)
    # What is written before the gateway has set its end up is thrown away by it.
    deadline = time.monotonic() + SECONDS_MAX
    while "port open" not in pathlib.Path(log).read_text():
        assert time.monotonic() < deadline, "the gateway does not open the line"
        time.sleep(0.02)
    return line


def python_hl7(stream):
    client = hl7.client.MLLPClient.__new__(hl7.client.MLLPClient)
    client.socket, client.encoding = Whole(stream), "utf-8"
    msh = "MSH|^~\\&|PEER|LAB|LIS|LAB|20260304050607||{}|{}|P|2.4"
    result = hl7.parse("\r".join([
        msh.format("ORU^R01", "P-1"),
        "PID|1||PEER-PATIENT",
        "OBR|1||PEER-0001",
        "OBX|1|NM|GLU||5.5|mmol/L",
        "OBX|2|ST|NIT||neg",
    ]) + "\r")
    for name, message in [
        ("result", result),
        ("again", result),
        ("unknown", msh.format("ADT^A01", "P-2") + "\rPID|1||PEER-PATIENT\r"),
        ("broken", "PID|1||PEER-PATIENT\r"),
    ]:
        answer = client.send_message(message)
        body = answer.lstrip(hl7.client.SB).rsplit(hl7.client.EB, 1)[0]
        read = hl7.parse(body.decode())
        if name != "broken":
            assert str(read["MSA"][0][2]) == ("P-1" if name != "unknown" else "P-2")
            assert str(read["MSH"][0][9]) == ("ACK^R01" if name != "unknown" else "ACK^A01")
        tell(name, str(read["MSA"][0][1]))


class Whole:
    """Gives a client whole answers: it reads once, and on a line an answer comes in pieces."""

    def __init__(self, stream):
        self.stream, self.rest = stream, b""

    def send(self, data):
        self.stream.sendall(data)

    def recv(self, _=0):
        while b"\x1c\r" not in self.rest:
            more = self.stream.recv(4096)
            assert more, "the gateway hung up"
            self.rest += more
        answer, self.rest = self.rest.split(b"\x1c\r", 1)
        return answer + b"\x1c\r"


def header(message, kind, number, version):
    message.msh.msh_3, message.msh.msh_4 = "PEER", "LAB"
    message.msh.msh_5, message.msh.msh_6 = "LIS", "LAB"
    message.msh.msh_7 = "202603040506%02d" % number
    message.msh.msh_9, message.msh.msh_10 = kind, "A-%d" % number
    message.msh.msh_11, message.msh.msh_12 = "P", version


def hl7apy(stream):
    whole = Whole(stream)

    def exchange(name, text):
        whole.send(b"\x0b" + text.encode() + b"\r\x1c\r")
        return read(name)

    def read(name, code=None):
        body = whole.recv().strip(b"\x0b").split(b"\x1c")[0].decode()
        assert body.endswith("\r")
        message = parse_message(body, validation_level=VALIDATION_LEVEL.TOLERANT)
        assert message.validate()
        tell(name, code or message.msa.msa_1.to_er7())
        return message

    for number, version in enumerate(["2.3.1", "2.4", "2.5.1"], 1):
        message = Message("ORU_R01", version=version)
        header(message, "ORU^R01^ORU_R01", number, version)
        text = message.to_er7() + "\rPID|1||P\rOBR|1||PEER-%d\rOBX|1|NM|A||1.1" % number
        answer = exchange("ORU^R01 " + version, text)
        assert answer.msa.msa_2.to_er7() == "A-%d" % number
        assert answer.msh.msh_5.to_er7() == "PEER" and answer.msh.msh_12.to_er7() == version

    message = Message("OUL_R22", version="2.5.1")
    header(message, "OUL^R22^OUL_R22", 4, "2.5.1")
    message.msh.msh_15, message.msh.msh_16 = "AL", "AL"
    text = message.to_er7() + "\rSPM|1|PEER-4||SER\rOBR|1|STEP||NA\rORC|OK\rOBX|1|NM|NA||139"
    exchange("OUL^R22", text)
    read("OUL^R22")

    message = Message("ADT_A01", version="2.4")
    header(message, "ADT^A01^ADT_A01", 5, "2.4")
    exchange("ADT^A01", message.to_er7() + "\rPID|1||P")

    message = Message("QBP_Q11", version="2.5.1")
    header(message, "QBP^Q11^QBP_Q11", 6, "2.5.1")
    message.msh.msh_21 = "LAB-27^IHE"
    text = message.to_er7() + "\rQPD|WOS^Work Order Step^IHE_LABTF|TAG|PEER-5\rRCP|I||R"
    response = exchange("QBP^Q11", text)
    assert response.qak.qak_1.to_er7() == "TAG" and response.qak.qak_2.to_er7() == "OK"
    # The order that says that there is nothing to do.
    order = read("OML^O33", "order")
    assert order.oml_o33_specimen.spm.spm_2.to_er7() == "PEER-5"
    assert order.oml_o33_specimen.oml_o33_order.orc.orc_1.to_er7() == "DC"
    number = order.msh.msh_10.to_er7()
    whole.send(("\x0bMSH|^~\\&|PEER|LAB|LIS|LAB|20260304050609||ORL^O34^ORL_O34|A-7|P|2.5.1\rMSA|AA|%s\r\x1c\r" % number).encode())

    query = "MSH|^~\\&|PEER|LAB|LIS|LAB|20260304050610||QRY^Q02|A-8|P|2.3.1\rQRD|20260304050610|R|D|1|||RD|PEER-6|OTH|||T"
    answer = exchange("QRY^Q02", query)
    assert answer.qak.qak_2.to_er7() == "NF"
    order = "MSH|^~\\&|PEER|LAB|LIS|LAB|20260304050611||ORM^O01|A-9|P|2.3.1\rORC|RF||PEER-7"
    exchange("ORM^O01", order)


if __name__ == "__main__":
    library, *where = sys.argv[1:]
    stream = connected(*where)
    {"python-hl7": python_hl7, "hl7apy": hl7apy}[library](stream)
    stream.close()
