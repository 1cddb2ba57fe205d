#include "arch/x86/vmx/decode.h"

#include "arch/x86/vmx/decode_format.h"
#include "arch/x86/vmx/fields.h"
#include "hv/lib.h"

/* The other fields follow: first the controls. */

const struct decode_format *decode_exit(uint32_t encoding, const struct decode_context *c)
{
    (void)encoding;
    (void)c;
    return NULL;
}

const struct decode_format *decode_guest_msr(uint32_t encoding)
{
    (void)encoding;
    return NULL;
}

const struct decode_format *decode_state(uint32_t encoding, const struct decode_context *c)
{
    (void)encoding;
    (void)c;
    return NULL;
}
