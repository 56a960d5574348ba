"""Dashboards and rules against what they are for, and against a real Prometheus.

Usage: python ops/check_panels.py http://127.0.0.1:9090 [hot REGEX | cold]
  alone     every panel and recording rule returns numbers, and not zeros alone where something happened;
  hot REGEX the first row of every panel of hot accounts is an account like that, and there are ten at most;
  cold      no account is hot.
"""
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

OPS = pathlib.Path(__file__).parent
# What Grafana puts in for its variables; the interval fits a Prometheus that scrapes once a second.
VARIABLES = {"$__rate_interval": "15s", "$__range": "5m", "$instance": ".+"}
# What is zero while all is well, or between two moments.
MAY_BE_ZERO = re.compile(
    r"FAILED|RESOURCE_EXHAUSTED|rpc_failures|arus_(rejected|replayed|log_lines_lost|risk_rules|in_flight|at_work|actor_mailbox_depth\b"
    r"|journal_queue|expir|index_lag|index_tail|index_unmerged|http_event_readers|fx_rate_age|hot_account_mailbox_depth)"
    r"|_wait_seconds"
)
HOT_SERIES = "arus_hot_account"
HOT = f"{HOT_SERIES}_messages_per_second"


def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in sorted((OPS / "grafana/dashboards").glob("*.json"))}


def panels():
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def faults():
    """What can be said without a server."""
    boards = dashboards()
    drawn = " ".join(query for _, query in panels())
    for name, board in boards.items():
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        if set(variables) != {"datasource", "instance"} or variables["datasource"]["type"] != "datasource":
            yield f"{name}: its variables are {sorted(variables)}, not datasource and instance"
        if not any(link["type"] == "dashboards" and link["includeVars"] for link in board["links"]):
            yield f"{name}: no links to the other dashboards"
        if not any("ALERTS" in shown["target"]["expr"] for shown in board["annotations"]["list"]):
            yield f"{name}: alerts are not drawn"
        sources = re.findall(r'"uid": "([^"]*)"', json.dumps(board["panels"]))
        if set(sources) != {"${datasource}"}:
            yield f"{name}: a panel names its data source: {set(sources)}"
        for panel in board["panels"]:
            for link in panel.get("links", []):
                if re.match(r"/d/([^?]+)", link["url"])[1] not in {other["uid"] for other in boards.values()}:
                    yield f"{name}: {panel['title']} links to {link['url']}"
    for name, query in panels():
        if "vector(" in query:
            yield f"{name}: vector() has a value whatever the server says"
        if re.search(r"\[\d", query):
            yield f"{name}: a window of its own; use $__rate_interval"
        if query.count("{") != query.count("$instance") or "{" not in query:
            yield f"{name}: a series without $instance: {query}"
    for series in re.findall(r"^\| `(\w+)`", (OPS / "metrics.md").read_text(), re.M):
        if not re.search(series + r"(_bucket)?\b", drawn):
            yield f"{series} is drawn nowhere"
    runbook = {title.lower() for title in re.findall(r"^## (\w+)", (OPS / "runbook.md").read_text(), re.M)}
    for alert in re.split(r"- alert: ", (OPS / "prometheus/rules.yml").read_text())[1:]:
        anchor = re.search(r'runbook_url: ".*runbook\.md#(\w+)"', alert)
        if "summary:" not in alert or not anchor or anchor[1] not in runbook:
            yield f"alert {alert.split()[0]}: no summary, or its runbook_url leads nowhere"


def ask(prometheus, query):
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def values(prometheus, query):
    return [value for row in ask(prometheus, query) if not math.isnan(value := float(row["value"][1]))]


def check_all(prometheus):
    recorded = re.findall(r"record: (\S+)", (OPS / "prometheus/rules.yml").read_text())
    queries = [*panels(), *(("recorded", name) for name in recorded)]
    bad = list(faults())
    for name, query in queries:
        # Who is hot is asked for while somebody is.
        if HOT_SERIES in query:
            continue
        # What is the most since the last scrape is nothing a second later: the last seconds count.
        found = values(prometheus, f"max_over_time(({query})[15s:1s])")
        if not found:
            bad.append(f"{name}: no data from {query}")
        elif not any(found) and not MAY_BE_ZERO.search(query):
            bad.append(f"{name}: nothing but zeros from {query}")
    print(f"{len(queries)} queries, {len(bad)} faults")
    return bad


def check_hot(prometheus, account):
    bad = []
    hot = [(name, query) for name, query in panels() if HOT_SERIES in query]
    for name, query in hot:
        rows = ask(prometheus, query)
        names = [row["metric"]["account"] for row in rows]
        if not 1 <= len(rows) <= 10:
            bad.append(f"{name}: {len(rows)} rows")
        elif HOT in query and not re.fullmatch(account, names[0]):
            bad.append(f"{name}: the first row is {names[0]}, of {names}")
        elif HOT in query:
            print(f"{name}: {names[0]}, {float(rows[0]['value'][1]):.0f} messages a second, first of {len(rows)}")
    return bad or ([] if hot else ["no panel shows hot accounts"])


def check_cold(prometheus):
    for _ in range(20):
        rows = ask(prometheus, HOT)
        if not rows:
            return []
        time.sleep(1)
    return [f"still hot: {[row['metric']['account'] for row in rows]}"]


server, *what = sys.argv[1:]
match what:
    case ["hot", account]:
        problems = check_hot(server, account)
    case ["cold"]:
        problems = check_cold(server)
    case _:
        problems = check_all(server)
if problems:
    sys.exit("\n  ".join(["check_panels:", *problems]))
