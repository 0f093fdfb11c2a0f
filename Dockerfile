# syntax=docker/dockerfile:1.7
# The environment of `make env OPS=1`, and this package in it: see docs/containers.md.
#     docker build -t mmuniqrnet .
#     docker build -t mmuniqrnet:cuda --build-arg DEVICE=cuda .
ARG DEVICE=cpu
ARG UBUNTU=noble-20260610
ARG CUDA=12.6.3

FROM ubuntu:${UBUNTU} AS compiler-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV TORCH_INDEX=${TORCH_INDEX}

FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS compiler-cuda
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126
# No GPU can be seen while an image is built, so mmcv is told to compile its CUDA ops, and for which GPUs.
ARG TORCH_CUDA_ARCH_LIST="7.5;8.0;8.6;8.9;9.0+PTX"
ENV TORCH_INDEX=${TORCH_INDEX} FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST}

# Also the image of the dev container, as it has the compiler.
# hadolint ignore=DL3006
FROM compiler-${DEVICE} AS environment
ARG PYTHON=python3.12
ARG STACK=onedl
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes \
        g++ git libgl1 libglib2.0-0t64 make "${PYTHON}-dev" "${PYTHON}-venv" \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=ubuntu --group=ubuntu /opt/venv /home/ubuntu/mmuniqrnet
ENV PYTHON=${PYTHON} STACK=${STACK} VENV=/opt/venv PATH=/opt/venv/bin:${PATH}
USER 1000:1000
WORKDIR /home/ubuntu/mmuniqrnet
# Only what the environment is made from, so that other changes keep this layer. The package is linked to this folder.
COPY --chown=ubuntu:ubuntu Makefile pyproject.toml setup.py ./
COPY --chown=ubuntu:ubuntu requirements requirements
COPY --chown=ubuntu:ubuntu tools/make_env.py tools/
COPY --chown=ubuntu:ubuntu mmuniqrnet/__init__.py mmuniqrnet/env.py mmuniqrnet/version.py mmuniqrnet/
COPY --chown=ubuntu:ubuntu mmuniqrnet/utils mmuniqrnet/utils
# The cache keeps the compiled mmcv, which takes 10 to 15 minutes on two cores without CUDA.
RUN --mount=type=cache,target=/home/ubuntu/.cache,uid=1000,gid=1000 \
    mkdir configs \
    && touch model-index.yml \
    && make env OPS=1

FROM ubuntu:${UBUNTU} AS mmuniqrnet
ARG PYTHON=python3.12
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes libgl1 libglib2.0-0t64 "${PYTHON}" \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=ubuntu --group=ubuntu /home/ubuntu/mmuniqrnet
# For the NVIDIA Container Toolkit. The CUDA libraries come with torch; the driver is the host's.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility PATH=/opt/venv/bin:${PATH}
USER 1000:1000
WORKDIR /home/ubuntu/mmuniqrnet
COPY --from=environment --chown=ubuntu:ubuntu /opt/venv /opt/venv
COPY --chown=ubuntu:ubuntu . .
COPY --from=environment --chown=ubuntu:ubuntu /home/ubuntu/mmuniqrnet/mmuniqrnet/.mim mmuniqrnet/.mim
CMD ["mmuniqrnet", "--help"]
