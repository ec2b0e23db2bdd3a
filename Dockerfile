# Two images: the Celery worker of docker-compose.yml (target celery), and the acceptance gate (target gate).
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS base

# Logs appear at once; nothing is written beside the sources, so that the file system may be read-only.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# Before the sources, so that a changed source does not install everything again. The hashes make a package that
# was swapped on its way an error. It is the whole locked set: a second lock for a few MB less would drift.
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.txt

# docker build --target gate -t redis-practices-gate . && mkdir -p results
# docker run --rm --user "$(id -u)" -v "$PWD/results:/results" redis-practices-gate --cache-url redis://…
FROM base AS gate
COPY pyproject.toml conftest.py ./
COPY src/ src/
COPY fixtures/ fixtures/
COPY steps/ steps/
COPY features/ features/
# What a baseline of version 1.0.0 calls the scenarios.
COPY docs/promises.csv docs/
# Without a URL there is nothing to accept: that is an error here, and not a run on servers of its own.
ENV STACK=external REPORT=/results HOME=/tmp
# Anyone may write here, so that any user may run the gate; mount a folder over it to keep the results.
RUN mkdir --mode 1777 /results
USER 10001:10001
# No cache and no examples to remember: each run begins from nothing.
ENTRYPOINT ["pytest", "features/", "-p", "no:cacheprovider"]

FROM base AS celery
ENV READY_FILE=/tmp/worker.ready
COPY src/ ./
# A task is code that others trigger: it does not run as root, but as a user that owns nothing.
USER 10001:10001
CMD ["celery", "-A", "worker", "worker", "--include", "redis_practices.celery_worker.health", "--loglevel", "INFO"]
