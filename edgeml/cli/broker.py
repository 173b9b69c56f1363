"""An embedded MQTT broker, for demos and for tests on machines without Mosquitto.

Not for production: it keeps everything in memory, speaks MQTT 3.1.1 only and lets
anybody in. A fleet wants Mosquitto or another real broker, with TLS and users.
"""

import argparse

from edgeml.cli.output import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=1883, help="port to listen on (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print where it listens as JSON")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from edgeml.fleet.embedded import serve

    def listening() -> None:
        if args.json:
            print_json({"url": f"mqtt://{args.host}:{args.port}", "production": False})
        else:
            print(f"mqtt://{args.host}:{args.port} (in memory, not for production); Ctrl-C ends it")

    serve(args.host, args.port, listening)
    return 0
