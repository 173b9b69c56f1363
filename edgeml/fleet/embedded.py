"""The embedded broker: amqtt with nothing but what a demo needs, all in memory."""

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Any, Final

from edgeml.errors import ConfigError, LinkError, MissingDependencyError

_PLUGINS: Final = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


def serve(host: str, port: int, listening: Callable[[], None]) -> None:
    """Run the broker until the process is told to end.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        listening: called once it accepts connections.

    Raises:
        ConfigError: the port is not a port.
        LinkError: the port is taken or the address is not this machine's.
        MissingDependencyError: amqtt is not installed.
    """
    if not 0 < port < 65536:
        raise ConfigError(f"port {port} is not a port; it should be 1 to 65535")
    try:
        from amqtt.broker import Broker
        from amqtt.errors import BrokerError
    except ImportError as exc:
        raise MissingDependencyError(
            "the embedded broker needs amqtt, which is not installed: pip install amqtt"
        ) from exc
    # A client that tries MQTT 5 first, and a port that is taken, are tracebacks to amqtt.
    for chatty in ("amqtt", "transitions", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    config: dict[str, Any] = {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
        "plugins": _PLUGINS,
    }

    async def main() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        broker = Broker(config, loop=loop)
        await broker.start()
        listening()
        await ended.wait()
        await broker.shutdown()

    try:
        asyncio.run(main())
    except (BrokerError, OSError) as exc:
        raise LinkError(f"cannot listen on {host}:{port}: {exc}; try another --port") from exc
