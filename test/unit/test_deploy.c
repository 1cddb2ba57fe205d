/* SOURCES: @mgmt @llhttp */
/* Images and guests over HTTP, with a fake root behind the API. */
#include "test/unit/deploy_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* echo -n abc | sha256sum */
#define ABC_HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_64  "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="

static int setup(void **state)
{
    (void)state;
    fixture_clean();
    fixture_connect();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_clean();
    return 0;
}

/* One request: returns the status and leaves the answer in `answer`. After a wait it can be made
 * again. */
static unsigned ask_and_wait(const char *text)
{
    size_t n = strlen(text), used = http_feed(&request, text, n);

    answer[0] = 0;
    if (request.state == HTTP_BAD) {
        (void)str_copy(answer, sizeof(answer), request.why);
        n = request.status;
        fixture_disconnect();
        fixture_connect();
        return (unsigned)n;
    }
    assert_int_equal(request.state, HTTP_READY);
    assert_int_equal(used, n);
    memset(&response, 0, sizeof(response));
    api_handle(&view, &request, answer, sizeof(answer), &response, false, false);
    answer[response.body.len] = 0;
    return response.status;
}

static unsigned ask(const char *text)
{
    unsigned status = ask_and_wait(text);

    http_next(&request);
    return status;
}

static void said(const char *what)
{
    if (!strstr(answer, what))
        fail_msg("\"%s\" is not in: %s", what, answer);
}

#define HEAD " HTTP/1.1\r\nHost: x\r\n"

static void an_image(void **state)
{
    (void)state;
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 3\r\n\r\nabc"), 201);
    said("\"size\":3,\"packed_size\":null,\"sha256\":\"" ABC_HEX
         "\",\"source\":\"upload\",\"used_by\":[]");
    assert_string_equal(response.location, "/v1/images/a");
    assert_memory_equal(image_memory[0], "abc", 3);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 2\r\n\r\nde"), 200);
    assert_int_equal(ask("GET /v1/images" HEAD "\r\n"), 200);
    said("{\"name\":\"iso.elf\",\"size\":4096,\"packed_size\":null,\"sha256\":null,\"source\":"
         "\"iso\","
         "\"used_by\":[]}");
    said("\"size\":2");
    assert_int_equal(ask("GET /v1/images/b" HEAD "\r\n"), 404);
    assert_int_equal(ask("DELETE /v1/images/a" HEAD "\r\n"), 204);
    assert_int_equal(ask("DELETE /v1/images/a" HEAD "\r\n"), 404);
}

/* The same parts of a target count for an upload as for other requests. */
static void targets_of_images(void **state)
{
    (void)state;
    assert_int_equal(
        ask("PUT //v1//images/%61%2Eelf?format=text" HEAD "Content-Length: 3\r\n\r\nabc"), 201);
    said("name: a.elf");
    assert_string_equal(response.location, "/v1/images/a.elf");
    assert_int_equal(ask("PUT /v1/images/a%2Fb" HEAD "Content-Length: 3\r\n\r\nabc"), 400);
    assert_int_equal(ask("PUT /v1/images/b?x=1" HEAD "Content-Length: 3\r\n\r\nabc"), 400);
    said("x: this resource has no such parameter");
    assert_int_equal(ask("PUT /v1/images/b?format=xml" HEAD "Content-Length: 3\r\n\r\nabc"), 400);
    assert_int_equal(ask("PUT http://y/v1/images/b" HEAD "Content-Length: 3\r\n\r\nabc"), 201);
    assert_int_equal(
        ask("PUT /v1/images/c" HEAD "Content-Length: 3\r\nContent-Range: bytes 3-5/6\r\n\r\nabc"),
        400);
    assert_int_equal(
        ask("PUT /v1/images/c" HEAD "Content-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc"), 415);
    assert_int_equal(deploy_find_upload(&images, "c"), -1);
}

