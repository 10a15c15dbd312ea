/* SPDX-License-Identifier: Apache-2.0 */
/* stats_text: the document of kairan-dispatcher's /metrics: what it has counted (stats.h), and what its parts say. */
#ifndef KAIRAN_STATS_TEXT_H
#define KAIRAN_STATS_TEXT_H

#include "buf.h"
#include "dispatcher.h"

void stats_text(const struct dispatcher *d, struct buf *out);

#endif
