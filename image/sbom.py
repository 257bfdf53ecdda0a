# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python image/sbom.py PYTHON INIT`` prints the contents of this system as SPDX 2.3 in JSON.

It lists the distribution's packages from dpkg, the Python packages of the environment of PYTHON, and llama-fleet itself
with the version in its file INIT. With a SOURCE_DATE_EPOCH above 0 the same packages make the same bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import typing
import urllib.parse

Entry = dict[str, typing.Any]
ITSELF = "SPDXRef-llama-fleet"
DOCUMENT = "SPDXRef-DOCUMENT"
UNKNOWN = "NOASSERTION"
DPKG = ("dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\t${Maintainer}\t${Homepage}\n")
# Runs in the environment's own Python, which may be another one than this.
METADATA = """
import importlib.metadata, json
found = [each.metadata for each in importlib.metadata.distributions()]
rows = [[each["Name"], each["Version"], each["License-Expression"] or "", each["Home-page"] or ""] for each in found]
print(json.dumps(rows))
"""


def package(kind: str, name: str, version: str, purl: str, **known: str) -> Entry:
    reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}
    return {
        "SPDXID": f"SPDXRef-{kind}-{re.sub('[^A-Za-z0-9.-]', '-', f'{name}-{version}')}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [reference],
        **{key: value for key, value in known.items() if value},
    }


def distribution() -> tuple[str, str]:
    """Return the system's name and version, such as debian and 13."""
    lines = pathlib.Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    values = {name: value.strip('"') for name, _mark, value in (line.partition("=") for line in lines)}
    return values["ID"], values.get("VERSION_ID", "")


def of_dpkg() -> typing.Iterator[Entry]:
    system, release = distribution()
    for line in subprocess.run(DPKG, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        name, version, architecture, maintainer, homepage = line.split("\t")
        query = urllib.parse.urlencode({"arch": architecture, "distro": f"{system}-{release}"})
        purl = f"pkg:deb/{system}/{urllib.parse.quote(name)}@{urllib.parse.quote(version)}?{query}"
        supplier = re.sub(r" *<.*>$", "", maintainer)
        yield package(
            "deb", name, version, purl, supplier=f"Organization: {supplier}" if supplier else "", homepage=homepage
        )


def of_python(python: str) -> typing.Iterator[Entry]:
    shown = subprocess.run([python, "-I", "-c", METADATA], stdout=subprocess.PIPE, text=True, check=True).stdout
    for name, version, expression, homepage in sorted(json.loads(shown)):
        plain = re.sub("[-_.]+", "-", name).lower()
        yield package(
            "pypi", name, version, f"pkg:pypi/{plain}@{version}", licenseDeclared=expression, homepage=homepage
        )


def document(packages: list[Entry], version: str, made: dt.datetime) -> Entry:
    itself = {
        **package(
            "itself",
            "llama-fleet",
            version,
            f"pkg:generic/llama-fleet@{version}",
            licenseDeclared="MIT AND GPL-3.0-or-later",
        ),
        "SPDXID": ITSELF,
    }
    contained = [
        {"spdxElementId": ITSELF, "relationshipType": "CONTAINS", "relatedSpdxElement": each["SPDXID"]}
        for each in packages
    ]
    digest = hashlib.sha256(json.dumps(packages).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": f"llama-fleet-{version}",
        "documentNamespace": f"https://github.com/llama-fleet/llama-fleet/sbom/{version}-{digest}",
        "creationInfo": {"created": f"{made:%Y-%m-%dT%H:%M:%SZ}", "creators": [f"Tool: llama-fleet-sbom-{version}"]},
        "packages": [itself, *packages],
        "relationships": [
            {"spdxElementId": DOCUMENT, "relationshipType": "DESCRIBES", "relatedSpdxElement": ITSELF},
            *contained,
        ],
    }


def main() -> int:
    python, init = sys.argv[1:]
    (version,) = re.findall(r'^__version__ = "(.*)"$', pathlib.Path(init).read_text(encoding="utf-8"), re.MULTILINE)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    made = dt.datetime.fromtimestamp(epoch, dt.UTC) if epoch else dt.datetime.now(dt.UTC)
    json.dump(document([*of_dpkg(), *of_python(python)], version, made), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
