# One image for every `worker` command. BASE may be any image with Python 3.11 or newer on glibc.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# worker, or otel: what sends traces as well. Who sends none is spared ten packages.
ARG REQUIREMENTS=worker
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/build && python -m venv --without-pip /opt/worker
COPY requirements/ requirements/
RUN /opt/build/bin/pip install -q --require-hashes -r requirements/build.txt \
 && /opt/build/bin/pip --python /opt/worker/bin/python install -q --require-hashes --only-binary :all: -r requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker/ worker/
COPY alembic/ alembic/
RUN /opt/build/bin/pip --python /opt/build/bin/python wheel -q --no-deps --no-build-isolation -w dist . \
 && /opt/build/bin/pip --python /opt/worker/bin/python install -q --no-deps dist/*.whl \
 && PATH=/opt/build/bin:$PATH requirements/sbom /opt/worker/bin/python /opt/worker/sbom.cdx.json \
 && /opt/worker/bin/python -m compileall -q /opt/worker

FROM ${BASE}
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="orders-worker" \
      org.opencontainers.image.description="Executes orders from a Redis stream, each once, and publishes one result for each" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/worker /opt/worker
ENV PATH="/opt/worker/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WORKER_HEALTH_HOST=0.0.0.0
USER 10001:10001
WORKDIR /
EXPOSE 8003
# The port may have been set; a container that runs another command than `run` has no health to ask for.
HEALTHCHECK --interval=5s --timeout=4s --start-period=15s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('WORKER_HEALTH_PORT', '8003') + '/health', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["worker"]
CMD ["run"]
