# Two images: the Celery worker of docker-compose.yml (target celery), and the acceptance gate (target gate).
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS base

# Unbuffered logs, and no bytecode beside the sources, so that the file system may be read-only.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# Before the sources, so that a changed source does not install everything again. The hashes make a package that
# was swapped on its way an error. It is the whole locked set: a second lock for a few MB less would drift.
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.txt

# docker build --target gate -t redis-practices-gate . && mkdir -p results
# docker run --rm --user "$(id -u)" -v "$PWD/results:/results" redis-practices-gate --cache-url redis://…
FROM base AS gate
COPY pyproject.toml suite.py ./
COPY src/ src/
COPY fixtures/ fixtures/
COPY steps/ steps/
COPY features/ features/
# The names of the scenarios in a baseline of version 1.0.0.
COPY docs/promises.csv docs/
# Without a URL there is no deployment to accept: an error here, instead of a run on embedded servers.
ENV STACK=external REPORT=/results HOME=/tmp
# World-writable, so that any user can run the gate; mount a folder here to keep the results.
RUN mkdir --mode 1777 /results
USER 10001:10001
# No pytest cache and no Hypothesis examples: each run begins without state.
ENTRYPOINT ["pytest", "features/", "-p", "no:cacheprovider"]

FROM base AS celery
ENV READY_FILE=/tmp/worker.ready
COPY src/ ./
# Tasks run code on request, so the worker does not run as root, but as a user that owns no files.
USER 10001:10001
CMD ["celery", "-A", "worker", "worker", "--include", "redis_practices.celery_worker.health", "--loglevel", "INFO"]
