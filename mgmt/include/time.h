#pragma once

typedef long time_t;
time_t time(time_t *t); /* in Everest's headers; never called */
