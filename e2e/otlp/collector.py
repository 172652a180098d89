"""Collectors made of OpenTelemetry's own classes, and a `hirewire up` that sends them one webhook's trace."""
import http.server
import pathlib
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TLS = ROOT / "lib/broker/tests/tls"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
# A server of gRPC ends with the last mention of it.
RUNNING = []


class Service(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, told):
        self.told = told

    def Export(self, request, context):
        self.told.put(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def by_http(told):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf", self.headers
            told.put(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            answer = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'{{endpoint: "http://127.0.0.1:{server.server_address[1]}"}}'


def by_grpc(told, tls):
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(told), server)
    if tls:
        pair = [((TLS / "key.pem").read_bytes(), (TLS / "certificate.pem").read_bytes())]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    RUNNING.append(server)
    scheme, trust = ("https", f', tls: {{ca_file: "{TLS}/certificate.pem"}}') if tls else ("http", "")
    return f'{{endpoint: "{scheme}://127.0.0.1:{port}", protocol: grpc{trust}}}'


def run(hirewire, folder, traces):
    """Everything in one process, and the sample's webhook through it."""
    first = int(subprocess.check_output([ROOT / "e2e/kafka/free_ports", "3"]))
    broker, registry, webhooks = range(first, first + 3)
    (folder / "hirewire.yaml").write_text(
        f'embedded: {{broker: "127.0.0.1:{broker}", registry: "127.0.0.1:{registry}"}}\n'
        f'kafka: {{bootstrap_servers: "127.0.0.1:{broker}", partitions: 4}}\nregistry: {{url: "http://127.0.0.1:{registry}"}}\n'
        f'data_dir: .\nadmin: {{listen: "127.0.0.1:0"}}\ningest: {{listen: "127.0.0.1:{webhooks}"}}\ntraces: {traces}\n'
        "connections: {sample-greenhouse: {tenant: sample, vendor: greenhouse, webhook: {secrets: [{file: secrets/sample-webhook}]}}}\n"
        "sinks: {analytics: {sqlite: {path: analytics.sqlite}}}\nroutes: {analytics: {sink: analytics, from: beginning}}\n"
    )
    log = open(folder / "log", "w")
    up = subprocess.Popen([hirewire, "up", "--data", folder], stdout=subprocess.PIPE, stderr=log, text=True)
    for line in up.stdout:
        signature = re.search(r"sha256 ([0-9a-f]{64})", line)
        if signature:
            break
    else:
        sys.exit((folder / "log").read_text())
    request = urllib.request.Request(
        f"http://127.0.0.1:{webhooks}/v1/webhooks/sample-greenhouse",
        (folder / "sample-webhook.json").read_bytes(),
        {"Signature": f"sha256 {signature[1]}", "Greenhouse-Event-ID": "1", "traceparent": f"00-{TRACE}-{PARENT}-01"},
    )
    assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).status == 200
    return up


def spans(request):
    for resource in request.resource_spans:
        name = next(one.value.string_value for one in resource.resource.attributes if one.key == "service.name")
        for scope in resource.scope_spans:
            yield from ((name, span) for span in scope.spans)


def check(way, start, hirewire):
    told = queue.Queue()
    with tempfile.TemporaryDirectory() as folder:
        up = run(hirewire, pathlib.Path(folder), start(told))
        found, until = {}, time.monotonic() + 60
        try:
            while {"hirewire-ingest", "hirewire-normalize", "hirewire-route"} - found.keys():
                for name, span in spans(told.get(timeout=max(0.1, until - time.monotonic()))):
                    if span.trace_id.hex() == TRACE:
                        found.setdefault(name, []).append(span)
        except queue.Empty:
            sys.exit(f"{way}: only {sorted(found)} came\n{pathlib.Path(folder, 'log').read_text()}")
        finally:
            up.terminate()
            up.wait()
    ingest, normalize, route = (found[f"hirewire-{name}"][0] for name in ("ingest", "normalize", "route"))
    assert (ingest.parent_span_id.hex(), ingest.kind) == (PARENT, Span.SPAN_KIND_SERVER), ingest
    assert (normalize.parent_span_id, normalize.kind) == (ingest.span_id, Span.SPAN_KIND_CONSUMER), normalize
    assert (route.parent_span_id, route.kind) == (normalize.span_id, Span.SPAN_KIND_CLIENT), route
    attributes = {one.key: one.value for one in normalize.attributes}
    assert attributes["messaging.kafka.offset"].WhichOneof("value") == "int_value", normalize
    for span in (ingest, normalize, route):
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano and span.flags == 1, span
        # What the classes do not know stays among the unknown fields and would be written again.
        known = type(span).FromString(span.SerializeToString())
        known.DiscardUnknownFields()
        assert known == span, "fields that a span does not have"
    print(f"{way}: one trace of {sum(map(len, found.values()))} spans")


hirewire = str(pathlib.Path(sys.argv[1]).resolve())
check("HTTP", by_http, hirewire)
check("gRPC", lambda told: by_grpc(told, False), hirewire)
check("gRPC with TLS", lambda told: by_grpc(told, True), hirewire)
