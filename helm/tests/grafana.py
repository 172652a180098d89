"""What Grafana does with the dashboards, without Grafana: reads its provisioning, and asks Prometheus every query of every panel.

As a server it stands in for the image where that cannot be pulled (check --compose); /queries answers a line for each query: how many series, or what is wrong.

    grafana.py                                  serve on :3000, with /etc/grafana/provisioning
    grafana.py --ask PROMETHEUS_URL FOLDER      the same lines for the dashboards of a folder; exit code 1 when a query is refused

    grafana.py --rules FOLDER                   the queries as recording rules, which promtool can read

Needs PyYAML.
"""
import http.server
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

PROVISIONING = Path("/etc/grafana/provisioning")


def queries(folder):
    """(dashboard, panel, query) with Grafana's variables filled in, those of the dashboard with everything."""
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        sys.exit(f"no dashboard in {folder}")
    for path in paths:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                query = re.sub(r"\$__(rate_interval|interval|range)", "1m", target["expr"])
                for variable in board["templating"]["list"]:
                    query = query.replace(f"${variable['name']}", variable.get("allValue") or ".*")
                yield board["title"], panel["title"], query


def ask(prometheus, query):
    """How many series, or what is wrong with the query."""
    body = urllib.parse.urlencode({"query": query}).encode()
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query", body, timeout=20) as answer:
            return len(json.load(answer)["data"]["result"])
    except urllib.error.HTTPError as error:
        return f"WRONG {json.load(error)['error']}"


def lines(prometheus, folder):
    return [f"{found}\t{board}\t{panel}\t{query}" for board, panel, query in queries(folder) for found in [ask(prometheus, query)]]


def provisioned():
    """Address of Prometheus and folder of the dashboards, as Grafana would find them."""
    read = lambda kind: [yaml.safe_load(path.read_text()) for path in (PROVISIONING / kind).glob("*.yaml")]
    [source] = [each for file in read("datasources") for each in file["datasources"] if each["isDefault"]]
    [provider] = [each for file in read("dashboards") for each in file["providers"]]
    return source["url"], provider["options"]["path"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "ok\n" if self.path == "/api/health" else "\n".join(lines(*provisioned())) + "\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    do_HEAD = do_GET


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        told = lines(*sys.argv[2:])
        print("\n".join(told))
        sys.exit(any(each.startswith("WRONG") for each in told))
    if sys.argv[1:2] == ["--rules"]:
        rules = [{"record": f"panel:{number}", "expr": query} for number, (_, _, query) in enumerate(queries(sys.argv[2]))]
        print(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        sys.exit()
    provisioned()
    http.server.ThreadingHTTPServer(("", 3000), Handler).serve_forever()
