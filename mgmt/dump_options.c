#include "mgmt/dump.h"

#include "hv/lib.h"

static bool parse_key(const char *s, size_t n, uint32_t *v)
{
    *v = 0;
    if (n < 3 || n > 6 || s[0] != '0' || (s[1] | 0x20) != 'x')
        return false;
    for (size_t i = 2; i < n; i++) {
        char ch = (char)(s[i] | 0x20);
        bool digit = s[i] >= '0' && s[i] <= '9';

        if (!digit && (ch < 'a' || ch > 'f'))
            return false;
        *v = *v << 4 | (uint32_t)(digit ? ch - '0' : ch - 'a' + 10);
    }
    return true;
}

int dump_find_row(const struct state_table *t, const char *s, size_t n)
{
    uint32_t key;

    if (parse_key(s, n, &key))
        return state_row_by_key(t, key);
    for (unsigned row = 0; n && row < t->rows; row++) {
        const char *name = t->row(row).name;

        if (strncmp(name, s, n) == 0 && !name[n])
            return (int)row;
    }
    return -E_NOENT;
}

bool dump_choose_fields(struct dump_options *o, const char *list, const char **bad, size_t *length)
{
    o->some = true;
    for (const char *s = list; *s;) {
        size_t n = 0;
        int row;

        while (s[n] && s[n] != ',')
            n++;
        row = dump_find_row(dump_table(o), s, n);
        if (row < 0) {
            *bad = s;
            *length = n;
            return false;
        }
        o->chosen[row / 64] |= 1ull << (row % 64);
        s += n + (s[n] == ',');
    }
    return true;
}

bool dump_choose_group(struct dump_options *o, const char *name)
{
    for (int g = VMCS_GROUP_CONTROL; g <= VMCS_GROUP_HOST; g++)
        if (strcmp(vmcs_group_name((enum vmcs_group)g), name) == 0) {
            o->group = g;
            return true;
        }
    return false;
}
