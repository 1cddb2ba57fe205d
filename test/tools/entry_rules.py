"""Writes the data of test/entry_rules.json as a C header for test_entry_check.c: entry_rules.py IN OUT."""
import json
import sys


def number(text):
    return f"{int(text, 0):#x}ull"


def change(target, spec):
    """A change as a struct change: (v & ~clear) | set."""
    if "value" in spec:
        clear, bits = "~0ull", number(spec["value"])
    else:
        clear, bits = number(spec.get("clear", "0")), number(spec.get("set", "0"))
    return f"{{{target}, {clear}, {bits}}}"


def changes(mutation):
    for spec in mutation["changes"]:
        yield change(f"CHANGE_FIELD, VMCS_ROW_{spec['field']}, 8", spec)
    for kind in ("caps", "cpu"):
        for name, spec in mutation.get(kind, {}).items():
            where = f"struct {'abi_caps' if kind == 'caps' else 'entry_cpu'}"
            yield change(f"CHANGE_{kind.upper()}, offsetof({where}, {name}), sizeof((({where} *)0)->{name})", spec)


def main(source, target):
    with open(source, encoding="utf-8") as f:
        data = json.load(f)
    out = ["/* From test/entry_rules.json. */", "#pragma once", ""]
    baselines = list(data["baselines"])
    for name in baselines:
        out.append(f"static const struct field_value baseline_{name}[] = {{")
        out += [f"    {{VMCS_ROW_{field}, {number(value)}}}," for field, value in data["baselines"][name].items()]
        out.append("};")
    out.append("static const struct baseline baselines[] = {")
    out += [f'    {{"{name}", baseline_{name}, ARRAY_LEN(baseline_{name})}},' for name in baselines]
    out.append("};")
    rows = []
    for rule, mutations in data["rules"].items():
        for n, mutation in enumerate(mutations):
            if mutation["baseline"] not in baselines or not isinstance(mutation["bochs"], bool):
                sys.exit(f"{source}: {rule}, mutation {n}: baseline or bochs is wrong")
            items = list(changes(mutation)) or ["{CHANGE_FIELD, 0, 8, 0, 0}"]
            name = f"changes_{len(rows)}"
            out.append(f"static const struct change {name}[] = {{" + ", ".join(items) + "};")
            rows.append(f'    {{"{rule}", {n}, {baselines.index(mutation["baseline"])}, {name}, ARRAY_LEN({name})}},')
    out += ["static const struct mutation mutations[] = {"] + rows + ["};"]
    with open(target, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
