#pragma once

#include "arch/cc.h"

#define assert(cond) ((cond) ? (void)0 : mgmt_die("assertion failed: " #cond))
