"""The registry and the web server: nginx terminates TLS for both and knows the users, as text.

Debian's docker-registry stands behind it. The `*_FAULTS` ports are for a fault proxy: nginx asks
there first and falls back when nothing listens, so a test puts faults in the way by listening.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping

from cluster.addresses import (
    DATA,
    DATA_FAULTS_PORT,
    DATA_PORT,
    NODE_IP,
    REGISTRY,
    REGISTRY_FAULTS_PORT,
    REGISTRY_PORT,
)
from cluster.layout import Layout

PUSHER, PULLER = "pusher", "puller"


def htpasswd(passwords: Mapping[str, str]) -> str:
    """A password file in the {SSHA} form that nginx reads."""
    lines = []
    for user, password in passwords.items():
        salt = os.urandom(8)
        # nginx knows this scheme; the passwords live as long as the cluster does.
        digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
        lines.append(f"{user}:{{SSHA}}{base64.b64encode(digest + salt).decode()}\n")
    return "".join(lines)


def docker_config(user: str, password: str) -> str:
    """A docker config.json with one login: what a pull or push secret holds."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {REGISTRY: {"auth": auth}}}) + "\n"


def registry_config() -> str:
    """docker-registry, plain on the loopback; nginx is its only client."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": "/var/lib/registry"},
                "delete": {"enabled": True},
            },
            # Upload sessions are signed; without a fixed secret none survives a restart.
            "http": {"addr": f"127.0.0.1:{REGISTRY_PORT}", "secret": "fixed"},
        }
    )


def nginx(layout: Layout) -> str:
    """TLS on 443 for both names, plain http on 80 for data, and the static files themselves."""
    return f"""daemon off;
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {{}}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format requests '$time_iso8601 $host $remote_user "$request" $status $body_bytes_sent';
    access_log /var/log/nginx/access.log requests;
    sendfile on;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 300s;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    ssl_certificate {layout.pki / "front.crt"};
    ssl_certificate_key {layout.pki / "front.key"};
    upstream registry {{
        server 127.0.0.1:{REGISTRY_FAULTS_PORT} max_fails=0;
        server 127.0.0.1:{REGISTRY_PORT} max_fails=0 backup;
    }}
    upstream data {{
        server 127.0.0.1:{DATA_FAULTS_PORT} max_fails=0;
        server 127.0.0.1:{DATA_PORT} max_fails=0 backup;
    }}
    map "$remote_user:$request_method" $may_only_pull {{
        default 0;
        "~^{PULLER}:(?!GET|HEAD)" 1;
    }}
    server {{
        listen {NODE_IP}:443 ssl;
        server_name {REGISTRY} {NODE_IP};
        location /v2/ {{
            auth_basic "tunery registry";
            auth_basic_user_file {layout.etc / "registry" / "htpasswd"};
            error_page 401 @unauthorized;
            add_header Docker-Distribution-Api-Version registry/2.0 always;
            if ($may_only_pull) {{
                return 403 '{{"errors":[{{"code":"DENIED","message":"pull only"}}]}}';
            }}
            proxy_pass http://registry;
        }}
        location @unauthorized {{
            default_type application/json;
            add_header Docker-Distribution-Api-Version registry/2.0 always;
            return 401 '{{"errors":[{{"code":"UNAUTHORIZED","message":"log in first"}}]}}';
        }}
    }}
    server {{
        listen {NODE_IP}:443 ssl;
        listen {NODE_IP}:80;
        server_name {DATA};
        location / {{ proxy_pass http://data; }}
    }}
    server {{
        listen 127.0.0.1:{DATA_PORT};
        root {layout.web};
    }}
}}
"""
