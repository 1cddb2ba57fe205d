"""bhctl talks only to the intended appliance: fingerprints, certificates, and what happens if they cannot be checked."""
import socket
import ssl
import subprocess
import threading

import pytest

from bhctl import Other, bare

# Makes libcurl look like another one to bhctl: FAKE says what is wrong with it. FAKE_CAPATH: the directory of certificates that it was built to trust.
OTHER_LIBCURL = r"""
#define _GNU_SOURCE
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#undef curl_easy_setopt

static int fake(const char *what)
{
    return getenv("FAKE") && strcmp(getenv("FAKE"), what) == 0;
}

CURLcode curl_easy_setopt(CURL *c, CURLoption option, ...)
{
    CURLcode (*real)(CURL *, CURLoption, ...) = (CURLcode (*)(CURL *, CURLoption, ...))dlsym(RTLD_NEXT, "curl_easy_setopt");
    va_list ap;
    void *value;

    va_start(ap, option);
    value = va_arg(ap, void *);
    va_end(ap);
    if (option == CURLOPT_SSL_CTX_FUNCTION && fake("refuses"))
        return CURLE_UNKNOWN_OPTION;
    if (option == CURLOPT_SSL_CTX_FUNCTION && fake("forgets"))
        return CURLE_OK;
    if (option == CURLOPT_CAINFO && fake("has no files"))
        return CURLE_NOT_BUILT_IN;
    return real(c, option, value);
}

void curl_easy_reset(CURL *c)
{
    ((void (*)(CURL *))dlsym(RTLD_NEXT, "curl_easy_reset"))(c);
    if (getenv("FAKE_CAPATH"))
        curl_easy_setopt(c, CURLOPT_CAPATH, getenv("FAKE_CAPATH"));
}

curl_version_info_data *curl_version_info(CURLversion v)
{
    static curl_version_info_data copy;

    copy = *((curl_version_info_data * (*)(CURLversion)) dlsym(RTLD_NEXT, "curl_version_info"))(v);
    if (fake("GnuTLS"))
        copy.ssl_version = "GnuTLS/3.7.9";
    return &copy;
}
"""


@pytest.fixture(scope="module")
def libcurl(tmp_path_factory):
    path = tmp_path_factory.mktemp("libcurl") / "other.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path, "-ldl"], input=OTHER_LIBCURL, text=True, check=True)
    return str(path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two certificates of 127.0.0.1: "right" and "wrong"."""
    directory = tmp_path_factory.mktemp("certificates")
    for name in ("right", "wrong"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem",
                        "-days", "30", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return directory


def fingerprint(path):
    return subprocess.run(["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True, check=True).stdout.strip().split("=")[1]


@pytest.fixture
def right(certificates):
    with Other(body=b'{"guests":[]}', certificate=certificates / "right") as s:
        yield s


def test_plain_http_has_no_certificate(certificates):
    """An option that says whom to trust is not silently ignored: the token would go out in the clear."""
    pin = fingerprint(certificates / "right.pem")
    with Other(body=b'{"guests":[]}') as s:
        for options, env, named in ((("--fingerprint", pin), {}, "--fingerprint"), ((), {"BULKHEAD_FINGERPRINT": pin}, "BULKHEAD_FINGERPRINT"),
                                    (("--cacert", certificates / "right.pem"), {}, "--cacert")):
            status, out, err = bare("guests", *options, url=s.url, token="secret", **env)
            assert status == 2 and out == "" and err.startswith(f"bhctl: {named} cannot be checked at {s.url}") and "https://" in err and "secret" not in err
        assert s.asked == []
        # Plain HTTP must be requested explicitly.
        assert bare("guests", "-k", url=s.url, token="secret", BULKHEAD_FINGERPRINT=pin)[0] == 0


def test_fingerprint(certificates, right):
    pin, other = (fingerprint(certificates / f"{name}.pem") for name in ("right", "wrong"))
    assert bare("guests", "--fingerprint", pin, url=right.url, token="t")[0] == 0 and len(right.asked) == 1
    assert bare("guests", url=right.url, BULKHEAD_FINGERPRINT=pin)[0] == 0 and len(right.asked) == 2
    for env in ({}, {"BULKHEAD_FINGERPRINT": pin}):
        status, out, err = bare("guests", "--fingerprint", other, url=right.url, token="t", **env)
        assert status == 3 and out == "" and f"it shows  {pin}\n" in err and f"expected  {other}\n" in err
    assert len(right.asked) == 2


@pytest.mark.parametrize("fake, status, message", [
    ("refuses", 2, "this libcurl cannot check it"), ("GnuTLS", 2, "needs a libcurl with OpenSSL; this one has GnuTLS/3.7.9"), ("forgets", 3, "was not compared")])
@pytest.mark.parametrize("name", ["right", "wrong"])
def test_fingerprint_that_cannot_be_compared(certificates, right, libcurl, fake, status, message, name):
    pin = fingerprint(certificates / f"{name}.pem")
    for command in (("guests",), ("events", "-f"), ("console", "a"), ("reset", "a")):
        got, out, err = bare(*command, "--fingerprint", pin, url=right.url, token="t", LD_PRELOAD=libcurl, FAKE=fake)
        assert got == status and out == "" and message in err, err
    assert right.asked == []


def test_cacert(certificates, right, libcurl, tmp_path):
    """Trusts the certificates in it and no others, whatever this computer's own certificates are."""
    assert bare("guests", "--cacert", certificates / "right.pem", url=right.url)[0] == 0
    (tmp_path / "right.pem").write_bytes((certificates / "right.pem").read_bytes())
    subprocess.run(["openssl", "rehash", tmp_path], check=True)
    trusting = {"LD_PRELOAD": libcurl, "FAKE_CAPATH": str(tmp_path)}
    assert bare("guests", url=right.url, **trusting)[0] == 0 and len(right.asked) == 2
    status, out, err = bare("guests", "--cacert", certificates / "wrong.pem", url=right.url, token="t", **trusting)
    assert status == 3 and out == "" and "certificate cannot be trusted" in err
    assert bare("guests", "--cacert", certificates / "right.pem", url=right.url, **trusting)[0] == 0 and len(right.asked) == 3
    assert bare("guests", "--cacert", certificates / "right.pem", url=right.url, LD_PRELOAD=libcurl, FAKE="has no files")[0] == 2
    assert len(right.asked) == 3


def test_cut_handshakes_are_tried_again(certificates):
    """If the management guest dies during a handshake it is back in less than a second, so bhctl retries. It does not retry a server with another
    certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "right.pem", certificates / "right.key")
    seen = []

    def serve(listening):
        while True:
            try:
                c, _ = listening.accept()
            except OSError:
                return
            seen.append(c)
            with c:
                if len(seen) % 3:
                    c.recv(10)
                    continue
                try:
                    with tls.wrap_socket(c, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"guests\":[]}")
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as s:
        threading.Thread(target=serve, args=(s,), daemon=True).start()
        url = f"https://127.0.0.1:{s.getsockname()[1]}"
        assert bare("guests", "-k", url=url)[0] == 0 and len(seen) == 3
        assert bare("guests", "--fingerprint", fingerprint(certificates / "right.pem"), url=url)[0] == 0 and len(seen) == 6
        assert bare("reset", "a", "-k", url=url)[0] == 3 and len(seen) == 7
        assert bare("guests", "--fingerprint", fingerprint(certificates / "wrong.pem"), url=url)[0] == 3 and len(seen) == 9
        s.shutdown(socket.SHUT_RDWR)
