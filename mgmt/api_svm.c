/* What this machine's SVM can do, core by core. */
#include "arch/x86/inspect/decode_vmcb.h"
#include "hv/fmt.h"
#include "mgmt/api_call.h"

static void put_feature(void *arg, const struct decode_part *p)
{
    struct json_out *j = arg;

    json_object(j, NULL);
    json_u64(j, "bit", p->low);
    json_str(j, "name", p->name);
    json_bool(j, "present", p->value);
    json_str(j, "meaning", p->title);
    json_end(j);
}

static bool same(const struct abi_caps *a, const struct abi_caps *b)
{
    return a->svm_revision == b->svm_revision && a->svm_asids == b->svm_asids &&
           a->svm_features == b->svm_features && a->svm_memory == b->svm_memory &&
           a->svm_branches == b->svm_branches && a->address_widths == b->address_widths;
}

/* Cores are nearly always alike: features of those that are like core 0 are not repeated in words.
 */
static void put_core(struct json_out *j, const struct call *c, unsigned id, bool decode)
{
    const struct abi_caps *caps = &c->v->caps[id];
    bool alike = same(caps, &c->v->caps[0]);

    json_object(j, NULL);
    json_u64(j, "core", id);
    json_bool(j, "svm", caps->present);
    json_bool(j, "inside_a_hypervisor", caps->hypervisor);
    json_bool(j, "like_core_0", alike);
    if (caps->present) {
        json_u64(j, "physical_address_bits", caps->address_widths & 0xff);
        json_u64(j, "linear_address_bits", caps->address_widths >> 8 & 0xff);
        json_u64(j, "revision", caps->svm_revision);
        json_u64(j, "asids", caps->svm_asids);
        json_hex(j, "features", caps->svm_features, 8);
        json_hex(j, "memory_encryption", caps->svm_memory, 8);
        json_hex(j, "performance_monitoring", caps->svm_branches, 8);
        json_hex(j, "vm_cr", caps->svm_vm_cr, 1);
        if (decode && (id == 0 || !alike)) {
            json_array(j, "bits");
            (void)svm_features_decode(caps->svm_features, put_feature, j);
            json_end(j);
        }
    }
    json_end(j);
}

void get_svm_capabilities(struct call *c, char *const *arg)
{
    (void)arg;
    call_put_capabilities(c, put_core);
}
