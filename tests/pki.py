"""Certificates of a day's authority, for the tests that speak TLS to real brokers."""

import subprocess
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: str, cwd: Path) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def make_pki(home: Path, *clients: str) -> None:
    """`ca.pem`, a broker's `localhost.pem` and `.key`, and such a pair for each client."""
    subject = ("-subj", "/CN=test CA", "-days", "2")
    openssl("req", "-x509", *_NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", *subject, cwd=home)
    (home / "san").write_text("subjectAltName=DNS:localhost\n")
    for name in ("localhost", *clients):
        request = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("req", *_NEW_KEY, *request, cwd=home)
        more = ("-extfile", "san") if name == "localhost" else ()
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", *more)
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed, cwd=home)
