#pragma once

#include "mgmt/include/arch/cc.h"
