"""Writes the contents of hv/config_fields.def, hv/words.def and hv/actions.def into the documents that repeat them: documents.py TABLES [--check]

TABLES is the program built from test/tools/fields.c. With --check nothing is written, and a document that differs is an error."""
import json
import os
import re
import subprocess
import sys

NAME = "^[a-z0-9][a-z0-9-]*$"
CARD = r"^((00[0-9a-f]{2}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]|[0-9a-f]{2}(:[0-9a-f]{2}){5})$"
# Parts of the schema that the rows cannot express, by object and field.
MORE = {
    ("guest", "name"): {"pattern": NAME, "not": {"const": "mgmt"}},
    ("guest", "image"): {"minLength": 1},
    ("module", "file"): {"minLength": 1},
    ("disk", "file"): {"minLength": 1},
    ("net", "network"): {"pattern": NAME},
    ("shared", "name"): {"pattern": NAME},
    ("token", "name"): {"pattern": "^[a-z0-9][a-z0-9-]{0,30}$"},
    ("management", "hostname"): {"pattern": "^[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?$"},
}
REQUIRED = {"guest": ["name", "image"], "module": ["file"], "disk": ["file"], "token": ["name", "role", "salt", "sha256"], "syslog": ["server"],
            "shared": ["name", "size", "peers"]}
MEMORY_MOST = 256 << 30  # a guest's


def memory_schema(most=MEMORY_MOST):
    return {"description": f"A multiple of 2 MiB, 2 MiB to {most >> 30} GiB: bytes, or a string with K, M or G",
            "oneOf": [{"type": "integer", "minimum": 2 << 20, "maximum": most, "multipleOf": 2 << 20}, {"type": "string", "pattern": "^[0-9]+[KMG]$"}]}


# Lists of words that OpenAPI's schemas repeat, by property name.
ENUMS = {"state": ("words_guest_state", 0), "cause": ("words_cause", 0), "role": ("words_role", 1), "stored": ("words_stored", 0),
         "activity": ("words_activity", 0), "smt": ("words_smt", 0)}


class Tables:
    def __init__(self, program):
        tables = json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout)
        self.words, self.actions, self.objects = tables["words"], tables["actions"], {}
        for f in tables["fields"]:
            self.objects.setdefault(f["object"], []).append(f)

    def choices(self, f):
        return self.words[f["words"]][f["least"]:f["most"] + 1] if f["kind"] == "choice" else self.words[f["words"]]

    def preset(self, f):
        """The default as a JSON value; None if it cannot be written."""
        if f["kind"] == "choice":
            return self.words[f["words"]][f["preset"]] if f["preset"] >= f["least"] else None
        if f["kind"] == "flags":
            return [w for i, w in enumerate(self.words[f["words"]]) if f["preset"] >> i & 1]
        if f["kind"] == "memory":
            return f"{f['preset'] >> 20}M"
        if f["kind"] == "switch":
            return bool(f["preset"])
        return f["preset"] if f["kind"] == "number" else f["text"] or None


def sentences(f):
    """The complete description, as text."""
    first = f["help"][0].upper() + f["help"][1:] if not re.match(r"\w+:|dhcp", f["help"]) else f["help"]
    return (f"{first}. {f['more']}" if f["more"] else first).replace("`", "").removesuffix(".")


# ---- schemas ----

