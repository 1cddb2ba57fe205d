#!/bin/sh
# llhttp 8.1.0 (Debian 12: node-llhttp 8.1.0~5.15.0+dfsg1+~cs20.10.9.3-1). An answer with status 304 may have
# a Content-Length, that of the body which 200 would have had, and a 304 never has a body itself: RFC 9112
# (6.3) ends it with the empty line, whatever its fields say. llhttp waits for as many bytes as the field
# tells, unless the caller says that there is no body. It knows the statuses without one (without
# the field it ends the message), so we expected it to end this one too. The next answer on the connection
# loses its beginning to a body that is none. A client on top of it has to look at the status in
# on_headers_complete and return 1 for 304, as for an answer to HEAD. Node.js does that.
#
# The program parses a 304 and an answer with 5 bytes behind it: without the field, with it, and with a
# callback that returns 1. It prints each message's status and body, and the outcome. Then Node.js reads the
# same two answers.
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

static int looks;
static char body[100];

static int on_headers(llhttp_t *p)
{
    body[0] = 0;
    return looks && p->status_code == 304;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    strncat(body, at, n);
    return 0;
}

static int on_end(llhttp_t *p)
{
    printf(" %d with '%s',", p->status_code, body);
    return 0;
}

static void parse(const char *what, const char *field)
{
    char answers[200];
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_errno_t e;

    llhttp_settings_init(&settings);
    settings.on_headers_complete = on_headers;
    settings.on_body = on_body;
    settings.on_message_complete = on_end;
    llhttp_init(&parser, HTTP_RESPONSE, &settings);
    snprintf(answers, sizeof(answers), "HTTP/1.1 304 Not Modified\r\n%s\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", field);
    printf("%s:", what);
    e = llhttp_execute(&parser, answers, strlen(answers));
    printf(" %s\n", llhttp_errno_name(e));
}

int main(void)
{
    parse("without the field", "");
    parse("with it", "Content-Length: 3\r\n");
    looks = 1;
    parse("with it, and with a look at the status", "Content-Length: 3\r\n");
    return 0;
}
EOF
cat > client.js << 'EOF'
const net = require("net"), http = require("http");

const answers = ["HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"];
const server = net.createServer(socket => socket.on("data", () => socket.write(answers.shift())));
server.listen(0, "127.0.0.1", () => {
    const agent = new http.Agent({keepAlive: true, maxSockets: 1});
    const ask = then => http.get({host: "127.0.0.1", port: server.address().port, agent}, answer => {
        let body = "";
        answer.on("data", data => body += data).on("end", () => then(`${answer.statusCode} with '${body}'`));
    });
    ask(first => ask(second => {
        console.log(`Node.js: ${first}, ${second}`);
        process.exit();
    }));
});
EOF
source=root/usr/share/llhttp
cc -w -Iroot/usr/share/include/llhttp -o parse main.c $source/api.c $source/http.c $source/llhttp.c
echo "llhttp, package $(basename node-llhttp_*.deb); Node.js $(node --version)"
{
    ./parse
    timeout 300 node client.js
} | tee lines
cat > wanted << 'EOF'
without the field: 304 with '', 200 with 'abcde', HPE_OK
with it: 304 with 'HTT', HPE_INVALID_CONSTANT
with it, and with a look at the status: 304 with '', 200 with 'abcde', HPE_OK
Node.js: 304 with '', 200 with 'abcde'
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
