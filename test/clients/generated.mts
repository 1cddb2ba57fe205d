// A client whose types are generated from the description: it compiles only if the description says what the API has.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type {paths} from "./schema.js";

const [base, token] = process.argv.slice(2);
const api = createClient<paths>({baseUrl: base, headers: token ? {Authorization: `Bearer ${token}`} : {}});

// Answers may also be text, which nothing here asks for.
function json<T>(answer: T): Exclude<NonNullable<T>, string> {
    assert.equal(typeof answer, "object");
    return answer as Exclude<NonNullable<T>, string>;
}

const guest = await api.GET("/v1/guests/{guest}", {params: {path: {guest: "hog"}}});
assert.equal(json(guest.data).name, "hog");
const dump = await api.GET("/v1/guests/{guest}/vcpus/{vcpu}/vmcs", {params: {path: {guest: "hog", vcpu: "0"}, query: {fields: "GUEST_RIP,0x4002", decode: 1}}});
assert.equal(json(dump.data).fields.length, 2);
const exits = await api.GET("/v1/guests/{guest}/vcpus/{vcpu}/exits", {params: {path: {guest: "hog", vcpu: "0"}, query: {n: 3}}});
assert.equal(json(exits.data).exits.length, 3);
const made = await api.POST("/v1/guests", {body: {name: "generated", image: "guests/hog.elf", memory: "2M", cmdline: "café"}});
assert.equal(made.response.status, 201);
assert.equal(json(made.data).configuration.cmdline, "café");
const gone = await api.DELETE("/v1/guests/{guest}", {params: {path: {guest: "generated"}}});
assert.equal(gone.response.status, 204);
const wrong = await api.GET("/v1/guests/{guest}", {params: {path: {guest: "nobody"}}});
assert.equal(json(wrong.error).error.status, 404);
