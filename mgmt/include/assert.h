#pragma once

_Noreturn void mgmt_die(const char *why);
#define assert(cond) ((cond) ? (void)0 : mgmt_die("assertion failed: " #cond))
