"""Holds each kas file that is named on the command line against the schema that kas brings along."""

import importlib.resources
import json
import sys

import jsonschema
import yaml

schema = json.loads(importlib.resources.files("kas").joinpath("schema-kas.json").read_text())
judge = jsonschema.Draft202012Validator(schema)
faults = 0
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        for error in judge.iter_errors(yaml.safe_load(file)):
            faults += 1
            print(f"{name}: {error.json_path}: {error.message}")
sys.exit(1 if faults else 0)
