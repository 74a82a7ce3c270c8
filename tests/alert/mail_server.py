"""A mail server that puts mails into a folder: PORT FOLDER SECURITY [CERTIFICATE KEY].

SECURITY is none, start_tls or tls; with the last two it wants the user `outlier` with the password `secret`. It knows
nobody whose address begins with `left`.
"""
import signal
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult, LoginPassword


def check(_server, _session, _envelope, _mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"outlier", b"secret")
    # Not handled: the server says it in its own words.
    return AuthResult(success=known, handled=False)


class Folder(Mailbox):
    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address.startswith("left"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


port, folder, security, *files = sys.argv[1:]
options = {}
if security != "none":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    options = {"authenticator": check, "auth_required": True}
    if security == "tls":
        # It knows of STARTTLS only; here everything is in TLS.
        options |= {"ssl_context": context, "auth_require_tls": False}
    else:
        options |= {"tls_context": context, "require_starttls": True}
Controller(Folder(folder), hostname="127.0.0.1", port=int(port), **options).start()
signal.pause()
