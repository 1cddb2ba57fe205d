#!/bin/sh
# llhttp 8.1.0 (Debian 12: node-llhttp 8.1.0~5.15.0+dfsg1+~cs20.10.9.3-1; 9.2.1 does the same). RFC 9110
# (5.6.3) has spaces and tabs around a field's value, which are no part of it. llhttp takes both in
# front of it, and behind most values. Behind those of Content-Length and Transfer-Encoding it takes
# spaces only: a tab there is HPE_INVALID_CONTENT_LENGTH or HPE_INVALID_TRANSFER_ENCODING. We expected
# the tab to be taken as the space is. A server on top of it answers 400 to a correct request, and
# whoever looks at the request sees nothing wrong with it. A client has to leave such whitespace out.
#
# The program parses a request with a body of 5 bytes, with a space and with a tab in front of and
# behind the value, for each of three fields. It prints the outcome, and how much of the body was found.
set -eu
WANTED='8.1.0~5.15.0+dfsg1+~cs20.10.9.3-1*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download "node-llhttp=$WANTED" > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-deb -x node-llhttp_*.deb root

cat > main.c << 'EOF'
#include <stdio.h>
#include <string.h>

#include <llhttp.h>

static size_t found;

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    found += n;
    return 0;
}

static void parse(const char *what, const char *field, const char *body)
{
    char request[200];
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_errno_t e;

    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    found = 0;
    snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n%s", field, body);
    e = llhttp_execute(&parser, request, strlen(request));
    printf("%s: %s, %zu bytes\n", what, llhttp_errno_name(e), found);
}

int main(void)
{
    parse("length, spaces", "Content-Length: 5 ", "abcde");
    parse("length, tab in front", "Content-Length:\t5", "abcde");
    parse("length, tab behind", "Content-Length: 5\t", "abcde");
    parse("encoding, spaces", "Transfer-Encoding: chunked ", "5\r\nabcde\r\n0\r\n\r\n");
    parse("encoding, tab in front", "Transfer-Encoding:\tchunked", "5\r\nabcde\r\n0\r\n\r\n");
    parse("encoding, tab behind", "Transfer-Encoding: chunked\t", "5\r\nabcde\r\n0\r\n\r\n");
    parse("another, tabs", "Content-Length: 5\r\nX:\ty\t", "abcde");
    return 0;
}
EOF
source=root/usr/share/llhttp
cc -w -Iroot/usr/share/include/llhttp -o parse main.c $source/api.c $source/http.c $source/llhttp.c
echo "llhttp, package $(basename node-llhttp_*.deb)"
./parse | tee lines
cat > wanted << 'EOF'
length, spaces: HPE_OK, 5 bytes
length, tab in front: HPE_OK, 5 bytes
length, tab behind: HPE_INVALID_CONTENT_LENGTH, 0 bytes
encoding, spaces: HPE_OK, 5 bytes
encoding, tab in front: HPE_OK, 5 bytes
encoding, tab behind: HPE_INVALID_TRANSFER_ENCODING, 0 bytes
another, tabs: HPE_OK, 5 bytes
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