static void only_if_new(void **state)
{
    (void)state;
    assert_int_equal(
        ask("PUT /v1/images/a" HEAD "If-None-Match: *\r\nContent-Length: 3\r\n\r\nabc"), 201);
    assert_int_equal(
        ask("PUT /v1/images/a" HEAD "If-None-Match: *\r\nContent-Length: 3\r\n\r\nxyz"), 412);
    assert_memory_equal(image_memory[0], "abc", 3);
    assert_int_equal(
        ask("PUT /v1/images/a" HEAD "If-None-Match: \"x\"\r\nContent-Length: 3\r\n\r\nxyz"), 200);
}

static void in_pieces(void **state)
{
    static const char head[] = "PUT /v1/images/a" HEAD "Content-Length: 3\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof(head) - 1; i++)
        assert_int_equal(http_feed(&request, head + i, 1), 1);
    assert_int_equal(http_feed(&request, "a", 1), 1);
    assert_int_equal(images.images[0].state, ABI_IMAGE_FILLING);
    assert_int_equal(ask("bc"), 201);
    said(ABC_HEX);
}

static void the_digest(void **state)
{
    (void)state;
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Repr-Digest: sha-256=:" ABC_64
                         ":\r\nContent-Length: 3\r\n\r\nabc"),
                     201);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Repr-Digest: sha-256=:" ABC_64
                         ":\r\nContent-Length: 3\r\n\r\nabd"),
                     400);
    said("not those of Repr-Digest");
    assert_int_equal(deploy_find_upload(&images, "a"), 0); /* the first image still exists */
    assert_memory_equal(image_memory[0], "abc", 3);
    assert_int_equal(images.images[1].state, ABI_IMAGE_FREE);
}

/* A PUT of "abc" with these fields. */
static unsigned put_with(const char *fields)
{
    char text[2048];

    snprintf(text, sizeof(text), "PUT /v1/images/b" HEAD "%sContent-Length: 3\r\n\r\nabc", fields);
    return ask(text);
}

#define ABC    "sha-256=:" ABC_64 ":"
#define LONG   "sha-512=:" ABC_64 ABC_64 ":"
#define DIGEST "Repr-Digest: "

static void forms_of_digests(void **state)
{
    static const struct {
        const char *fields;
        bool good;
    } cases[] = {
        {DIGEST LONG ", " ABC "\r\n", true},
        {DIGEST LONG "," LONG "," LONG ",\t" ABC "\r\n", true}, /* all of it is checked */
        {DIGEST LONG "\r\n" DIGEST ABC "\r\n", true},
        {DIGEST ABC ";a;b=1;c=\"x\\\"y\";d=:AA:, unixsum=30637, x=\"a,b\"\r\n", true},
        {DIGEST ABC " \t\r\n", true},
        /* Digests other than SHA-256 are ignored. */
        {DIGEST "sha-512=:AA:\r\n", true},
        {DIGEST "md5=abc, x, y;z\r\n", true},
        {DIGEST "\r\n", true},
        {DIGEST "sha-256=:AA:\r\n", false},
        {DIGEST "sha-256=:AA\r\n", false},
        {DIGEST "sha-256=" ABC_64 "\r\n", false},
        {DIGEST "sha-256\r\n", false},
        {DIGEST "SHA-256=:" ABC_64 ":\r\n", false},
        {DIGEST "sha-256 =:" ABC_64 ":\r\n", false},
        {DIGEST ABC ", " ABC "\r\n", false},
        {DIGEST ABC "\r\n" DIGEST ABC "\r\n", false},
        {DIGEST ABC ",\r\n", false},
        {DIGEST ABC " x\r\n", false},
        {DIGEST ABC ";\r\n", false},
        {DIGEST "x=\"a, " ABC "\r\n", false},
        {DIGEST "=:" ABC_64 ":\r\n", false},
        {DIGEST LONG ", " LONG ", " LONG ", " LONG ", " LONG ", " LONG ", " ABC "\r\n", false},
        {DIGEST LONG ", " LONG ", " LONG ", " LONG "\r\n" DIGEST LONG ", " ABC "\r\n", false},
        {DIGEST "sha-512=:" ABC_64 ":, sha-256=:vngWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:\r\n",
         false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned status = put_with(cases[i].fields);

        if (cases[i].good ? status != 200 && status != 201 : status != 400)
            fail_msg("%u for %s", status, cases[i].fields);
    }
}

static void refused_at_once(void **state)
{
    (void)state;
    assert_int_equal(ask("PUT /v1/images/.a" HEAD "Content-Length: 1\r\n\r\n"), 400);
    assert_int_equal(ask("PUT /v1/images/" HEAD "Content-Length: 1\r\n\r\nx"), 405);
    assert_int_equal(ask("PUT /v1/images/a?b" HEAD "Content-Length: 1\r\n\r\n"), 400);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 0\r\n\r\n"), 400);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "\r\n"), 411);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Transfer-Encoding: chunked\r\n\r\n"), 411);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 134217729\r\n\r\n"), 413);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 2000000\r\n\r\n"), 409);
    said("not enough memory: 2 MiB asked");
    assert_int_equal(ask("PUT /v1/images/iso.elf" HEAD "Content-Length: 1\r\n\r\n"), 409);
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Origin: http://y\r\nContent-Length: 1\r\n\r\n"),
                     403);
    assert_int_equal(ask("PUT /v1/host" HEAD "Content-Length: 1\r\n\r\nx"), 405);
    assert_string_equal(response.allow, "GET, HEAD");
    config.management.service.auth = AUTH_RANDOM;
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 1\r\n\r\n"), 401);
    for (unsigned i = 0; i < ABI_IMAGES; i++)
        assert_int_equal(images.images[i].state, ABI_IMAGE_FREE);
}

