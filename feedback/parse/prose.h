/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prose: the text of a mail as its writer wrote it, without what the road did to it: printed quotes
 * and hard blanks in the place of plain ones, a blank line behind every line, the warning of a
 * gateway above a mail from outside. Pure, linear. The phrases are in marks.c.
 */
#ifndef KAIRAN_PROSE_H
#define KAIRAN_PROSE_H

#include "arena.h"
#include "slice.h"

/* text (UTF-8, LF) or, where something had to be undone, a copy in the arena; text itself without
 * memory. */
struct slice prose_restore(struct slice text, struct arena *arena);

#endif
