/* tidy: what clang-tidy looks at one file at a time, and so cannot know: that failing functions return the code they are given. Without
 * it, it follows paths on which something failed with 0, and finds uninitialised values there. */
#ifndef TESTS_TIDY_H
#define TESTS_TIDY_H

#include "proto/err.h"

#define err_set(code, ...) (err_set(code, __VA_ARGS__), (int)(code))
#define err_prefix(code, ...) (err_prefix(code, __VA_ARGS__), (code))

#endif
