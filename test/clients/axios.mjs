// The API as axios shows it, which asks for "application/json, text/plain, */*".
import assert from "node:assert/strict";
import axios from "axios";

const [base, token] = process.argv.slice(2);
const api = axios.create({baseURL: base, headers: token ? {Authorization: `Bearer ${token}`} : {}, validateStatus: () => true});

assert.equal(typeof (await api.get("/v1/host")).data.version, "string");
const dump = await api.get("/v1/guests/hog/vcpus/0/vmcs", {params: {fields: "GUEST_RIP,0x4002"}});
assert.deepEqual(dump.data.fields.map((f) => f.name), ["PRIMARY_PROCESSOR_CONTROLS", "GUEST_RIP"]);
assert.equal((await api.get("/v1/guests/hog", {responseType: "text", headers: {Accept: "text/plain"}})).headers["content-type"], "text/plain; charset=utf-8");
const wrong = await api.get("/v1/guests", {params: {fromat: "json"}});
assert.equal(wrong.status, 400);
assert.match(wrong.data.error.message, /^fromat:/);
assert.equal((await api.put("/v1/images/axios", Buffer.from("abc"), {headers: {"Content-Type": "application/octet-stream"}})).status, 201);
assert.equal((await api.get("/v1/images/axios")).data.size, 3);
assert.equal((await api.delete("/v1/images/axios")).status, 204);
assert.equal((await api.post("/v1/guests/hog/actions", {action: "explode"})).status, 400);
