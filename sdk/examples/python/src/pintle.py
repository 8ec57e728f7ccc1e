"""The plugin's end of Pintle's wire contract, version 1: handshake, Base and the point "controller".

It knows nothing of what a plugin does, and can be copied into other plugins as it is. What it
follows is docs/plugins/other-languages.md.
"""

import base64
import concurrent.futures
import datetime
import json
import logging
import os
import signal
import sys
import tempfile
import threading

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sdk.proto.plugin.v1 import base_pb2

COOKIE = "b7b0d3c1-a-pin-by-which-a-rudder-plugs-into-a-hull"
PROTOCOL = "1"
MAX_MESSAGE_BYTES = 16 << 20
# A Run stream holds one thread for as long as it lasts; calls share the others.
THREADS = 8
# How long calls under way may take to end when the process was told to shut down. Hosts kill
# what is still there two seconds after.
GRACE_SECONDS = 0.5

log = logging.getLogger("pintle")


def serve(plugin):
    """Serves plugin until the host needs it no more. It does not return.

    plugin has
      name, version, description: strings, as in plugin.yaml
      permissions: a list of base_pb2.PolicyRule
      schema: a structural schema of its settings, as a dict
      configure(settings): takes a dict; ValueError refuses it, with the field's path in its text
      run(stop, env): works until stop, a threading.Event, is set; env is a base_pb2.Environment
    """
    if os.environ.get("PINTLE_PLUGIN") != COOKIE:
        sys.exit("This is a plugin of Pintle. It is started by a host, not by hand.")
    spoken = os.environ.get("PLUGIN_PROTOCOL_VERSIONS", PROTOCOL)
    if PROTOCOL not in spoken.split(","):
        sys.exit(f"The host speaks versions {spoken} of the plugin protocol, this plugin {PROTOCOL}.")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the host's children, too
    # The first line on standard output is the handshake. What else writes there goes to the log.
    handshake = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if os.environ.get("PINTLE_PLUGIN_LIFELINE") == "stdin":
        threading.Thread(target=_end_with_host, daemon=True).start()

    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(THREADS),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    server.add_generic_rpc_handlers((_base(plugin), _controller(plugin), _health(), _shutdown(server)))
    directory = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp()
    socket = os.path.join(directory, "plugin")
    credentials, certificate = _credentials()
    if credentials:
        server.add_secure_port("unix:" + socket, credentials)
    else:
        server.add_insecure_port("unix:" + socket)
    server.start()
    print("1", PROTOCOL, "unix", socket, "grpc", certificate, sep="|", file=handshake, flush=True)
    server.wait_for_termination()
    logging.shutdown()
    os._exit(0)  # threads that still work would keep the interpreter


def _end_with_host():
    """Ends the process when the host's end of standard input closes, as the host is gone then."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def _credentials():
    """TLS in which each end takes no certificate but the other's, and our own for the handshake."""
    theirs = os.environ.get("PLUGIN_CLIENT_CERT")
    if not theirs:
        return None, ""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=3650))  # as long as the process may live
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    credentials = grpc.ssl_server_credentials(
        [(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.public_bytes(serialization.Encoding.PEM),
        )],
        root_certificates=theirs.encode(),
        require_client_auth=True,
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return credentials, base64.b64encode(der).decode().rstrip("=")


def _unary(call, request):
    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


def _base(plugin):
    def info(request, context):
        log.info("%s %s at a host of version %s", plugin.name, plugin.version, request.host_version)
        return base_pb2.InfoResponse(
            name=plugin.name,
            version=plugin.version,
            description=plugin.description,
            permissions=plugin.permissions,
            points=[base_pb2.ExtensionPoint(name="controller", versions=[1])],
        )

    def config_schema(request, context):
        return base_pb2.ConfigSchemaResponse(schema=json.dumps(plugin.schema).encode())

    def configure(request, context):
        try:
            plugin.configure(json.loads(request.settings or b"{}"))
        except ValueError as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))
        return base_pb2.ConfigureResponse()

    return grpc.method_handlers_generic_handler("pintle.plugin.v1.Base", {
        "Info": _unary(info, base_pb2.InfoRequest),
        "ConfigSchema": _unary(config_schema, base_pb2.ConfigSchemaRequest),
        "Configure": _unary(configure, base_pb2.ConfigureRequest),
    })


def _controller(plugin):
    started = threading.Lock()  # taken for good by the first run

    def run(requests, context):
        first = next(requests, None)
        if first is None or not first.HasField("start"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message of a run must be start")
        if not started.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "the plugin was already started in this process"
            )
        stop = threading.Event()

        def listen():
            try:
                for request in requests:
                    if request.HasField("stop"):
                        break
            except Exception:  # grpc has no name for it: the stream is broken, which means stop
                pass
            stop.set()

        threading.Thread(target=listen, daemon=True).start()
        yield base_pb2.RunResponse(running=base_pb2.Running())
        failure = None
        try:
            plugin.run(stop, first.start)
        except Exception as e:  # whatever it is, the host must hear of it
            log.exception("run failed")
            failure = f"{type(e).__name__}: {e}"
        if failure is None and not stop.is_set():
            failure = "it returned without having been told to stop"
        if failure is not None:
            context.abort(grpc.StatusCode.ABORTED, failure)

    return grpc.method_handlers_generic_handler("pintle.plugin.v1.Controller", {
        "Run": grpc.stream_stream_rpc_method_handler(
            run,
            request_deserializer=base_pb2.RunRequest.FromString,
            response_serializer=base_pb2.RunResponse.SerializeToString,
        ),
    })


# Two services whose messages are so small that they are written here as bytes.


def _health():
    serving = b"\x08\x01"  # HealthCheckResponse{status: SERVING}
    return grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health",
        {"Check": grpc.unary_unary_rpc_method_handler(lambda request, context: serving)},
    )


def _shutdown(server):
    def shutdown(request, context):
        # Not from this thread: the answer has to go out.
        threading.Thread(target=server.stop, args=(GRACE_SECONDS,), daemon=True).start()
        return b""  # Empty

    return grpc.method_handlers_generic_handler(
        "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}
    )
