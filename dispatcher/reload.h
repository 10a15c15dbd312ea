/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload: the configuration read again while sending (SIGHUP). Keys that are looked at when they
 * are used, and the few that this module knows how to apply, change at once; the others are named
 * in the log and take a restart. A file with an error, or values that do not fit, change nothing.
 */
#ifndef KAIRAN_RELOAD_H
#define KAIRAN_RELOAD_H

#include "dispatcher.h"

/* config: what d->config points to. path: as of config_load. Says in the log what has changed. */
void reload_config(struct dispatcher *d, struct config *config, const char *path);

#endif
