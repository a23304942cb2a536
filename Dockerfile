# Purvey in a container. It writes to /data (a volume) and /tmp alone, so its root may be read-only:
#
#   docker build --tag purvey .
#   docker run --read-only --tmpfs /tmp --volume purvey:/data --publish 127.0.0.1:8000:8000 purvey serve --sample
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV VIRTUAL_ENV=/opt/purvey UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9 && uv venv --python /usr/local/bin/python3 "$VIRTUAL_ENV"
WORKDIR /source
# Dependencies first: their layer stays as long as these two files do. Versions and hashes are those of the lock.
COPY pyproject.toml requirements.lock ./
RUN uv pip install --compile-bytecode --constraints requirements.lock --requirements pyproject.toml \
    --extra oidc --extra opentelemetry --extra postgres --extra s3
COPY README.md LICENSE ./
COPY configs/online_retail.yaml configs/
COPY features features
COPY pipelines pipelines
COPY serving serving
RUN uv pip install --compile-bytecode --no-deps --build-constraints requirements.lock .

FROM python:${PYTHON}-slim
# LightGBM uses libgomp.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin purvey \
    && install --directory --owner=purvey --group=purvey /data /shop
COPY --from=build /opt/purvey /opt/purvey
# The shop's data has a folder of its own in the volume: `purvey restore` puts it in place with one rename.
ENV PATH=/opt/purvey/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PURVEY_DATA_DIR=/data/shop \
    PURVEY_SERVING__HOST=0.0.0.0 \
    PURVEY_SERVING__PORT=8000
USER 10001:10001
# The shop's shop.yaml and source files are mounted here.
WORKDIR /shop
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["purvey"]
CMD ["serve"]
