#!/usr/bin/env python3
"""Sends mails to aiosmtpd, a mail server of another project: `check.py BINARY`.

The mail server requires STARTTLS and a login. It accepts two mails, refuses a recipient and a password, and
then stops.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from email import message_from_bytes, policy
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from certificates import certificate  # noqa: E402

USER, PASSWORD = b"trips", b"pass word+@"


class Handler:
    def __init__(self):
        self.mails = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(envelope)
        return "250 accepted"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (USER, PASSWORD), handled=False)


def main(binary):
    with tempfile.TemporaryDirectory() as folder:
        cert, key = certificate(folder)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert, key)
        handler = Handler()
        controller = Controller(
            handler,
            hostname="127.0.0.1",
            port=0,
            ready_timeout=10,
            tls_context=tls,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
            enable_SMTPUTF8=True,
        )
        # With port 0, the controller can't connect to itself, so start the server directly.
        loop = controller.loop
        server = loop.run_until_complete(loop.create_server(controller._factory_invoker, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        def send(address, password="pass%20word%2B%40"):
            command = [binary, "mail", "test", address, "--json"]
            environment = {
                "TRIPGATE_SMTP_URL": f"smtp://trips:{password}@localhost:{port}",
                "TRIPGATE_SMTP_CA_FILE": cert,
                "TRIPGATE_SMTP_TIMEOUT_SECS": "5",
                "TRIPGATE_MAIL_FROM": "Trips <trips@example.org>",
            }
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60)
            return done.returncode, json.loads(done.stdout)

        status, report = send("ada@example.org")
        assert (status, report["sent"]) == (0, True), report
        status, report = send("ädä@example.org")
        assert (status, report["sent"]) == (0, True), report
        status, report = send("nobody@example.org")
        assert status == 1 and "no such mailbox" in report["error"], report
        status, report = send("ada@example.org", "wrong")
        assert status == 1 and "authentication failed" in report["error"], report

        assert [mail.rcpt_tos for mail in handler.mails] == [["ada@example.org"], ["ädä@example.org"]]
        message = message_from_bytes(handler.mails[0].original_content, policy=policy.default)
        assert message["From"] == "Trips <trips@example.org>" and message["To"] == "ada@example.org"
        assert message["Auto-Submitted"] == "auto-generated" and message["Message-ID"] and message["Date"]
        assert not message.defects, message.defects
        kinds = [part.get_content_type() for part in message.iter_parts()]
        assert kinds == ["text/plain", "text/html"], kinds

        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        status, report = send("ada@example.org")
        assert (status, report["sent"]) == (1, False), report
    print("4 attempts to send a mail to aiosmtpd, and one without a mail server: as expected")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
