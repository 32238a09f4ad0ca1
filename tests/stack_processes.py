"""Services of the production stack as processes of this machine, where there is no Docker engine."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tests.compose_file import Process

_NGINX = """\
{user}daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/default.conf;
}}
"""


def fill_template(text: str, environment: Mapping[str, str]) -> str:
    """As nginx's image does: `${NAME}` and `$NAME` for the variables that NGINX_ENVSUBST_FILTER lets through."""
    named = re.compile(environment.get("NGINX_ENVSUBST_FILTER", ""))
    values = {name: value for name, value in environment.items() if named.search(name)}
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: values.get(m[1] or m[2], m[0]), text)


def nginx_command(template: Path, proxy: Process, folder: Path) -> list[str]:
    """Write the proxy's configuration into `folder`, and return the command that runs nginx with it.

    `proxy` is the service's process; of its environment PROXY_ROOT and the rest are put into the template.
    """
    (folder / "default.conf").write_text(fill_template(template.read_text("utf-8"), proxy.environment), "utf-8")
    main = folder / "nginx.conf"
    # Started by root, its workers would be another user's, who cannot read a test's folders.
    user = "" if os.getuid() else "user root;\n"
    main.write_text(_NGINX.format(folder=folder, user=user), "utf-8")
    # `-g` is the one argument that the file above has taken over.
    return [proxy.command[0], "-c", str(main), "-p", str(folder), "-e", "stderr"]
