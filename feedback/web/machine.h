/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: was it a person who asked for a pixel or a link? Rules are data with their sources
 * (feedback/data/machines.tsv says how they are written); this reads and applies them. Pure.
 */
#ifndef KAIRAN_FEEDBACK_MACHINE_H
#define KAIRAN_FEEDBACK_MACHINE_H

#include <stdbool.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define MACHINE_RULES_MAX 300

enum machine_who { WHO_PERSON, WHO_PROXY, WHO_MACHINE, WHO_COUNT };

struct machine_rule {
	unsigned what;
	struct slice pattern;
	enum machine_who who;
	const char *name;
};

struct machine_rules {
	struct machine_rule items[MACHINE_RULES_MAX];
	unsigned count;
	bool has_soon, has_burst;
	unsigned soon_s;
	unsigned burst_links, burst_s;
};

/* What is known of a request at once. */
struct machine_request {
	struct slice agent, purpose;
	bool is_head;
};

struct machine_verdict {
	enum machine_who who;
	const char *why; /* name of the rule, "none" when none fits; lives as long as the rules */
};

/* Adds the rules of a file behind those that are there, which win; of the numbers the first counts.
 * 0, or -1 with err: "line 3: …". */
int machine_rules_parse(struct machine_rules *rules, struct slice text, struct arena *arena,
    struct err *err) MUST_CHECK;

struct machine_verdict machine_judge(
    const struct machine_rules *rules, const struct machine_request *request);

/* person, proxy, machine */
const char *machine_who_name(enum machine_who who);

#endif
