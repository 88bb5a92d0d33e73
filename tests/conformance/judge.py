"""Judges the index of an Autobahn run: judge.py <index.json> <cases>.

Core cases must pass, strictly and with a clean close; what is only informational may be so. Compression
must have been declined. A run of all cases must have run all of them.
"""

import collections
import json
import sys

CORE = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
COMPRESSION = {"12": 90, "13": 126}
PASSED = {"OK", "INFORMATIONAL"}


def main(index, cases):
    with open(index, encoding="utf-8") as file:
        (results,) = json.load(file).values()

    counts = collections.Counter(result["behavior"] for result in results.values())
    print("  " + ", ".join(f"{count} {behavior}" for behavior, count in sorted(counts.items())))

    faults = [fault for case in sorted(results, key=number) for fault in judge(case, results[case])]
    faults += missing(results) if cases == "*" else []
    faults += [] if results else ["no case was run"]
    for fault in faults:
        print(f"  {fault}")
    sys.exit(bool(faults))


def judge(case, result):
    behavior, close = result["behavior"], result["behaviorClose"]
    if group(case) in COMPRESSION:
        return [] if behavior == "UNIMPLEMENTED" else [f"{case}: {behavior}, though compression is to be declined"]
    faults = [] if behavior in PASSED else [f"{case}: {behavior}"]
    return faults + ([] if close in PASSED else [f"{case}: close {close}"])


def missing(results):
    ran = collections.Counter(map(group, results))
    wanted = {**CORE, **COMPRESSION}
    return [f"group {name}: {ran[name]} of {count} cases" for name, count in wanted.items() if ran[name] != count]


def group(case):
    return case.split(".")[0]


def number(case):
    return [int(part) for part in case.split(".")]


main(*sys.argv[1:])
