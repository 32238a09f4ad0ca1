"""TLS for gRPC, by TensorFlow Serving's SSL config."""

import datetime

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.errors import ServingError
from serving.protos import prediction_service_pb2_grpc

X = {"x": np.float32([1, 2])}


def code_of(call, *arguments, **keywords):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)
    return caught.value.code().name


def make_certificate(name, issuer=None):
    """PEM of a private key and its certificate, signed by itself or by another such pair."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signed_by = (key, subject) if issuer is None else issuer
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (key, subject), private, certificate.public_bytes(encoding)


class TestTls:
    """By TensorFlow Serving's SSL config, for gRPC."""

    @staticmethod
    def config(path, **fields):
        path.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
        return f"--ssl_config_file={path}"

    @staticmethod
    def text(pem):
        return '"' + pem.decode().replace("\n", "\\n") + '"'

    def ask(self, client, credentials):
        options = [("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(f"127.0.0.1:{client.ports[0]}", credentials, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return list(stub.Predict(client.request("m", X), timeout=10).outputs["y"].float_val)

    def test_the_server_shows_its_certificate(self, servers, library, tmp_path, configure):
        library.put("plus_two", tmp_path / "m", 1)
        _, key, certificate = make_certificate("server")
        flag = self.config(tmp_path / "ssl", server_key=self.text(key), server_cert=self.text(certificate))
        client = servers.start(configure("m", tmp_path / "m"), flag)
        assert self.ask(client, grpc.ssl_channel_credentials(certificate)) == [2.5, 3.0]
        _, _, other = make_certificate("other")
        assert code_of(self.ask, client, grpc.ssl_channel_credentials(other)) == "UNAVAILABLE"
        assert code_of(client.predict, "m", X) == "UNAVAILABLE"

    def test_the_client_may_have_to_show_one(self, servers, library, tmp_path, configure):
        library.put("plus_two", tmp_path / "m", 1)
        authority, _, root = make_certificate("authority")
        _, key, certificate = make_certificate("server", authority)
        _, client_key, client_certificate = make_certificate("client", authority)
        fields = {"server_key": self.text(key), "server_cert": self.text(certificate), "custom_ca": self.text(root)}
        flag = self.config(tmp_path / "ssl", **fields, client_verify="true")
        client = servers.start(configure("m", tmp_path / "m"), flag)
        credentials = grpc.ssl_channel_credentials(root, client_key, client_certificate)
        assert self.ask(client, credentials) == [2.5, 3.0]
        assert code_of(self.ask, client, grpc.ssl_channel_credentials(root)) == "UNAVAILABLE"

    def test_what_is_wrong_with_a_config_is_said(self, servers, library, tmp_path, configure):
        library.put("plus_two", tmp_path / "m", 1)
        _, key, certificate = make_certificate("server")
        _, another_key, _ = make_certificate("other")
        good = {"server_key": self.text(key), "server_cert": self.text(certificate)}
        for fields, message in (
            ({**good, "server_key": '"server.key"'}, "server_key is not PEM; put the text of the file in"),
            ({"server_key": good["server_key"]}, "server_cert is not PEM"),
            ({**good, "client_verify": "true"}, "custom_ca is not PEM"),
            ({**good, "server_key": self.text(another_key)}, "do key and certificate go together"),
            ({"key": '""'}, "Error parsing text-format tensorflow.serving.SSLConfig: 1:1"),
        ):
            with pytest.raises(ServingError, match=message):
                servers.start(configure("m", tmp_path / "m"), self.config(tmp_path / "ssl", **fields))
        with pytest.raises(ServingError, match=r"Cannot read --ssl_config_file=.*No such file"):
            servers.start(configure("m", tmp_path / "m"), f"--ssl_config_file={tmp_path / 'nothing'}")
