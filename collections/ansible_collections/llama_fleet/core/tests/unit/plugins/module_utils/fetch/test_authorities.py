# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test which authorities a certificate is checked against, with real TLS."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import authorities
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import remedy, unreachable
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError
from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import failed, read
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import Site, authority


class TestAuthorities:
    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_a_bundle(self, site: Site, variable: str) -> None:
        server = site.server(tls=True)
        said = failed(f"{server.url}/x")
        assert "CERTIFICATE_VERIFY_FAILED" in said
        assert said.endswith(", checked against the system's authorities")
        assert "SSL_CERT_FILE" in remedy(said)
        site.has(**{variable: authority().certificate})
        assert read(f"{server.url}/x") == b"here"

    @pytest.mark.parametrize("variable", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
    def test_a_folder_without_hashed_names(self, site: Site, variable: str, tmp_path: pathlib.Path) -> None:
        server = site.server(tls=True)
        (tmp_path / "site.crt").write_bytes(pathlib.Path(authority().certificate).read_bytes())
        (tmp_path / "dead").symlink_to("nowhere")
        (tmp_path / "README").write_text("Not a certificate.", encoding="ascii")
        (tmp_path / "folder").mkdir()
        folders = f"/nonexistent:{tmp_path}" if variable == "SSL_CERT_DIR" else str(tmp_path)
        site.has(**{variable: folders})
        assert read(f"{server.url}/x") == b"here"

    def test_kubernetes_mounts_a_folder_of_links(self, site: Site, tmp_path: pathlib.Path) -> None:
        server = site.server(tls=True)
        (tmp_path / "..2026").mkdir()
        (tmp_path / "..2026/ca.crt").write_bytes(pathlib.Path(authority().certificate).read_bytes())
        (tmp_path / "..data").symlink_to("..2026")
        (tmp_path / "ca.crt").symlink_to("..data/ca.crt")
        site.has(SSL_CERT_DIR=str(tmp_path))
        assert read(f"{server.url}/x") == b"here"

    def test_all_that_are_named_are_trusted(self, site: Site, tmp_path: pathlib.Path) -> None:
        server = site.server(tls=True)
        other = tmp_path / "ümlaut.pem"
        other.write_text(f"# Böse Zeile\n{pathlib.Path(authority().certificate).read_text('ascii')}", encoding="utf-8")
        site.has(SSL_CERT_FILE="/nonexistent", REQUESTS_CA_BUNDLE=str(other), CURL_CA_BUNDLE="")
        assert read(f"{server.url}/x") == b"here"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "No such file or directory"),
            (b"0\x82\x01\x0a", "no certificate in PEM form"),
            (b"", "no certificate"),
        ],
    )
    def test_what_cannot_be_read_is_named(
        self, site: Site, tmp_path: pathlib.Path, content: bytes | None, reason: str
    ) -> None:
        server = site.server(tls=True)
        path = tmp_path / "ca.cer"
        if content is not None:
            path.write_bytes(content)
        site.has(REQUESTS_CA_BUNDLE=str(path))
        said = failed(f"{server.url}/x")
        assert f"checked against the system's authorities and REQUESTS_CA_BUNDLE={path} ({reason}" in said

    def test_the_system_s_authorities_can_be_left_out(self, site: Site) -> None:
        site.has(SSL_CERT_FILE=authority().certificate, SSL_CERT_DIR="/nonexistent")
        assert len(authorities.context().get_ca_certs()) == 1
        site.has(SSL_CERT_DIR="")
        assert len(authorities.context().get_ca_certs()) > 1

    def test_a_proxy_that_breaks_tls_open(self, site: Site) -> None:
        """A proxy that answers CONNECT itself, with certificates of the site's authority, is named with the stores."""
        proxy, server = site.proxy(), site.server(tls=True)
        site.has(https_proxy=proxy.url())
        said = failed(f"https://models.site:{server.port}/x")
        assert said.endswith(f", through the proxy http://{proxy.address}, checked against the system's authorities")
        site.has(CURL_CA_BUNDLE=authority().certificate)
        assert read(f"https://models.site:{server.port}/x") == b"here"

    def test_a_certificate_of_another_host(self, site: Site) -> None:
        proxy, server = site.proxy(), site.server(tls=True)
        site.trusts()
        site.has(https_proxy=proxy.url())
        said = failed(f"https://other.site:{server.port}/x")
        assert "Hostname mismatch" in said

    def test_a_problem_says_what_to_do(self) -> None:
        error = OriginError("no answer ([SSL: CERTIFICATE_VERIFY_FAILED] x)")
        assert "update-ca-certificates" in str(unreachable("v", "https://a.example/", error))
