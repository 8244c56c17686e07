# The server in a container: docker build -t shoestring . && docker run --rm -p 8080:8080 \
#   -e SHOESTRING_API_KEY=… -v ./models:/models:ro shoestring /models/MODEL.gguf
# Built from source in one stage; the other has Python and the result, no compiler.

FROM python:3.12-bookworm AS build
WORKDIR /source
COPY pyproject.toml CMakeLists.txt LICENSE ./
COPY kernels kernels
COPY src src
RUN python -m venv /opt/shoestring \
    && /opt/shoestring/bin/pip install --no-cache-dir --no-compile '.[server]'

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --create-home shoestring
COPY --from=build /opt/shoestring /opt/shoestring
# Reached from outside of its container, so it asks for a key: without SHOESTRING_API_KEY it refuses to start.
ENV PATH=/opt/shoestring/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SHOESTRING_HOST=0.0.0.0 \
    SHOESTRING_PORT=8080
USER 10001
WORKDIR /home/shoestring
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --start-interval=2s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['SHOESTRING_PORT'] + '/health')"]
ENTRYPOINT ["shoestring", "serve"]
