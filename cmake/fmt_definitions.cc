// The definitions of fmt, once for the whole program.
#include <fmt/format.h>
#include <fmt/ranges.h>
