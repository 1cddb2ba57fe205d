// What the client uses of node, whose own types are not needed for it.
declare const process: {argv: string[]};
declare module "node:assert/strict" {
    const assert: any;
    export default assert;
}
