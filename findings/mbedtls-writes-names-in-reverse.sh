#!/bin/sh
# mbedTLS 3.6.6 (Debian 13's source package 3.6.6-0.1~deb13u1). Its change log says that it reads the names of
# certificates in the syntax of RFC 4514, and it does read that RFC's escapes. RFC 4514 (2.1) begins with
# the last element of the encoded name. mbedtls_x509_string_to_names() encodes the elements in the order of
# the text, and mbedtls_x509_dn_gets() prints them in that of the encoding; the examples in the header, with
# the country first, are all that says so. RFC 4514 also joins two attributes of one element by "+", and
# mbedTLS takes that for a part of the first value. We expected the encoding that the text stands for. A
# certificate that is made with its issuer's name as OpenSSL or a directory prints it by the RFC has another
# issuer, and no client finds the one that signed it. The text has to be turned round first.
#
# OpenSSL encodes a name and prints it by the RFC (as RFC2253, which came before). mbedTLS reads that text,
# and the text turned round, and the script looks for what it encodes in OpenSSL's certificate. Then the same
# for a name with "+".
set -eu
WANTED=3.6.6-0.1~deb13u1

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
. "$here/../test/tools/apt.sh"
private_apt "$dir/apt" deb-src:trixie
{ apt_private apt-get update && apt_private apt-get source --download-only "mbedtls=$WANTED"; } > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-source --no-check -x mbedtls_*.dsc mbedtls > unpack.log 2>&1

cat > main.c << 'EOF'
#include <stdio.h>
#include <string.h>

#include "mbedtls/asn1write.h"
#include "mbedtls/x509.h"
#include "mbedtls/x509_crt.h"

/* names TEXT: prints the name's encoding in hexadecimal, and the text that mbedTLS makes of it. */
int main(int argc, char **argv)
{
    mbedtls_asn1_named_data *names = NULL;
    mbedtls_x509_name name = {0};
    unsigned char bytes[500], *end = bytes + sizeof(bytes), *at = end;
    char text[200];
    size_t n;

    if (mbedtls_x509_string_to_names(&names, argv[1]) || mbedtls_x509_write_names(&at, bytes, names) < 0)
        return 1;
    for (unsigned char *b = at; b < end; b++)
        printf("%02x", *b);
    if (mbedtls_asn1_get_tag(&at, end, &n, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) || mbedtls_x509_get_name(&at, at + n, &name) ||
        mbedtls_x509_dn_gets(text, sizeof(text), &name) < 0)
        return 1;
    printf(" %s\n", text);
    return 0;
}
EOF
library=mbedtls/library
cc -w -ffunction-sections -Wl,--gc-sections -Imbedtls/include -I$library -o names main.c $library/x509.c $library/x509_create.c $library/asn1write.c \
    $library/asn1parse.c $library/oid.c $library/platform.c $library/platform_util.c

openssl ecparam -genkey -name prime256v1 -out key.pem 2> openssl.log
show() {
    openssl req -new -x509 -key key.pem -utf8 -multivalue-rdn -subj "$1" -outform DER -out cert.der 2>> openssl.log
    by_rfc=$(openssl x509 -inform DER -in cert.der -noout -subject -nameopt RFC2253)
    by_rfc=${by_rfc#subject=}
    for text in "$by_rfc" "$2"; do
        ./names "$text" > name.txt
        same=no
        od -An -v -tx1 cert.der | tr -d ' \n' | grep -q "$(cut -d ' ' -f 1 name.txt)" && same=yes
        echo "mbedTLS reads $text: OpenSSL's encoding: $same, prints $(cut -d ' ' -f 2- name.txt)"
    done
}
echo "mbedTLS $WANTED; $(openssl version)"
{
    show "/C=NL/O=Acme/CN=host" "C=NL,O=Acme,CN=host"
    show "/C=NL/CN=host+OU=lab" "C=NL,CN=host+OU=lab"
} | tee lines
cat > wanted << 'EOF'
mbedTLS reads CN=host,O=Acme,C=NL: OpenSSL's encoding: no, prints CN=host, O=Acme, C=NL
mbedTLS reads C=NL,O=Acme,CN=host: OpenSSL's encoding: yes, prints C=NL, O=Acme, CN=host
mbedTLS reads CN=host+OU=lab,C=NL: OpenSSL's encoding: no, prints CN=host\+OU\=lab, C=NL
mbedTLS reads C=NL,CN=host+OU=lab: OpenSSL's encoding: no, prints C=NL, CN=host\+OU\=lab
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
