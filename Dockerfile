# dtc-jax with all that it imports; see docs/container.md.
#
#   docker build --tag dtc-jax .
#   docker build --tag dtc-jax:cuda --build-arg JAX='jax[cuda12]' .

# Any image with Python 3.11 or newer.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# jax for CPUs; jax[cuda12] or jax[cuda13] brings NVIDIA's libraries along, but not the driver.
ARG JAX=jax
# See setup.cfg.
ARG EXTRAS=dicom,dicomweb,itk,serve
COPY . /src/
RUN python -m venv /opt/dtc-jax && \
    /opt/dtc-jax/bin/python -m pip install --quiet --no-cache-dir uv
# The versions are those of the tests.
RUN /opt/dtc-jax/bin/uv pip install --quiet --python /opt/dtc-jax/bin/python \
    --constraint /src/requirements.txt "${JAX}" "/src[${EXTRAS}]"
RUN /opt/dtc-jax/bin/dtc-jax --help > /dev/null

FROM ${BASE}
COPY --from=build /opt/dtc-jax/ /opt/dtc-jax/
# Caches of Matplotlib and of compiled code go to HOME. Apptainer sets it to that of the user.
ENV PATH=/opt/dtc-jax/bin:${PATH} HOME=/tmp PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
# A number needs no entry among the users; --user=$(id -u):$(id -g) takes its place.
USER 1000:1000
ENTRYPOINT ["dtc-jax"]
CMD ["--help"]
