# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
# The image: a plain Debian or Ubuntu, the package and the collection. Every setting's default is the roles' own.
#   docker build -t llama-fleet .                                                       with a compiler
#   docker build -t my-model --target runtime --build-arg MODEL=owner/repo:QUANT .      with a release and a model in it, without a compiler
# Each part of the image is made in a stage of its own and copied from there, so that removed files take no space.
ARG BASE_IMAGE=debian:trixie-slim
# Such as sha256:…, to pin the base.
ARG BASE_DIGEST=""

FROM ${BASE_IMAGE}${BASE_DIGEST:+@}${BASE_DIGEST} AS slim
COPY image/dpkg.cfg /etc/dpkg/dpkg.cfg.d/llama-fleet
COPY image/strip /usr/local/sbin/llama-fleet-strip
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates libgomp1 libssl3 python3 \
    && llama-fleet-strip

FROM slim AS venv
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv
COPY requirements/image.txt /tmp/requirements-image.txt
# pip stays outside because nothing in the image needs it; ansible_test is for developers. Bytecode is compiled here, because a
# read-only root could not store it.
RUN python3 -m venv /tmp/pip \
    && python3 -m venv --without-pip /usr/lib/llama-fleet/venv \
    && /tmp/pip/bin/pip --python /usr/lib/llama-fleet/venv/bin/python install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement /tmp/requirements-image.txt \
    && rm -rf /usr/lib/llama-fleet/venv/lib/python3.*/site-packages/ansible_test \
    && printf '%s\n' /usr/lib/llama-fleet/src /usr/lib/llama-fleet/collections > "$(echo /usr/lib/llama-fleet/venv/lib/python3.*/site-packages)/llama_fleet.pth" \
    && /usr/lib/llama-fleet/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /usr/lib/llama-fleet \
    && install --directory --mode 0777 /volumes/models /volumes/var/lib/llama-fleet

FROM slim AS system
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ccache g++ git libssl-dev \
    && llama-fleet-strip

FROM system AS listed
ARG SOURCE_DATE_EPOCH=0
COPY --from=venv /usr/lib/llama-fleet/venv /usr/lib/llama-fleet/venv
COPY src/llama_fleet/__init__.py image/sbom.py /tmp/
RUN mkdir /listed && python3 /tmp/sbom.py /usr/lib/llama-fleet/venv/bin/python /tmp/__init__.py > /listed/sbom.spdx.json

FROM slim AS code
COPY --from=listed /listed /listed
COPY src /code/src
COPY collections /code/collections
# The ID changes whenever a package or one of our files changes.
RUN { grep documentNamespace /listed/sbom.spdx.json; find /code -type f | LC_ALL=C sort | xargs sha256sum; } | sha256sum > /tmp/image-id \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /code -p /usr/lib/llama-fleet /code \
    && mv /tmp/image-id /code/

FROM scratch AS image
COPY --from=system / /
COPY --from=venv /usr/lib/llama-fleet/venv /usr/lib/llama-fleet/venv
COPY --from=venv /volumes /
COPY --from=listed /listed /usr/share/llama-fleet
COPY --from=code /code /usr/lib/llama-fleet
# The user need not be in /etc/passwd.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/llama-fleet USER=llama-fleet
USER 10001:10001
WORKDIR /
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=24h --retries=3 CMD ["/usr/lib/llama-fleet/venv/bin/python", "-m", "llama_fleet.container.health"]
ENTRYPOINT ["/usr/lib/llama-fleet/venv/bin/python", "-m", "llama_fleet.container.entrypoint"]

# Provisioned once, as a container would be; the server only lists its devices.
FROM image AS baked
# Any source of a model and of a release; files from the folder bake/ are in /bake. portable also runs on other CPUs than this one.
ARG MODEL
ARG RELEASE=""
ARG LLAMA_CPP_CPU=portable
ARG HF_ENDPOINT=""
COPY requirements/image.txt bake* /bake/
# The second run starts as the image will start, because a start compares itself with that. An image keeps times in whole seconds.
RUN --mount=type=secret,id=hf_token,uid=10001,required=false \
    provision() { /usr/lib/llama-fleet/venv/bin/python -m llama_fleet.container.entrypoint --list-devices; } \
    && export LLAMA_CPP_SOURCE="$RELEASE" && cd /var/lib/llama-fleet \
    && HF_TOKEN="$(cat /run/secrets/hf_token 2>/dev/null || true)" provision \
    && rm -rf opt/llama-fleet/cache opt/llama-fleet/sources opt/llama-fleet/venv \
    && find /models . -user 10001 ! -type l -exec chmod a+rwX {} + -exec touch --date=@1 {} + \
    && LLAMA_CPP_UPDATE=never provision \
    && find /models . -user 10001 ! -type l -exec chmod a+rwX {} +

FROM slim AS runtime-system
# No packages are installed and no accounts are kept there.
RUN dpkg --purge --force-all apt debian-archive-keyring libapt-pkg7.0 login login.defs mount passwd sqv \
    && rm -rf /usr/lib/python3*/ensurepip /usr/lib/python3*/pydoc_data /usr/lib/python3*/test \
    && llama-fleet-strip

FROM venv AS runtime-venv
# Ansible Vault and the Hub's Xet storage, which are not needed once the model is there.
RUN /tmp/pip/bin/pip --python /usr/lib/llama-fleet/venv/bin/python uninstall --quiet --yes cffi cryptography hf-xet pycparser

FROM runtime-system AS runtime-listed
ARG SOURCE_DATE_EPOCH=0
COPY --from=runtime-venv /usr/lib/llama-fleet/venv /usr/lib/llama-fleet/venv
COPY src/llama_fleet/__init__.py image/sbom.py /tmp/
RUN mkdir /listed && python3 /tmp/sbom.py /usr/lib/llama-fleet/venv/bin/python /tmp/__init__.py > /listed/sbom.spdx.json

FROM scratch AS runtime
ARG MODEL
ARG RELEASE=""
ARG LLAMA_CPP_CPU=portable
ARG HF_ENDPOINT=""
COPY --from=runtime-system / /
COPY --from=runtime-venv /usr/lib/llama-fleet/venv /usr/lib/llama-fleet/venv
COPY --from=runtime-listed /listed /usr/share/llama-fleet
COPY --from=venv /volumes /
COPY --from=baked /models /models
COPY --from=baked /var/lib/llama-fleet /var/lib/llama-fleet
COPY --from=code /code /usr/lib/llama-fleet
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/llama-fleet USER=llama-fleet
ENV MODEL=${MODEL} LLAMA_CPP_SOURCE=${RELEASE} LLAMA_CPP_CPU=${LLAMA_CPP_CPU} LLAMA_CPP_UPDATE=never HF_ENDPOINT=${HF_ENDPOINT}
USER 10001:10001
WORKDIR /
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m --retries=3 CMD ["/usr/lib/llama-fleet/venv/bin/python", "-m", "llama_fleet.container.health"]
ENTRYPOINT ["/usr/lib/llama-fleet/venv/bin/python", "-m", "llama_fleet.container.entrypoint"]

FROM image
ARG VERSION=""
ARG REVISION=""
ARG BASE_IMAGE
ARG BASE_DIGEST
LABEL org.opencontainers.image.title="llama-fleet" \
      org.opencontainers.image.description="llama.cpp's server, built for the machine it runs on and kept up to date" \
      org.opencontainers.image.licenses="MIT AND GPL-3.0-or-later" \
      org.opencontainers.image.source="https://github.com/llama-fleet/llama-fleet" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
VOLUME ["/models", "/var/lib/llama-fleet"]
