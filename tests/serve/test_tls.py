"""HTTPS, and callers that are known by their certificate, with certificates made by openssl."""

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx2 as httpx
import pytest
from click.testing import CliRunner
from serving import say
from test_verbs import serving

from insource.cli.main import main
from insource.errors import Invalid
from insource.serve.tls import common_name, context

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def signed(folder: Path, authority: str, name: str, subject: str) -> None:
    """`name`.pem and `name`.key, signed by `authority`."""
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
    openssl(folder, "req", *new, "-out", "asked", "-subj", subject)
    by = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2"]
    openssl(folder, "x509", "-req", "-in", "asked", *by, "-out", f"{name}.pem", "-extfile", "names")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A workspace with an engine and a key for `desk`, and certificates of our authority and of another."""
    root = tmp_path_factory.mktemp("tls")
    (root / "tasks").mkdir()
    (root / "insource.toml").write_text('[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\n')
    (root / "hub.jsonl").write_text('{"match": "*", "text": "Hello."}\n')
    for authority in ("ours", "theirs"):
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{authority}.key"]
        openssl(root, "req", "-x509", *new, "-out", f"{authority}.pem", "-subj", f"/CN={authority}", "-days", "2")
    for name, subject in (("server", "/CN=gateway"), ("desk", "/CN=desk"), ("nobody", "/CN=nobody")):
        signed(root, "ours", name, subject)
    signed(root, "theirs", "forged", "/CN=desk")
    made = CliRunner().invoke(main, ["-C", str(root), "keys", "create", "desk", "--tenant", "plant"])
    (root / "desk.text").write_text(made.stdout)
    return root


def known_as(place: Path, name: str | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(place / "ours.pem"))
    if name is not None:
        made.load_cert_chain(place / f"{name}.pem", place / f"{name}.key")
    return made


def test_a_client_is_known_by_its_certificate_and_a_strangers_does_not_connect(place):
    files = ["--tls-cert", str(place / "server.pem"), "--tls-key", str(place / "server.key")]
    text = (place / "desk.text").read_text().strip()
    with serving(place, *files, "--client-ca", str(place / "ours.pem")) as (_, url):
        assert url.startswith("https://127.0.0.1:")

        def asked(name: str | None, **headers: str) -> int:
            with httpx.Client(base_url=url, verify=known_as(place, name), timeout=20) as http:
                return http.post("/v1/chat/completions", json=say("hi", "hub"), headers=headers).status_code

        assert asked("desk") == 200
        assert asked("nobody") == 401, "no key has that name"
        assert asked("nobody", authorization=f"Bearer {text}") == 200
        assert asked("desk", authorization="Bearer none") == 401, "a wrong key is not made good by a certificate"
        for stranger in (None, "forged"):
            with pytest.raises(httpx.TransportError):
                asked(stranger)


def test_https_alone_takes_the_key(place):
    files = ["--tls-cert", str(place / "server.pem"), "--tls-key", str(place / "server.key")]
    text = (place / "desk.text").read_text().strip()
    with (
        serving(place, *files) as (_, url),
        httpx.Client(base_url=url, verify=known_as(place, None), timeout=20) as http,
    ):
        assert http.get("/v1/models").status_code == 401
        assert http.get("/v1/models", headers={"authorization": f"Bearer {text}"}).status_code == 200


def test_what_is_no_certificate_is_said(place):
    for cert, key in (("hub.jsonl", "server.key"), ("server.pem", "desk.key"), ("absent", "server.key")):
        with pytest.raises(Invalid, match="no TLS with"):
            context(place / cert, place / key)
    with pytest.raises(Invalid, match="no TLS with"):
        context(place / "server.pem", place / "server.key", place / "hub.jsonl")
    openssl(place, "ec", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    with pytest.raises(Invalid, match="password"):
        context(place / "server.pem", place / "locked.key")
    done = CliRunner().invoke(main, ["-C", str(place), "serve", "--client-ca", str(place / "ours.pem")])
    assert done.exit_code == 2
    assert "both a certificate and its key" in done.stderr


def test_a_subject_with_two_names_is_nobodys():
    assert common_name({"subject": ((("commonName", "desk"),),)}) == "desk"
    assert common_name({"subject": ((("commonName", "desk"),), (("commonName", "admin"),))}) == ""
    assert common_name({"subject": ((("organizationName", "desk"),),)}) == ""
    assert common_name(None) == ""
