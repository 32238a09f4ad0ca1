"""Addresses, and sockets that are bound to them."""

import socket

from serving.errors import ServingError


def address_of(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int, flag: str) -> socket.socket:
    """A bound socket; raises ServingError, naming the port's flag, where that cannot be."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise port_error(address_of(host, port), error, flag) from None
    return bound


def port_error(address: str, error: OSError, flag: str) -> ServingError:
    """Why a server cannot listen."""
    return ServingError(f"Cannot listen on {address} ({error.strerror}); free the port or give another --{flag}.")
