#include "mgmt/syslog.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/clock.h"
#include "mgmt/log_lines.h"
#include "mgmt/ring.h"
#include "mgmt/utf8.h"

#define FACILITY_LOCAL0 16u
#define ESCAPED         4u    /* "\xHH" */
#define LINE_MAX_BYTES  1024u /* longer lines come in parts */

static const char bom[] = "\xef\xbb\xbf";

/* RFC 5424, section 6: RFC 5424's names are printable ASCII without spaces. */
static const char *name_or_nil(const char *name, char *out, size_t size)
{
    size_t n = 0;

    for (; name && name[n] && n + 1 < size; n++)
        out[n] = name[n] > ' ' && name[n] < 0x7f ? name[n] : '_';
    out[n] = 0;
    return n ? out : "-";
}

static bool is_ascii(const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] >= 0x80)
            return false;
    return true;
}

size_t syslog_format(char out[SYSLOG_MESSAGE_MAX], const struct syslog_message *m, size_t *used)
{
    char time[CLOCK_TEXT], host[64], process[64];
    size_t n, i = 0;

    clock_text(time, m->us);
    n = fmt(out, SYSLOG_MESSAGE_MAX, "<%u>1 %s %s bulkhead %s - - ",
            FACILITY_LOCAL0 * 8 + (unsigned)m->severity, time,
            name_or_nil(m->hostname, host, sizeof(host)),
            name_or_nil(m->process, process, sizeof(process)));
    /* Section 6.4: text in UTF-8 begins with a byte order mark; pure ASCII does not need it. */
    if (!is_ascii(m->text, m->len)) {
        memcpy(out + n, bom, sizeof(bom) - 1);
        n += sizeof(bom) - 1;
    }
    while (i < m->len) {
        size_t len = utf8_length(m->text + i, m->len - i);
        bool plain = len && (m->text[i] == '\t' || !utf8_is_control(m->text + i, len));
        size_t room = SYSLOG_MESSAGE_MAX - n;

        if (room < (plain ? len : ESCAPED + 1))
            break;
        if (plain) {
            memcpy(out + n, m->text + i, len);
            n += len;
            i += len;
        } else {
            n += fmt(out + n, room, "\\x%02x", m->text[i]);
            i++;
        }
    }
    *used = i;
    return n;
}

/* Cuts off the log's own stamp and takes its time; false: there is none. */
static bool take_stamp(struct syslog_message *m, uint64_t zero_us)
{
    uint64_t us;
    size_t n = log_stamp(m->text, m->len, &us);

    if (n == 0)
        return false;
    m->us = zero_us + us;
    m->text += n;
    m->len -= n;
    return true;
}

/* "core 0: warning: ..." */
static bool is_warning(const struct syslog_message *m)
{
    static const char mark[] = ": warning: ";

    for (size_t i = 0; i + sizeof(mark) - 1 <= m->len && i < sizeof("core 99"); i++)
        if (memcmp(m->text + i, mark, sizeof(mark) - 1) == 0)
            return true;
    return false;
}

static bool send(const struct syslog_sink *s, const struct syslog_message *m, size_t *used)
{
    char out[SYSLOG_MESSAGE_MAX];
    size_t n = syslog_format(out, m, used);

    return s->send(s->ctx, out, n);
}

static bool tell_lost(const struct syslog_follower *f, const char *process,
                      const struct syslog_sink *sink)
{
    char text[96];
    struct syslog_message m = {.severity = SYSLOG_WARNING,
                               .us = sink->now_us,
                               .hostname = sink->hostname,
                               .process = process,
                               .text = (const uint8_t *)text};
    size_t used;

    m.len =
        fmt(text, sizeof(text), "%lu bytes were overwritten before they could be sent", f->lost);
    return send(sink, &m, &used);
}

/* Sends the line (or part of a line) at the start of `bytes`. Returns how many bytes are done; 0:
 * no whole line yet, or the sink takes nothing now. */
static size_t send_line(const uint8_t *bytes, size_t n, const char *process,
                        const struct syslog_sink *sink, unsigned *sent)
{
    struct syslog_message m = {.severity = SYSLOG_INFO,
                               .us = sink->now_us,
                               .hostname = sink->hostname,
                               .process = process,
                               .text = bytes};
    size_t len = 0, used;
    bool whole;

    while (len < n && bytes[len] != '\n')
        len++;
    whole = len < n;
    if (!whole && n < LINE_MAX_BYTES)
        return 0;
    m.len = len;
    while (whole && m.len && bytes[m.len - 1] == '\r')
        m.len--;
    if (!process && take_stamp(&m, sink->zero_us) && is_warning(&m))
        m.severity = SYSLOG_WARNING;
    if (m.len == 0)
        return len + 1; /* empty lines are skipped */
    if (!send(sink, &m, &used))
        return 0;
    (*sent)++;
    if (used < m.len)
        return (size_t)(m.text - bytes) + used;
    return len + whole;
}

unsigned syslog_follow(struct syslog_follower *f, const struct abi_ring *r, const char *process,
                       const struct syslog_sink *sink, unsigned budget)
{
    uint8_t bytes[LINE_MAX_BYTES];
    unsigned sent = 0, turns = 0;

    /* Another guest has this number now: its ring starts again. */
    if (f->next > __atomic_load_n(&r->written, __ATOMIC_ACQUIRE))
        f->next = 0;
    /* Empty lines count as turns too. */
    while (sent < budget && turns++ < 4 * budget) {
        uint64_t from = f->next;
        size_t n = ring_copy(r, &from, bytes, sizeof(bytes)), done;

        f->lost += from - f->next;
        f->next = from;
        if (f->lost) {
            if (!tell_lost(f, process, sink))
                break;
            f->lost = 0;
            sent++;
            continue;
        }
        done = send_line(bytes, n, process, sink, &sent);
        if (done == 0)
            break;
        f->next += done;
    }
    return sent;
}