static void broken_off(void **state)
{
    static const char text[] = "PUT /v1/images/a" HEAD "Content-Length: 3\r\n\r\nab";

    (void)state;
    assert_int_equal(http_feed(&request, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(images.images[0].state, ABI_IMAGE_FILLING);
    fixture_disconnect();
    fixture_disconnect();
    assert_int_equal(images.images[0].state, ABI_IMAGE_FREE);
}

/* The token is checked when the upload begins; wrong tokens from the same address meanwhile do not
 * matter. */
static void admitted_once(void **state)
{
    static const char head[] =
        "PUT /v1/images/a" HEAD "Authorization: Bearer secret\r\nContent-Length: 3\r\n\r\na";
    static const char wrong[] =
        "PUT /v1/images/a" HEAD "Authorization: Bearer guess\r\nContent-Length: 3\r\n\r\na";

    (void)state;
    config.management.service.auth = AUTH_RANDOM;
    assert_int_equal(http_feed(&request, head, sizeof(head) - 1), sizeof(head) - 1);
    for (unsigned i = 0; i < AUTH_FREE_FAILURES; i++) {
        struct auth_identity who;
        unsigned retry;

        (void)auth_check(&fixture_auth, &config.management.service, "secret", "guess",
                         &request.client, 5000, &who, &retry);
    }
    assert_int_equal(ask("bc"), 201);
    assert_int_equal(ask(wrong), 429);
    memset(&fixture_auth, 0, sizeof(fixture_auth));
}

static void in_use(void **state)
{
    (void)state;
    strcpy(guests[2].config.name, "two");
    strcpy(guests[3].config.name, "three");
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 3\r\n\r\nabc"), 201);
    images.images[0].users = 1u << 2 | 1u << 3;
    assert_int_equal(ask("DELETE /v1/images/a" HEAD "\r\n"), 409);
    said("in use: two, three");
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 1\r\n\r\n"), 409);
    said("in use: two, three");
}

/* `json` as the body of POST /v1/guests. */
static unsigned post_and_wait(const char *json)
{
    char text[1024];

    snprintf(text, sizeof(text), "POST /v1/guests" HEAD "Content-Length: %zu\r\n\r\n%s",
             strlen(json), json);
    return ask_and_wait(text);
}

static unsigned post(const char *json)
{
    unsigned status = post_and_wait(json);

    http_next(&request);
    return status;
}

static void a_guest(void **state)
{
    (void)state;
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 3\r\n\r\nabc"), 201);
    create_result = 5;
    assert_int_equal(post("{\"name\": \"n\", \"image\": \"a\", \"kind\": \"flat\", "
                          "\"memory\": \"2M\"}"),
                     201);
    assert_string_equal(response.location, "/v1/guests/n");
    said("\"state\":\"starting\"");
    assert_string_equal(created.plan.start.kind, "flat");
    assert_int_equal(created.plan.piece_count, 4); /* after three of firmware's */
    assert_int_equal(created.plan.pieces[3].size, 3);
    assert_int_equal(created.config.memory, 2 << 20);
    assert_int_equal(post("{\"name\": \"m\", \"image\": \"iso.elf\"}"), 201);
    assert_string_equal(created.plan.start.kind, "multiboot1");
    assert_int_equal(created.config.core, 0); /* with the fewest guests */
    /* It does not look into modules: they may be uploaded. */
    assert_int_equal(post("{\"name\": \"o\", \"image\": \"iso.elf\", \"modules\": [{\"file\": "
                          "\"a\"}]}"),
                     201);
}

/* 4096 bytes of a multiboot1 kernel (32 bytes of header, then 0xf4; loaded at 1 MB), compressed by
 * gzip -9. */
static const uint8_t packed_kernel[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc6, 0xc1, 0x09,
    0x00, 0x20, 0x0c, 0xc5, 0xd0, 0xaf, 0x13, 0xf4, 0xee, 0xa5, 0x1b, 0x49, 0x07, 0x15,
    0x1c, 0xca, 0x11, 0x3c, 0x8b, 0xc5, 0x2d, 0x84, 0x3c, 0x08, 0xa4, 0xce, 0xd1, 0xa4,
    0xa2, 0xd3, 0x63, 0x49, 0xa6, 0x97, 0x65, 0x6e, 0xf2, 0xfc, 0x0d, 0x00, 0x00, 0x00,
    0x00, 0x00, 0xbe, 0x77, 0x01, 0xd5, 0x11, 0x1b, 0xbb, 0x00, 0x10, 0x00, 0x00};

static int put_packed(size_t n, size_t spoiled)
{
    uint8_t bytes[sizeof(packed_kernel)];
    char head[128];
    size_t len = (size_t)snprintf(head, sizeof(head),
                                  "PUT /v1/images/k.gz" HEAD "Content-Length: %zu\r\n\r\n", n);

    memcpy(bytes, packed_kernel, sizeof(bytes));
    if (spoiled)
        bytes[spoiled] ^= 0x10;
    assert_int_equal(http_feed(&request, head, len), len);
    if (request.state != HTTP_BAD && http_feed(&request, (const char *)bytes, n) != n)
        fail_msg("the image is not taken");
    if (request.state == HTTP_BAD) {
        len = request.status;
        fixture_disconnect();
        fixture_connect();
        return (int)len;
    }
    memset(&response, 0, sizeof(response));
    api_handle(&view, &request, answer, sizeof(answer), &response, false, false);
    http_next(&request);
    return (int)response.status;
}

/* As the server does it: the call waits, the main loop unpacks, the call is repeated. */
static int deploy_packed(const char *json)
{
    int status = (int)post_and_wait(json);

    for (unsigned i = 0; response.wait == API_WAIT_UNPACKED; i++) {
        assert_true(i < 10);
        assert_false(api_ready(&view, &response));
        while (unpack_poll(&view))
            ;
        assert_true(api_ready(&view, &response));
        api_handle(&view, &request, answer, sizeof(answer), &response, true, false);
        answer[response.body.len] = 0;
        status = (int)response.status;
    }
    http_next(&request);
    return status;
}

#define PACKED "{\"name\": \"n\", \"image\": \"k.gz\", \"memory\": \"2M\"}"

static void compressed_kernel(void **state)
{
    const struct abi_image *k;

    (void)state;
    assert_int_equal(put_packed(sizeof(packed_kernel), 0), 201);
    create_result = 5;
    assert_int_equal(deploy_packed(PACKED), 201);
    assert_string_equal(created.plan.start.kind, "multiboot1");
    k = &images.images[deploy_find_upload(&images, "k.gz")];
    assert_int_equal(k->size, 4096);
    assert_int_equal(k->packed, sizeof(packed_kernel));
    assert_int_equal(image_memory[k - images.images][4095], 0xf4);
    /* It is unpacked once. */
    assert_int_equal(post("{\"name\": \"m\", \"image\": \"k.gz\", \"memory\": \"2M\"}"), 201);
    assert_int_equal(response.wait, API_WAIT_NONE);
    /* An initrd stays as it is. */
    assert_int_equal(put_packed(sizeof(packed_kernel), 0), 200);
    assert_int_equal(
        post("{\"name\": \"o\", \"image\": \"iso.elf\", \"modules\": [{\"file\": \"k.gz\"}]}"),
        201);
    assert_int_equal(images.images[deploy_find_upload(&images, "k.gz")].size,
                     sizeof(packed_kernel));
}

static void broken_compressed_kernels(void **state)
{
    static const struct {
        size_t size, spoiled;
        const char *why;
    } cases[] = {
        {sizeof(packed_kernel), sizeof(packed_kernel) - 8, "its data are broken"}, /* CRC-32 */
        {sizeof(packed_kernel), sizeof(packed_kernel) - 4, "its data are broken"}, /* size */
        {sizeof(packed_kernel), 2, "its data are broken"},                         /* method */
        {sizeof(packed_kernel), sizeof(packed_kernel) - 1,
         "if the file is whole; 2097152 are the most"},
        {sizeof(packed_kernel) - 10, 0, ""},
        {18, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_clean();
        fixture_connect();
        assert_int_equal(put_packed(cases[i].size, cases[i].spoiled), 201);
        assert_int_equal(deploy_packed(PACKED), 400);
        said("the image is compressed by gzip, and ");
        said(cases[i].why);
        said("\"pointer\":\"/image\"");
        /* The uploaded image still exists, and nothing else does. */
        assert_int_equal(images.images[deploy_find_upload(&images, "k.gz")].size, cases[i].size);
        for (unsigned k = 0; k < ABI_IMAGES; k++)
            assert_int_not_equal(images.images[k].state, ABI_IMAGE_FILLING);
    }
}

/* It cannot be deleted while it is read. */
static void image_being_unpacked(void **state)
{
    (void)state;
    assert_int_equal(put_packed(sizeof(packed_kernel), 0), 201);
    (void)post(PACKED);
    assert_int_equal(response.wait, API_WAIT_UNPACKED);
    assert_int_equal(ask("DELETE /v1/images/k.gz" HEAD "\r\n"), 409);
    assert_int_equal(put_packed(sizeof(packed_kernel), 0), 409);
    while (unpack_poll(&view))
        ;
    assert_int_equal(ask("DELETE /v1/images/k.gz" HEAD "\r\n"), 204);
}

static void wrong_guests(void **state)
{
    static const struct {
        const char *json, *pointer;
    } cases[] = {
        {"{\"name\": \"n\", \"image\": \"b\"}", "\"pointer\":\"/image\""},
        {"{\"name\": \"n\"}", "\"pointer\":\"/image\""},
        {"{\"image\": \"a\"}", "\"pointer\":\"/name\""},
        {"{\"name\": \"n\", \"image\": \"a\", \"modules\": [{\"file\": \"z\"}]}",
         "\"pointer\":\"/modules/0/file\""},
        {"{\"name\": \"n\", \"image\": \"a\"}", "say \\\"kind\\\": \\\"flat\\\""},
        {"{\"name\": \"n\", \"image\": \"a\", \"kind\": \"flat\", \"modules\": [{\"file\": "
         "\"a\"}]}",
         "flat: a flat binary cannot be given modules"},
        {"[", "\"pointer\":\"\""},
    };

    (void)state;
    assert_int_equal(ask("PUT /v1/images/a" HEAD "Content-Length: 3\r\n\r\nabc"), 201);
    memset(&created, 0, sizeof(created));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(post(cases[i].json), 400);
        said(cases[i].pointer);
        assert_int_equal(created.config.memory, 0); /* the root was not asked */
    }
}

/* Four threads of two physical cores. Guest "office" runs on the second one of the first. */
static void beside_a_stranger(void **state)
{
    const struct abi_host saved = host;

    (void)state;
    host.core_count = 4;
    host.topology.threads = 4;
    host.options.smt = SMT_ONE_NETWORK;
    for (unsigned i = 0; i < 4; i++)
        threads[i] = (struct abi_thread){
            .core = i / 2, .thread = i % 2, .number = (uint16_t)i, .state = ABI_THREAD_RUNS};
    guests[1] = (struct abi_guest){.state = ABI_GUEST_STOPPED, .vcpu_count = 1};
    guests[1].config =
        (struct guest_config){.name = "o", .devices = DEV_NET, .net.network = "office"};
    vcpu_pages[1].core = 1;
    create_result = 2;
#define ON(rest) "{\"name\": \"n\", \"image\": \"iso.elf\"" rest "}"
    assert_int_equal(post(ON(", \"core\": 0")), 409);
    said("\"pointer\":\"/core\"");
    said("guest \\\"o\\\" runs on a thread beside core 0 and is not of its network");
    assert_int_equal(post(ON(", \"core\": 0, \"net\": {\"network\": \"plant\"}")), 409);
    assert_int_equal(post(ON(", \"vcpus\": 2, \"cores\": [1, 0]")), 409);
    said("\"pointer\":\"/cores\"");
    assert_false(was_created);
    assert_int_equal(post(ON("")), 201); /* core 0 is the first idle one, but not for it */
    assert_int_equal(created.config.core, 2);
    memset(&guests[2], 0, sizeof(guests[2]));
    assert_int_equal(post(ON(", \"net\": {\"network\": \"office\"}")), 201);
    assert_int_equal(created.config.core, 0);
    memset(&guests[2], 0, sizeof(guests[2]));
    guests[1].flags = ABI_GUEST_HUSK;
    assert_int_equal(post(ON("")), 201);
    assert_int_equal(created.config.core, 0);
    memset(&guests[2], 0, sizeof(guests[2]));
    /* Management has nobody beside it, also while it makes the guests of the configuration. */
    guests[1].flags = ABI_GUEST_MANAGEMENT;
    guests[1].config.net.network[0] = 0;
    host.configured = 0;
    assert_int_equal(post(ON(", \"core\": 0, \"net\": {\"network\": \"office\"}")), 409);
    host.options.smt = SMT_ON;
    assert_int_equal(post(ON(", \"core\": 0")), 201);
    vcpu_pages[1].core = 0;
    host = saved;
}

/* The root's errors are put into words. */
static void what_is_short(void **state)
{
    static const struct {
        int error;
        const char *pointer, *text;
    } cases[] = {
        {-E_NOMEM, "/memory", "not enough memory"},
        {-E_BUSY, "/guaranteed_us", "not enough core time"},
        {-E_NOENT, "/core", "core 0 is not in VMX root operation"},
        {-E_STATE, "/core", "a guest of another network runs on a thread beside one of its cores"},
        {-E_PERM, "/net/addresses", "10.0.0.7 is management's, a gateway's or a name server's"},
        {-E_NOSPC, NULL, "there are 14 guests: no more fit"},
        {-E_INVAL, NULL, "the hypervisor refuses it (error 1)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char pointer[64];

        create_result = cases[i].error;
        assert_int_equal(post("{\"name\": \"n\", \"image\": \"iso.elf\", "
                              "\"net\": {\"addresses\": [\"10.0.0.7\"]}}"),
                         409);
        said(cases[i].text);
        snprintf(pointer, sizeof(pointer), "\"pointer\":\"%s\"", cases[i].pointer);
        assert_int_equal(strstr(answer, "pointer") != NULL, cases[i].pointer != NULL);
        if (cases[i].pointer)
            said(pointer);
    }
    host.memory = (struct abi_memory){.free = 9 << 20, .largest_free = 8 << 20};
    create_result = -E_NOMEM;
    assert_int_equal(post("{\"name\": \"n\", \"image\": \"iso.elf\"}"), 409);
    said("16 MiB asked, largest free piece 8 MiB of 9 MiB free");
}

static void exists_already(unsigned number, const char *json)
{
    create_result = (int64_t)number;
    assert_int_equal(post(json), 201);
    guests[number].config = created.config;
    guests[number].vcpu_count = 1;
    vcpu_pages[number].core = (uint32_t)created.config.core;
    was_created = false;
}

/* What others use is known here: the root is not asked. */
static void what_others_took(void **state)
{
    (void)state;
    exists_already(1, "{\"name\": \"a\", \"image\": \"iso.elf\", \"guaranteed_us\": 9000, "
                      "\"core\": 1, \"net\": {\"addresses\": [\"10.0.0.7\"]}}");
    assert_int_equal(post("{\"name\": \"a\", \"image\": \"iso.elf\"}"), 409);
    said("a guest with the name \\\"a\\\" exists already");
    said("\"pointer\":\"/name\"");
    assert_int_equal(post("{\"name\": \"b\", \"image\": \"iso.elf\", "
                          "\"net\": {\"addresses\": [\"10.0.0.7\"]}}"),
                     409);
    said("10.0.0.7 is the address of guest \\\"a\\\"");
    assert_int_equal(
        post("{\"name\": \"b\", \"image\": \"iso.elf\", \"guaranteed_us\": 1000, \"core\": 1}"),
        409);
    said("core 1 has 5.0 % left");
    assert_int_equal(post("{\"name\": \"b\", \"image\": \"iso.elf\", \"core\": 2}"), 409);
    said("no core 2 exists: guests run on 2 cores");
    assert_false(was_created);
    /* If the request names no core, one that fits is chosen. */
    assert_int_equal(post("{\"name\": \"b\", \"image\": \"iso.elf\", \"guaranteed_us\": 1000}"),
                     201);
    assert_int_equal(created.config.core, 0);
    /* A guest that can never start has no share of its core. */
    guests[1].flags = ABI_GUEST_HUSK;
    assert_int_equal(
        post("{\"name\": \"c\", \"image\": \"iso.elf\", \"guaranteed_us\": 9500, \"core\": 1}"),
        201);
}

/* Another guest's module is not offered to anyone else; the error names its owner. */
static void what_others_have(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /v1/images" HEAD "\r\n"), 200);
    said("iso.elf");
    assert_null(strstr(answer, "initrd"));
    assert_int_equal(post("{\"name\": \"n\", \"image\": \"initrd\"}"), 409);
    said("\"pointer\":\"/image\"");
    assert_int_equal(post("{\"name\": \"n\", \"image\": \"iso.elf\", \"modules\": [{\"file\": "
                          "\"initrd\"}]}"),
                     409);
    said("\"pointer\":\"/modules/0/file\"");
}

static void deletion(void **state)
{
    (void)state;
    strcpy(guests[0].config.name, "mgmt");
    strcpy(guests[2].config.name, "two");
    guests[0].state = guests[2].state = ABI_GUEST_RUNNING;
    host.guests = 1u | 1u << 2;
    assert_int_equal(ask("DELETE /v1/guests/nobody" HEAD "\r\n"), 404);
    assert_int_equal(ask("DELETE /v1/guests/mgmt" HEAD "\r\n"), 409);
    (void)ask("DELETE /v1/guests/two" HEAD "\r\n");
    assert_int_equal(removed, 2);
    assert_int_equal(response.wait, API_WAIT_GONE);
    assert_false(api_ready(&view, &response));
    host.guests = 1;
    assert_true(api_ready(&view, &response));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(compressed_kernel),
        TEST(broken_compressed_kernels),
        TEST(image_being_unpacked),
        TEST(an_image),
        TEST(in_pieces),
        TEST(targets_of_images),
        TEST(only_if_new),
        TEST(the_digest),
        TEST(refused_at_once),
        TEST(broken_off),
        TEST(in_use),
        TEST(a_guest),
        TEST(wrong_guests),
        TEST(deletion),
        TEST(beside_a_stranger),
        TEST(what_is_short),
        TEST(what_others_took),
        TEST(admitted_once),
        TEST(forms_of_digests),
        TEST(what_others_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
