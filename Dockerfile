# Two images: the acceptance gate (target gate), and the Celery worker of docker-compose.yml (target celery).
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS packages

# Before the sources, so that a changed source does not install everything again. The hashes make a package that
# was swapped on its way an error. It is the whole locked set: a second lock for a few MB less would drift.
COPY requirements.txt .
# Bytecode is compiled here and never checked against its source, because the file system of a run is read-only.
RUN python -m venv --without-pip /venv && \
    python -m pip --python /venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --root-user-action=ignore --require-hashes -r requirements.txt && \
    python -m compileall -q --invalidation-mode unchecked-hash /venv

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# What installs packages is not needed to run them.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip && \
    rm -rf "$(python -c 'import ensurepip, os; print(os.path.dirname(ensurepip.__file__))')"
COPY --from=packages /venv /venv

# docker build --target gate -t redis-practices . && mkdir -p results
# docker run --rm --user "$(id -u)" -v "$PWD/results:/results" redis-practices --cache-url redis://…
FROM base AS gate
LABEL org.opencontainers.image.title="redis-practices" \
      org.opencontainers.image.description="Judges a cache, a Redis Cluster or Celery's broker. Affiliated neither with Redis Ltd. nor with LF Projects." \
      org.opencontainers.image.licenses="MIT"
COPY pyproject.toml suite.py ./
COPY src/ src/
COPY fixtures/ fixtures/
COPY steps/ steps/
COPY features/ features/
# The names of the scenarios in a baseline of version 1.0.0.
COPY docs/promises.csv docs/
# Nothing of the current folder is imported, so that the command may run in a user's project.
ENV REPORT=/results HOME=/tmp IN_CONTAINER=1 PYTHONPATH=/app/src PYTHONSAFEPATH=1
# /results is world-writable, so that any user can run the gate; mount a folder there to keep the results.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app && \
    mkdir --mode 1777 /results && \
    printf '#!/bin/sh\nexec python -m redis_practices "$@"\n' >/venv/bin/redis-practices && \
    chmod +x /venv/bin/redis-practices
USER 10001:10001
ENTRYPOINT ["redis-practices"]

FROM base AS celery
ENV READY_FILE=/tmp/worker.ready
COPY src/ ./
# Tasks run code on request, so the worker does not run as root, but as a user that owns no files.
USER 10001:10001
CMD ["celery", "-A", "worker", "worker", "--loglevel", "INFO"]
