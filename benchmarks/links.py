"""Links of 1, 4, 8 and 16 accounts: warm, over HTTP and TLS; and cold, over TLS and a long wire."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from plaid_processors import ProcessorLinker

from . import ours, plain
from .local_plaid import local_plaid
from .measure import Row, Section, interleaved, seconds

_COUNTS = (1, 4, 8, 16)
_WANTED = {1: (0.97, 1.0), 8: (4.2, 4.5), 16: (7.5, 8.5)}


def warm(certificate: Path, rounds: int = 5) -> Section:
    section = Section(
        "Links, warm",
        "100 ms a request, connections open; `max_connections` is 8, and 16 for 16 accounts. "
        "“Not slower” is taken as 0.97 or more, which is the noise here.",
    )
    for scheme, chain in (("HTTP", None), ("TLS", certificate)):
        with local_plaid(delay=0.1, certificate=chain) as url:
            for count in _COUNTS:
                ids = [each["id"] for each in ours.accounts(count)]
                api = plain.make_api(url)
                with ProcessorLinker(ours.make_client(url, max(8, count))) as linker:
                    loop, sdk = interleaved(
                        rounds if count > 1 else 3 * rounds,
                        partial(seconds, partial(plain.link, api, ids)),
                        partial(seconds, partial(ours.link, linker, ours.accounts(count))),
                    )
                aim, best = _WANTED.get(count, (None, None))
                section.rows.append(
                    Row(_name(scheme, count), loop * 1e3, sdk * 1e3, aim=aim, best=best)
                )
    return section


def cold(certificate: Path, rounds: int = 5) -> Section:
    section = Section(
        "Links, cold",
        "A new client for each link, with 80 ms of round trip and TLS 1.3. The loop opens one "
        "connection; we open one for the exchange, and the others side by side when the tokens "
        "are asked for, which costs one more handshake in the first link of a process. "
        "Certificates are loaded once for all clients of a process, which only the first of these "
        "rounds shows.",
    )
    for name, delay in (("", 0.0), (", 100 ms a request", 0.1)):
        with local_plaid(delay=delay, round_trip=0.08, certificate=certificate) as url:
            for count in _COUNTS:
                wanted = (2.3, 2.75) if delay and count == 8 else (None, None)
                loop, sdk = interleaved(rounds, _cold_plain(url, count), _cold_ours(url, count))
                section.rows.append(
                    Row(
                        _name("TLS", count) + name,
                        loop * 1e3,
                        sdk * 1e3,
                        aim=wanted[0],
                        best=wanted[1],
                    )
                )
    return section


def _name(scheme: str, count: int) -> str:
    return f"{scheme}, {count} account{'s' if count > 1 else ''}"


def _cold_plain(url: str, count: int) -> Callable[[], float]:
    ids = [each["id"] for each in ours.accounts(count)]

    def work() -> None:
        api = plain.make_api(url)
        plain.link(api, ids)
        api.api_client.rest_client.pool_manager.clear()

    return partial(seconds, work)


def _cold_ours(url: str, count: int) -> Callable[[], float]:
    def work() -> None:
        with ProcessorLinker(ours.make_client(url, max(8, count))) as linker:
            ours.link(linker, ours.accounts(count))

    return partial(seconds, work)
