// The one tracepoint: a line of bytes.
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER compare

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_ust_tp.h"

#if !defined(LTTNG_UST_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define LTTNG_UST_TP_H

#include <stddef.h>
#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(compare, line, LTTNG_UST_TP_ARGS(const char *, bytes, size_t, length),
                           LTTNG_UST_TP_FIELDS(lttng_ust_field_sequence_text(char, line, bytes, size_t, length)))

#endif

#include <lttng/tracepoint-event.h>
