// The user: the token, kept for this tab only, its role, and what that role may not do.
const KEY = "bulkhead-token";
const RANK = {read: 0, operate: 1, admin: 2};

export const session = {name: null, role: "admin", changed: () => {}};

export const token = () => sessionStorage.getItem(KEY);
export const authorization = (mine) => (mine ? {Authorization: `Bearer ${mine}`} : {});

// null, or why not.
export const refusal = (role) => (RANK[session.role] >= RANK[role] ? null
    : `This needs the role "${role}"; yours is "${session.role}".`);

// A control that needs a role: it stays where it is, and says why it is disabled.
export function restrict(node, role) {
    node.dataset.role = role;
    show(node);
    return node;
}

function show(node) {
    const why = refusal(node.dataset.role);

    if (why) {
        node.dataset.refused = why;
        node.title = why;
        node.setAttribute("aria-disabled", "true");
    } else if (node.dataset.refused) {
        delete node.dataset.refused;
        node.removeAttribute("title");
        node.removeAttribute("aria-disabled");
    }
}

// Called before any other listener.
for (const event of ["click", "submit", "drop"])
    document.addEventListener(event, (e) => {
        if (e.target.closest?.("[data-refused]")) {
            e.preventDefault();
            e.stopImmediatePropagation();
        }
    }, {capture: true});

export function setRole({name, role}) {
    session.name = name;
    session.role = role in RANK ? role : "read";
    document.querySelectorAll("[data-role]").forEach(show);
}

// ---- the login box ----

const dialog = document.getElementById("login");
const input = document.getElementById("token");
const problem = document.getElementById("login-error");

// While it is shown, no requests are made: they could only be refused.
export const isLoggingIn = () => dialog.open;

// 401: a token that was sent (null: none) is not sent again. After a few wrong ones the appliance delays everyone at this address.
export function tokenRefused(sent, message) {
    if (sent !== null && token() === sent)
        sessionStorage.removeItem(KEY);
    // The user is typing, or has typed another one: this refusal says nothing new.
    if (dialog.open || token() !== null)
        return;
    problem.textContent = sent === null ? "" : message;
    dialog.showModal();
    input.focus();
}

dialog.addEventListener("submit", (e) => {
    const typed = input.value.trim();

    e.preventDefault();
    // Characters that HTTP can carry: others may have been copied along with it.
    if (!/^[\x21-\x7e]+$/.test(typed)) {
        problem.textContent = "A token has no blanks, and only letters, digits and signs of ASCII in it.";
        input.select();
        return;
    }
    sessionStorage.setItem(KEY, typed);
    input.value = "";
    dialog.close();
    session.changed();
});

export function logOut() {
    sessionStorage.removeItem(KEY);
    session.changed();
}
