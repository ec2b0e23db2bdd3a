"""Signed tasks: a worker refuses what was not signed with a key whose certificate it has.

It says who gave an order and that nobody changed it; it hides nothing. Costs a signature and a check a task, each
about a millisecond (RSA), and kombu then needs the ``cryptography`` package.
"""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

KEY, CERTIFICATE = "key.pem", "certificate.pem"
"""The files in the folder of a party: its own key, and its own certificate; every other ``.pem`` is one it trusts."""


def sign_messages(app: Celery, folder: str | os.PathLike[str]) -> None:
    """Make `app` sign what it sends and refuse what is unsigned, with the files in `folder`.

    This changes the whole process: every other serializer is turned off in it.

    Raises:
        celery.exceptions.ImproperlyConfigured: a file is missing.
    """
    own = Path(folder)
    app.conf.update(
        security_key=str(own / KEY),
        security_certificate=str(own / CERTIFICATE),
        security_cert_store=str(own / "*certificate.pem"),
        task_serializer="auth",
        accept_content=["auth"],
        # Results are only read, never obeyed: whoever waits needs no certificate.
        result_accept_content=["json"],
    )
    app.setup_security(allowed_serializers=["json"])
