"""A certificate authority for one control plane: server and client certificates, the key that signs ServiceAccount tokens."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY: Final = datetime.timedelta(days=1)
_LEEWAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; `bundle` is what clients trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mlrelease tests")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 7 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = folder / "ca.crt"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._public = self._key.public_key()

    @property
    def bundle_base64(self) -> str:
        """The certificate as kubeconfigs and webhook configurations carry it."""
        return base64.b64encode(self.bundle.read_bytes()).decode()

    def server(self, name: str, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> KeyPair:
        """A server's certificate for these names and addresses, in `<folder>/<name>.{crt,key}`."""
        return self._issue(name, name, (), hosts, ExtendedKeyUsageOID.SERVER_AUTH, valid_s=86_400.0)

    def client(self, user: str, groups: Sequence[str] = (), *, valid_s: float = 86_400.0) -> KeyPair:
        """A client's certificate: the API server reads the user from its common name, the groups from its organisations."""
        return self._issue(f"user-{user}", user, groups, (), ExtendedKeyUsageOID.CLIENT_AUTH, valid_s=valid_s)

    def _issue(
        self,
        file: str,
        common_name: str,
        organisations: Sequence[str],
        hosts: Sequence[str],
        usage: x509.ObjectIdentifier,
        *,
        valid_s: float,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + datetime.timedelta(seconds=valid_s))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._public), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        pair = KeyPair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        pair.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write_key(pair.key, key)
        return pair


class TokenSigner:
    """The key that signs ServiceAccount tokens, and short-lived tokens with it: the TokenRequest API gives none below 600 s."""

    def __init__(self, folder: Path, issuer: str) -> None:
        self.issuer = issuer
        self.key = folder / "service-accounts.key"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_key(self.key, self._key)

    def token(self, namespace: str, service_account: str, uid: str, *, valid_s: float) -> str:
        """A token of an existing ServiceAccount that expires `valid_s` seconds from now.

        The API server remembers for 10 s that a token was good, so it may take one that long after it expired; it also takes
        expired tokens for another minute (the leeway of its JOSE library), which is subtracted here.
        """
        now = time.time()
        claims = {
            "iss": self.issuer,
            "aud": [self.issuer],
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "iat": int(now - 2 * _LEEWAY_S),
            "nbf": int(now - 2 * _LEEWAY_S),
            "exp": int(now + valid_s - _LEEWAY_S),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account, "uid": uid}},
        }
        head = _part({"alg": "RS256", "typ": "JWT"}) + "." + _part(claims)
        signature = self._key.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{_encode(signature)}"


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _part(value: object) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