class Schemas:
    """`refs`: where shared parts are. `answer`: the schema of the API's answers, which are complete and uniform, rather than of its input."""

    def __init__(self, tables, refs, answer=False, shared_net=False):
        self.tables, self.refs, self.answer, self.shared_net = tables, refs, answer, shared_net

    def text(self, f):
        return {"type": "string", "maxLength": f["size"] - 1}

    file = host = text

    def number(self, f):
        return {"type": "integer", "minimum": f["least"], "maximum": f["most"]}

    core = number

    def cores(self, f):
        return {"type": "array", "maxItems": f["size"], "items": self.number(f)}

    def memory(self, f):
        own = memory_schema(f["most"])
        if self.answer:
            return own["oneOf"][0]
        return {"$ref": self.refs + "memory"} if f["most"] == MEMORY_MOST else {"oneOf": own["oneOf"]}

    def choice(self, f):
        return {"type": "string", "enum": self.tables.choices(f)}

    def switch(self, _):
        return {"type": "boolean"}

    def flags(self, f):
        return {"type": "array", "items": {"type": "string", "enum": self.tables.words[f["words"]]}}

    def bytes(self, f):
        return {"type": "string", "pattern": f"^[0-9a-f]{{{2 * f['size']}}}$"}

    def address(self, _):
        return {"type": "string", "pattern": r"^(dhcp|[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})$"}

    def server(self, _):
        return {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"}

    gateway = server

    def addresses(self, f):
        return {"type": "array", "maxItems": f["most"], "items": {"type": "string", "maxLength": 39}}

    def mac_prefix(self, _):
        return {"type": "string", "pattern": "^[0-9a-f][26ae](:[0-9a-f]{2}){4}$"}

    def auth(self, _):
        tokens = {"type": "array", "minItems": 1, "maxItems": 16, "items": self.object("token")}
        return {"oneOf": [{"type": "string", "const": "none"}, {"type": "object", "additionalProperties": False, "required": ["tokens"], "properties": {"tokens": tokens}}]}

    def net(self, _):
        return self.object("net")

    def modules(self, f):
        return {"type": "array", "maxItems": f["most"], "items": self.object("module")}

    def disks(self, f):
        return {"type": "array", "maxItems": f["most"], "items": self.object("disk")}

    def size(self, f):
        sizes = [f["least"] << i for i in range((f["most"] // f["least"]).bit_length())]
        whole = {"type": "integer", "enum": sizes}
        return whole if self.answer else {"oneOf": [whole, {"enum": [f"{n >> 20}M" for n in sizes]}]}

    def peers(self, f):
        return {"type": "array", "minItems": f["least"], "maxItems": f["most"], "uniqueItems": True, "items": {"type": "string", "maxLength": 31, "pattern": NAME}}

    def regions(self, f):
        return {"type": "array", "maxItems": f["most"], "items": self.object("shared")}

    def syslog(self, _):
        return self.object("syslog")

    def card(self, _):
        return {"oneOf": [{"type": "integer", "minimum": 0, "maximum": 7}, {"type": "string", "pattern": CARD}]}

    def uplinks(self, _):
        return self.object("uplinks")

    def management(self, _):
        return self.object("management")

    def guests(self, f):
        return {"type": "array", "maxItems": f["most"], "items": self.object("guest")}

    def field(self, f):
        if f["kind"] == "net" and self.shared_net:
            return {"$ref": self.refs + "net"}
        schema = {**getattr(self, f["kind"])(f), **({} if self.answer else MORE.get((f["object"], f["name"]), {}))}
        preset = self.tables.preset(f)
        if preset is not None and preset != [] and not self.answer:
            schema["default"] = preset
        return {**schema, "description": sentences(f)}

    def object(self, name):
        schema = {"type": "object", "additionalProperties": False}
        fields = self.tables.objects[name]
        required = [f["name"] for f in fields if f["kind"] != "net"] if self.answer else REQUIRED.get(name)
        if required:
            schema["required"] = required
        return {**schema, "properties": {f["name"]: self.field(f) for f in fields}}


def pretty(node, indent=0, spread=False):
    """JSON with one line per property, unless the property has properties of its own."""
    text = json.dumps(node, ensure_ascii=False)
    if not spread and '"properties"' not in text:
        return text
    pad, members = " " * (indent + 4), isinstance(node, dict)
    lines = ([f"{pad}{json.dumps(k)}: {pretty(v, indent + 4, k in ('properties', '$defs'))}" for k, v in node.items()] if members else
             [pad + pretty(v, indent + 4) for v in node])
    return f"{'{' if members else '['}\n" + ",\n".join(lines) + f"\n{' ' * indent}{'}' if members else ']'}"


def guests_schema(tables, _):
    top = Schemas(tables, "#/$defs/").object("top")
    return pretty({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Bulkhead configuration", "$defs": {"memory": memory_schema()}, **top}) + "\n"


def set_enums(tables, node):
    for name, value in node.items() if isinstance(node, dict) else ():
        if name in ENUMS and isinstance(value, dict) and "enum" in value:
            words, first = ENUMS[name]
            value["enum"] = tables.words[words][first:]
        set_enums(tables, value)
    for value in node if isinstance(node, list) else ():
        set_enums(tables, value)


def openapi(tables, text):
    document, refs = json.loads(text), "#/components/schemas/"
    schemas = document["components"]["schemas"]
    written = Schemas(tables, refs + "config_", shared_net=True)
    whole = Schemas(tables, refs + "config_", answer=True, shared_net=True)
    set_enums(tables, document)
    thread = schemas["Host"]["properties"]["topology"]["properties"]["unused_threads"]["items"]["properties"]
    thread["state"]["enum"] = [w for w in tables.words["words_thread_state"] if w != "runs"]
    schemas["Exit"]["properties"]["outcome"]["enum"] = tables.words["words_outcome"]
    schemas["Action"]["properties"]["action"]["enum"] = [a["word"] for a in tables.actions]
    schemas["Refused_frames"]["propertyNames"]["enum"] = tables.words["words_net_drop"][1:]
    schemas["config_memory"] = memory_schema()
    schemas["config_net"] = {**written.object("net"), "description": sentences(next(f for f in tables.objects["guest"] if f["name"] == "net"))}
    schemas["GuestConfiguration"] = written.object("guest")
    schemas["Guest"]["properties"]["configuration"] = whole.object("guest")
    schemas["Guest"]["properties"]["configuration"]["properties"]["kind"] = {"type": "string", "enum": ["", *tables.words["words_kind"]], "description": "What the image was found to be; empty until then"}
    schemas["Shared"] = whole.object("shared")
    schemas["Shared"]["properties"]["id"] = {"type": "integer", "minimum": 0, "maximum": 13, "description": "The guest's place in the list of peers"}
    schemas["Shared"]["required"].append("id")
    schemas["Configuration"] = {**written.object("top"), "required": ["guests", "management"]}
    schemas["Configuration"]["properties"]["guests"]["items"] = {"$ref": refs + "GuestConfiguration"}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


# ---- bhctl ----

def replace(text, comment, what, lines):
    """Replaces the text between a comment that begins with `what` and one that says "end"."""
    pattern = rf"(^ *{re.escape(comment)} {what}:[^\n]*\n).*?(^ *{re.escape(comment)} end$)"
    after, n = re.subn(pattern, lambda m: m[1] + "".join(line + "\n" for line in lines) + m[2], text, flags=re.S | re.M)
    assert n == 1, what
    return after


def options(tables):
    return [f for name in ("guest", "net") for f in tables.objects[name] if f["option"]]


def manual(tables, text):
    lines = []
    for f in options(tables):
        option = "\\-\\-" + f["option"].replace("-", "\\-")
        said = sentences(f)
        if said.startswith("false: "):  # the option disables it
            said = said[7].upper() + said[8:]
        lines += [".TP", f'.BI {option} " {f["value"]}"' if f["value"] else f".B {option}", said + "."]
        if f["kind"] in ("choice", "flags"):
            lines.append(f"{'One' if f['kind'] == 'choice' else 'Any'} of " + ", ".join(tables.choices(f)).replace("-", "\\-") + ".")
        elif f["kind"] == "number":
            lines.append(f"From {f['least']} to {f['most']}, by default {f['preset']}.")
    return replace(text, '.\\"', "fields of deploy", lines)


def completion(tables, text):
    chosen = [f for f in options(tables) if f["kind"] in ("choice", "flags")]
    free = [f"--{f['option']}" for f in options(tables) if f["value"] and f not in chosen]
    text = replace(text, "#", "fields of deploy", [f'_bhctl_fields="{" ".join("--" + f["option"] for f in options(tables))}"'])
    return replace(text, "#", "values of deploy", [f'    --{f["option"]}) _bhctl_offer "{" ".join(tables.choices(f))}" ;;' for f in chosen] + [f"    {' | '.join(free)}) ;;"])


# ---- the parser's fuzzer ----

def dictionary(tables, text):
    fields = [f for fields in tables.objects.values() for f in fields]
    said = [f["name"] for f in fields] + [w for f in fields if f["kind"] in ("choice", "flags") for w in tables.choices(f)] + ["tokens"]
    return replace(text, "#", "fields and words", [rf'"\"{word}\""' for word in dict.fromkeys(said)])


# ---- the page ----

def page(tables, _):
    lines = ['// The fields of a guest and of its network card, and what can be done to it. "make documents" writes this from hv/config_fields.def and hv/actions.def.']
    for name in ("guest", "net"):
        lines += ["", f"export const {name.upper()} = ["]
        for f in tables.objects[name]:
            if f["option"]:
                said = {"name": f["name"], "kind": f["kind"], "preset": tables.preset(f), **({"words": tables.choices(f)} if f["kind"] in ("choice", "flags") else {}), "help": f["help"]}
                lines.append("    {" + ", ".join(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in said.items() if v is not None) + "},")
        lines.append("];")
    modules, disks = (next(f for f in tables.objects["guest"] if f["name"] == name) for name in ("modules", "disks"))
    lines += ["", f"export const MODULES_MAX = {modules['most']};", f"export const DISKS_MAX = {disks['most']};", "", "// What can be done to a guest, and in which states; null: in all.", "export const ACTIONS = {"]
    states = tables.words["words_guest_state"]
    for a in tables.actions:
        some = [s for i, s in enumerate(states) if a["states"] >> i & 1]
        lines.append(f"    {a['word']}: {'null' if some == states else json.dumps(some)},")
    return "\n".join([*lines, "};"]) + "\n"


# ---- the manual ----

def values(tables, f):
    """The possible values, if a word or two can list them."""
    if f["kind"] in ("choice", "flags"):
        return " ".join(f"`{w}`" for w in tables.choices(f))
    if f["kind"] in ("number", "core", "cores"):
        return f"{f['least']} to {f['most']}"
    return {"memory": f'`"2M"` to `"{f["most"] >> 30}G"`', "switch": "`true` `false`"}.get(f["kind"], "")


def table(tables, name):
    lines = [f"| field{'' if name in ('top', 'guest') else f' of `{name}`'} | values | meaning | default |", "|---|---|---|---|"]
    for f in tables.objects[name]:
        if f["kind"] in ("guests", "management", "regions", "uplinks"):
            continue
        preset, meaning = tables.preset(f), f"{f['help']}. {f['more']}".removesuffix(".") if f["more"] else f["help"]
        said = "" if preset in (None, []) else " ".join(preset) if isinstance(preset, list) else json.dumps(preset).strip('"')
        lines.append(f"| `{f['name']}` | {values(tables, f)} | {meaning} | {said} |")
    return "\n".join(lines)


def markdown(tables, text):
    for name in re.findall(r"<!-- fields of (\w+):", text):
        text = re.sub(rf"(<!-- fields of {name}:.*?-->\n).*?(<!-- end -->)", lambda m: m[1] + "\n" + table(tables, name) + "\n\n" + m[2], text, flags=re.S)
    return text


# ---- README.md ----

def front(_, text):
    """The example in assembly is the sample's core."""
    with open("iso/sdk/samples/hello_asm.asm", encoding="utf-8") as f:
        core = re.search(r"^    cld\n.*?out EXIT_PORT, eax\n", f.read(), re.S | re.M)[0]
    return re.sub(r"(```nasm\n).*?(```)", lambda m: m[1] + core + m[2], text, flags=re.S)


DOCUMENTS = {"README.md": front, "iso/guests.schema.json": guests_schema, "mgmt/openapi.json": openapi, "mgmt/MANUAL.md": markdown,
             "mgmt/bhctl/bhctl.1": manual, "mgmt/bhctl/bhctl.bash": completion, "mgmt/page/fields.js": page, "test/fuzz/config.dict": dictionary}


def main():
    tables, check = Tables(sys.argv[1]), "--check" in sys.argv
    old = 0
    for path, write in DOCUMENTS.items():
        before = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                before = f.read()
        after = write(tables, before)
        if after == before:
            continue
        old += 1
        if check:
            print(f"{path}: is not what hv/config_fields.def, hv/words.def and hv/actions.def say: run \"make documents\"")
        else:
            with open(path, "w", encoding="utf-8") as f:
                f.write(after)
            print(f"{path}: written")
    if check and not old:
        print("documents: ok")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
