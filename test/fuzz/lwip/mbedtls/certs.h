#pragma once

#include "mgmt/include/mbedtls/certs.h"
