# The project: the command `zoo`, for searches and as a client.
FROM python:3.12.12-slim-bookworm

# "[gpu]" brings CUDA's libraries.
ARG EXTRAS=""

WORKDIR /opt/conv-zoo
# The dependencies first: they change less often than the sources.
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN mkdir zoo pipelines serving \
    && pip install --no-cache-dir --disable-pip-version-check --constraint requirements.lock ".${EXTRAS}" \
    && pip uninstall --yes conv-zoo
COPY zoo zoo
COPY pipelines pipelines
COPY serving serving
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps . && rm -rf build *.egg-info

# The commit of the sources, which a run is tagged with: here is no git to be asked.
ARG COMMIT=""
ENV ZOO_GIT_COMMIT=${COMMIT}

RUN useradd --uid 1000 --user-group --no-create-home zoo
USER 1000:1000
# What is installed here is imported, also where a checkout of the sources is mounted.
ENV PYTHONSAFEPATH=1
WORKDIR /tmp
CMD ["zoo", "--help"]
