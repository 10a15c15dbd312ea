/* SPDX-License-Identifier: Apache-2.0 */
/* reload: see reload.h. */
#include "reload.h"

#include "ladder.h"
#include "log.h"
#include "route.h"
#include "runs.h"
#include "settle.h"

/* Nobody keeps a pointer into these, nor a size made from them. */
static const char *const live_keys[] = { "log.level", "dispatcher.retry_ladder",
	"dispatcher.expire_after_s", "dispatcher.recheck_s", "dispatcher.poll_ms",
	"relay.connections", "relay.messages_per_connection", "relay.idle_s",
	"relay.connect_timeout_s", "relay.command_timeout_s", "relay.dot_timeout_s",
	"relay.pipelining", "relay.next_behind_dot", "relay.chunking", "ses.connect_timeout_s",
	"ses.timeout_s", "ses.idle_s" };

struct counts {
	unsigned changed, waiting;
};

static void
tell(void *ctx, const char *key, const char *from, const char *to, bool is_live)
{
	struct counts *counts = ctx;

	if (is_live) {
		log_info("configuration changed key=%s from=\"%s\" to=\"%s\"", key, from, to);
		counts->changed++;
	} else {
		log_warn("configuration key=%s takes a restart", key);
		counts->waiting++;
	}
}

void
reload_config(struct dispatcher *d, struct config *config, const char *path)
{
	struct counts counts = { 0 };
	struct config fresh;
	struct ladder ladder;
	struct err err = { 0 };

	if (config_load(&fresh, path, &err) < 0 ||
	    ladder_parse(&ladder, fresh.dispatcher_retry_ladder, &err) < 0) {
		log_error("configuration not read again, nothing changed: %s", err.msg);
	} else if (!log_open("kairan-dispatcher", fresh.log_level)) {
		log_error("configuration not read again, nothing changed: log.level must be "
			  "error, warn, info or debug");
	} else {
		config_take(config, &fresh, live_keys, sizeof(live_keys) / sizeof(live_keys[0]),
		    tell, &counts);
		settle_reload(d->settler, &ladder);
		runs_reload(d->runs);
		log_info("configuration read again changed=%u restart_needed=%u", counts.changed,
		    counts.waiting);
	}
	config_release(&fresh);
	route_reload(d->route); /* credentials and certificates, too */
}
