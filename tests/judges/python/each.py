"""Reads cases as JSON lines, lets a judge look at each, and says in one line what became of it."""

import json
import sys


def each(judge):
    """Calls `judge(case)` for every line; what it raises is the fault. The status is 1 if there was one."""
    faults = 0
    for line in sys.stdin:
        case = json.loads(line)
        try:
            judge(case)
            print("ok", case["name"])
        except Exception as fault:
            faults += 1
            print("FAULT", case["name"], repr(fault))
    sys.exit(1 if faults else 0)
