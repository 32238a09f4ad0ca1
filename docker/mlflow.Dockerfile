# MLflow's server with the drivers of PostgreSQL and S3, which its own image lacks. Versions are those of
# requirements.lock, so that server and client are of one release.
FROM python:3.12.12-slim-bookworm

COPY requirements.lock docker/mlflow-requirements.txt /tmp/
RUN grep -v '^python-dateutil==' /tmp/requirements.lock > /tmp/constraints.txt \
    && pip install --no-cache-dir --disable-pip-version-check \
      --constraint /tmp/constraints.txt --requirement /tmp/mlflow-requirements.txt \
    && rm /tmp/constraints.txt /tmp/requirements.lock /tmp/mlflow-requirements.txt

# A new volume takes its owner from this folder.
RUN useradd --uid 10001 --user-group --no-create-home mlflow && install --directory --owner 10001 --group 10001 /mlartifacts
USER 10001:10001
EXPOSE 5000
CMD ["mlflow", "server"]
