"""Collectors made of OpenTelemetry's own classes, OpenTelemetry's own Collector in front of one, and a `hirewire up` that sends them one webhook's trace."""
import http.server
import pathlib
import queue
import re
import socket
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
# Each of another kind, and what its route says; the sample's webhook goes to all of them.
SINKS = {"analytics": "", "archive": ", entity: stage-change", "assessment": "", "tables": ""}
# A server of gRPC ends with the last mention of it.
RUNNING = []


class Service(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, told):
        self.told = told

    def Export(self, request, context):
        self.told.put(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def serve(take):
    """A server of HTTP on loopback: `take` gets path, headers and body of each POST and gives type and body of the answer. Its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            kind, answer = take(self.path, self.headers, body)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def http_port(told):
    def take(path, headers, body):
        assert path == "/v1/traces" and headers["content-type"] == "application/x-protobuf", headers
        told.put(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
        return "application/x-protobuf", trace_service_pb2.ExportTraceServiceResponse().SerializeToString()

    return serve(take)


def by_http(told):
    return f'{{endpoint: "http://127.0.0.1:{http_port(told)}"}}'


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


def ports(count):
    first = int(subprocess.check_output([ROOT / "e2e/kafka/free_ports", str(count)]))
    return range(first, first + count)


def through_the_collector(told, protocol, tls):
    """OpenTelemetry's own Collector takes what is told, and tells it on to classes that read it."""
    [port] = ports(1)
    folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDERS.name))
    pair = f"{{cert_file: {TLS}/certificate.pem, key_file: {TLS}/key.pem}}"
    (folder / "collector.yaml").write_text(
        f"receivers: {{otlp: {{protocols: {{{protocol}: {{endpoint: 127.0.0.1:{port}{f', tls: {pair}' if tls else ''}}}}}}}}}\n"
        f"exporters: {{otlphttp: {{endpoint: http://127.0.0.1:{http_port(told)}, compression: none}}}}\n"
        "service:\n  telemetry: {metrics: {level: none}}\n  pipelines: {traces: {receivers: [otlp], exporters: [otlphttp]}}\n"
    )
    log = open(folder / "log", "w")
    process = subprocess.Popen([COLLECTOR, f"--config=file:{folder}/collector.yaml"], stdout=log, stderr=log)
    RUNNING.append(process)
    until = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"the Collector does not listen:\n{(folder / 'log').read_text()}")
        time.sleep(0.1)
    trust = f', tls: {{ca_file: "{TLS}/certificate.pem"}}' if tls else ""
    return f'{{endpoint: "{"https" if tls else "http"}://127.0.0.1:{port}", protocol: {protocol}{trust}}}'


def run(hirewire, folder, traces):
    """Everything in one process, and the sample's webhook through it."""
    broker, registry, webhooks = ports(3)
    orders = serve(lambda *_: ("application/json", b"{}"))
    (folder / "hirewire.yaml").write_text(
        f'embedded: {{broker: "127.0.0.1:{broker}", registry: "127.0.0.1:{registry}"}}\n'
        f'kafka: {{bootstrap_servers: "127.0.0.1:{broker}", partitions: 4}}\nregistry: {{url: "http://127.0.0.1:{registry}"}}\n'
        f'data_dir: .\nadmin: {{listen: "127.0.0.1:0"}}\ningest: {{listen: "127.0.0.1:{webhooks}"}}\ntraces: {traces}\n'
        "connections: {sample-greenhouse: {tenant: sample, vendor: greenhouse, webhook: {secrets: [{file: secrets/sample-webhook}]}}}\n"
        "sinks:\n  analytics: {sqlite: {path: analytics.sqlite}}\n  archive: {system: stream, file: {path: archive}}\n"
        "  tables: {system: analytics, parquet: {path: tables, flush_after: 1s}}\n"
        f'  assessment: {{http: {{url: "http://127.0.0.1:{orders}/orders", allow: {{networks: ["127.0.0.0/8"]}}, auth: {{bearer: {{file: secrets/sample-webhook}}}}}}}}\n'
        "routes:\n" + "".join(f"  {sink}: {{sink: {sink}, from: beginning{more}}}\n" for sink, more in SINKS.items())
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


def value(span, key):
    return next((one.value for one in span.attributes if one.key == key), None)


def check(way, start, hirewire):
    told = queue.Queue()
    with tempfile.TemporaryDirectory() as folder:
        up = run(hirewire, pathlib.Path(folder), start(told))
        # Service and, of a delivery, sink; what has no span yet.
        found, until = {}, time.monotonic() + 60
        missing = {("hirewire-ingest", None), ("hirewire-normalize", None)} | {("hirewire-route", sink) for sink in SINKS}
        try:
            while missing - found.keys():
                for name, span in spans(told.get(timeout=max(0.1, until - time.monotonic()))):
                    if span.trace_id.hex() == TRACE and span.kind != Span.SPAN_KIND_INTERNAL:
                        sink = value(span, "hirewire.sink")
                        found.setdefault((name, sink and sink.string_value), []).append(span)
        except queue.Empty:
            sys.exit(f"{way}: no span of {missing - found.keys()}\n{pathlib.Path(folder, 'log').read_text()}")
        finally:
            up.terminate()
            up.wait()
            for process in [one for one in RUNNING if isinstance(one, subprocess.Popen)]:
                process.terminate()
                process.wait()
                RUNNING.remove(process)
    [ingest], [normalize] = found["hirewire-ingest", None], found["hirewire-normalize", None]
    deliveries = [span for (name, _), of_sink in found.items() if name == "hirewire-route" for span in of_sink]
    assert (ingest.parent_span_id.hex(), ingest.kind) == (PARENT, Span.SPAN_KIND_SERVER), ingest
    assert (normalize.parent_span_id, normalize.kind) == (ingest.span_id, Span.SPAN_KIND_CONSUMER), normalize
    assert value(normalize, "messaging.kafka.offset").WhichOneof("value") == "int_value", normalize
    for delivery in deliveries:
        assert (delivery.parent_span_id, delivery.kind) == (normalize.span_id, Span.SPAN_KIND_CLIENT), delivery
    for span in (ingest, normalize, *deliveries):
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano and span.flags == 1, span
        # What the classes do not know stays among the unknown fields and would be written again.
        known = type(span).FromString(span.SerializeToString())
        known.DiscardUnknownFields()
        assert known == span, "fields that a span does not have"
    print(f"{way}: one trace of a webhook, normalize and deliveries to {len(SINKS)} sinks, {2 + len(deliveries)} spans", flush=True)


hirewire, COLLECTOR = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
FOLDERS = tempfile.TemporaryDirectory()
check("HTTP", by_http, hirewire)
check("gRPC", lambda told: by_grpc(told, False), hirewire)
check("gRPC with TLS", lambda told: by_grpc(told, True), hirewire)
check("the Collector, HTTP", lambda told: through_the_collector(told, "http", False), hirewire)
check("the Collector, gRPC", lambda told: through_the_collector(told, "grpc", False), hirewire)
check("the Collector, gRPC with TLS", lambda told: through_the_collector(told, "grpc", True), hirewire)
