#!/usr/bin/env python3
"""Make an authority and a certificate for Dask's processes: ``python make_certificates.py FOLDER``; needs cryptography.

Refuses to know hosts: who has the files of the folder is let in, and nobody else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from distributed.security import Security

ROLES = ("SCHEDULER", "WORKER", "CLIENT")


def make_certificates(folder: Path) -> dict[str, str]:
    """Write ca.pem, cert.pem and key.pem (mode 0600) into ``folder``; returns the variables that name them to Dask."""
    made = Security.temporary().get_tls_config_for_role("worker")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("ca", made["ca_file"]), ("cert", made["cert"]), ("key", made["key"])):
        path = folder / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(text)
    variables = {"CA_FILE": "ca.pem"}
    for role in ROLES:
        variables |= {f"{role}__CERT": "cert.pem", f"{role}__KEY": "key.pem"}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(folder.absolute() / file) for name, file in variables.items()}


if __name__ == "__main__":
    for name, place in make_certificates(Path(sys.argv[1])).items():
        sys.stdout.write(f"export {name}={place}\n")
