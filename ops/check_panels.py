"""Runs the query of every panel and every recording rule against a Prometheus; each must return a number.

Usage: python ops/check_panels.py http://127.0.0.1:9090
"""
import json
import math
import pathlib
import re
import sys
import urllib.parse
import urllib.request

ops = pathlib.Path(__file__).parent
prometheus = sys.argv[1]


def values(query):
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return [value for series in result if not math.isnan(value := float(series["value"][1]))]


def queries():
    for path in sorted((ops / "grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]
    for name in re.findall(r"record: (\S+)", (ops / "prometheus/rules.yml").read_text()):
        yield "recorded", name


empty, seen = [], 0
for name, query in queries():
    found = values(query)
    seen += 1
    if not found:
        empty.append(f"{name}: {query}")
print(f"{seen - len(empty)} of {seen} queries returned data")
if empty:
    sys.exit("no data from:\n  " + "\n  ".join(empty))
