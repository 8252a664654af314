"""Where the broker is, who we are to it, and what a failed attempt means in one sentence.

A broker's address is ``mqtt://host[:1883]`` or, with TLS, ``mqtts://host[:8883]``.

Without TLS nothing here takes anything from ``ssl``, so that it is not loaded (gateway/standin.py).

Not supported: user and password inside the address (addresses are logged), websockets.
"""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gateway.north.contract import instant

PORTS = {"mqtt": 1883, "mqtts": 8883}
EXAMPLE = "write mqtts://broker.example:8883 or mqtt://192.168.1.10"
_HOST = re.compile(r"(?!-)[A-Za-z0-9.:_-]{1,253}")

# OpenSSL's X509_V_ERR_... numbers, as SSLCertVerificationError.verify_code gives them.
_NOT_YET_VALID, _EXPIRED, _WRONG_NAMES = 9, 10, (62, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How to connect.  Files are read at each attempt: a renewed certificate needs no restart."""

    brokers: tuple[str, ...]
    """Addresses, tried in turn; each without a ``broker_problem``."""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    """Who may sign the broker's certificate; None: whom the system trusts."""
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = 60
    """A dead connection is noticed within twice this."""
    connect_timeout_s: float = 10.0
    mqtt5: bool = True
    """False: 3.1.1 from the start."""


def broker_problem(url: str) -> str | None:
    """What is wrong with a broker's address and what to write instead, or None."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{url!r}: {error}; {EXAMPLE}"
    if parts.scheme not in PORTS:
        return f"{url!r} does not begin with mqtt:// or mqtts://; {EXAMPLE}"
    if parts.username is not None:
        return "user and password do not belong into the address; set username and password"
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or not all(0 < len(part) < 64 for part in host.split(".")):
        return f"{url!r} names no host; {EXAMPLE}"
    if port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        return f"{url!r} has more than host and port, or port 0; {EXAMPLE}"
    return None


def endpoint(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is wanted, of an address without a ``broker_problem``."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or PORTS[parts.scheme], parts.scheme == "mqtts"


class SettingsError(Exception):
    """A certificate file cannot be used.  Trying again helps once the file is in order."""


def tls_context(settings: LinkSettings) -> "ssl.SSLContext":
    """TLS 1.2 or newer, the broker's name and signature checked, our certificate shown.

    Raises SettingsError if a file is missing or unfit.
    """
    try:
        # With a CA of its own, the system's are not trusted.
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsError(f"ca_file {settings.ca_file}: {_plain(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _tidy_socket()
    if settings.cert_file:
        try:
            # The empty password makes an encrypted key an error, not a prompt on a terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
        except OSError as error:
            files = f"cert_file {settings.cert_file}, key_file {settings.key_file}"
            raise SettingsError(
                f"{files}: {_plain(error)}; give a PEM certificate and its unencrypted key"
            ) from error
    return context


def _tidy_socket() -> "type[ssl.SSLSocket]":
    class TidySocket(ssl.SSLSocket):
        """Closes itself when the handshake fails; paho leaves that to the garbage collector."""

        def do_handshake(self, block: bool = False) -> None:
            """As ssl.SSLSocket.do_handshake."""
            try:
                super().do_handshake(block)
            except OSError:
                self.close()
                raise

    return TidySocket


def why_failed(error: OSError | UnicodeError, broker: str, now: float) -> str:
    """One sentence: what failed at ``broker``, and what to look at.  ``now`` is Unix time."""
    host, _, tls = endpoint(broker)
    if tls and isinstance(error, ssl.SSLCertVerificationError):
        return f"{broker}: {_why_not_trusted(error, host, now)}"
    if tls and isinstance(error, ssl.SSLError):
        return f"{broker}: {why_refused(str(error), now)}"
    # The numbers of getaddrinfo's errors are negative, those of all others are not.
    if isinstance(error, UnicodeError) or (error.errno or 0) < 0:
        return f"{broker}: the name {host} cannot be looked up; check name and DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"{broker}: nothing listens there; check address and port, and that the broker runs"
    if isinstance(error, TimeoutError):
        return f"{broker}: no answer in time; check address, firewall and, for mqtts, the port"
    hint = "; mqtt:// and mqtts:// must not be mixed up"
    return f"{broker}: {_plain(error)}{hint if isinstance(error, ConnectionError) else ''}"


def _why_not_trusted(error: "ssl.SSLCertVerificationError", host: str, now: float) -> str:
    if error.verify_code in _WRONG_NAMES:
        return (
            f"the broker's certificate is not for {host}; use the name that stands in it,"
            " or somebody stands in between"
        )
    if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
        state = "not valid yet" if error.verify_code == _NOT_YET_VALID else "expired"
        return f"the broker's certificate is {state}{_or_the_clock(now)}"
    return f"the broker's certificate is not trusted ({error.verify_message}); check ca_file"


def why_refused(alert: str, now: float) -> str:
    """What a TLS alert (OpenSSL's words) of the broker means.  ``now`` is Unix time."""
    alert = alert.upper()
    if "CERTIFICATE_EXPIRED" in alert:
        return f"the broker says that our certificate is expired{_or_the_clock(now)}"
    if "CERTIFICATE_REQUIRED" in alert:
        return "the broker wants a client certificate; set cert_file and key_file"
    if "UNKNOWN_CA" in alert or "BAD_CERTIFICATE" in alert or "CERTIFICATE" in alert:
        return "the broker refused our certificate; it must be signed by the CA the broker trusts"
    if "WRONG_VERSION_NUMBER" in alert:
        return "no TLS is spoken there; use mqtt:// or the broker's TLS port"
    return f"TLS failed: {alert[:120]}"


def _or_the_clock(now: float) -> str:
    return f", or a clock is wrong: this gateway's says {instant(now)}"


def _plain(error: OSError | UnicodeError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
