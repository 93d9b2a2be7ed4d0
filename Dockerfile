# The MCP server over HTTP. Tokens are required, as a container is reached from outside:
#   docker build -t imagen-mcp .
#   docker run -p 8765:8765 -v imagen:/data -v ./tokens.toml:/run/tokens.toml:ro -e OPENAI_API_KEY imagen-mcp
# `docker stop --time 200` lets it finish what is paid.
FROM python:3.13-slim
COPY . /src
RUN pip install --no-cache-dir "/src[http]" && rm -r /src \
    && useradd --create-home imagen && mkdir /data && chown imagen /data
USER imagen
ENV IMAGEN_HOME=/data IMAGEN_MCP_TOKENS=/run/tokens.toml
VOLUME /data
EXPOSE 8765
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/health')"]
CMD ["imagen-mcp", "--http", "0.0.0.0:8765"]
