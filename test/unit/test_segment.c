/* SOURCES: net/segment.c net/transfer.c net/switch.c net/filter.c net/filter_learn.c net/facts.c
 * hv/lib.c */
/* Segments and checksums that guests leave unfinished, alone and through the switch. */
#include "net/segment.h"
#include "net/transfer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hv/lib.h"

#define MSS      1000u
#define SECOND   1000000000u
#define TCP_FLAG 13u

static uint8_t frame[NET_SEGMENT_MAX + 1];
static size_t len;
static unsigned ip, tcp, payload;
static struct net_offload o;
static const uint8_t macs[3][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}};

static void be16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned from16(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

static uint32_t from32(const uint8_t *p)
{
    return (uint32_t)from16(p) << 16 | from16(p + 2);
}

/* RFC 1071, the slow way. */
static uint32_t sum(const uint8_t *p, size_t n, uint64_t start)
{
    for (size_t i = 0; i < n; i++)
        start += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return (uint32_t)start;
}

static uint32_t pseudo(const uint8_t *f, bool v6, size_t size, unsigned protocol)
{
    return v6 ? sum(f + ip + 8, 32, protocol + size) : sum(f + ip + 12, 8, protocol + size);
}

/* A segment with `n` bytes after a TCP header with options, behind `tags` tags. */
static void make(bool v6, unsigned tags, size_t n)
{
    static const uint8_t tag[4] = {0x81, 0, 0, 5};

    memset(frame, 0, sizeof(frame));
    memcpy(frame, macs[1], 6);
    memcpy(frame + 6, macs[0], 6);
    for (unsigned i = 0; i < tags; i++)
        memcpy(frame + 12 + 4 * i, tag, 4);
    ip = 14 + 4 * tags;
    tcp = ip + (v6 ? 40 : 24);
    payload = tcp + 32;
    len = payload + n;
    be16(frame + ip - 2, v6 ? 0x86dd : 0x0800);
    if (v6) {
        frame[ip] = 0x60;
        be16(frame + ip + 4, len - tcp);
        frame[ip + 6] = 6;
        frame[ip + 8] = frame[ip + 24] = 0x20;
        frame[ip + 23] = 1;
    } else {
        frame[ip] = 0x46;
        be16(frame + ip + 2, len - ip);
        be16(frame + ip + 4, 0xfffe);
        frame[ip + 9] = 6;
        memcpy(frame + ip + 12, (const uint8_t[8]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
    }
    memcpy(frame + tcp + 4, (const uint8_t[4]){0xff, 0xff, 0xfe, 0}, 4);
    frame[tcp + 12] = 0x80;
    frame[tcp + TCP_FLAG] = 0x99; /* CWR, ACK, PSH, FIN */
    for (size_t i = payload; i < len; i++)
        frame[i] = (uint8_t)(i * 7 + (i >> 8));
    o = (struct net_offload){
        NET_NEEDS_CSUM, v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4, 0, MSS, (uint16_t)tcp, 16, 1};
}

static void check_cut(bool v6, unsigned tags, size_t n)
{
    struct net_segment g;
    uint8_t out[NET_FRAME_MAX];
    size_t done = 0, frames = (n + MSS - 1) / MSS;

    make(v6, tags, n);
    assert_true(segment_take(frame, len, &o, &g));
    for (size_t i = 0; i < frames; i++) {
        size_t got = segment_cut(frame, len, &g, MSS, i, out), size = got - payload;

        assert_int_equal(size, i + 1 < frames ? MSS : n - done);
        assert_memory_equal(out + payload, frame + payload + done, size);
        assert_memory_equal(out, frame, ip);
        assert_int_equal(from32(out + tcp + 4), 0xfffffe00 + (uint32_t)done);
        assert_int_equal(out[tcp + TCP_FLAG], 0x10 | (i ? 0 : 0x80) | (i + 1 < frames ? 0 : 0x09));
        if (v6) {
            assert_int_equal(from16(out + ip + 4), got - tcp);
        } else {
            assert_int_equal(from16(out + ip + 2), got - ip);
            assert_int_equal(from16(out + ip + 4), (0xfffe + i) & 0xffff);
            assert_int_equal(sum(out + ip, tcp - ip, 0), 0xffff);
        }
        assert_int_equal(sum(out + tcp, got - tcp, pseudo(out, v6, got - tcp, 6)), 0xffff);
        done += size;
    }
    assert_int_equal(done, n);
    assert_int_equal(segment_cut(frame, len, &g, MSS, frames, out), 0);
    assert_int_equal(segment_cut(frame, len, &g, MSS, SIZE_MAX / 65536, out), 0);
}

static void test_cut(void **state)
{
    static const size_t sizes[] = {1, 2, 999, 1000, 1001, 2000, 33333, 65400};

    (void)state;
    for (unsigned i = 0; i < 6 * ARRAY_LEN(sizes); i++)
        check_cut(i % 2, i / 2 % 3, sizes[i / 6]);
}

/* One thing wrong with the frame or its description. */
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        struct net_segment g_;                                                                     \
        make(v6, 0, 3000);                                                                         \
        assert_true(segment_take(frame, len, &o, &g_));                                            \
        change;                                                                                    \
        assert_false(segment_take(frame, len, &o, &g_));                                           \
    } while (0)

static void test_hostile_descriptions(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        bool v6 = i;

        REFUSED(o.gso_size = 0);
        REFUSED(o.gso_size = 1500);
        REFUSED(o.gso_size = 0xffff);
        REFUSED(o.gso_type = NET_GSO_NONE);
        REFUSED(o.gso_type = NET_GSO_ECN);
        REFUSED(o.gso_type = v6 ? NET_GSO_TCPV4 : NET_GSO_TCPV6);
        REFUSED(o.gso_type = 3); /* UDP */
        REFUSED(o.gso_type = 5);
        REFUSED(o.flags = 0);
        REFUSED(o.csum_start = 0);
        REFUSED(o.csum_start++);
        REFUSED(o.csum_start = 0xffff);
        REFUSED(o.csum_offset = 6);
        REFUSED(o.csum_offset = 0xffff);
        REFUSED(len--);
        REFUSED(len++);
        REFUSED(len = 13);
        REFUSED(len = tcp + 19);
        REFUSED(frame[12] = 9);
        REFUSED(frame[ip] = v6 ? 0x40 : 0x65);
        REFUSED(frame[ip + (v6 ? 6 : 9)] = 17);
        REFUSED(frame[tcp + 12] = 0x40);
        if (!v6) {
            REFUSED(frame[ip] = 0x44);
            REFUSED(frame[ip] = 0x4f);
            REFUSED(frame[ip + 6] = 0x20);
            REFUSED(frame[ip + 7] = 1);
            REFUSED(be16(frame + ip + 2, 24));
        }
    }
    make(false, 0, 3);
    frame[tcp + 12] = 0xf0; /* the TCP header is all there is, and more */
    assert_false(segment_take(frame, len, &o, &(struct net_segment){0}));
    make(false, 3, 3000);
    assert_false(segment_take(frame, len, &o, &(struct net_segment){0}));
}

/* ---- checksums ---- */

static void make_partial(bool v6, bool udp, size_t n)
{
    make(v6, 0, n);
    frame[ip + (v6 ? 6 : 9)] = udp ? 17 : 6;
    o.gso_type = NET_GSO_NONE;
    o.csum_offset = udp ? 6 : 16;
    be16(frame + tcp + o.csum_offset, pseudo(frame, v6, len - tcp, udp ? 17 : 6));
}

static void test_complete(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        for (size_t n = 1; n < 1400; n += 97) {
            bool v6 = i & 1, udp = i & 2;

            make_partial(v6, udp, n);
            assert_true(segment_is_partial(frame, len, &o));
            assert_true(segment_complete(frame, len, &o));
            assert_int_equal(
                sum(frame + tcp, len - tcp, pseudo(frame, v6, len - tcp, udp ? 17 : 6)), 0xffff);
        }
    /* A sum of 0 means that there is none. */
    memset(frame, 0, 100);
    o = (struct net_offload){.csum_start = 20, .csum_offset = 4};
    frame[20] = frame[21] = 0xff;
    assert_true(segment_complete(frame, 60, &o));
    assert_int_equal(from16(frame + 24), 0xffff);
}

static void test_hostile_checksums(void **state)
{
    static const uint16_t places[][2] = {{0, 0},   {13, 10},   {59, 0},        {60, 0},    {14, 45},
                                         {20, 39}, {65535, 0}, {65535, 65535}, {14, 65535}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        uint8_t *exact = calloc(1, 60); /* for the sanitizer */

        o = (struct net_offload){.csum_start = places[i][0], .csum_offset = places[i][1]};
        assert_false(segment_complete(exact, 60, &o));
        free(exact);
    }
    make_partial(false, false, 100);
    o.csum_start = 30; /* an address would do for a sum */
    assert_false(segment_is_partial(frame, len, &o));
    make_partial(false, true, 100);
    o.csum_offset = 4;
    assert_false(segment_is_partial(frame, len, &o));
    make_partial(false, false, 100);
    frame[ip + 9] = 47;
    assert_false(segment_is_partial(frame, len, &o));
}

/* ---- through the switch ---- */

static struct vswitch s;
static struct net_transfer t;
static int ports[3];
static uint32_t takes;
static uint8_t lent[NET_SEGMENT_MAX], scratch[NET_FRAME_MAX];
static bool is_lent, no_room;
static size_t given, whole_frames, plain_bytes;
static unsigned plain_frames, partial_frames;
static struct net_offload got;

static void on_partial(const uint8_t *f, size_t n, const struct net_offload *with)
{
    assert_int_equal(n, len);
    assert_memory_equal(f, frame, n);
    got = *with;
    partial_frames++;
}

static void on_frame(void *ctx, const uint8_t *f, size_t n, const struct net_offload *with)
{
    bool v6 = f[ip] == 0x60;

    assert_ptr_equal(ctx, &takes);
    if (with) {
        on_partial(f, n, with);
        return;
    }
    assert_in_range(n, 14, NET_FRAME_MAX);
    assert_int_equal(sum(f + tcp, n - tcp, pseudo(f, v6, n - tcp, f[ip + (v6 ? 6 : 9)])), 0xffff);
    plain_frames++;
    plain_bytes += n - payload;
}

static uint32_t on_takes(void *ctx)
{
    assert_ptr_equal(ctx, &takes);
    return takes;
}

static uint8_t *on_borrow(void *ctx)
{
    (void)ctx;
    assert_false(is_lent);
    is_lent = !no_room;
    return no_room ? NULL : lent;
}

static void on_give(void *ctx, uint8_t *segment, size_t n, const struct net_offload *with)
{
    (void)ctx;
    assert_ptr_equal(segment, lent);
    assert_true(is_lent);
    is_lent = false;
    given = n;
    if (n) {
        got = *with;
        whole_frames++;
        assert_memory_equal(lent, frame, n);
    }
}

static void nothing(void *ctx, const uint8_t *f, size_t n, const struct net_offload *with)
{
    (void)ctx;
    (void)with;
    (void)f;
    (void)n;
}

static int setup(void **state)
{
    static const struct net_offloads offloads = {on_takes, on_borrow, on_give};
    struct net_config c = {.network = "lab",
                           .broadcasts_per_second = 100,
                           .allow = NET_ALLOW_ANY_ADDRESS | NET_ALLOW_VLAN_TAGS};

    (void)state;
    switch_init(&s, SECOND, false);
    for (unsigned i = 0; i < 2; i++) {
        ports[i] = switch_attach(&s, FILTER_GUEST, macs[i], &c, i ? on_frame : nothing, &takes);
        assert_true(ports[i] >= 0);
        switch_set_offloads(&s, (unsigned)ports[i], &offloads);
    }
    t = (struct net_transfer){.scratch = scratch};
    takes = 0;
    is_lent = no_room = false;
    given = whole_frames = plain_bytes = plain_frames = partial_frames = 0;
    return 0;
}

static enum net_drop step(void)
{
    return transfer_step(&s, (unsigned)ports[0], frame, len, &o, SECOND, &t);
}

static unsigned send(void)
{
    unsigned steps = 1;

    assert_int_equal(step(), NET_PASSED);
    for (; t.state; steps++)
        assert_int_equal(step(), NET_PASSED);
    return steps;
}

static void test_whole(void **state)
{
    (void)state;
    takes = NET_TAKES_CSUM | NET_TAKES_TSO4;
    make(false, 0, 65000);
    assert_int_equal(send(), 1 + (len + TRANSFER_STEP - 1) / TRANSFER_STEP);
    assert_int_equal(given, len);
    o.header_len = (uint16_t)payload;
    assert_memory_equal(&got, &o, sizeof(o));
    /* Whatever else the sender said. */
    make(false, 0, 3000);
    o.flags = 0xff;
    o.header_len = o.num_buffers = 0xffff;
    (void)send();
    assert_int_equal(got.flags, NET_NEEDS_CSUM);
    assert_int_equal(got.header_len, payload);
    assert_int_equal(got.num_buffers, 1);
    assert_int_equal(plain_frames, 0);
}

/* To receivers that do not take it, or have no room: a frame in each step. */
static void test_finished(void **state)
{
    (void)state;
    make(true, 0, 10500);
    takes = NET_TAKES_CSUM | NET_TAKES_TSO4;
    assert_int_equal(send(), 12);
    assert_int_equal(plain_frames, 11);
    assert_int_equal(plain_bytes, 10500);
    make(false, 1, 10000);
    no_room = true;
    assert_int_equal(send(), 11);
    assert_int_equal(plain_frames, 21);
    no_room = false;
    o.gso_type |= NET_GSO_ECN;
    assert_int_equal(send(), 11);
    takes |= NET_TAKES_ECN;
    assert_int_equal(send(), 4);
    assert_int_equal(whole_frames, 1);
}

static void test_partial(void **state)
{
    (void)state;
    make_partial(false, false, 500);
    takes = NET_TAKES_CSUM;
    assert_int_equal(send(), 1);
    assert_int_equal(partial_frames, 1);
    assert_int_equal(got.csum_start, tcp);
    assert_int_equal(got.gso_size | got.header_len, 0);
    takes = 0;
    assert_int_equal(send(), 2);
    assert_int_equal(plain_frames, 1);
    assert_int_equal(partial_frames, 1);
    /* A sum over something else is completed here, and the frame judged after that. */
    make_partial(false, false, 500);
    takes = NET_TAKES_CSUM;
    o.csum_start = 14;
    o.csum_offset = 12;
    s.filter.ports[ports[0]].allow = 0;
    assert_int_equal(step(), NET_PASSED);
    assert_int_not_equal(t.state, 0);
    assert_int_equal(step(), NET_DROP_ADDRESS);
    assert_int_equal(t.state, 0);
}

static void test_refused(void **state)
{
    (void)state;
    make(false, 0, 3000);
    o.gso_size = 0;
    assert_int_equal(step(), NET_DROP_MALFORMED);
    make_partial(false, false, 500);
    o.csum_start = 0xffff;
    assert_int_equal(step(), NET_DROP_MALFORMED);
    make(false, 0, 3000);
    frame[0] = 1; /* to a group */
    assert_int_equal(step(), NET_DROP_MALFORMED);
    make(false, 0, 2000);
    o.gso_type = NET_GSO_NONE;
    o.flags = 0;
    assert_int_equal(step(), NET_DROP_MALFORMED);
    make(false, 0, 3000);
    frame[11] = 9;
    assert_int_equal(step(), NET_DROP_SOURCE);
    make(false, 0, 3000);
    frame[5] = 9;
    assert_int_equal(step(), NET_DROP_DESTINATION);
    make(false, 0, 3000);
    s.filter.ports[ports[0]].allow = 0;
    assert_int_equal(step(), NET_DROP_ADDRESS);
    assert_int_equal(plain_frames + whole_frames, 0);
}

/* The receiver goes, and another takes its place; the sender goes. */
static void test_ends(void **state)
{
    struct net_config c = {.network = "lab", .broadcasts_per_second = 100};

    (void)state;
    takes = NET_TAKES_CSUM | NET_TAKES_TSO4;
    make(false, 0, 65000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(step(), NET_PASSED);
    switch_detach(&s, (unsigned)ports[1]);
    is_lent = false; /* went with it */
    assert_int_equal(switch_attach(&s, FILTER_GUEST, macs[1], &c, on_frame, &takes), ports[1]);
    assert_int_equal(step(), NET_PASSED);
    assert_int_equal(t.state, 0);
    assert_int_equal(whole_frames + plain_frames, 0);
    assert_int_equal(setup(state), 0);
    takes = NET_TAKES_CSUM | NET_TAKES_TSO4;
    assert_int_equal(step(), NET_PASSED);
    assert_true(is_lent);
    transfer_cancel(&s, &t);
    assert_int_equal(t.state, 0);
    assert_false(is_lent);
    assert_int_equal(given, 0);
    transfer_cancel(&s, &t);
    assert_int_equal(s.ports[ports[1]].delivering, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_hostile_descriptions),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_hostile_checksums),
        cmocka_unit_test_setup(test_whole, setup),
        cmocka_unit_test_setup(test_finished, setup),
        cmocka_unit_test_setup(test_partial, setup),
        cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_ends, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
