"""TLS for gRPC, by TensorFlow Serving's SSL config. (Its REST API has none, nor has ours; a proxy does it.)"""

import grpc

from serving.config_protos import SSLConfig
from serving.errors import ServingError
from serving.model_server.text_files import read_message


def server_credentials(ssl_config_file: str) -> grpc.ServerCredentials | None:
    """What the file asks for, None without a file; raises ServingError for one that is wrong or incomplete."""
    if not ssl_config_file:
        return None
    config = read_message("ssl_config_file", ssl_config_file, SSLConfig())
    pieces = {"server_key": config.server_key, "server_cert": config.server_cert}
    if config.client_verify:
        # TensorFlow Serving would fall back on the authorities of the machine, which vouch for half the world.
        pieces["custom_ca"] = config.custom_ca
    for name, text in pieces.items():
        if "-----BEGIN " not in text:
            raise ServingError(
                f"--ssl_config_file={ssl_config_file}: {name} is not PEM; put the text of the file in, not its name."
            )
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
