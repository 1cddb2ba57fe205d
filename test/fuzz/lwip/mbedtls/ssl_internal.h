#pragma once

#include "mgmt/include/mbedtls/ssl_internal.h"
