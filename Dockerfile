# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
# The image: a plain Debian, the package and the collection. Every setting's default is the roles' own.
ARG BASE_IMAGE=debian:trixie-slim

FROM ${BASE_IMAGE} AS venv
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
COPY requirements.txt /tmp/requirements.txt
# ansible_test is for developers. Compiled once here: no start has to, and a read-only root could not.
RUN python3 -m venv /usr/lib/llama-fleet/venv \
    && /usr/lib/llama-fleet/venv/bin/python -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check --require-hashes --requirement /tmp/requirements.txt \
    && rm -rf /usr/lib/llama-fleet/venv/lib/python3.*/site-packages/ansible_test \
    && echo /usr/lib/llama-fleet/src > "$(echo /usr/lib/llama-fleet/venv/lib/python3.*/site-packages)/llama_fleet.pth"
COPY src /usr/lib/llama-fleet/src
COPY collections /usr/lib/llama-fleet/collections
RUN /usr/lib/llama-fleet/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /usr/lib/llama-fleet

FROM ${BASE_IMAGE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates ccache g++ git libssl-dev python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=venv /usr/lib/llama-fleet /usr/lib/llama-fleet
VOLUME ["/models", "/var/lib/llama-fleet"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60m --retries=3 CMD ["/usr/lib/llama-fleet/venv/bin/python", "-m", "llama_fleet.health"]
ENTRYPOINT ["/usr/lib/llama-fleet/venv/bin/python", "-m", "llama_fleet.entrypoint"]
