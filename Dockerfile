# To build the same image every time, give the base image by its digest, which
# `docker buildx imagetools inspect python:3.13-slim` shows:
#   docker build --build-arg BASE=python:3.13-slim@sha256:... .
ARG BASE=python:3.13-slim

FROM ${BASE} AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
# A fixed id, which Kubernetes' runAsUser and the owners of volumes can name.
RUN groupadd --gid 10001 worker \
    && useradd --uid 10001 --gid worker --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin worker
WORKDIR /srv/worker

# Has no compiler: no dependency needs one. pip stays here, outside /venv.
FROM base AS build
# otlp-requirements.txt has what exports traces as OTLP as well.
ARG REQUIREMENTS=pip-requirements.txt
COPY pip-requirements.txt otlp-requirements.txt ./
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes \
        --requirement "$REQUIREMENTS"

# For docker-compose's SQS server, and to run tests on the image's Python:
#   docker build --target dev --tag worker-dev . && docker run --rm --init worker-dev
# The tests of the template and of the library also want git and a package index.
FROM build AS dev
COPY dev-requirements.txt ./
RUN pip --python /venv/bin/python install --no-cache-dir --require-hashes \
        --requirement dev-requirements.txt \
    && chown worker:worker .
COPY --chown=worker:worker . .
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps --no-build-isolation \
        --editable ./be-queue
USER 10001:10001
CMD ["python", "-m", "pytest", "--ignore=tests/template"]

FROM base AS worker
ENV SERVER_HOST=0.0.0.0 \
    PROMETHEUS_MULTIPROC_DIR=/metrics
# All that the worker writes. Mount /metrics from memory (tmpfs, or emptyDir with medium: Memory):
# each task updates files there.
RUN install --directory --owner=worker --group=worker /metrics var \
    && printf '#!/bin/sh\nexec python -m be_queue.cli "$@"\n' > /usr/local/bin/be-queue \
    && chmod +x /usr/local/bin/be-queue
COPY --from=build /venv /venv
COPY be-queue/src/be_queue be_queue
COPY app app
COPY examples examples
# Last: each build has another.
ARG RELEASE=unknown
ENV RELEASE=$RELEASE
USER 10001:10001
EXPOSE 8080
# Past any proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ.get(\"SERVER_PORT\", 8080)}/healthz', timeout=4)"]
# server.py is the container's init: it passes signals on to its children, ends whatever they leave
# behind and, as process 1, reaps orphans. Neither tini nor `docker run --init` is needed.
CMD ["python", "app/server.py"]
