// The payloads of Sparkplug B, read and written by sparkplug-payload. Each line on standard input is answered by one line: a
// payload in base64 by what it says as JSON, `rebirth` by the command that asks for all births, in base64.
"use strict";

const readline = require("node:readline");
const { decodePayload, encodePayload } = require("sparkplug-payload").get("spBv1.0");

// 64-bit numbers are objects of their own here; those that are told are far smaller.
const plain = (_, value) => (value && value.low !== undefined ? Number(value) : value);

function answer(line) {
    if (line === "rebirth") {
        const metric = { name: "Node Control/Rebirth", type: "Boolean", value: true };
        return Buffer.from(encodePayload({ timestamp: Date.now(), metrics: [metric] })).toString("base64");
    }
    return JSON.stringify(decodePayload(Buffer.from(line, "base64")), plain);
}

readline.createInterface({ input: process.stdin }).on("line", (line) => console.log(answer(line)));
